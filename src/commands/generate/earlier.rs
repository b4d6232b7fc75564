//! What earlier runs left at the places of a job: what must not be lost, and what is done already.

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::Value;

use super::plan::Plan;
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files::{Existing, folder_of, read_bounded};
use crate::job::{Job, JobSpec};
use crate::media::manifest::{Manifest, read_manifest};

/// Callbacks hold a manifest and at most a long answer.
const LARGEST_CALLBACK_BYTES: u64 = 16 << 20;

/// A callback file of an earlier run.
#[derive(Debug, Clone, PartialEq)]
pub struct Earlier {
    pub job_id: String,
    pub status: String,
    /// The stored files it lists.
    pub assets: Vec<String>,
    /// Which spec the job had; older callbacks do not say.
    pub spec_sha256: Option<String>,
    pub seed: Option<u64>,
    /// The whole of it.
    pub body: Value,
    folder: PathBuf,
}

impl Earlier {
    /// Reads a callback in either format; `None` when there is none.
    pub fn read(path: &Path) -> Option<Self> {
        let text = read_bounded(path, LARGEST_CALLBACK_BYTES).ok()?;
        let body: Value = serde_json::from_slice(&text).ok()?;
        let job_id = body.get("job_id").or_else(|| body.get("jobId"))?.as_str()?;
        let status = body.get("status")?.as_str()?;
        let assets: Vec<&Value> = match body.get("assets") {
            Some(paths) => paths.as_array()?.iter().collect(),
            None => body["results"]["assets"]
                .as_array()?
                .iter()
                .map(|asset| &asset["tempStoragePath"])
                .collect(),
        };
        let metadata = &body["metadata"];
        Some(Self {
            job_id: job_id.into(),
            status: status.into(),
            assets: assets
                .iter()
                .filter_map(|a| a.as_str())
                .map(String::from)
                .collect(),
            spec_sha256: metadata["spec_sha256"].as_str().map(String::from),
            seed: metadata["seed"].as_u64(),
            folder: folder_of(path).to_path_buf(),
            body,
        })
    }

    /// Whether it speaks of a finished job whose files are all there: nothing may take its place
    /// but the same job's.
    pub fn is_result(&self) -> bool {
        let is_there = |asset: &String| {
            // A relative path is one from the folder of that run.
            let name = Path::new(asset).file_name();
            Path::new(asset).is_file() || name.is_some_and(|name| self.folder.join(name).is_file())
        };
        self.status == "completed" && self.assets.iter().all(is_there)
    }

    /// Whether that job was asked for in the same words.
    fn is_same(&self, job: &Job) -> bool {
        match &self.spec_sha256 {
            Some(sha256) => *sha256 == job.spec_sha256,
            None => serde_json::from_value(self.body["metadata"]["manifest"].clone())
                .is_ok_and(|old: Manifest| is_same(job, &old.spec)),
        }
    }
}

/// What is at a job's places before it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum State {
    /// Nothing that matters.
    Free,
    /// This very job's result; `seed` is the one that was drawn for it.
    Done {
        seed: Option<u64>,
        /// Its callback, where there is one.
        body: Option<Value>,
    },
}

impl State {
    /// Looks at the places of `job`.
    ///
    /// # Errors
    /// `Conflict` when another job of this id has its result there, `CannotWrite` when a file is in
    /// the way.
    pub fn of(job: &Job, plan: &Plan) -> Result<Self> {
        if plan.force {
            return Ok(Self::Free);
        }
        let earlier = plan.callback.as_deref().and_then(Earlier::read);
        if let Some(earlier) = earlier.filter(|e| e.job_id == job.id && e.is_result()) {
            if !earlier.is_same(job) {
                return Err(conflict(job));
            }
            return Ok(Self::Done {
                seed: earlier.seed,
                body: Some(earlier.body),
            });
        }
        of_files(job, plan)
    }
}

/// Without a callback the files themselves tell whose they are.
fn of_files(job: &Job, plan: &Plan) -> Result<State> {
    let mut found = Vec::new();
    for place in &plan.assets {
        if place.path.symlink_metadata().is_err() {
            continue;
        }
        match read_manifest(&place.path) {
            Ok((old, _)) if is_same(job, &old.spec) => found.push(old),
            Ok((old, _)) if job.spec.id.is_some() && old.spec["id"].as_str() == job.spec.id.as_deref() => {
                if place.existing == Existing::Keep {
                    return Err(conflict(job));
                }
            }
            _ if place.existing == Existing::Replace => {}
            _ => return Err(in_the_way(&place.path)),
        }
    }
    let complete = !found.is_empty() && found.len() == plan.assets.len();
    Ok(match found.first() {
        Some(old) if complete => State::Done {
            seed: old.seeds.first().copied(),
            body: None,
        },
        _ => State::Free,
    })
}

fn conflict(job: &Job) -> anyhow::Error {
    Error::new(
        ErrorKind::Conflict,
        "another job of this id is finished, and its result is kept",
    )
    .hint(format!(
        "give this job another id than `{}`, choose another --output, or overwrite it with --force",
        job.id
    ))
    .into()
}

/// A file that is kept.
pub fn in_the_way(path: &Path) -> anyhow::Error {
    Error::new(
        ErrorKind::CannotWrite,
        format!(
            "output `{}`: a different file is already there, and it is kept",
            path.display()
        ),
    )
    .hint("choose another --output or id, or overwrite it with --force")
    .into()
}

/// Whether a manifest's job is this one. A prompt that is still to be enhanced is as good as what
/// came of it, and a seed that is still to be drawn as good as the drawn one.
fn is_same(job: &Job, old: &Value) -> bool {
    let Ok(old) = serde_json::from_value::<JobSpec>(old.clone()) else {
        return false;
    };
    let mut new = job.manifest_spec();
    new.enhanced_prompt = new.enhanced_prompt.or(old.enhanced_prompt.clone());
    if job.seed_drawn {
        new.config.seed = old.config.seed;
    }
    old == new
}

/// Whether a file that is already there is the output that was just made: by its manifest and the
/// digests of its pixels, as encoders may write the same pixels in other bytes.
///
/// # Errors
/// `CannotWrite` when it is not.
pub fn check_same_output(path: &Path, made: &Value, job: &Job) -> Result<()> {
    let Ok((old, _)) = read_manifest(path) else {
        return Err(in_the_way(path));
    };
    let Ok(made) = serde_json::from_value::<Manifest>(made.clone()) else {
        fail!(
            Internal,
            "output `{}`: was made without a manifest",
            path.display()
        );
    };
    if old.outputs == made.outputs && is_same(job, &old.spec) {
        return Ok(());
    }
    Err(in_the_way(path))
}
