//! What became of a job: the one thing that a runner hands back, in the process or over a pipe.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, hint_of, kind_of};

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Completed,
    Failed,
    Cancelled,
}

impl Status {
    /// The word in records and messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// One file that a job made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asset {
    /// Where it lies on this machine.
    pub path: PathBuf,
    pub bytes: u64,
    /// Digest of the whole file.
    pub sha256: String,
    /// Digest of the pixels before encoding, which decides whether two results are the same;
    /// `None` for what has no pixels.
    pub pixels_sha256: Option<String>,
    pub seed: u64,
    pub index: usize,
    pub mime_type: String,
    /// Length of a video, as its file says.
    pub duration_s: Option<f64>,
}

/// The name of the small picture beside an asset.
pub fn thumbnail_name(index: usize) -> String {
    format!("{index}.thumb.webp")
}

/// Why a job failed, as callbacks and records tell it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The stable code, such as `gpu_oom`; [`crate::error::ErrorKind::code`].
    pub code: String,
    pub message: String,
    /// Whether the same job may succeed when tried again without a change.
    pub retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggested_action: Option<String>,
}

/// What a finished job leaves behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub job_id: String,
    pub status: Status,
    /// In the order of their index; empty unless completed.
    pub assets: Vec<Asset>,
    pub error: Option<Failure>,
    /// `metadata` of the callback: only what is true of this job.
    pub metadata: Map<String, Value>,
    /// What people read on stdout, where the result is no file.
    pub answer: Option<String>,
}

impl Failure {
    /// An error chain as a record.
    pub fn of(error: &anyhow::Error) -> Self {
        let kind = kind_of(error);
        Self {
            code: kind.code().into(),
            message: format!("{error:#}"),
            retryable: kind.retryable(),
            suggested_action: hint_of(error).map(String::from),
        }
    }

    /// The kind behind the code; one that this build does not know is a bug.
    pub fn kind(&self) -> ErrorKind {
        ErrorKind::from_code(&self.code).unwrap_or(ErrorKind::Internal)
    }

    /// The record as an error again.
    pub fn to_error(&self) -> Error {
        Error {
            kind: self.kind(),
            message: self.message.clone(),
            hint: self.suggested_action.clone(),
        }
    }
}
