//! What every command about queues shares: the queue it means, its name in it, what specs tell.

use std::cell::RefCell;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::config::Settings;
use crate::job::{Addresses, Family, Fetched, Job, JobSpec, Origin, Request, Trust, is_id, job_kind, labels};
use crate::queue::{self, Access, Options, Peek, Peeked, Place, Queue, QueueName};
use crate::registry::Registry;
use crate::runner::{Runner, metadata};
use crate::supervisor::jobs::{Jobs, parse_one};

/// How long an unreachable Redis is tried at the start.
const PATIENCE: Duration = Duration::from_secs(30);

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

/// What a producer's spec may name.
pub fn trust(local_references: bool, any_quantity: bool) -> Trust {
    let queue = Origin::Queue.trust();
    Trust {
        paths: local_references,
        any_quantity,
        ..queue
    }
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
