//! From specs to tasks: every job resolved, permitted and with its files planned, or refused.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use anyhow::{Context, Result};

use super::earlier::State;
use super::fetching::fetched;
use super::gather::{Gathered, Unread};
use super::layout::Layout;
use super::plan::Plan;
use crate::error::{Error, ErrorKind, kind_of};
use crate::job::{Addresses, Job, JobSpec, Output, Request, Trust, check_trust, job_kind, public_source};
use crate::media::manifest::{Manifest, ReferenceRecord};
use crate::outbox::target::target;
use crate::registry::Registry;
use crate::runner::Runner;

/// The jobs of a command line, sorted.
#[derive(Default)]
pub struct Prepared {
    pub ready: Vec<Ready>,
    pub invalid: Vec<Invalid>,
    pub notes: Vec<String>,
}

/// A job that can start.
#[derive(Debug)]
pub struct Ready {
    pub job: Job,
    pub plan: Plan,
    /// What is at its places.
    pub state: State,
    /// What made the file whose job is run again.
    pub replayed: Option<Box<Manifest>>,
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

/// Sorts the gathered jobs into those that can start and those that cannot.
///
/// # Errors
/// `Usage` when the places on the command line do not fit these jobs.
pub fn all(
    gathered: Vec<Result<Gathered, Unread>>,
    runner: &mut Runner,
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
                    prepared.invalid.push(refused(id.clone(), found, error));
                    continue;
                }
            }
        }
        let drawn = || uuid::Uuid::new_v4().to_string();
        let id = found.spec.id.clone().unwrap_or_else(drawn);
        match settle(&id, &found, runner, layout) {
            Ok(job) => settled.push((job, found.replayed)),
            Err(error) => prepared.invalid.push(refused(id, found, error)),
        }
    }
    plan(settled, layout, &mut prepared)?;
    Ok(prepared)
}

fn refused(id: String, found: Gathered, error: anyhow::Error) -> Invalid {
    let error = match &found.name {
        Some(name) => error.context(name.clone()),
        None => error,
    };
    Invalid {
        job: Some(Refused {
            id,
            id_given: found.spec.id.is_some(),
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

fn settle(id: &str, found: &Gathered, runner: &mut Runner, layout: &Layout) -> Result<Job> {
    let mut spec = found.spec.clone();
    take_format(&mut spec, &runner.registry, layout.output.as_deref());
    let fetched = fetched(&spec, &runner.settings).with_context(|| format!("job `{id}`"))?;
    let trust = match &found.strange {
        Some(strange) => {
            check_trust(strange, found.trust, &runner.registry).with_context(|| format!("job `{id}`"))?;
            Trust::FULL
        }
        None => found.trust,
    };
    let mut job = runner.settle(&Request {
        id,
        spec: &spec,
        trust,
        addresses: Addresses::Fetched(&fetched),
    })?;
    if let Some(note) = target(spec.callback_url.as_deref(), &runner.settings.callback).note {
        job.notes.push(note);
        job.ignored.push("callback_url".into());
    }
    if let Some(manifest) = found.replayed.as_ref().filter(|_| !layout.force) {
        for input in &mut job.inputs {
            let same =
                |r: &&ReferenceRecord| r.field == input.field && r.source == public_source(&input.source);
            input.sha256 = manifest.references.iter().find(same).map(|r| r.sha256.clone());
        }
    }
    Ok(job)
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

/// Gives every job its places and looks at what is there. A job that is done already keeps the seed
/// that was drawn for it then.
fn plan(settled: Vec<(Job, Option<Box<Manifest>>)>, layout: &Layout, prepared: &mut Prepared) -> Result<()> {
    let (mut settled, replayed): (Vec<Job>, Vec<_>) = settled.into_iter().unzip();
    let plans = layout.plan(&settled)?;
    let states: Vec<Result<State>> = settled
        .iter()
        .zip(&plans)
        .map(|(job, plan)| State::of(job, plan))
        .collect();
    for (job, state) in settled.iter_mut().zip(&states) {
        if let Ok(State::Done { seed: Some(seed), .. }) = state {
            job.take_drawn_seed(*seed);
        }
    }
    // Seeds may be in names.
    let plans = layout.plan(&settled)?;
    let all = settled.into_iter().zip(plans).zip(states).zip(replayed);
    for (((mut job, plan), state), replayed) in all {
        match state {
            Ok(state) => {
                let difference = plan.assets.first().map(|first| first.difference());
                job.difference = difference;
                prepared.ready.push(Ready {
                    job,
                    plan,
                    state,
                    replayed,
                });
            }
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
