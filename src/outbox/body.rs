//! What producers are told about a job: `callback.json` beside its assets.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::config::CallbackFormat;
use crate::error::{hint_of, kind_of};
use crate::files::{Existing, read_bounded, write_whole};

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    Processing,
    Completed,
    Failed,
}

impl Status {
    /// The word in the body.
    pub fn name(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// One stored file of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Asset {
    /// The path as it was printed.
    pub path: String,
    pub bytes: u64,
    /// Digest of the whole file.
    pub sha256: String,
    pub seed: u64,
    pub index: usize,
    pub mime_type: String,
    /// Length of a video, as its file says.
    pub duration_s: Option<f64>,
}

/// Everything a body is made from.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub job_id: String,
    pub user_id: Option<String>,
    pub status: Status,
    pub assets: Vec<Asset>,
    pub error_message: Option<String>,
    /// Only what is true of this job.
    pub metadata: Map<String, Value>,
}

/// The body in the shape asked for.
pub fn body(format: CallbackFormat, report: &Report) -> Value {
    match format {
        CallbackFormat::Standard => json!({
            "job_id": report.job_id,
            "status": report.status.name(),
            "assets": report.assets.iter().map(|a| &a.path).collect::<Vec<_>>(),
            "error_message": report.error_message,
            "metadata": report.metadata,
        }),
        CallbackFormat::Workspace => json!({
            "jobId": report.job_id,
            "userId": report.user_id,
            "status": report.status.name(),
            "results": {"assets": report.assets.iter().map(workspace_asset).collect::<Vec<_>>()},
            "errorMessage": report.error_message,
            "metadata": report.metadata,
        }),
    }
}

/// Pictures have no `durationSeconds`; the field is for videos.
fn workspace_asset(asset: &Asset) -> Value {
    let mut record = json!({
        "assetType": if asset.duration_s.is_some() { "video" } else { "image" },
        "tempStoragePath": asset.path,
        "fileSizeBytes": asset.bytes,
        "mimeType": asset.mime_type,
        "assetIndex": asset.index,
    });
    if let Some(seconds) = asset.duration_s {
        record["durationSeconds"] = seconds.into();
    }
    record
}

/// The body as it is written and posted.
pub fn text(format: CallbackFormat, report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(&body(format, report)).expect("a body is plain JSON");
    text.push('\n');
    text
}

/// Writes the body in one step; a later status replaces an earlier one.
///
/// # Errors
/// `CannotWrite` or `Io`, as for any output.
pub fn write(path: &Path, format: CallbackFormat, report: &Report) -> Result<()> {
    write_whole(path, text(format, report).as_bytes(), Existing::Replace)
}

/// `metadata.error` of a failure.
pub fn error_record(error: &anyhow::Error) -> Value {
    let kind = kind_of(error);
    let mut record = json!({
        "code": kind.code(),
        "message": format!("{error:#}"),
        "retryable": kind.retryable(),
    });
    if let Some(hint) = hint_of(error) {
        record["suggested_action"] = hint.into();
    }
    record
}

/// Whose an existing callback file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub job_id: String,
    pub status: String,
    /// The stored files it lists.
    pub assets: Vec<String>,
}

/// Largest file that is looked into as a callback.
const LARGEST_BODY_BYTES: u64 = 64 << 20;

/// Reads job, status and files of a callback file in either format; `None` when it is none.
pub fn owner(path: &Path) -> Option<Owner> {
    let text = read_bounded(path, LARGEST_BODY_BYTES).ok()?;
    let body: Value = serde_json::from_slice(&text).ok()?;
    let job_id = body.get("job_id").or_else(|| body.get("jobId"))?.as_str()?;
    let status = body.get("status")?.as_str()?;
    let assets = match body.get("assets") {
        Some(paths) => paths.as_array()?.iter().collect::<Vec<_>>(),
        None => body["results"]["assets"]
            .as_array()?
            .iter()
            .map(|asset| &asset["tempStoragePath"])
            .collect(),
    };
    Some(Owner {
        job_id: job_id.into(),
        status: status.into(),
        assets: assets
            .iter()
            .filter_map(|a| a.as_str())
            .map(String::from)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, ErrorKind};

    fn report() -> Report {
        Report {
            job_id: "a".into(),
            user_id: Some("u".into()),
            status: Status::Completed,
            assets: vec![Asset {
                path: "out/a/0.png".into(),
                bytes: 12,
                sha256: "ab".into(),
                seed: 7,
                index: 0,
                mime_type: "image/png".into(),
                duration_s: None,
            }],
            error_message: None,
            metadata: Map::new(),
        }
    }

    #[test]
    fn the_standard_body_has_exactly_the_documented_fields() {
        assert_eq!(
            body(CallbackFormat::Standard, &report()),
            json!({"job_id": "a", "status": "completed", "assets": ["out/a/0.png"],
                   "error_message": null, "metadata": {}})
        );
    }

    #[test]
    fn the_workspace_body_has_exactly_the_documented_fields() {
        assert_eq!(
            body(CallbackFormat::Workspace, &report()),
            json!({"jobId": "a", "userId": "u", "status": "completed",
                   "results": {"assets": [{"assetType": "image", "tempStoragePath": "out/a/0.png",
                       "fileSizeBytes": 12, "mimeType": "image/png", "assetIndex": 0}]},
                   "errorMessage": null, "metadata": {}})
        );
    }

    #[test]
    fn a_video_has_its_type_and_length() {
        let mut report = report();
        report.assets[0].mime_type = "video/mp4".into();
        report.assets[0].duration_s = Some(5.0625);
        let asset = &body(CallbackFormat::Workspace, &report)["results"]["assets"][0];
        assert_eq!(asset["assetType"], "video");
        assert_eq!(asset["mimeType"], "video/mp4");
        assert_eq!(asset["durationSeconds"], 5.0625);
    }

    #[test]
    fn either_format_tells_whose_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("callback.json");
        for format in [CallbackFormat::Standard, CallbackFormat::Workspace] {
            write(&path, format, &report()).unwrap();
            let found = owner(&path).unwrap();
            assert_eq!((found.job_id.as_str(), found.status.as_str()), ("a", "completed"));
            assert_eq!(found.assets, ["out/a/0.png"]);
        }
        std::fs::write(&path, "not ours").unwrap();
        assert_eq!(owner(&path), None);
    }

    #[test]
    fn an_error_record_carries_code_retry_and_the_way_out() {
        let error = Error::new(ErrorKind::GpuOom, "needs 9 GB, 4 GB are free").hint("lower the size");
        assert_eq!(
            error_record(&error.into()),
            json!({"code": "gpu_oom", "message": "needs 9 GB, 4 GB are free", "retryable": true,
                   "suggested_action": "lower the size"})
        );
    }
}
