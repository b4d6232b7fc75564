//! From specs to tasks: every job resolved, permitted and with its files planned, or refused.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use anyhow::{Context, Result};

use super::gather::{Gathered, Unread};
use super::references;
use crate::config::Settings;
use crate::error::{Error, ErrorKind, kind_of};
use crate::job::{Expect, Format, JobSpec, Output, ResolvedJob, Work, job_kind, resolve};
use crate::media::frames::Frame;
use crate::media::golden;
use crate::media::video::available;
use crate::pipelines::References;
use crate::registry::{ModelFamily, ModelSpec, Registry};
use crate::runner::Task;
use crate::runner::loader::{TokenCounters, with_native_size};
use crate::runner::plan::Layout;

/// The jobs of a command line, sorted.
#[derive(Default)]
pub struct Prepared {
    pub tasks: Vec<Task>,
    pub invalid: Vec<Invalid>,
    pub notes: Vec<String>,
    pub counters: TokenCounters,
}

/// A job that cannot start.
#[derive(Debug)]
pub struct Invalid {
    /// `None` for an input that could not be read as jobs.
    pub job: Option<Refused>,
    pub error: anyhow::Error,
}

/// What is known of a job that was refused.
#[derive(Debug)]
pub struct Refused {
    pub id: String,
    /// True when the spec named the id.
    pub id_given: bool,
    pub spec: JobSpec,
}

impl Invalid {
    pub fn kind(&self) -> ErrorKind {
        kind_of(&self.error)
    }
}

/// A job on its way to becoming a task.
struct Settled {
    job: ResolvedJob,
    model: Option<ModelSpec>,
    golden: Option<(Expect, Frame)>,
    references: References,
}

/// Sorts the gathered jobs into those that can start and those that cannot.
///
/// # Errors
/// `Usage` when the places on the command line do not fit these jobs.
pub fn all(
    gathered: Vec<Result<Gathered, Unread>>,
    registry: &mut Registry,
    settings: &Settings,
    layout: &Layout,
) -> Result<Prepared> {
    let mut prepared = Prepared::default();
    let mut ids: HashMap<String, (String, JobSpec)> = HashMap::new();
    let mut settled = Vec::new();
    for found in gathered {
        let found = match found {
            Ok(found) => found,
            Err(Unread(error)) => {
                prepared.invalid.push(Invalid { job: None, error });
                continue;
            }
        };
        if let Some(id) = &found.spec.id {
            match ids.entry(id.to_lowercase()) {
                Entry::Vacant(free) => drop(free.insert((id.clone(), found.spec.clone()))),
                Entry::Occupied(first) if *first.get() == (id.clone(), found.spec.clone()) => {
                    prepared
                        .notes
                        .push(format!("job {id}: is there twice and runs once"));
                    continue;
                }
                Entry::Occupied(_) => {
                    let error = conflict(id);
                    prepared.invalid.push(refused(id.clone(), true, found, error));
                    continue;
                }
            }
        }
        let id_given = found.spec.id.is_some();
        let id = found
            .spec
            .id
            .clone()
            .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        match settle(&id, &found, registry, settings, layout, &prepared.counters) {
            Ok(job) => settled.push(job),
            Err(error) => prepared.invalid.push(refused(id, id_given, found, error)),
        }
    }
    plan(settled, layout, &mut prepared)?;
    Ok(prepared)
}

fn refused(id: String, id_given: bool, found: Gathered, error: anyhow::Error) -> Invalid {
    let error = match &found.origin {
        Some(origin) => error.context(origin.clone()),
        None => error,
    };
    Invalid {
        job: Some(Refused {
            id,
            id_given,
            spec: found.spec,
        }),
        error,
    }
}

fn conflict(id: &str) -> anyhow::Error {
    Error::new(
        ErrorKind::Conflict,
        format!("job `{id}`: another job of this run has this id and differs"),
    )
    .hint("give every job its own id; upper and lower case do not tell ids apart")
    .into()
}

fn settle(
    id: &str,
    found: &Gathered,
    registry: &mut Registry,
    settings: &Settings,
    layout: &Layout,
    counters: &TokenCounters,
) -> Result<Settled> {
    let named = || format!("job `{id}`");
    learn_size(&found.spec, registry).with_context(named)?;
    let mut spec = JobSpec {
        id: Some(id.into()),
        ..found.spec.clone()
    };
    take_format(&mut spec, registry, layout.output.as_deref());
    let mut job = resolve(&spec, registry, settings, &|model, text| {
        counters.count(model, text)
    })?;
    // The manifest holds an id that somebody gave and no drawn one: the same job, the same bytes.
    job.spec.id.clone_from(&found.spec.id);
    let model = job
        .model
        .as_deref()
        .map(|name| match &job.work {
            // Where this one's files are missing, rules take over.
            Work::Enhance(_) => registry
                .entry(name)
                .cloned()
                .map_or_else(|| registry.find(name), Ok),
            _ => registry.find(name),
        })
        .transpose()
        .with_context(named)?;
    let golden = match &job.spec.expect {
        Some(expect) => {
            let expected = golden::load(&found.base.join(&expect.image)).with_context(named)?;
            Some((expect.clone(), expected))
        }
        None => None,
    };
    if let Some(Format::Video(format)) = job.diffusion().map(|d| d.format) {
        available(format).with_context(named)?;
    }
    let references = match (job.video(), &model) {
        (Some(video), Some(model)) => references::load(video, model).with_context(named)?,
        _ => References::default(),
    };
    Ok(Settled {
        job,
        model,
        golden,
        references,
    })
}

/// `-o x.gif` says what a video is wanted as no less than `--format gif` does. A type or a model that
/// does not exist is left to the resolver, which has the better message.
fn take_format(spec: &mut JobSpec, registry: &Registry, output: Option<&str>) {
    let extension = output.and_then(|name| Path::new(name).extension()?.to_str());
    let wanted = extension
        .map(str::to_lowercase)
        .filter(|e| e == "webm" || e == "gif");
    if spec.config.format.is_none() && job_kind(spec, registry).is_ok_and(|k| k.output == Output::Mp4) {
        spec.config.format = wanted;
    }
}

/// Resolving takes a model's native size from the registry; a model that only its files know is
/// looked at first. Names that do not exist are left to the resolver, which has the better message.
fn learn_size(spec: &JobSpec, registry: &mut Registry) -> Result<()> {
    let routed = || registry.route(spec.job_type.as_deref().unwrap_or("sdxl_image_fast"));
    let Some(name) = spec.model.as_deref().or_else(routed) else {
        return Ok(());
    };
    if let Ok(model) = registry.find(name)
        && model.family == ModelFamily::Sdxl
    {
        registry.insert(with_native_size(model)?);
    }
    Ok(())
}

fn plan(settled: Vec<Settled>, layout: &Layout, prepared: &mut Prepared) -> Result<()> {
    let jobs: Vec<&ResolvedJob> = settled.iter().map(|s| &s.job).collect();
    let plans = layout.plan(&jobs)?;
    for (ready, plan) in settled.into_iter().zip(plans) {
        let Settled {
            job,
            model,
            golden,
            references,
        } = ready;
        match plan.check_free(&job) {
            Ok(()) => prepared.tasks.push(Task {
                job,
                model,
                plan,
                golden,
                references,
            }),
            Err(error) => prepared.invalid.push(Invalid {
                error: error.context(format!("job `{}`", job.id)),
                job: Some(Refused {
                    id_given: job.spec.id.is_some(),
                    spec: job.spec,
                    id: job.id,
                }),
            }),
        }
    }
    Ok(())
}
