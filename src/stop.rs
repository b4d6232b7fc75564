//! Why work has to stop: a signal, a cancelled job, time that is over.
//!
//! Whoever works asks between two steps; whoever stops it only sets a mark.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::error::{Error, ErrorKind};

/// Who asked for the stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A signal's number, such as 15.
    Signal(i32),
    /// Somebody took the job back.
    Cancelled,
    /// This much time was allowed.
    TimedOut(Duration),
}

/// No signal has this number.
const CANCELLED: i32 = -1;

/// A mark that all clones share, and, for one job, the time when it is over.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// 0, a signal's number or [`CANCELLED`].
    asked: Arc<AtomicI32>,
    deadline: Option<(Instant, Duration)>,
}

impl Stop {
    /// Asks for a stop because of a signal; false when somebody had asked before.
    pub fn signal(&self, number: i32) -> bool {
        self.ask(number)
    }

    /// Asks for a stop because the job is not wanted any more; false when somebody had asked before.
    pub fn cancel(&self) -> bool {
        self.ask(CANCELLED)
    }

    fn ask(&self, mark: i32) -> bool {
        self.asked
            .compare_exchange(0, mark, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    }

    /// The same mark, with a time limit that begins now; `None`: without one.
    pub fn within(&self, limit: Option<Duration>) -> Self {
        Self {
            asked: self.asked.clone(),
            deadline: limit.and_then(|limit| Some((Instant::now().checked_add(limit)?, limit))),
        }
    }

    /// Why to stop; `None` while there is no reason.
    pub fn reason(&self) -> Option<Reason> {
        match (self.asked.load(Ordering::Relaxed), self.deadline) {
            (0, Some((end, limit))) if Instant::now() >= end => Some(Reason::TimedOut(limit)),
            (0, _) => None,
            (CANCELLED, _) => Some(Reason::Cancelled),
            (number, _) => Some(Reason::Signal(number)),
        }
    }

    /// # Errors
    /// `Interrupted`, `Cancelled` or `TimedOut` once there is a reason to stop.
    pub fn check(&self) -> Result<()> {
        match self.reason() {
            None => Ok(()),
            Some(reason) => Err(reason.error().into()),
        }
    }
}

impl Reason {
    /// What the stopped job is told to have failed by.
    pub fn error(self) -> Error {
        match self {
            Self::Signal(signal) => Error::new(
                ErrorKind::Interrupted { signal },
                format!("stopped by signal {signal}"),
            )
            .hint("nothing half-done is left; run it again"),
            Self::Cancelled => Error::new(ErrorKind::Cancelled, "cancelled while it ran")
                .hint("add it again if it is wanted"),
            Self::TimedOut(limit) => Error::new(
                ErrorKind::TimedOut,
                format!("over its time limit of {} s", limit.as_secs_f64()),
            )
            .hint(
                "nothing half-done is left; raise the time limit, or ask for fewer steps, frames or pixels",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::kind_of;

    #[test]
    fn the_first_reason_stays_and_reaches_every_clone() {
        let stop = Stop::default();
        let of_a_job = stop.within(Some(Duration::from_secs(3600)));
        assert!(of_a_job.check().is_ok());
        assert!(stop.signal(15));
        assert!(!of_a_job.cancel() && !stop.signal(2));
        assert_eq!(of_a_job.reason(), Some(Reason::Signal(15)));
        assert_eq!(kind_of(&of_a_job.check().unwrap_err()).exit_code(), 143);
    }

    #[test]
    fn a_time_limit_is_one_jobs_own() {
        let stop = Stop::default();
        let of_a_job = stop.within(Some(Duration::ZERO));
        assert_eq!(kind_of(&of_a_job.check().unwrap_err()), ErrorKind::TimedOut);
        assert_eq!(stop.reason(), None);
        assert_eq!(stop.within(None).reason(), None);
    }

    #[test]
    fn a_cancelled_job_is_told_from_a_stopped_one() {
        let stop = Stop::default();
        assert!(stop.cancel());
        assert_eq!(kind_of(&stop.check().unwrap_err()).code(), "cancelled");
    }
}
