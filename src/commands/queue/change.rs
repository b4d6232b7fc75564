//! `queue retry`, `queue cancel` and `queue purge`.

use std::rc::Rc;
use std::sync::Arc;

use anyhow::Result;

use super::super::common::{print, surroundings};
use super::super::queue_drain::parts;
use super::super::queue_parts::{Known, open, place};
use crate::cli::{Place as ModelPlace, QueueCancel, QueuePurge, QueueRetry};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, kind_of};
use crate::progress::{Volume, error_line};
use crate::queue::{Access, Cancel, Claim, Queue, Retry, State};
use crate::registry::Registry;
use crate::runner::exit_code;
use crate::supervisor::settle_cancelled;
use crate::supervisor::tell::Teller;
use crate::text::stderr_line;

/// What every one of these commands begins with.
struct Opened {
    settings: Arc<Settings>,
    registry: Registry,
    queue: Arc<dyn Queue>,
    place: crate::queue::Place,
}

async fn opened(given: Option<&str>) -> Result<Opened> {
    let (settings, registry) = surroundings(&ModelPlace::default(), Volume::Quiet)?;
    let settings = Arc::new(settings);
    let place = place(given, &settings)?;
    let known = Arc::new(Known::new(registry.clone()));
    let queue = open(&place, Access::Look, &settings, false, known).await?;
    Ok(Opened {
        settings,
        registry,
        queue,
        place,
    })
}

/// Brings dead jobs back; prints the id of each.
///
/// # Errors
/// Of the queue.
pub async fn retry(args: &QueueRetry) -> Result<u8> {
    let (given, ids) = split_queue(&args.words);
    let queue = opened(given).await?.queue;
    let ids = match args.all_dead {
        true if !ids.is_empty() => {
            return Err(
                Error::new(ErrorKind::Usage, "ids and --all-dead are given together")
                    .hint("name the jobs, or all of them")
                    .into(),
            );
        }
        true => queue.dead_ids().await?,
        false if ids.is_empty() => {
            return Err(Error::new(ErrorKind::Usage, "no job is named")
                .hint("add the ids of the dead jobs, or --all-dead")
                .into());
        }
        false => ids.to_vec(),
    };
    let mut failures = Vec::new();
    for id in &ids {
        match queue.retry(id).await? {
            Retry::Waiting => print(&format!("{id}\n"))?,
            Retry::NotDead(None) => failures.push(unknown(id, &queue.shown())),
            Retry::NotDead(Some(state)) => failures.push(not_dead(id, state)),
            Retry::Never => failures.push(never(id)),
        }
    }
    Ok(told(&failures, ids.len()))
}

/// Cancels jobs, waiting or running; prints the id of each.
///
/// # Errors
/// Of the queue.
pub async fn cancel(args: &QueueCancel, volume: Volume) -> Result<u8> {
    let (given, ids) = split_queue(&args.words);
    if ids.is_empty() {
        return Err(Error::new(ErrorKind::Usage, "no job is named")
            .hint("add the ids of the jobs to cancel")
            .into());
    }
    let opened = opened(given).await?;
    let queue = &opened.queue;
    let mut taken: Vec<Claim> = Vec::new();
    let mut failures = Vec::new();
    for id in ids {
        match queue.cancel(id).await? {
            Cancel::Taken(claim) => {
                taken.push(*claim);
                print(&format!("{id}\n"))?;
            }
            Cancel::Asked => {
                if volume > Volume::Quiet {
                    stderr_line(&format!("note: job `{id}` runs and ends between two steps"));
                }
                print(&format!("{id}\n"))?;
            }
            Cancel::Ended(record) => failures.push(ended(id, &record)),
            Cancel::Unknown => failures.push(unknown(id, &queue.shown())),
        }
    }
    if !taken.is_empty() {
        let teller = Rc::new(Teller::new(false));
        let parts = parts(
            &opened.settings,
            opened.registry,
            &opened.place,
            opened.queue.clone(),
            teller,
        )?;
        let kinds = settle_cancelled(parts, taken).await?;
        if !kinds.is_empty() {
            return Ok(exit_code(ids.len().max(2), &kinds));
        }
    }
    Ok(told(&failures, ids.len()))
}

/// Forgets records of completed jobs; prints how many.
///
/// # Errors
/// Of the queue.
pub async fn purge(args: &QueuePurge) -> Result<u8> {
    let opened = opened(args.queue.as_deref()).await?;
    let removed = opened.queue.purge_done(args.older_than).await?;
    print(&format!("{removed}\n"))?;
    Ok(0)
}

fn told(failures: &[anyhow::Error], count: usize) -> u8 {
    for error in failures {
        stderr_line(&error_line(error));
    }
    let kinds: Vec<ErrorKind> = failures.iter().map(kind_of).collect();
    exit_code(count, &kinds)
}

fn not_dead(id: &str, state: State) -> anyhow::Error {
    let what = match state {
        State::Waiting => "waits already",
        State::Running => "runs",
        State::Done => "is done",
        State::Dead => "is dead",
    };
    Error::new(
        ErrorKind::InputMissing,
        format!("job `{id}`: {what}, and only dead jobs are tried again"),
    )
    .into()
}

fn never(id: &str) -> anyhow::Error {
    Error::new(
        ErrorKind::InputMissing,
        format!("job `{id}`: there is no source of its own to be tried again"),
    )
    .hint("add it again under an id of its own")
    .into()
}

fn ended(id: &str, record: &crate::queue::Record) -> anyhow::Error {
    let how = record.outcome.map_or("over", |outcome| outcome.name());
    Error::new(
        ErrorKind::InputMissing,
        format!("job `{id}`: is {how}, and only jobs that wait or run are cancelled"),
    )
    .into()
}

/// Words that may begin with a queue: a folder that is there, a path, or an address.
fn split_queue(words: &[String]) -> (Option<&str>, &[String]) {
    let is_queue = |word: &String| {
        word.contains("://")
            || word.contains(std::path::MAIN_SEPARATOR)
            || std::path::Path::new(word).is_dir()
    };
    match words.split_first() {
        Some((first, ids)) if is_queue(first) => (Some(first), ids),
        _ => (None, words),
    }
}

fn unknown(id: &str, queue: &str) -> anyhow::Error {
    Error::new(
        ErrorKind::InputMissing,
        format!("queue {queue}: there is no job `{}`", crate::config::shown(id)),
    )
    .hint("`ourvidz queue status` shows what is there")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_is_told_from_an_id() {
        let words = |words: &[&str]| words.iter().map(|w| (*w).to_string()).collect::<Vec<_>>();
        for (given, queue, ids) in [
            (&["redis://h", "a"][..], Some("redis://h"), 1),
            (&["./jobs", "a", "b"], Some("./jobs"), 2),
            (&["src", "a"], Some("src"), 1),
            (&["a", "src"], None, 2),
            (&[], None, 0),
        ] {
            let given = words(given);
            let (found, rest) = split_queue(&given);
            assert_eq!((found, rest.len()), (queue, ids), "{given:?}");
        }
    }
}
