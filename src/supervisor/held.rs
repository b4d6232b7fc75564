//! Jobs that a drain holds.

use tokio::time::Instant;

use super::lease::Hold;
use super::protocol::Run;
use crate::job::{Job, JobSpec};
use crate::queue::Claim;

/// A claimed job.
pub struct Taken {
    pub claim: Claim,
    pub hold: Hold,
    /// Empty where the source could not be read.
    pub spec: JobSpec,
}

/// A job that a worker can begin.
pub struct Ready {
    pub claim: Claim,
    pub hold: Hold,
    pub spec: JobSpec,
    pub job: Job,
    pub order: Run,
    pub begun: Instant,
}
