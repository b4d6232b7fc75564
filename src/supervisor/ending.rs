//! Why a drain ends before its queue is empty, told to everybody who works in it.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::error::{ErrorKind, kind_of};

/// After a first signal, everything is over by then whatever still hangs. The promise is 25 s.
const LONGEST_END: Duration = Duration::from_secs(22);

/// Why no job is begun any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM or Ctrl-C: what runs is handed back.
    Signal(i32),
    /// Queue, storage, disk or workers failed: the same.
    Fault(ErrorKind),
}

/// The mark that ends a drain.
pub struct Ending {
    cause: watch::Sender<Option<Cause>>,
    /// What every fault was; the first is the cause.
    faults: RefCell<Vec<ErrorKind>>,
}

impl Default for Ending {
    fn default() -> Self {
        Self {
            cause: watch::Sender::new(None),
            faults: RefCell::default(),
        }
    }
}

impl Ending {
    pub fn cause(&self) -> Option<Cause> {
        *self.cause.borrow()
    }

    pub fn listen(&self) -> watch::Receiver<Option<Cause>> {
        self.cause.subscribe()
    }

    /// Returns once the drain is to end.
    pub async fn begun(&self) -> Cause {
        let mut heard = self.listen();
        loop {
            if let Some(cause) = *heard.borrow_and_update() {
                return cause;
            }
            // The sender lives as long as we do.
            let _ = heard.changed().await;
        }
    }

    /// Ends the drain because of an error that is no job's own, and logs it.
    pub fn fault(&self, error: &anyhow::Error) {
        let kind = kind_of(error);
        let hint = crate::error::hint_of(error).map(|hint| format!("; hint: {hint}"));
        tracing::error!(code = kind.code(), "{error:#}{}", hint.unwrap_or_default());
        self.faults.borrow_mut().push(kind);
        self.set(Cause::Fault(kind));
    }

    pub fn faults(&self) -> Vec<ErrorKind> {
        self.faults.borrow().clone()
    }

    /// A signal wins over a fault: it is what the exit code tells.
    fn set(&self, cause: Cause) {
        self.cause.send_if_modified(|now| {
            let first = now.is_none()
                || (matches!(cause, Cause::Signal(_)) && !matches!(now, Some(Cause::Signal(_))));
            if first {
                *now = Some(cause);
            }
            first
        });
    }
}

/// Listens for SIGTERM and Ctrl-C for as long as the process lives. The second ends it at once: its
/// workers end with it, and what they worked on is found again by the next drain.
///
/// # Errors
/// When the system gives no signal handler.
#[cfg(unix)]
pub fn listen(ending: std::rc::Rc<Ending>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let open = |kind| signal(kind).context("cannot listen for signals");
    let mut interrupt = open(SignalKind::interrupt())?;
    let mut terminate = open(SignalKind::terminate())?;
    tokio::task::spawn_local(async move {
        let mut first = None;
        loop {
            let number = tokio::select! {
                _ = interrupt.recv() => 2,
                _ = terminate.recv() => 15,
                () = sleep(LONGEST_END), if first.is_some() => first.unwrap_or(15),
            };
            if first.is_some() {
                std::process::exit(128 + number);
            }
            first = Some(number);
            tracing::info!("signal {number}: handing unfinished work back; once more ends at once");
            ending.set(Cause::Signal(number));
        }
    });
    Ok(())
}

/// The same where there are no signals but Ctrl-C.
#[cfg(not(unix))]
pub fn listen(ending: std::rc::Rc<Ending>) -> Result<()> {
    tokio::task::spawn_local(async move {
        let mut first = true;
        while tokio::signal::ctrl_c().await.is_ok() {
            if !first {
                std::process::exit(130);
            }
            first = false;
            ending.set(Cause::Signal(2));
        }
    });
    Ok(())
}
