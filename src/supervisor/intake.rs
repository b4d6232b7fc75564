//! From the queue to a job that a worker can begin: claimed, read, permitted, its references here and
//! its seeds drawn. What is refused on the way is settled at once.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::drain::Drain;
use super::finish;
use super::held::{Ready, Taken};
use super::jobs::parse_one;
use super::protocol::Run;
use crate::error::{Error, ErrorKind, kind_of};
use crate::job::{Fetched, Job, JobSpec, Local, Work, labels, references};
use crate::outcome::Status;
use crate::queue::{Claim, Lease, Next, Trouble, Wish};

/// The pause before a reference is fetched again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The event of a job that was handed back because a reference's server failed.
const POSTPONED: &str = "fetch_postponed";

/// What the queue had.
pub enum Intake {
    Ready(Box<Ready>),
    /// Perhaps something after this time.
    Soon(Duration),
    Empty,
    /// No job is to be begun any more.
    Over,
}

/// Takes the next job that can be run; those before it that cannot are settled.
///
/// # Errors
/// Of the queue or the store: the drain cannot go on.
pub async fn next(drain: &Rc<Drain>, worker: &str, device: &str, affinity: Option<String>) -> Result<Intake> {
    let wish = Wish {
        queues: drain.options.queues.clone(),
        affinity,
        worker: worker.into(),
    };
    loop {
        if !drain.begin_one() {
            return Ok(Intake::Over);
        }
        let next = drain.queue.claim(&wish).await;
        let claim = match next {
            Ok(Next::Job(claim)) => *claim,
            other => {
                drain.not_begun();
                return match other? {
                    Next::Soon(time) => Ok(Intake::Soon(time)),
                    _ => Ok(Intake::Empty),
                };
            }
        };
        if let Some(ready) = admit(drain, claim, worker, device).await? {
            return Ok(Intake::Ready(Box::new(ready)));
        }
    }
}

/// Makes a claim a job, or settles it; `None` when it is dealt with.
pub async fn admit(drain: &Rc<Drain>, claim: Claim, worker: &str, device: &str) -> Result<Option<Ready>> {
    let hold = drain.leases.hold(&claim, worker, device);
    let mut taken = Taken {
        claim,
        hold,
        spec: JobSpec::default(),
    };
    if drain.ending.cause().is_some() {
        // The signal came while the queue was asked.
        drain
            .hand_back(&taken.claim, "the drain ended before it began")
            .await;
        return Ok(None);
    }
    if let Err(error) = drain.check_store().await {
        drain.hand_back(&taken.claim, "the storage cannot be used").await;
        return Err(error);
    }
    let record = &taken.claim.record;
    drain.teller.claimed(
        &record.id,
        taken.claim.peeked.job_type.as_deref(),
        record.attempts + 1,
    );
    let refused = match settle_job(drain, &mut taken).await {
        Ok(Some((job, fetched))) => return ready(drain, taken, job, fetched).await,
        Ok(None) => return Ok(None),
        Err(error) => error,
    };
    let status = match kind_of(&refused) {
        ErrorKind::Cancelled => Status::Cancelled,
        _ => Status::Failed,
    };
    let metadata = drain.jobs.refused(&taken.spec, &refused);
    finish::fail(drain, taken, status, &refused, metadata).await;
    Ok(None)
}

/// # Errors
/// Why the job is refused. `None` when it was handed back instead.
async fn settle_job(drain: &Rc<Drain>, taken: &mut Taken) -> Result<Option<(Job, Fetched)>> {
    let id = taken.claim.id().to_string();
    // What is known of the producer's wish is told even when the rest is refused.
    taken.spec = labels(&taken.claim.spec);
    if let Some(trouble) = &taken.claim.trouble {
        return Err(error_of(trouble, &id));
    }
    taken.spec = parse_one(&taken.claim.spec, &id)?;
    taken.claim.record.job_type = taken.spec.job_type.clone();
    let Some(fetched) = fetch(drain, taken).await? else {
        return Ok(None);
    };
    let mut job = drain.jobs.resolve(&id, &taken.spec, &fetched)?;
    if let Some(&seed) = taken.claim.record.seeds.first() {
        job.take_drawn_seed(seed);
    }
    Ok(Some((job, fetched)))
}

fn error_of(trouble: &Trouble, id: &str) -> anyhow::Error {
    match trouble {
        Trouble::Conflict { with, .. } => Error::new(
            ErrorKind::Conflict,
            format!("job `{id}`: another spec has the id `{with}`, which is kept"),
        )
        .hint("give every job its own id; upper and lower case do not tell ids apart"),
        Trouble::NoFile(what) => Error::new(
            ErrorKind::InvalidSpec,
            format!("job `{id}`: {what}, and only regular files are read"),
        )
        .hint("put the file itself into new/"),
        Trouble::Cancelled => Error::new(
            ErrorKind::Cancelled,
            format!("job `{id}`: cancelled before it ran"),
        )
        .hint("add it again if it is wanted"),
    }
    .into()
}

/// Draws and keeps the seeds, and writes the worker's order.
async fn ready(drain: &Rc<Drain>, mut taken: Taken, job: Job, fetched: Fetched) -> Result<Option<Ready>> {
    let record = &mut taken.claim.record;
    record.job_type = Some(job.type_name.clone());
    record.seeds.clone_from(&job.seeds);
    match drain.queue.save(&taken.claim).await {
        Ok(Lease::Lost) => {
            drain.released(taken.claim.id(), "somebody else has it");
            return Ok(None);
        }
        Ok(state) => taken.hold.hear(state),
        Err(error) => {
            drain.hand_back(&taken.claim, "its seeds could not be kept").await;
            return Err(error);
        }
    }
    let order = Run {
        job_id: taken.claim.id().into(),
        drawn_seed: job.seeds.first().copied().filter(|_| job.seed_drawn),
        notes: taken.spec.notes.clone(),
        ignored: taken.spec.ignored.clone(),
        spec: taken.spec.clone(),
        references: fetched,
        local_references: drain.options.local_references,
        staging: drain.staging.path().join(taken.claim.id()),
        queues: match job.work {
            Work::Admin => drain.queue_numbers().await,
            _ => None,
        },
    };
    let Taken { claim, hold, spec } = taken;
    Ok(Some(Ready {
        claim,
        hold,
        spec,
        job,
        order,
        begun: Instant::now(),
    }))
}

/// Brings every reference that is not a file of this machine here. `None` when the job was handed
/// back because a server failed for too long.
///
/// # Errors
/// The job's own fault, and a server's that failed as often as the job may be tried.
async fn fetch(drain: &Rc<Drain>, taken: &mut Taken) -> Result<Option<Fetched>> {
    let mut fetched = Fetched::new();
    let wanted: Vec<(String, String)> = references(&taken.spec)
        .into_iter()
        .map(|(field, source)| (field, source.to_string()))
        .filter(|(_, source)| crate::job::scheme(source).is_some())
        .collect();
    let until = Instant::now() + drain.options.lease.mul_f64(0.75);
    for (field, source) in wanted {
        match fetch_one(drain, &field, &source, until).await {
            Ok(local) => drop(fetched.insert(source, local)),
            Err(error) if kind_of(&error) == ErrorKind::Unavailable => {
                return postpone(drain, taken, error).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(Some(fetched))
}

/// Tries again while a server fails, until the lease is near its end.
async fn fetch_one(drain: &Drain, field: &str, source: &str, until: Instant) -> Result<Local> {
    let mut pause = FIRST_PAUSE;
    loop {
        match drain.fetcher.fetch(field, source).await {
            Ok(here) => {
                return Ok(Local {
                    path: here.path,
                    sha256: here.sha256,
                });
            }
            Err(error) if kind_of(&error) == ErrorKind::Unavailable && Instant::now() + pause < until => {
                tracing::warn!("{field}: {error:#}; trying again in {} s", pause.as_secs());
                tokio::select! {
                    _ = drain.ending.begun() => return Err(error),
                    () = sleep(pause) => pause *= 2,
                }
            }
            Err(error) => return Err(error),
        }
    }
}

async fn postpone(drain: &Rc<Drain>, taken: &mut Taken, error: anyhow::Error) -> Result<Option<Fetched>> {
    let record = &mut taken.claim.record;
    if drain.ending.cause().is_none() {
        record.note(POSTPONED, None, Some(&format!("{error:#}")));
        if record.count(POSTPONED) >= drain.options.max_attempts as usize {
            let message = format!("{error:#}; tried in {} rounds", record.count(POSTPONED));
            return Err(Error::new(ErrorKind::FetchFailed, message)
                .hint("see that the address answers, then run `ourvidz queue retry`")
                .into());
        }
    }
    drain
        .hand_back(&taken.claim, "a reference's server does not answer")
        .await;
    Ok(None)
}
