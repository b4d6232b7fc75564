//! One worker's jobs, one after the other: while it denoises, the last job's files are stored and the
//! next job's references fetched.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep};

use super::drain::Drain;
use super::finish::finish;
use super::held::Ready;
use super::intake::{Intake, next};
use super::run::run;
use super::slot::Slot;
use crate::outbox::body::{self, Report};

/// The longest wait for news of a queue; nothing depends on it but a queue that tells nobody.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// A lane's state between two jobs.
struct Lane {
    drain: Rc<Drain>,
    slot: Slot,
    /// What the worker has in memory.
    affinity: Option<String>,
    /// The next job, on its way.
    ahead: Option<JoinHandle<Result<Intake>>>,
    /// The last job, on its way to its outcome.
    behind: Option<JoinHandle<()>>,
}

/// Runs jobs until there are none, or the drain ends.
pub async fn lane(drain: Rc<Drain>, name: String, device: String) {
    let mut lane = Lane {
        slot: Slot::new(name, device),
        drain,
        affinity: None,
        ahead: None,
        behind: None,
    };
    if let Err(error) = lane.jobs().await {
        lane.drain.ending.fault(&error);
    }
    lane.close().await;
}

impl Lane {
    /// # Errors
    /// Of the queue or the store: the drain cannot go on.
    async fn jobs(&mut self) -> Result<()> {
        loop {
            let intake = match self.ahead.take() {
                Some(ahead) => ahead.await.context("a job was looked for")??,
                None => {
                    next(
                        &self.drain,
                        &self.slot.name,
                        &self.slot.device,
                        self.affinity.clone(),
                    )
                    .await?
                }
            };
            match intake {
                Intake::Ready(ready) => self.one(*ready).await,
                Intake::Over => return Ok(()),
                Intake::Soon(time) => self.idle(time).await?,
                // The last job may still come back.
                Intake::Empty if self.behind.is_some() => self.settle_last().await,
                Intake::Empty if !self.drain.options.watch => return Ok(()),
                Intake::Empty => self.watch().await?,
            }
        }
    }

    async fn one(&mut self, mut ready: Ready) {
        self.affinity.clone_from(&ready.claim.peeked.affinity);
        ready.begun = Instant::now();
        ready.claim.record.started_at = Some(Timestamp::now());
        let processing = tell_processing(&self.drain, &ready);
        let (drain, affinity) = (self.drain.clone(), self.affinity.clone());
        let (name, device) = (self.slot.name.clone(), self.slot.device.clone());
        let ahead = &mut self.ahead;
        let mut halfway = || {
            if ahead.is_none() {
                let (drain, name, device, affinity) =
                    (drain.clone(), name.clone(), device.clone(), affinity.clone());
                *ahead = Some(spawn_local(async move {
                    next(&drain, &name, &device, affinity).await
                }));
            }
        };
        let end = run(&self.drain, &mut self.slot, &mut ready, &mut halfway).await;
        // Nobody is to hear of the beginning after the end.
        processing.abort();
        self.settle_last().await;
        let finishing = finish(self.drain.clone(), ready, end, self.slot.name.clone());
        self.behind = Some(spawn_local(finishing));
    }

    /// Waits until the last job has its outcome.
    async fn settle_last(&mut self) {
        if let Some(behind) = self.behind.take()
            && let Err(error) = behind.await
        {
            self.drain
                .ending
                .fault(&anyhow::Error::from(error).context("a job was to be settled"));
        }
    }

    async fn idle(&mut self, time: Duration) -> Result<()> {
        tokio::select! {
            _ = self.drain.ending.begun() => {}
            () = sleep(time) => {}
        }
        Ok(())
    }

    /// Waits for news; the worker keeps its models meanwhile.
    async fn watch(&mut self) -> Result<()> {
        let at_most = match self.drain.time_left() {
            Some(left) => left.min(LONGEST_WAIT),
            None => LONGEST_WAIT,
        };
        let begun = Instant::now();
        tokio::select! {
            _ = self.drain.ending.begun() => {}
            waited = self.drain.queue.wait(at_most) => waited?,
            () = self.slot.idle(&self.drain) => {}
        }
        // A queue that always has news and never a job must not keep a core busy.
        if begun.elapsed() < Duration::from_millis(20) {
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// What is still under way goes back or to its end; the worker may leave.
    async fn close(mut self) {
        if let Some(ahead) = self.ahead.take()
            && let Ok(Ok(Intake::Ready(ready))) = ahead.await
        {
            self.drain
                .hand_back(&ready.claim, "the drain ended before it began")
                .await;
        }
        self.settle_last().await;
        self.slot.close().await;
    }
}

/// Says once, best effort, that a job begins.
fn tell_processing(drain: &Drain, ready: &Ready) -> JoinHandle<()> {
    let (url, _) = drain.receiver(&ready.spec);
    let report = Report {
        job_id: ready.claim.id().into(),
        user_id: ready.spec.user_id.clone(),
        status: body::Status::Processing,
        assets: Vec::new(),
        error_message: None,
        metadata: drain.jobs.begun(&ready.job),
    };
    let text = body::body(drain.options.callback.format, &report).to_string();
    let (deliverer, id) = (drain.deliverer.clone(), ready.claim.id().to_string());
    spawn_local(async move {
        if let Some(url) = url
            && let Some(why) = deliverer.send_once(&url, &text).await
        {
            tracing::debug!(job = id, "not told that it begins: {why}");
        }
    })
}
