//! `queue add`: specs checked as `generate` checks them, each put into its queue.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::super::common::{print, surroundings};
use super::super::generate::gather::{Gathered, read_specs};
use super::super::queue_parts::{Known, open, place, trust};
use crate::cli::QueueAdd;
use crate::error::{Error, ErrorKind, kind_of};
use crate::job::{Addresses, JobSpec, Request, scheme};
use crate::progress::{Volume, error_line};
use crate::queue::{Access, Added, Format, NewJob, Peek};
use crate::runner::{Runner, exit_code};
use crate::text::stderr_line;

/// Adds every job of every spec, or none of them when one is wrong.
///
/// # Errors
/// Of the queue, and `Conflict` for an id that is taken by another spec.
pub async fn run(args: &QueueAdd, volume: Volume) -> Result<u8> {
    let (settings, registry) = surroundings(&args.place, volume)?;
    let settings = Arc::new(settings);
    let place = place(args.queue.as_deref(), &settings)?;
    let known = Arc::new(Known::new(registry.clone()));
    let mut runner = Runner::new(settings.clone(), registry)?;
    let mut jobs = Vec::new();
    let mut wrong = Vec::new();
    for spec in &args.specs {
        match read_specs(spec) {
            Ok(found) => jobs.extend(found.into_iter().map(|found| checked(found, &mut runner, &known))),
            Err(error) => jobs.push(Err(error)),
        }
    }
    let count = jobs.len();
    let jobs: Vec<NewJob> = jobs
        .into_iter()
        .filter_map(|job| job.map_err(|error| wrong.push(error)).ok())
        .collect();
    if !wrong.is_empty() {
        return Ok(refuse(&wrong, count));
    }
    let queue = open(&place, Access::Add, &settings, args.force, known).await?;
    let mut conflicts = Vec::new();
    for job in &jobs {
        match queue.add(job).await {
            Ok(Added::New) => print(&format!("{}\n", job.id))?,
            Ok(Added::Same(_)) => {
                if volume > Volume::Quiet {
                    stderr_line(&format!(
                        "note: job `{}` is there already, with the same spec",
                        job.id
                    ));
                }
                print(&format!("{}\n", job.id))?;
            }
            Err(error) if kind_of(&error) == ErrorKind::Conflict => conflicts.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(refuse(&conflicts, jobs.len()))
}

/// Says what is wrong, and the code for it: one kind's own, else the worst.
fn refuse(wrong: &[anyhow::Error], count: usize) -> u8 {
    for error in wrong {
        stderr_line(&error_line(error));
    }
    let kinds: Vec<ErrorKind> = wrong.iter().map(kind_of).collect();
    match kinds.split_first() {
        Some((first, rest)) if rest.iter().all(|kind| kind.exit_code() == first.exit_code()) => {
            first.exit_code()
        }
        Some(_) => match exit_code(count.max(2), &kinds) {
            1 => ErrorKind::InvalidSpec.exit_code(),
            worst => worst,
        },
        None => 0,
    }
}

/// # Errors
/// What a drain would refuse it for.
fn checked(found: Gathered, runner: &mut Runner, known: &Known) -> Result<NewJob> {
    let mut spec = found.spec;
    let id = match &spec.id {
        Some(id) => id.clone(),
        None => uuid::Uuid::new_v4().to_string(),
    };
    spec.id = Some(id.clone());
    let named = || found.name.clone().unwrap_or_else(|| "the spec".into());
    locate(&mut spec)?;
    let queue = &runner.settings.queue;
    let trust = trust(queue.allow_local_references, queue.any_quantity);
    runner
        .settle(&Request {
            id: &id,
            spec: &spec,
            trust,
            addresses: Addresses::Later,
        })
        .with_context(named)?;
    let text = serde_json::to_vec(&spec).context("a spec is plain JSON")?;
    let queue = known.peek(&text).queue.ok_or_else(|| {
        Error::new(
            ErrorKind::InvalidSpec,
            format!("job `{id}`: its type belongs to no queue"),
        )
    })?;
    Ok(NewJob {
        id,
        queue,
        spec: text,
        format: Format::Json,
    })
}

/// Files are named by whole paths: the drain runs elsewhere.
fn locate(spec: &mut JobSpec) -> Result<()> {
    let whole = |name: &str| -> Result<String> {
        let path = std::path::absolute(Path::new(name)).with_context(|| format!("path `{name}`"))?;
        Ok(path.display().to_string())
    };
    let config = &mut spec.config;
    for place in [&mut config.first_frame, &mut config.last_frame, &mut config.image] {
        if let Some(name) = place.as_mut().filter(|name| scheme(name).is_none()) {
            *name = whole(name)?;
        }
    }
    Ok(())
}
