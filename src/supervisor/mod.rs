//! Drains a queue: claims jobs, has workers run them, stores what they make, settles and delivers.
//!
//! The supervisor holds queue, leases, downloads, uploads, callbacks and signals, and never touches a
//! tensor; workers hold the models ([`protocol`] is what they say to each other). For every job:
//!
//! ```text
//! intake  claim → read → fetch references → resolve → keep the seeds
//! run     one worker, watched; who dies is followed by another
//! finish  store files → callback.json → record and callback in one step → tell
//! ```
//!
//! Whatever is no job's own fault (a signal, network, storage, disk) hands the job back uncounted.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, interval};

use crate::config::CallbackSettings;
use crate::error::ErrorKind;
use crate::fetch::Fetcher;
use crate::files::{Existing, Staging, write_whole};
use crate::job::JobSpec;
use crate::outbox::body::{self, Report};
use crate::outbox::deliver::Deliverer;
use crate::outbox::envelope::{Which, now_ms};
use crate::outbox::target::target;
use crate::queue::{Claim, Queue, QueueName, Snapshot, Wish};
use crate::store::Store;

pub mod child;
pub mod delivery;
pub mod ending;
mod finish;
mod intake;
pub mod jobs;
mod lane;
mod lease;
pub mod protocol;
mod run;
mod slot;
pub mod tell;
mod upload;

use child::Launch;
use ending::{Cause, Ending};
use intake::Ready;
use jobs::Jobs;
use lease::Leases;
use tell::{Tally, Teller};

/// Metrics are written this often, and at the end.
const METRICS_PERIOD: Duration = Duration::from_secs(15);

/// How long `queue cancel` waits for receivers.
const CALLBACKS_OF_CANCELLED: Duration = Duration::from_secs(15);

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
    parts: Parts,
    ending: Rc<Ending>,
    leases: Rc<Leases>,
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

/// Drains the queue until it is empty, a limit is met, or something ends it.
///
/// # Errors
/// When the system gives no signal handler.
pub async fn drain(parts: Parts) -> Result<Summary> {
    let drain = Rc::new(Drain::new(parts));
    ending::listen(drain.ending.clone())?;
    let beating = drain.clone().beat();
    let measuring = drain.clone().measure();
    let (jobs, heard) = watch::channel(delivery::Jobs::ComeIn);
    let delivering = delivery::deliver(
        drain.deliverer.clone(),
        drain.queue.outbox(),
        drain.teller.clone(),
        heard,
    );
    let delivering = spawn_local(delivering);
    drain.clone().lanes().await;
    let cause = drain.ending.cause();
    let by_signal = matches!(cause, Some(Cause::Signal(_)));
    jobs.send_replace(delivery::Jobs::Over { by_signal });
    match delivering.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => drain.ending.fault(&error.context("callbacks")),
        Err(error) => drain
            .ending
            .fault(&anyhow::Error::from(error).context("callbacks")),
    }
    beating.abort();
    measuring.abort();
    drain.tidy().await;
    Ok(drain.summary().await)
}

/// Ends jobs that were cancelled while they waited, and sends their callbacks. Returns what kept it
/// from that.
///
/// # Errors
/// Of the queue or the store.
pub async fn settle_cancelled(parts: Parts, claims: Vec<Claim>) -> Result<Vec<ErrorKind>> {
    let drain = Rc::new(Drain::new(parts));
    for claim in claims {
        // None of them can be run: each is settled.
        intake::admit(&drain, claim, &drain.options.consumer, "").await?;
    }
    let until = Instant::now() + CALLBACKS_OF_CANCELLED;
    match drain.deliverer.round(Which::Due(now_ms()), until).await {
        Ok(tally) => delivery::told_round(&drain.teller, &tally),
        Err(error) => drain.ending.fault(&error),
    }
    Ok(drain.ending.faults())
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
    fn new(parts: Parts) -> Self {
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

    /// One lane a device, all at once.
    async fn lanes(self: Rc<Self>) {
        let lanes: Vec<JoinHandle<()>> = self
            .options
            .devices
            .iter()
            .enumerate()
            .map(|(index, device)| {
                let name = format!("{}/{index}", self.options.consumer);
                spawn_local(lane::lane(self.clone(), name, device.clone()))
            })
            .collect();
        for lane in lanes {
            if let Err(error) = lane.await {
                self.ending
                    .fault(&anyhow::Error::from(error).context("a worker's jobs"));
            }
        }
    }

    fn beat(self: Rc<Self>) -> JoinHandle<()> {
        spawn_local(async move {
            let (period, lease) = (self.options.heartbeat, self.options.lease);
            self.leases.beat(self.queue.as_ref(), period, lease).await;
        })
    }

    /// Keeps the metrics file up to date.
    fn measure(self: Rc<Self>) -> JoinHandle<()> {
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
    async fn queue_numbers(&self) -> Option<Value> {
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
    async fn tidy(&self) {
        let tally = self.teller.tally();
        if tally.completed > 0
            && let Err(error) = self.queue.purge_done(self.options.keep_done).await
        {
            tracing::warn!("old records were not removed: {error:#}");
        }
        self.write_metrics().await;
    }

    async fn summary(&self) -> Summary {
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
    fn begin_one(&self) -> bool {
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
    fn not_begun(&self) {
        self.counters
            .begun
            .set(self.counters.begun.get().saturating_sub(1));
    }

    /// Until no further job is begun; `None`: there is no such time.
    fn time_left(&self) -> Option<Duration> {
        let limit = self.options.max_time?;
        Some(limit.saturating_sub(self.counters.begun_at.elapsed()))
    }

    fn released(&self, job_id: &str, why: &str) {
        self.not_begun();
        self.teller.released(job_id, why);
    }

    /// Finds out once whether the store is there, before any work is done for it.
    async fn check_store(&self) -> Result<()> {
        if !self.counters.store_checked.get() {
            self.store.check().await?;
            self.counters.store_checked.set(true);
        }
        Ok(())
    }

    /// Where a job's callback goes, and why not to its own address.
    fn receiver(&self, spec: &JobSpec) -> (Option<String>, Option<String>) {
        let target = target(spec.callback_url.as_deref(), &self.options.callback);
        (target.url.map(|url| url.to_string()), target.note)
    }

    /// Says once, best effort, that a job begins.
    fn tell_processing(&self, ready: &Ready) -> JoinHandle<()> {
        let (url, _) = self.receiver(&ready.spec);
        let report = Report {
            job_id: ready.claim.id().into(),
            user_id: ready.spec.user_id.clone(),
            status: body::Status::Processing,
            assets: Vec::new(),
            error_message: None,
            metadata: self.jobs.begun(&ready.job),
        };
        let text = body::body(self.options.callback.format, &report).to_string();
        let (deliverer, id) = (self.deliverer.clone(), ready.claim.id().to_string());
        spawn_local(async move {
            if let Some(url) = url
                && let Some(why) = deliverer.send_once(&url, &text).await
            {
                tracing::debug!(job = id, "not told that it begins: {why}");
            }
        })
    }
}
