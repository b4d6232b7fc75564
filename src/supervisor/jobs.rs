//! What the supervisor asks of those who know jobs. It never computes one itself.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind};
use crate::job::{Fetched, Job, JobSpec, Origin, parse};

/// Specs become jobs here, and failures become the metadata of callbacks.
pub trait Jobs {
    /// Settles a spec that a producer sent; decodes no picture and loads no model.
    ///
    /// # Errors
    /// Why it is refused.
    fn resolve(&self, id: &str, spec: &JobSpec, fetched: &Fetched) -> Result<Job>;

    /// `metadata` of a job that begins.
    fn begun(&self, job: &Job) -> Map<String, Value>;

    /// `metadata` of a job that failed after this time.
    fn failed(&self, job: &Job, error: &anyhow::Error, time: Duration) -> Map<String, Value>;

    /// `metadata` of a job that never began.
    fn refused(&self, spec: &JobSpec, error: &anyhow::Error) -> Map<String, Value>;
}

/// The one spec of a queue item; `name` stands for it in messages.
///
/// # Errors
/// `InvalidSpec` when it cannot be read, or holds several.
pub fn parse_one(bytes: &[u8], name: &str) -> Result<JobSpec> {
    let mut specs = parse(bytes, name, Origin::Queue)?;
    match (specs.pop(), specs.len()) {
        (Some(spec), 0) => Ok(spec),
        (_, others) => Err(Error::new(
            ErrorKind::InvalidSpec,
            format!("{name}: holds {} jobs, and an item of a queue is one", others + 1),
        )
        .hint("add files of several jobs with `ourvidz queue add`, which takes them apart")
        .into()),
    }
}
