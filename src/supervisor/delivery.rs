//! Callbacks on their way while jobs run, and the wait for them at the end.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::tell::Teller;
use crate::outbox::deliver::{Deliverer, Tally, Tried};
use crate::outbox::envelope::{OutboxStore, State, now_ms};

/// How long the last callbacks may take: one try each.
const AT_END: Duration = Duration::from_secs(16);

/// The same after a signal.
const AT_SIGNAL: Duration = Duration::from_secs(3);

/// How often the end is looked for, once no job can come any more.
const LOOK: Duration = Duration::from_millis(5);

/// What the drain says to its postman.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Jobs {
    ComeIn,
    /// No job will come: send what is due and end.
    Over {
        by_signal: bool,
    },
}

/// Delivers until the drain is over and nothing is due any more.
///
/// # Errors
/// Those of the outbox.
pub async fn deliver(
    deliverer: Deliverer,
    outbox: Arc<dyn OutboxStore>,
    teller: Rc<Teller>,
    jobs: watch::Receiver<Jobs>,
) -> Result<()> {
    let over = nothing_due(jobs, outbox);
    deliverer.run(over, |tried| told(&teller, tried)).await
}

/// Tells of one try.
pub fn told(teller: &Teller, tried: &Tried) {
    match (&tried.failed, tried.state) {
        (None, _) => teller.delivered(&tried.job_id),
        (Some(why), State::Waiting) => {
            let seconds = tried.next_at_ms.saturating_sub(now_ms()).div_ceil(1000);
            tracing::warn!(
                job = tried.job_id,
                "callback not delivered: {why}; next try in {seconds} s"
            );
        }
        (Some(why), State::GivenUp) => {
            tracing::error!(
                job = tried.job_id,
                "callback given up: {why}; hint: run `ourvidz queue deliver --now`"
            );
        }
        (Some(why), State::Gone) => {
            tracing::warn!(
                job = tried.job_id,
                "callback ended: the receiver {why} and wants no more"
            );
        }
    }
}

/// Tells of a round.
pub fn told_round(teller: &Teller, tally: &Tally) {
    for job_id in &tally.delivered {
        teller.delivered(job_id);
    }
    for (job_id, why) in &tally.failed {
        tracing::warn!(job = job_id, "callback not delivered: {why}");
    }
}

async fn nothing_due(mut jobs: watch::Receiver<Jobs>, outbox: Arc<dyn OutboxStore>) {
    let by_signal = loop {
        if let Jobs::Over { by_signal } = *jobs.borrow_and_update() {
            break by_signal;
        }
        if jobs.changed().await.is_err() {
            return;
        }
    };
    let until = Instant::now() + if by_signal { AT_SIGNAL } else { AT_END };
    while Instant::now() < until {
        match outbox.counts().await {
            Ok(counts) if counts.next_at_ms.is_some_and(|at| at <= now_ms()) => sleep(LOOK).await,
            _ => return,
        }
    }
}
