//! From a job's outcome to its places: files first, then the callback that speaks of them.
//!
//! Both change under one lock on their folder, so that what a callback says is true of the files
//! beside it, whoever else writes there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::earlier::{self, Earlier};
use super::plan::Plan;
use crate::config::CallbackFormat;
use crate::error::{Error, ErrorKind};
use crate::files::{
    FolderLock, Staging, folder_of, make_folder, place, read_bounded, remove_if_there, sha256_hex,
};
use crate::job::Job;
use crate::outbox::body::{self as callback, Report, Status};
use crate::outcome::{self, Failure, Outcome};
use crate::runner::metadata;

/// Others hold the lock for as long as it takes to place the files of one job.
const PATIENCE: Duration = Duration::from_secs(30);
/// The largest output of any type is 200 MB.
const LARGEST_OUTPUT_BYTES: u64 = 1 << 30;

/// Where a job's results go, and in which words they are told.
#[derive(Debug, Clone, Copy)]
pub struct Publisher<'a> {
    pub plan: &'a Plan,
    pub format: CallbackFormat,
}

impl Publisher<'_> {
    /// The folder that the files of the job are made in and go to.
    pub fn folder(&self) -> PathBuf {
        let first = self.plan.assets.first().map(|place| place.path.as_path());
        let file = first.or(self.plan.callback.as_deref());
        file.map_or_else(|| PathBuf::from("."), |file| folder_of(file).to_path_buf())
    }

    /// Says that the job runs, and makes the folder that its files are made in.
    ///
    /// # Errors
    /// `CannotWrite` or `Io` when nothing can be written there, known so before any work.
    pub fn begin(&self, job: &Job) -> Result<Staging> {
        if let Some(path) = &self.plan.callback {
            make_folder(folder_of(path)).map_err(at_output)?;
            let _held = FolderLock::take(folder_of(path), PATIENCE)?;
            self.write(path, &begun(job)).map_err(at_output)?;
        }
        Staging::create(&self.folder()).map_err(at_output)
    }

    /// Whether a report may be told to others: no beginning and no failure is told of a job whose
    /// result stands.
    pub fn is_news(&self, report: &Report) -> bool {
        let Some(path) = &self.plan.callback else {
            return true;
        };
        let own = self.beside(path, report);
        let stands = |path: &Path| {
            Earlier::read(path).is_some_and(|earlier| earlier.job_id == report.job_id && earlier.is_result())
        };
        report.status == Status::Completed || self.plan.force || !(stands(path) || stands(&own))
    }

    /// Where a callback goes whose place is another job's.
    fn beside(&self, path: &Path, report: &Report) -> PathBuf {
        path.with_file_name(format!("{}.callback.json", report.job_id))
    }

    /// Puts the files in their places and tells the outcome; gives back what was told.
    ///
    /// # Errors
    /// What could not be told. Files that could not be placed are in the outcome.
    pub fn finish(&self, job: &Job, outcome: Outcome) -> Result<(Outcome, Report)> {
        let folder = self.folder();
        let held = FolderLock::take(&folder, PATIENCE)?;
        let outcome = match self.place_all(job, &outcome) {
            Ok(assets) => self.with_assets(outcome, assets),
            Err(error) => failed_after(outcome, &at_output(error)),
        };
        let report = report(job, &outcome);
        if let Some(path) = &self.plan.callback {
            let _other = (folder_of(path) != folder)
                .then(|| FolderLock::take(folder_of(path), PATIENCE))
                .transpose()?;
            self.write(path, &report)?;
        }
        drop(held);
        Ok((outcome, report))
    }

    /// Replaces a callback that has nothing to lose. The result of a finished job gives way to the
    /// same job's next result, and to another's whose files have taken the place of its own; nothing
    /// else is written over it.
    fn write(&self, path: &Path, report: &Report) -> Result<()> {
        let earlier = Earlier::read(path).filter(|e| e.is_result() && !self.plan.force);
        let path = match (&earlier, report.status) {
            (None, _) => path.to_path_buf(),
            (Some(_), Status::Processing) => return Ok(()),
            (Some(earlier), Status::Completed) if earlier.job_id == report.job_id => path.to_path_buf(),
            (Some(earlier), Status::Completed) if self.replaces(earlier) => path.to_path_buf(),
            (Some(earlier), Status::Failed) if earlier.job_id == report.job_id => return Ok(()),
            (Some(_), Status::Completed | Status::Failed) => self.beside(path, report),
        };
        callback::write(&path, self.format, report)
    }

    /// Whether all files of an earlier job are replaced by this one's.
    fn replaces(&self, earlier: &Earlier) -> bool {
        let mut old = earlier.assets.iter();
        !earlier.assets.is_empty() && old.all(|old| self.plan.assets.iter().any(|p| p.path == Path::new(old)))
    }

    /// Every file at its place, or none.
    fn place_all(&self, job: &Job, outcome: &Outcome) -> Result<Vec<outcome::Asset>> {
        let mut assets: Vec<outcome::Asset> = Vec::new();
        let mut placed = Vec::new();
        for (asset, to) in outcome.assets.iter().zip(&self.plan.assets) {
            let mut asset = asset.clone();
            let done = place(&asset.path, &to.path, to.existing).and_then(|is_placed| {
                if is_placed {
                    placed.push(&to.path);
                    return Ok(());
                }
                earlier::check_same_output(&to.path, &outcome.metadata["manifest"], job)?;
                let bytes = read_bounded(&to.path, LARGEST_OUTPUT_BYTES)?;
                (asset.bytes, asset.sha256) = (bytes.len() as u64, sha256_hex(&bytes));
                Ok(())
            });
            if let Err(error) = done {
                placed.into_iter().try_for_each(|path| remove_if_there(path))?;
                return Err(error);
            }
            asset.path.clone_from(&to.path);
            assets.push(asset);
        }
        Ok(assets)
    }

    fn with_assets(&self, outcome: Outcome, assets: Vec<outcome::Asset>) -> Outcome {
        let mut metadata = outcome.metadata;
        if !assets.is_empty() {
            metadata.insert("outputs".into(), metadata::outputs(&assets));
        }
        Outcome {
            assets,
            metadata,
            ..outcome
        }
    }
}

/// Here it is the output's place that can be changed.
fn at_output(error: anyhow::Error) -> anyhow::Error {
    const HINT: &str = "choose a place you may write to, with room left, with --output";
    match error.downcast::<Error>() {
        Ok(own) if own.kind == ErrorKind::CannotWrite && !has_output_hint(&own) => own.hint(HINT).into(),
        Ok(own) => own.into(),
        Err(other) => other,
    }
}

fn has_output_hint(error: &Error) -> bool {
    error
        .hint
        .as_deref()
        .is_some_and(|hint| hint.contains("--output"))
}

/// A finished job whose files could not be placed.
fn failed_after(outcome: Outcome, error: &anyhow::Error) -> Outcome {
    let failure = Failure::of(error);
    let mut metadata = outcome.metadata;
    metadata.insert("error".into(), json!(failure));
    metadata.remove("outputs");
    metadata.remove("manifest");
    Outcome {
        status: outcome::Status::Failed,
        assets: Vec::new(),
        error: Some(failure),
        metadata,
        answer: None,
        ..outcome
    }
}

/// What producers are told when the job begins.
pub fn begun(job: &Job) -> Report {
    Report {
        job_id: job.id.clone(),
        user_id: job.spec.user_id.clone(),
        status: Status::Processing,
        assets: Vec::new(),
        error_message: None,
        metadata: metadata::begun(job),
    }
}

/// What producers are told when it has ended.
pub fn report(job: &Job, outcome: &Outcome) -> Report {
    Report {
        job_id: outcome.job_id.clone(),
        user_id: job.spec.user_id.clone(),
        status: match outcome.status {
            outcome::Status::Completed => Status::Completed,
            outcome::Status::Failed | outcome::Status::Cancelled => Status::Failed,
        },
        assets: outcome.assets.iter().map(told).collect(),
        error_message: outcome.error.as_ref().map(|e| e.message.clone()),
        metadata: outcome.metadata.clone(),
    }
}

fn told(asset: &outcome::Asset) -> callback::Asset {
    callback::Asset {
        path: asset.path.display().to_string(),
        bytes: asset.bytes,
        sha256: asset.sha256.clone(),
        seed: asset.seed,
        index: asset.index,
        mime_type: asset.mime_type.clone(),
        duration_s: asset.duration_s,
    }
}
