//! What is kept of a job while it waits, runs and after it has ended.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::times;
use crate::outcome::{Failure, Status};

/// The record of one job: `ID.json` in `work/`, `done/` and `dead/`, and the same text in Redis.
/// Every field is always there, `null` or empty where there is nothing to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub id: String,
    /// The job type, as far as the spec could be read.
    #[serde(rename = "type")]
    pub job_type: Option<String>,
    /// Digest of the source's bytes; `None` where there were none to read (a link, a FIFO, a spec over
    /// the size limit).
    pub spec_sha256: Option<String>,
    /// `None` until the job has ended.
    pub outcome: Option<Status>,
    pub error: Option<Failure>,
    /// Asked for or drawn; saved before work begins, so that every later try uses the same.
    #[serde(default)]
    pub seeds: Vec<u64>,
    /// Tries that count: crashes of the worker and time-outs, and the try that ended the job.
    #[serde(default)]
    pub attempts: u32,
    #[serde(default)]
    pub history: Vec<Event>,
    #[serde(default)]
    pub assets: Vec<StoredAsset>,
    #[serde(with = "times")]
    pub queued_at: Timestamp,
    #[serde(default, with = "times::optional")]
    pub started_at: Option<Timestamp>,
    #[serde(default, with = "times::optional")]
    pub finished_at: Option<Timestamp>,
    /// Seconds by stage.
    #[serde(default)]
    pub timings: BTreeMap<String, f64>,
    /// Id of the callback that tells the outcome; `None` when none is sent.
    #[serde(default)]
    pub webhook_id: Option<String>,
}

/// One thing that happened to a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    #[serde(with = "times")]
    pub at: Timestamp,
    /// `claimed`, `released`, `recovered`, `retried`, `worker_crashed`, …
    pub event: String,
    #[serde(default)]
    pub worker: Option<String>,
    #[serde(default)]
    pub detail: Option<String>,
}

/// One file of a job, where it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAsset {
    /// `{user or "_"}/{id}/{index}.{ext}`, with the prefix inside the bucket.
    pub key: String,
    pub sha256: String,
    pub pixels_sha256: Option<String>,
    pub size: u64,
    pub mime_type: String,
    pub index: usize,
}

/// What a worker is doing, for `queue status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    pub id: String,
    #[serde(rename = "type")]
    pub job_type: Option<String>,
    pub worker: String,
    pub device: String,
    #[serde(with = "times")]
    pub since: Timestamp,
    pub step: u64,
    pub total: u64,
}

impl Record {
    /// The record of a job that nobody has touched yet.
    pub fn new(id: impl Into<String>, spec_sha256: Option<String>, queued_at: Timestamp) -> Self {
        Self {
            id: id.into(),
            job_type: None,
            spec_sha256,
            outcome: None,
            error: None,
            seeds: Vec::new(),
            attempts: 0,
            history: Vec::new(),
            assets: Vec::new(),
            queued_at,
            started_at: None,
            finished_at: None,
            timings: BTreeMap::new(),
            webhook_id: None,
        }
    }

    /// Adds to the history, now.
    pub fn note(&mut self, event: &str, worker: Option<&str>, detail: Option<&str>) {
        self.history.push(Event {
            at: Timestamp::now(),
            event: event.into(),
            worker: worker.map(String::from),
            detail: detail.map(String::from),
        });
    }

    /// How often an event stands in the history.
    pub fn count(&self, event: &str) -> usize {
        self.history.iter().filter(|e| e.event == event).count()
    }

    /// Makes an ended job a waiting one again: same id, seeds and history, no outcome.
    pub(super) fn reopen(&mut self) {
        self.outcome = None;
        self.error = None;
        self.attempts = 0;
        self.assets.clear();
        self.started_at = None;
        self.finished_at = None;
        self.timings.clear();
        self.webhook_id = None;
        self.note("retried", None, None);
    }
}
