//! `queue`: fill, look at and tidy a queue; and what every command about queues shares.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::worker::trust;
use crate::cli::{Queue as QueueArgs, QueueCommand};
use crate::config::Settings;
use crate::error::{Error, ErrorKind};
use crate::job::{Addresses, Family, Fetched, Job, JobSpec, Request, is_id, job_kind, labels};
use crate::queue::{self, Access, Options, Peek, Peeked, Place, Queue, QueueName};
use crate::registry::Registry;
use crate::runner::{Runner, metadata};
use crate::supervisor::jobs::{Jobs, parse_one};

mod add;
mod change;
mod deliver;
mod status;

/// How long an unreachable Redis is tried at the start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs one of the commands.
///
/// # Errors
/// As each of them.
pub fn run(args: &QueueArgs) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime of the command")?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        match &args.command {
            QueueCommand::Add(args) => add::run(args).await,
            QueueCommand::Status(args) => status::run(args).await,
            QueueCommand::Retry(args) => change::retry(args).await,
            QueueCommand::Cancel(args) => change::cancel(args).await,
            QueueCommand::Purge(args) => change::purge(args).await,
            QueueCommand::Deliver(args) => deliver::run(args).await,
        }
    })
}

/// The queue that `given` names, or the usual one.
///
/// # Errors
/// `Config` for an address that is none.
pub fn place(given: Option<&str>, settings: &Settings) -> Result<Place> {
    match given.or(settings.queue.url.as_deref()) {
        Some(text) => Place::parse(text),
        None => Ok(Place::Folder(settings.data_dir.join("queue"))),
    }
}

/// Opens a queue for this process.
///
/// # Errors
/// As [`queue::open`].
pub async fn open(
    place: &Place,
    access: Access,
    settings: &Settings,
    force: bool,
    peek: Arc<dyn Peek>,
) -> Result<Arc<dyn Queue>> {
    let options = Options {
        peek,
        consumer: consumer(),
        lease: settings.queue.lease,
        list_end: match settings.queue.list_end {
            crate::config::ListEnd::Left => queue::ListEnd::Left,
            crate::config::ListEnd::Right => queue::ListEnd::Right,
        },
        force,
        patience: PATIENCE,
    };
    queue::open(place, access, options).await
}

/// This process among all machines: host, process and something random, as both come again.
pub fn consumer() -> String {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let host = host();
        let random = Uuid::new_v4().simple().to_string();
        format!("{host}-{}-{}", std::process::id(), &random[..8])
    })
    .clone()
}

/// What people call this machine, as far as it is easily known: the rest of the name is unique.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .or_else(|_| std::env::var("COMPUTERNAME"))
        .unwrap_or_default();
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let name: String = name.chars().filter(fits).take(64).collect();
    match name.is_empty() {
        true => "host".into(),
        false => name,
    }
}

/// What a queue may know of specs.
pub struct Known {
    registry: Registry,
}

impl Known {
    pub fn new(registry: Registry) -> Self {
        Self { registry }
    }
}

impl Peek for Known {
    fn peek(&self, spec: &[u8]) -> Peeked {
        let Ok(spec) = parse_one(spec, "a queue item") else {
            // Its producer is told under its own id that it is refused.
            let labels = labels(spec);
            return Peeked {
                id: labels.id,
                job_type: labels.job_type,
                ..Peeked::default()
            };
        };
        let kind = job_kind(&spec, &self.registry).ok();
        let model = spec
            .model
            .clone()
            .or_else(|| Some(self.registry.route(kind?.name)?.to_string()));
        Peeked {
            queue: kind.map(|kind| queue_of(kind.family)),
            job_type: spec.job_type.clone().or_else(|| kind.map(|k| k.name.into())),
            affinity: model.map(|model| spec.affinity(&model)),
            id: spec.id,
        }
    }

    fn is_id(&self, text: &str) -> bool {
        is_id(text)
    }
}

/// Which of the three queues jobs of a family wait in.
fn queue_of(family: Family) -> QueueName {
    match family {
        Family::Sdxl => QueueName::Sdxl,
        Family::Wan => QueueName::Wan,
        Family::Qwen | Family::None => QueueName::Chat,
    }
}

/// Settles specs for the supervisor; loads no model.
pub struct QueueJobs {
    runner: RefCell<Runner>,
}

impl QueueJobs {
    pub fn new(runner: Runner) -> Self {
        Self {
            runner: RefCell::new(runner),
        }
    }
}

impl Jobs for QueueJobs {
    fn resolve(&self, id: &str, spec: &JobSpec, fetched: &Fetched) -> Result<Job> {
        let mut runner = self.runner.borrow_mut();
        let queue = &runner.settings.queue;
        let trust = trust(queue.allow_local_references, queue.any_quantity);
        runner.settle(&Request {
            id,
            spec,
            trust,
            addresses: Addresses::Fetched(fetched),
        })
    }

    fn begun(&self, job: &Job) -> Map<String, Value> {
        metadata::begun(job)
    }

    fn failed(&self, job: &Job, error: &anyhow::Error, time: Duration) -> Map<String, Value> {
        metadata::failed(job, error, time)
    }

    fn refused(&self, spec: &JobSpec, error: &anyhow::Error) -> Map<String, Value> {
        metadata::refused(spec, error)
    }
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
    use crate::config::QUEUE_NAMES;

    #[test]
    fn settings_and_queues_have_the_same_names_in_the_same_order() {
        assert_eq!(QueueName::ALL.map(QueueName::name).to_vec(), QUEUE_NAMES);
    }

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

    #[test]
    fn a_spec_tells_its_queue_type_and_model() {
        let known = Known::new(Registry::shipped().unwrap());
        let peeked = known.peek(br#"{"id": "a", "type": "video_fast", "prompt": "x", "foreign": 1}"#);
        assert_eq!(peeked.id.as_deref(), Some("a"));
        assert_eq!(peeked.queue, Some(QueueName::Wan));
        assert_eq!(peeked.affinity.as_deref(), Some("micro-wan"));
        let peeked = known.peek(b"prompt: x");
        assert_eq!((peeked.id, peeked.queue), (None, Some(QueueName::Sdxl)));
        let peeked = known.peek(br#"[{"jobId": "b", "config": {"steps": 999}}]"#);
        assert_eq!((peeked.id.as_deref(), peeked.queue), (Some("b"), None));
        for broken in [
            &b"{"[..],
            b"",
            b"\xff",
            b"- {prompt: a}\n- {prompt: b}",
            b"type: nothing",
        ] {
            assert_eq!(known.peek(broken).queue, None);
        }
    }
}
