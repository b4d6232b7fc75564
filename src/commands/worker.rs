//! `worker`: a process that holds the models and runs jobs for `queue-drain`.
//!
//! Orders come as JSON lines on stdin, messages go as JSON lines to stdout ([`protocol`]). The main
//! thread computes; one thread listens for orders, one says every few seconds that the process lives.
//! It ends when its supervisor does: with the end of stdin, and on Linux by the system.

use std::io::{BufRead, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::common::surroundings;
use super::queue_parts::trust;
use crate::cli;
use crate::error::ErrorKind;
use crate::events::{Event, Events};
use crate::files::{make_folder, points::point};
use crate::job::{Addresses, Job, JobSpec, Request};
use crate::outcome::{Failure, Outcome};
use crate::progress::Volume;
use crate::runner::{self, Runner};
use crate::stop::Stop;
use crate::supervisor::protocol::{Message, Order, Run, line};

/// How often it says that it lives.
const ALIVE: Duration = Duration::from_secs(5);

/// Runs until there are no orders any more.
///
/// # Errors
/// What keeps it from taking jobs; the supervisor hears it as [`Message::Unfit`].
pub fn run(args: &cli::Worker) -> Result<u8> {
    end_with_supervisor();
    point("worker:begun");
    let voice = Voice;
    let (mut runner, device) = match open(args) {
        Ok(opened) => opened,
        Err(error) => {
            voice.say(&Message::Unfit {
                failure: Failure::of(&error),
            });
            return Err(error);
        }
    };
    let current = Arc::new(Mutex::new(None));
    let orders = listen(current.clone())?;
    live(voice)?;
    voice.say(&Message::Ready {
        pid: std::process::id(),
        device,
    });
    for order in orders {
        let stop = Stop::default();
        set(&current, Some((order.job_id.clone(), stop.clone())));
        voice.say(&Message::Begun {
            job_id: order.job_id.clone(),
        });
        point("worker:before-run");
        runner.queues.clone_from(&order.queues);
        let outcome = one(&mut runner, &order, &voice, &stop);
        point("worker:after-run");
        set(&current, None);
        voice.say(&Message::Outcome {
            faulty: lost_device(&outcome),
            models: runner.models_in_memory(),
            outcome: Box::new(outcome),
        });
    }
    Ok(0)
}

/// The runner, and the name of its device.
fn open(args: &cli::Worker) -> Result<(Runner, String)> {
    let (mut settings, registry) = surroundings(&args.place, Volume::Quiet)?;
    // The supervisor ends jobs that take too long.
    settings.time_limit_s = None;
    let thumbnails = settings.storage.thumbnails;
    let mut runner = Runner::new(Arc::new(settings), registry)?;
    runner.thumbnails = thumbnails;
    let device = runner.open_device()?;
    Ok((runner, device))
}

/// A worker without its supervisor computes for nobody.
#[cfg(target_os = "linux")]
fn end_with_supervisor() {
    // Where the system knows no such wish, the end of stdin does it.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
}

#[cfg(not(target_os = "linux"))]
fn end_with_supervisor() {}

/// What is running, for the thread that hears of its end.
type Current = Arc<Mutex<Option<(String, Stop)>>>;

fn set(current: &Current, job: Option<(String, Stop)>) {
    *current.lock().unwrap_or_else(PoisonError::into_inner) = job;
}

/// The jobs that are ordered, as they come.
fn listen(current: Current) -> Result<Receiver<Run>> {
    let (jobs, orders) = channel();
    thread::Builder::new()
        .name("orders".into())
        .spawn(move || {
            hear(&current, &jobs);
            // Nobody is there to be told anything.
            std::process::exit(0);
        })
        .context("cannot start the thread that listens for orders")?;
    Ok(orders)
}

/// Returns when stdin ends, or with [`Order::Exit`].
fn hear(current: &Current, jobs: &Sender<Run>) {
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(Order::Run(run)) => {
                if jobs.send(*run).is_err() {
                    return;
                }
            }
            Ok(Order::Cancel { job_id }) => with(current, &job_id, |stop| stop.cancel()),
            Ok(Order::Interrupt { job_id, signal }) => with(current, &job_id, |stop| stop.signal(signal)),
            Ok(Order::Exit) => return,
            Err(error) => crate::text::stderr_line(&format!("an order is not understood: {error}")),
        }
    }
}

fn with(current: &Current, job_id: &str, ask: impl Fn(&Stop) -> bool) {
    let current = current.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, stop)) = current.as_ref().filter(|(id, _)| id == job_id) {
        ask(stop);
    }
}

fn live(voice: Voice) -> Result<()> {
    thread::Builder::new()
        .name("alive".into())
        .spawn(move || {
            loop {
                thread::sleep(ALIVE);
                voice.say(&Message::Alive);
            }
        })
        .context("cannot start the thread that says that we live")?;
    Ok(())
}

/// Stdout, one message a line, from any thread.
#[derive(Clone, Copy)]
struct Voice;

impl Voice {
    /// A supervisor that does not listen any more is gone, and so are we soon.
    fn say(&self, message: &Message) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(line(message).as_bytes()).and_then(|()| out.flush());
    }
}

impl Events for Voice {
    fn tell(&mut self, event: &Event) {
        self.say(&Message::Event { event: event.clone() });
    }
}

/// Runs one job, whatever is wrong with it.
fn one(runner: &mut Runner, order: &Run, voice: &Voice, stop: &Stop) -> Outcome {
    match settle(runner, order) {
        Ok(job) => runner.run(&job, &order.staging, &mut { *voice }, stop),
        Err(error) => refused(order, &error),
    }
}

/// The supervisor settled the same spec before: what fails here changed in between.
fn settle(runner: &mut Runner, order: &Run) -> Result<Job> {
    make_folder(Path::new(&order.staging))?;
    let spec = JobSpec {
        notes: order.notes.clone(),
        ignored: order.ignored.clone(),
        ..order.spec.clone()
    };
    let mut job = runner.settle(&Request {
        id: &order.job_id,
        spec: &spec,
        trust: trust(order.local_references, runner.settings.queue.any_quantity),
        addresses: Addresses::Fetched(&order.references),
    })?;
    if let Some(seed) = order.drawn_seed {
        job.take_drawn_seed(seed);
    }
    Ok(job)
}

fn refused(order: &Run, error: &anyhow::Error) -> Outcome {
    Outcome {
        job_id: order.job_id.clone(),
        status: crate::outcome::Status::Failed,
        assets: Vec::new(),
        error: Some(Failure::of(error)),
        metadata: runner::metadata::refused(&order.spec, error),
        answer: None,
    }
}

/// A device that is lost stays lost for this process.
fn lost_device(outcome: &Outcome) -> bool {
    outcome
        .error
        .as_ref()
        .is_some_and(|failure| matches!(failure.kind(), ErrorKind::Unavailable | ErrorKind::Internal))
}
