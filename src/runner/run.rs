//! One job on its way: what it is given, and what it leaves.

use super::loader::{Loader, TokenCounters};
use super::progress::Progress;
use crate::config::Settings;
use crate::error::{Error, ErrorKind};
use crate::job::{Format, Job};
use crate::media::manifest::Manifest;
use crate::outcome::Asset;
use crate::registry::{ModelSpec, Registry, Source};
use anyhow::Result;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Runs jobs one after the other and keeps models loaded between them.
pub struct Runner {
    pub settings: Arc<Settings>,
    /// Learns the native size of models that only their files know.
    pub registry: Registry,
    /// Whether a small picture lies beside each asset.
    pub thumbnails: bool,
    /// Depths and counts of the queue that the running job came from.
    pub queues: Option<Value>,
    pub(super) loader: Loader,
    pub(super) counters: TokenCounters,
}

/// What a finished job leaves behind.
#[derive(Default)]
pub(super) struct Finished {
    /// `None` for work that leaves no media.
    pub(super) manifest: Option<Manifest>,
    pub(super) assets: Vec<Asset>,
    pub(super) timings: BTreeMap<&'static str, Duration>,
    /// What people read on stdout, where the result is no file.
    pub(super) answer: Option<String>,
    /// What this kind of work adds to the metadata.
    pub(super) metadata: Map<String, Value>,
}

/// What a job does without, once the device has run out of memory.
#[derive(Debug, Default)]
pub(super) struct Strain {
    pub(super) vae_tiling: bool,
    /// The most images computed together.
    pub(super) batch: Option<usize>,
    pub(super) notes: Vec<String>,
}

/// One run of a job.
pub(super) struct Run<'a> {
    pub(super) job: &'a Job,
    /// Where its files are written.
    pub(super) folder: &'a Path,
    pub(super) thumbnails: bool,
    pub(super) progress: Progress<'a>,
    pub(super) strain: Strain,
}

impl<'a> Run<'a> {
    /// # Errors
    /// `Internal` for the types that use no model, which do not ask.
    pub(super) fn model(&self) -> Result<&'a ModelSpec> {
        let missing = || Error::new(ErrorKind::Internal, "a job that computes has no model");
        Ok(self.job.model.as_ref().ok_or_else(missing)?)
    }
}

/// The name of an output in its job's folder: its index, and the ending of its format.
pub fn output_name(index: usize, format: Format) -> String {
    format!("{index}.{}", format.extension())
}

/// What the user should know about a job before it runs.
pub fn notes(job: &Job) -> Vec<String> {
    let mut notes = job.notes.clone();
    if let Some(model) = &job.model
        && model.source == Source::Embedded
    {
        notes.push(format!(
            "uses the built-in model `{}`, which is very small and knows only simple shapes",
            model.name
        ));
    }
    notes
}
