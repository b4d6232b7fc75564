//! One job on one worker: given, watched, and ended when it takes too long or is not wanted any more.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::drain::Drain;
use super::ending::Cause;
use super::held::Ready;
use super::protocol::{Message, Order};
use super::slot::{NoWorker, Slot};
use crate::error::ErrorKind;
use crate::events::Event;
use crate::outcome::{Outcome, Status};
use crate::queue::Lease;

/// A worker that says nothing for so long does not live any more.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a worker may take to stop between two steps: the promise for SIGTERM is 25 s in all.
const STOP_WITHIN: Duration = Duration::from_secs(12);

/// How the work on a job ended.
pub enum End {
    /// With something to be told.
    Outcome(Box<Outcome>),
    /// The worker died of it.
    Crashed(String),
    TimedOut,
    /// Its worker had to be ended to stop it.
    Cancelled,
    /// Not by the job's doing: it is handed back.
    Interrupted(String),
    /// Somebody else has it.
    Lost,
}

/// Why a job is asked to stop, and until when.
struct Asked {
    deadline: Instant,
    why: Why,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    Cancelled,
    Lost,
    Ending(Cause),
}

/// Runs a job to its end. `halfway` is called once, when about half of its steps are done.
pub async fn run(drain: &Drain, slot: &mut Slot, ready: &mut Ready, halfway: &mut dyn FnMut()) -> End {
    loop {
        if let Err(end) = give(drain, slot, ready).await {
            return end;
        }
        let mut begun = false;
        let end = watch(drain, slot, ready, halfway, &mut begun).await;
        match &end {
            End::Outcome(_) => slot.lived(),
            // It was dying when it was given the job, which it never saw.
            End::Crashed(how) if !begun => {
                if let Err(error) = slot.died_idle(how) {
                    drain.ending.fault(&error);
                }
                continue;
            }
            End::Crashed(how) => {
                if let Err(error) = slot.killed_by(ready.claim.id(), how) {
                    drain.ending.fault(&error);
                }
            }
            End::TimedOut | End::Cancelled | End::Interrupted(_) | End::Lost => {}
        }
        return end;
    }
}

/// Gives the job to a worker.
///
/// # Errors
/// The job's end, when there is none.
async fn give(drain: &Drain, slot: &mut Slot, ready: &Ready) -> Result<(), End> {
    if drain.ending.cause().is_some() {
        return Err(End::Interrupted("the drain ended before it began".into()));
    }
    match slot.ready(drain).await {
        Ok(child) => {
            // A worker that died in the meantime says so by its silence.
            let _ = child.send(&Order::Run(Box::new(ready.order.clone()))).await;
        }
        Err(NoWorker::Ending) => return Err(End::Interrupted("the drain ended before it began".into())),
        Err(NoWorker::Fault(error)) => {
            drain.ending.fault(&error);
            return Err(End::Interrupted("there is no worker for it".into()));
        }
    }
    ready.hold.begun(&slot.name, &slot.device);
    Ok(())
}

async fn watch(
    drain: &Drain,
    slot: &mut Slot,
    ready: &mut Ready,
    halfway: &mut dyn FnMut(),
    begun: &mut bool,
) -> End {
    let over = Instant::now() + drain.options.job_timeout;
    let mut heard = Instant::now();
    let mut asked: Option<Asked> = None;
    loop {
        let Some(child) = slot.child() else {
            return End::Crashed("ended".into());
        };
        let deadline = asked.as_ref().map_or(over, |asked| asked.deadline.min(over));
        tokio::select! {
            biased;
            message = child.next() => {
                heard = Instant::now();
                match message {
                    None => return died(drain, slot, asked).await,
                    Some(Message::Event { event }) => on_event(drain, slot, ready, &event, halfway),
                    Some(Message::Outcome { outcome, models, faulty }) => {
                        drain.teller.models(&slot.name, models);
                        return on_outcome(drain, slot, *outcome, faulty, asked).await;
                    }
                    Some(Message::Begun { job_id }) => *begun |= job_id == ready.claim.id(),
                    Some(Message::Alive | Message::Ready { .. } | Message::Unfit { .. }) => {}
                }
            }
            state = ready.hold.changed(), if asked.is_none() => {
                let why = match state {
                    Lease::Held => continue,
                    Lease::CancelAsked => Why::Cancelled,
                    Lease::Lost => Why::Lost,
                };
                asked = Some(ask(child, ready.claim.id(), why).await);
            }
            cause = drain.ending.begun(), if asked.is_none() => {
                asked = Some(ask(child, ready.claim.id(), Why::Ending(cause)).await);
            }
            () = sleep_until(deadline.min(heard + SILENCE)) => {
                return overdue(drain, slot, over, asked).await;
            }
        }
    }
}

async fn ask(child: &mut super::child::Child, job_id: &str, why: Why) -> Asked {
    let job_id = job_id.to_string();
    let order = match why {
        Why::Cancelled => Order::Cancel { job_id },
        Why::Ending(Cause::Signal(signal)) => Order::Interrupt { job_id, signal },
        Why::Lost | Why::Ending(Cause::Fault(_)) => Order::Interrupt { job_id, signal: 15 },
    };
    // One that is dying says so by its silence.
    let _ = child.send(&order).await;
    Asked {
        deadline: Instant::now() + STOP_WITHIN,
        why,
    }
}

fn on_event(drain: &Drain, slot: &Slot, ready: &Ready, event: &Event, halfway: &mut dyn FnMut()) {
    if let Event::Step { done, total, .. } = event {
        ready.hold.at(*done, *total);
        if done * 2 >= *total {
            halfway();
        }
    }
    drain.teller.event(&slot.name, event);
}

async fn on_outcome(
    drain: &Drain,
    slot: &mut Slot,
    outcome: Outcome,
    faulty: bool,
    asked: Option<Asked>,
) -> End {
    if faulty {
        slot.kill(drain).await;
    }
    let code = outcome.error.as_ref().map(|error| error.code.as_str());
    match asked.map(|asked| asked.why) {
        Some(Why::Lost) => End::Lost,
        // It was done before it heard of it: what is finished is told.
        Some(Why::Ending(_)) if outcome.status != Status::Completed => {
            End::Interrupted("the drain ended".into())
        }
        _ if code == Some(ErrorKind::Unavailable.code()) => {
            let why = outcome.error.map_or_else(String::new, |error| error.message);
            if let Err(error) = slot.lost_device(&why) {
                drain.ending.fault(&error);
            }
            End::Interrupted(format!("its device failed: {why}"))
        }
        _ if code == Some("interrupted") => End::Interrupted("its worker was asked to stop".into()),
        _ => End::Outcome(Box::new(outcome)),
    }
}

/// The worker is gone, everything that it said has been heard, and no outcome was among it.
async fn died(drain: &Drain, slot: &mut Slot, asked: Option<Asked>) -> End {
    let how = slot.kill(drain).await;
    match asked.map(|asked| asked.why) {
        Some(why) => not_wanted(why),
        None => End::Crashed(how),
    }
}

async fn overdue(drain: &Drain, slot: &mut Slot, over: Instant, asked: Option<Asked>) -> End {
    slot.kill(drain).await;
    match asked {
        Some(asked) => not_wanted(asked.why),
        None if Instant::now() >= over => End::TimedOut,
        None => End::Crashed(format!(
            "gave no sign of life for {} s and was ended",
            SILENCE.as_secs()
        )),
    }
}

fn not_wanted(why: Why) -> End {
    match why {
        Why::Cancelled => End::Cancelled,
        Why::Lost => End::Lost,
        Why::Ending(_) => End::Interrupted("the drain ended".into()),
    }
}
