//! Reference pictures: from a path, an `https:` or a `data:` address to a checked file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::config::shown;
use crate::fail;

/// A reference that is on this machine and may be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    pub path: PathBuf,
    /// Digest of the file, for manifest and callback.
    pub sha256: String,
    pub bytes: u64,
}

/// What a reference may be and cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Of the file as it comes over the network.
    pub bytes: u64,
    /// Of a picture inside a `data:` address, decoded.
    pub data_bytes: u64,
    /// For all of a download: names, connections, redirects, body.
    pub time: Duration,
    pub redirects: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 20 << 20,
            data_bytes: 10_000_000,
            time: Duration::from_secs(30),
            redirects: 3,
        }
    }
}

/// Whether a job may name files of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LocalPaths<'a> {
    /// Relative ones start here.
    From(&'a Path),
    Refused,
}

/// Fetches the references of one job: an address that the job names twice is fetched once.
#[derive(Debug)]
pub struct Fetcher {
    cache: PathBuf,
    limits: Limits,
}

impl Fetcher {
    /// Keeps what it fetches in `cache`, by digest.
    pub fn new(cache: impl Into<PathBuf>, limits: Limits) -> Self {
        Self {
            cache: cache.into(),
            limits,
        }
    }

    /// Fetches one reference; `field` names it in messages, such as `config.first_frame`.
    ///
    /// # Errors
    /// `FetchBlocked` for an address that may not be asked, `FetchFailed` for what is missing, too
    /// large or no picture, `Unavailable` for a server that fails or takes too long, `InvalidSpec`
    /// for a local path where none may be named, `InputMissing` and `BadInput` for local files.
    pub async fn fetch(&self, field: &str, reference: &str, local: LocalPaths<'_>) -> Result<Fetched> {
        let from = match local {
            LocalPaths::From(base) => base.display().to_string(),
            LocalPaths::Refused => "a queue".into(),
        };
        fail!(
            NotBuilt,
            "{field}: `{}` from {from} is not fetched to {} by this build (limit {} bytes)",
            shown(reference),
            self.cache.display(),
            self.limits.bytes
        )
    }
}
