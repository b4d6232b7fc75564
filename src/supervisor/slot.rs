//! The place of one worker: whoever dies there is followed by another, until that helps nobody.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::child::Child;
use super::drain::Drain;
use super::protocol::Message;
use crate::error::{Error, ErrorKind};

/// Deaths in a row, of workers that were not ready yet or by different jobs, after which another
/// worker is not the cure.
const DEATHS: usize = 3;

/// How long a worker may take until it is ready: a driver may compile for the first time.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// The pause before the second worker; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One device and the worker on it, if there is one.
pub struct Slot {
    pub name: String,
    /// As the operator named it, then as the worker says.
    pub device: String,
    asked_device: String,
    child: Option<Child>,
    /// Deaths since the last outcome.
    deaths: u32,
    deaths_before_ready: usize,
    /// The jobs that killed one since the last outcome, each once.
    killers: Vec<String>,
}

/// Why there is no worker.
pub enum NoWorker {
    /// The drain ends.
    Ending,
    /// It ends because of this.
    Fault(anyhow::Error),
}

impl Slot {
    pub fn new(name: String, device: String) -> Self {
        Self {
            name,
            asked_device: device.clone(),
            device,
            child: None,
            deaths: 0,
            deaths_before_ready: 0,
            killers: Vec::new(),
        }
    }

    /// A worker that can be given a job, started if needed.
    pub async fn ready(&mut self, drain: &Drain) -> Result<&mut Child, NoWorker> {
        while self.child.is_none() {
            self.pause(drain).await?;
            self.start(drain).await?;
        }
        self.child.as_mut().ok_or(NoWorker::Ending)
    }

    async fn pause(&self, drain: &Drain) -> Result<(), NoWorker> {
        let pause = match self.deaths {
            0 => Duration::ZERO,
            n => FIRST_PAUSE
                .saturating_mul(1 << (n - 1).min(16))
                .min(LONGEST_PAUSE),
        };
        tokio::select! {
            biased;
            _ = drain.ending.begun() => Err(NoWorker::Ending),
            () = sleep(pause) => Ok(()),
        }
    }

    /// One try to have a worker; the next comes when there is none afterwards.
    async fn start(&mut self, drain: &Drain) -> Result<(), NoWorker> {
        let mut child = drain
            .launch
            .start(&self.name, &self.asked_device)
            .map_err(NoWorker::Fault)?;
        drain.teller.worker(
            &self.name,
            &self.device,
            "started",
            &format!("process {}", child.pid),
        );
        let deadline = Instant::now() + READY_WITHIN;
        let heard = tokio::select! {
            biased;
            heard = timeout_at(deadline, first_word(&mut child)) => heard,
            _ = drain.ending.begun() => {
                child.kill().await;
                return Err(NoWorker::Ending);
            }
        };
        match heard {
            Ok(Some(Message::Ready { device, .. })) => {
                drain.teller.worker(&self.name, &device, "ready", "");
                self.device = device;
                self.deaths_before_ready = 0;
                self.child = Some(child);
                Ok(())
            }
            Ok(Some(Message::Unfit { failure })) => {
                child.kill().await;
                Err(NoWorker::Fault(failure.to_error().into()))
            }
            not_ready => {
                let how = child.kill().await;
                let how = match not_ready {
                    Err(_) => format!("not ready within {} s", READY_WITHIN.as_secs()),
                    Ok(_) => how,
                };
                self.deaths_before_ready += 1;
                self.died(drain, &how);
                match self.deaths_before_ready {
                    DEATHS => Err(NoWorker::Fault(unavailable(
                        &self.name,
                        "before it was ready",
                        &how,
                    ))),
                    _ => Ok(()),
                }
            }
        }
    }

    /// The worker died while it had no job.
    ///
    /// # Errors
    /// `Unavailable` when that goes on.
    pub fn died_idle(&self, how: &str) -> anyhow::Result<()> {
        self.lost_device(how)
    }

    /// Listens to a worker that has no job, for as long as it lives.
    pub async fn idle(&mut self, drain: &Drain) {
        let Some(child) = &mut self.child else {
            return std::future::pending().await;
        };
        while child.next().await.is_some() {}
        self.kill(drain).await;
    }

    /// The worker, if there is one.
    pub fn child(&mut self) -> Option<&mut Child> {
        self.child.as_mut()
    }

    /// Ends the worker at once; tells how it ended.
    pub async fn kill(&mut self, drain: &Drain) -> String {
        let how = match self.child.take() {
            Some(mut child) => child.kill().await,
            None => "ended".into(),
        };
        self.died(drain, &how);
        how
    }

    /// A job reached its end on this worker.
    pub fn lived(&mut self) {
        self.deaths = 0;
        self.killers.clear();
    }

    /// The worker died of a job.
    ///
    /// # Errors
    /// `Unavailable` when three different jobs in a row were the death of it: no job is to blame then.
    pub fn killed_by(&mut self, job_id: &str, how: &str) -> anyhow::Result<()> {
        if !self.killers.iter().any(|id| id == job_id) {
            self.killers.push(job_id.into());
        }
        match self.killers.len() {
            n if n >= DEATHS => Err(unavailable(&self.name, "of three different jobs in a row", how)),
            _ => Ok(()),
        }
    }

    /// The worker could not use its device any more and was ended.
    ///
    /// # Errors
    /// `Unavailable` when another worker did not help twice.
    pub fn lost_device(&self, why: &str) -> anyhow::Result<()> {
        match self.deaths as usize {
            n if n >= DEATHS => Err(unavailable(&self.name, "by no job's doing", why)),
            _ => Ok(()),
        }
    }

    /// Lets the worker end in its own time.
    pub async fn close(&mut self) {
        if let Some(child) = self.child.take() {
            child.dismiss().await;
        }
    }

    fn died(&mut self, drain: &Drain, how: &str) {
        self.deaths += 1;
        drain.teller.worker(&self.name, &self.device, "ended", how);
    }
}

/// What a new worker says first about itself.
async fn first_word(child: &mut Child) -> Option<Message> {
    loop {
        match child.next().await {
            Some(Message::Alive) => {}
            other => return other,
        }
    }
}

fn unavailable(name: &str, when: &str, how: &str) -> anyhow::Error {
    Error::new(ErrorKind::Unavailable, format!("worker `{name}`: ended three times {when}; the last time: {how}"))
        .hint("run one of the jobs with `ourvidz generate` on this device to see what is wrong, or try --device cpu")
        .into()
}
