//! What a drain is: its parts, what it counts, and what all of its work asks of it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, interval};

use super::child::Launch;
use super::ending::{Cause, Ending};
use super::jobs::Jobs;
use super::lease::Leases;
use super::tell::{self, Tally, Teller};
use crate::config::CallbackSettings;
use crate::error::ErrorKind;
use crate::fetch::Fetcher;
use crate::files::{Existing, Staging, write_whole};
use crate::job::JobSpec;
use crate::outbox::deliver::Deliverer;
use crate::outbox::target::target;
use crate::queue::{Claim, Lease, Queue, QueueName, Snapshot, Wish};
use crate::store::Store;

/// Metrics are written this often, and at the end.
const METRICS_PERIOD: Duration = Duration::from_secs(15);

/// What the operator decided.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most important first.
    pub queues: Vec<QueueName>,
    /// One worker each.
    pub devices: Vec<String>,
    pub max_jobs: Option<u64>,
    pub max_time: Option<Duration>,
    pub watch: bool,
    pub job_timeout: Duration,
    pub retry_timeouts: bool,
    pub max_attempts: u32,
    pub lease: Duration,
    pub heartbeat: Duration,
    /// Name of this drain, unique among all machines.
    pub consumer: String,
    pub local_references: bool,
    pub keep_done: Duration,
    pub callback: CallbackSettings,
    pub metrics: Option<PathBuf>,
}

/// Everything that a drain works with.
pub struct Parts {
    pub options: Options,
    pub queue: Arc<dyn Queue>,
    pub store: Arc<dyn Store>,
    pub fetcher: Fetcher,
    pub jobs: Rc<dyn Jobs>,
    pub launch: Launch,
    /// Where workers put their files until they are stored.
    pub staging: Staging,
    pub teller: Rc<Teller>,
    pub deliverer: Deliverer,
}

/// A drain at work.
pub struct Drain {
    pub parts: Parts,
    pub ending: Rc<Ending>,
    pub leases: Rc<Leases>,
    counters: Counters,
}

impl Deref for Drain {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.parts
    }
}

/// What is counted while a drain runs.
struct Counters {
    begun_at: Instant,
    /// Jobs claimed and not handed back.
    begun: Cell<u64>,
    /// A limit of the operator's was met.
    limited: Cell<bool>,
    store_checked: Cell<bool>,
}

/// How a drain ended.
#[derive(Debug)]
pub struct Summary {
    pub tally: Tally,
    /// What ended it before the queue was empty.
    pub faults: Vec<ErrorKind>,
    pub signal: Option<i32>,
    /// A limit was met and something still waits.
    pub work_remains: bool,
    /// Callbacks that wait for their next try.
    pub undelivered: usize,
}

/// How many jobs wait in each queue.
fn depths(snapshot: &Snapshot) -> BTreeMap<&'static str, usize> {
    let mut depths: BTreeMap<&str, usize> = QueueName::ALL.iter().map(|q| (q.name(), 0)).collect();
    for queue in snapshot.waiting.iter().filter_map(|waiting| waiting.queue) {
        *depths.entry(queue.name()).or_default() += 1;
    }
    depths
}

fn undelivered(snapshot: &Snapshot) -> usize {
    snapshot.outbox.waiting + snapshot.outbox.given_up
}

impl Drain {
    pub fn new(parts: Parts) -> Self {
        Self {
            parts,
            ending: Rc::default(),
            leases: Rc::default(),
            counters: Counters {
                begun_at: Instant::now(),
                begun: Cell::new(0),
                limited: Cell::new(false),
                store_checked: Cell::new(false),
            },
        }
    }

    pub fn beat(self: Rc<Self>) -> JoinHandle<()> {
        spawn_local(async move {
            let (period, lease) = (self.options.heartbeat, self.options.lease);
            self.leases.beat(self.queue.as_ref(), period, lease).await;
        })
    }

    /// Keeps the metrics file up to date.
    pub fn measure(self: Rc<Self>) -> JoinHandle<()> {
        spawn_local(async move {
            let mut ticks = interval(METRICS_PERIOD);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                self.write_metrics().await;
            }
        })
    }

    /// Best effort: numbers are not worth a job.
    async fn write_metrics(&self) {
        let Some(path) = &self.options.metrics else {
            return;
        };
        let written = async {
            let snapshot = self.queue.snapshot().await?;
            let text = tell::metrics(
                &self.teller.tally(),
                &depths(&snapshot),
                snapshot.dead,
                undelivered(&snapshot),
            );
            write_whole(path, text.as_bytes(), Existing::Replace)
        };
        if let Err(error) = written.await {
            tracing::warn!("metrics were not written: {error:#}");
        }
    }

    /// What jobs that report on this installation are told of the queue.
    pub async fn queue_numbers(&self) -> Option<Value> {
        let snapshot = self.queue.snapshot().await.ok()?;
        let depths: BTreeMap<&str, usize> = depths(&snapshot);
        Some(json!({
            "configured": true,
            "depth": depths,
            "running": snapshot.running.len(),
            "done": snapshot.done,
            "dead": snapshot.dead,
            "undelivered": undelivered(&snapshot),
        }))
    }

    /// What is done once, when no job runs any more.
    pub async fn tidy(&self) {
        let tally = self.teller.tally();
        if tally.completed > 0
            && let Err(error) = self.queue.purge_done(self.options.keep_done).await
        {
            tracing::warn!("old records were not removed: {error:#}");
        }
        self.write_metrics().await;
    }

    pub async fn summary(&self) -> Summary {
        let undelivered = match self.queue.outbox().counts().await {
            Ok(counts) => counts.waiting,
            Err(_) => 0,
        };
        let summary = Summary {
            tally: self.teller.tally(),
            faults: self.ending.faults(),
            signal: match self.ending.cause() {
                Some(Cause::Signal(signal)) => Some(signal),
                _ => None,
            },
            work_remains: self.counters.limited.get() && self.something_waits().await,
            undelivered,
        };
        if let Err(error) = self.queue.close().await {
            tracing::debug!("leaving the queue: {error:#}");
        }
        summary
    }

    async fn something_waits(&self) -> bool {
        let wish = Wish {
            queues: self.options.queues.clone(),
            ..Wish::default()
        };
        // Where it cannot be known, the next run finds out.
        self.queue
            .plan(&wish, 1)
            .await
            .map_or(true, |waiting| !waiting.is_empty())
    }

    /// Counts a job that is about to be claimed; false when none is to be begun any more.
    pub fn begin_one(&self) -> bool {
        if self.ending.cause().is_some() {
            return false;
        }
        let begun = self.counters.begun.get();
        let limited = self.options.max_jobs.is_some_and(|most| begun >= most)
            || self.time_left().is_some_and(|left| left.is_zero());
        if limited {
            self.counters.limited.set(true);
            return false;
        }
        self.counters.begun.set(begun + 1);
        true
    }

    /// Takes back what [`Drain::begin_one`] counted.
    pub fn not_begun(&self) {
        self.counters
            .begun
            .set(self.counters.begun.get().saturating_sub(1));
    }

    /// Until no further job is begun; `None`: there is no such time.
    pub fn time_left(&self) -> Option<Duration> {
        let limit = self.options.max_time?;
        Some(limit.saturating_sub(self.counters.begun_at.elapsed()))
    }

    pub fn released(&self, job_id: &str, why: &str) {
        self.not_begun();
        self.teller.released(job_id, why);
    }

    /// Finds out once whether the store is there, before any work is done for it.
    pub async fn check_store(&self) -> Result<()> {
        if !self.counters.store_checked.get() {
            self.store.check().await?;
            self.counters.store_checked.set(true);
        }
        Ok(())
    }

    /// Where a job's callback goes, and why not to its own address.
    pub fn receiver(&self, spec: &JobSpec) -> (Option<String>, Option<String>) {
        let target = target(spec.callback_url.as_deref(), &self.options.callback);
        (target.url.map(|url| url.to_string()), target.note)
    }

    /// Gives a job back, best effort: where even that fails, the lease or the next drain does it.
    pub async fn hand_back(&self, claim: &Claim, why: &str) {
        let mut claim = claim.clone();
        let record = &mut claim.record;
        (
            record.outcome,
            record.error,
            record.finished_at,
            record.webhook_id,
        ) = (None, None, None, None);
        record.assets.clear();
        match self.queue.release(&claim, why).await {
            Ok(Lease::Lost) => self.released(claim.id(), "somebody else has it"),
            Ok(_) => self.released(claim.id(), why),
            Err(error) => {
                self.released(claim.id(), why);
                tracing::warn!(
                    job = claim.id(),
                    "could not be handed back, the next drain finds it: {error:#}"
                );
            }
        }
    }
}
