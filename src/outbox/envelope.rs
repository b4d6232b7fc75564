//! One callback on its way, and the places that keep callbacks until they arrive.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::files::{hex, sha256_hex};
use crate::outcome::Status;

/// A callback as it is stored between its tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Envelope {
    /// The same in every try; [`webhook_id`]. Fit for a file name.
    pub webhook_id: String,
    pub job_id: String,
    /// Where it goes. It may hold a token in its query: messages show its host only.
    pub url: String,
    /// The JSON text, sent byte for byte in every try.
    pub body: String,
    /// Milliseconds since 1970, as all times here.
    pub created_at_ms: u64,
    /// Tries so far.
    pub attempt: u32,
    /// When the last try ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_at_ms: Option<u64>,
    /// The next try comes no earlier.
    pub next_at_ms: u64,
    pub state: State,
    /// Why the last try failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Whether an envelope is still on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Tried again at its time.
    Waiting,
    /// The schedule is used up: tried again only when somebody asks for it (`--now`).
    GivenUp,
    /// The receiver said 410 Gone: never tried again.
    Gone,
}

impl Envelope {
    /// A callback that is due at once.
    pub fn new(webhook_id: String, job_id: &str, url: &str, body: String, now_ms: u64) -> Self {
        Self {
            webhook_id,
            job_id: job_id.into(),
            url: url.into(),
            body,
            created_at_ms: now_ms,
            attempt: 0,
            tried_at_ms: None,
            next_at_ms: now_ms,
            state: State::Waiting,
            last_error: None,
        }
    }
}

/// The id of the callback that tells how a job ended: the same whenever the same outcome is told.
/// `spec_sha256` keeps apart jobs that share an id in different places, `round` counts how often
/// somebody had the job tried again after it was dead (`queue retry`).
pub fn webhook_id(job_id: &str, spec_sha256: &str, status: Status, round: u32) -> String {
    let status = match status {
        Status::Completed => "completed",
        // A cancelled job is told as a failed one, but it is another outcome.
        Status::Failed => "failed",
        Status::Cancelled => "cancelled",
    };
    let digest = sha256_hex(format!("{job_id}\0{spec_sha256}\0{status}\0{round}").as_bytes());
    format!("msg_{}", &digest[..32])
}

/// An id for a callback that is sent once and never stored (`processing`).
pub fn passing_webhook_id() -> String {
    format!("msg_{}", hex(uuid::Uuid::new_v4().as_bytes()))
}

/// The clock of envelopes: milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Which envelopes a caller wants to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// The waiting ones whose time has come by now, in milliseconds.
    Due(u64),
    /// Whatever its time, unless it is [`State::Gone`] or its last try ended at this time or later:
    /// so that who tries all, tries each once.
    All(u64),
}

impl Which {
    /// Whether this envelope is wanted.
    pub fn takes(self, envelope: &Envelope) -> bool {
        match self {
            Self::Due(now) => envelope.state == State::Waiting && envelope.next_at_ms <= now,
            Self::All(now) => envelope.state != State::Gone && envelope.tried_at_ms.is_none_or(|at| at < now),
        }
    }
}

/// How many envelopes are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub waiting: usize,
    pub given_up: usize,
    pub gone: usize,
    /// When the first waiting one is due.
    pub next_at_ms: Option<u64>,
}

/// A claim of [`OutboxStore::claim`] that its holder neither settles nor releases ends after this.
pub const CLAIM_MS: u64 = 60_000;

/// Keeps envelopes across runs and crashes.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Stores an envelope durably. One with its id that is there already stays as it is: the same
    /// outcome has the same body.
    async fn put(&self, envelope: &Envelope) -> Result<()>;

    /// Hands out at most `limit` envelopes, the longest due first, each to one caller only until it
    /// is rescheduled, removed or released, its holder dies or [`CLAIM_MS`] pass.
    async fn claim(&self, which: Which, limit: usize) -> Result<Vec<Envelope>>;

    /// Stores a claimed envelope's new attempt, time and state, and ends the claim. One that is no
    /// longer there stays away.
    async fn reschedule(&self, envelope: &Envelope) -> Result<()>;

    /// Forgets a delivered envelope.
    async fn remove(&self, webhook_id: &str) -> Result<()>;

    /// Ends a claim without a change: the try did not take place.
    async fn release(&self, webhook_id: &str) -> Result<()>;

    async fn counts(&self) -> Result<Counts>;
}
