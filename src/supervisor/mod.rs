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

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::Instant;

use crate::error::ErrorKind;
use crate::outbox::envelope::{Which, now_ms};
use crate::queue::Claim;

pub mod child;
pub mod delivery;
mod drain;
pub mod ending;
mod finish;
mod held;
mod intake;
pub mod jobs;
mod lane;
mod lease;
pub mod protocol;
mod run;
mod slot;
pub mod tell;
mod upload;

pub use drain::{Options, Parts, Summary};

use drain::Drain;
use ending::Cause;

/// How long `queue cancel` waits for receivers.
const CALLBACKS_OF_CANCELLED: Duration = Duration::from_secs(15);

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
    lanes(&drain).await;
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

/// One lane a device, all at once.
async fn lanes(drain: &Rc<Drain>) {
    let lanes: Vec<JoinHandle<()>> = drain
        .options
        .devices
        .iter()
        .enumerate()
        .map(|(index, device)| {
            let name = format!("{}/{index}", drain.options.consumer);
            spawn_local(lane::lane(drain.clone(), name, device.clone()))
        })
        .collect();
    for lane in lanes {
        if let Err(error) = lane.await {
            drain
                .ending
                .fault(&anyhow::Error::from(error).context("a worker's jobs"));
        }
    }
}
