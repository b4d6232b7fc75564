//! The claims that this drain holds: their signs of life, and what is heard about them.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::queue::{Claim, Lease, Queue, Running};

/// Every claim between [`Leases::hold`] and the drop of its [`Hold`].
#[derive(Default)]
pub struct Leases {
    held: RefCell<HashMap<u64, Rc<Entry>>>,
    next: Cell<u64>,
    /// Something that others should know at once.
    news: Notify,
}

struct Entry {
    claim: RefCell<Claim>,
    running: RefCell<Running>,
    state: watch::Sender<Lease>,
    /// When the queue last said that it is ours.
    confirmed: Cell<Instant>,
}

/// One held claim; heartbeats end with it.
pub struct Hold {
    leases: Rc<Leases>,
    number: u64,
    entry: Rc<Entry>,
    state: watch::Receiver<Lease>,
}

impl Leases {
    /// Sends heartbeats for `claim` from now on.
    pub fn hold(self: &Rc<Self>, claim: &Claim, worker: &str, device: &str) -> Hold {
        let (sender, state) = watch::channel(Lease::Held);
        let running = Running {
            id: claim.id().into(),
            job_type: claim.peeked.job_type.clone(),
            worker: worker.into(),
            device: device.into(),
            since: Timestamp::now(),
            step: 0,
            total: 0,
        };
        let entry = Rc::new(Entry {
            claim: RefCell::new(claim.clone()),
            running: RefCell::new(running),
            state: sender,
            confirmed: Cell::new(Instant::now()),
        });
        let number = self.next.replace(self.next.get() + 1);
        self.held.borrow_mut().insert(number, entry.clone());
        Hold {
            leases: self.clone(),
            number,
            entry,
            state,
        }
    }

    /// Sends a sign of life for every held claim, every `period`. A claim that the queue could not be
    /// asked about for as long as `lease` counts as lost: somebody else may have it by then.
    pub async fn beat(&self, queue: &dyn Queue, period: Duration, lease: Duration) {
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.news.notified() => {}
            }
            let entries: Vec<Rc<Entry>> = self.held.borrow().values().cloned().collect();
            for entry in entries {
                let (claim, running) = (entry.claim.borrow().clone(), entry.running.borrow().clone());
                match queue.heartbeat(&claim, &running).await {
                    Ok(state) => {
                        if state != Lease::Lost {
                            entry.confirmed.set(Instant::now());
                        }
                        entry.hear(state);
                    }
                    Err(error) => {
                        tracing::warn!(job = claim.id(), "no sign of life could be sent: {error:#}");
                        if entry.confirmed.get().elapsed() >= lease {
                            entry.hear(Lease::Lost);
                        }
                    }
                }
            }
        }
    }
}

impl Entry {
    /// What is lost stays lost, and a wish for an end is not forgotten.
    fn hear(&self, state: Lease) {
        self.state.send_if_modified(|now| {
            let later = matches!(
                (*now, state),
                (Lease::Held, Lease::CancelAsked | Lease::Lost) | (Lease::CancelAsked, Lease::Lost)
            );
            if later {
                *now = state;
            }
            later
        });
    }
}

impl Hold {
    /// What was heard last.
    pub fn state(&self) -> Lease {
        *self.state.borrow()
    }

    /// Returns when something else is heard. Safe to be dropped while it waits.
    pub async fn changed(&mut self) -> Lease {
        // The sender lives as long as we do.
        let _ = self.state.changed().await;
        *self.state.borrow_and_update()
    }

    /// The queue said so in answer to something else.
    pub fn hear(&self, state: Lease) {
        self.entry.hear(state);
    }

    /// What `queue status` shows of it from now on.
    pub fn at(&self, step: usize, total: usize) {
        let mut running = self.entry.running.borrow_mut();
        (running.step, running.total) = (step as u64, total as u64);
    }

    /// The work begins now, on this worker.
    pub fn begun(&self, worker: &str, device: &str) {
        let mut running = self.entry.running.borrow_mut();
        running.since = Timestamp::now();
        running.worker = worker.into();
        running.device = device.into();
        drop(running);
        self.leases.news.notify_one();
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.leases.held.borrow_mut().remove(&self.number);
    }
}
