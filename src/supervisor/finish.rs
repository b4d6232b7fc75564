//! From a worker's outcome to a settled job: its files stored, its record and callback kept in one
//! step, everybody told. Whatever is no job's own fault hands the job back instead.

use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep};

use super::drain::Drain;
use super::held::{Ready, Taken};
use super::lease::Hold;
use super::run::End;
use super::tell::Ended;
use super::upload::{recorded, reported, timings, upload, with_stored};
use crate::error::{Error, ErrorKind, kind_of};
use crate::files::points::point;
use crate::job::JobSpec;
use crate::outbox::body::{self, Report, body};
use crate::outbox::envelope::{Envelope, now_ms, webhook_id};
use crate::outcome::{Failure, Outcome, Status};
use crate::queue::{Claim, Lease, Settled, Trouble};
use crate::store::{Stored, key};

/// The pause before an outcome is offered to an unreachable queue again.
const SETTLE_PAUSE: Duration = Duration::from_millis(500);

/// Event names in a record's history.
const CRASHED: &str = "worker_crashed";
const TIMED_OUT: &str = "timed_out";

/// Brings a job that ran to its end, whatever that was.
pub async fn finish(drain: Rc<Drain>, ready: Ready, end: End, worker: String) {
    let staging = ready.order.staging.clone();
    match end {
        End::Outcome(outcome) => on_outcome(&drain, ready, *outcome).await,
        End::Cancelled => {
            let error = Error::new(ErrorKind::Cancelled, "cancelled while it ran")
                .hint("add it again if it is wanted");
            fail_ready(&drain, ready, Status::Cancelled, &error.into()).await;
        }
        End::Crashed(how) => crashed(&drain, ready, &worker, &how).await,
        End::TimedOut => timed_out(&drain, ready, &worker).await,
        End::Interrupted(why) => drain.hand_back(&ready.claim, &why).await,
        End::Lost => drain.released(ready.claim.id(), "somebody else has it"),
    }
    // What is left goes with the whole folder.
    let _ = std::fs::remove_dir_all(&staging);
}

async fn on_outcome(drain: &Rc<Drain>, mut ready: Ready, outcome: Outcome) {
    if outcome.status == Status::Completed {
        return match upload(drain, &mut ready, &outcome).await {
            Ok(Some(stored)) => complete(drain, ready, outcome, stored).await,
            Ok(None) => {}
            Err(error) => fail_ready(drain, ready, Status::Failed, &error).await,
        };
    }
    let failure = outcome.error.unwrap_or_else(|| Failure::of(&unexplained()));
    match failure.kind() {
        // Its disk failed, not the job.
        ErrorKind::CannotWrite | ErrorKind::Io => {
            let error = failure.to_error().into();
            drain.hand_back(&ready.claim, &failure.message).await;
            drain.ending.fault(&error);
        }
        kind => {
            let status = match kind {
                ErrorKind::Cancelled => Status::Cancelled,
                _ => Status::Failed,
            };
            ready.claim.record.attempts += 1;
            let Ready {
                claim, hold, spec, ..
            } = ready;
            let taken = Taken { claim, hold, spec };
            settle(drain, taken, status, Some(failure), &[], outcome.metadata).await;
        }
    }
}

fn unexplained() -> anyhow::Error {
    Error::new(ErrorKind::Internal, "the worker gave no reason").into()
}

async fn crashed(drain: &Rc<Drain>, mut ready: Ready, worker: &str, how: &str) {
    let record = &mut ready.claim.record;
    record.attempts += 1;
    record.note(CRASHED, Some(worker), Some(how));
    if record.attempts < drain.options.max_attempts {
        return drain.hand_back(&ready.claim, "its worker died").await;
    }
    let error = Error::new(
        ErrorKind::WorkerCrashed,
        format!(
            "its worker died {} times while it ran; the last one {how}",
            record.attempts
        ),
    )
    .hint("run it alone with `ourvidz generate` to see what happens, then `ourvidz queue retry`");
    fail_ready(drain, ready, Status::Failed, &error.into()).await;
}

async fn timed_out(drain: &Rc<Drain>, mut ready: Ready, worker: &str) {
    let limit = drain.options.job_timeout.as_secs_f64();
    let record = &mut ready.claim.record;
    record.attempts += 1;
    record.note(TIMED_OUT, Some(worker), Some(&format!("over {limit} s")));
    if drain.options.retry_timeouts && record.attempts < drain.options.max_attempts {
        return drain.hand_back(&ready.claim, "it ran over its time").await;
    }
    let error = Error::new(ErrorKind::TimedOut, format!("over its time limit of {limit} s"))
        .hint("raise --job-timeout, or ask for fewer steps, frames or pixels");
    fail_ready(drain, ready, Status::Failed, &error.into()).await;
}

async fn fail_ready(drain: &Rc<Drain>, ready: Ready, status: Status, error: &anyhow::Error) {
    let metadata = drain.jobs.failed(&ready.job, error, ready.begun.elapsed());
    let Ready {
        claim, hold, spec, ..
    } = ready;
    fail(drain, Taken { claim, hold, spec }, status, error, metadata).await;
}

/// Settles a job that failed.
pub async fn fail(
    drain: &Rc<Drain>,
    taken: Taken,
    status: Status,
    error: &anyhow::Error,
    metadata: Map<String, Value>,
) {
    settle(drain, taken, status, Some(Failure::of(error)), &[], metadata).await;
}

async fn complete(drain: &Rc<Drain>, ready: Ready, outcome: Outcome, stored: Vec<Stored>) {
    let Ready {
        mut claim,
        hold,
        spec,
        ..
    } = ready;
    let record = &mut claim.record;
    record.attempts += 1;
    record.timings = timings(&outcome.metadata);
    record.assets = recorded(&outcome, &stored);
    let keys: Vec<&str> = stored.iter().map(|s| s.key.as_str()).collect();
    drain.teller.uploaded(&record.id, &keys);
    let assets = match reported(drain, &outcome, &stored).await {
        Ok(assets) => assets,
        Err(error) => {
            drain.hand_back(&claim, &format!("{error:#}")).await;
            return drain.ending.fault(&error);
        }
    };
    let metadata = with_stored(outcome.metadata, &stored);
    settle(
        drain,
        Taken { claim, hold, spec },
        Status::Completed,
        None,
        &assets,
        metadata,
    )
    .await;
}

/// Writes `callback.json`, then record and callback in one step, then tells everybody.
async fn settle(
    drain: &Rc<Drain>,
    taken: Taken,
    status: Status,
    failure: Option<Failure>,
    assets: &[body::Asset],
    mut metadata: Map<String, Value>,
) {
    let Taken {
        mut claim,
        hold,
        spec,
    } = taken;
    let (url, note) = drain.receiver(&spec);
    if let Some(note) = note {
        add_note(&mut metadata, note);
    }
    let report = Report {
        job_id: claim.id().into(),
        user_id: spec.user_id.clone(),
        status: match status {
            Status::Completed => body::Status::Completed,
            Status::Failed | Status::Cancelled => body::Status::Failed,
        },
        assets: assets.to_vec(),
        error_message: failure.as_ref().map(|f| f.message.clone()),
        metadata,
    };
    let told = body(drain.options.callback.format, &report);
    let text = told.to_string();
    let has_other_outcome = matches!(claim.trouble, Some(Trouble::Conflict { same_id: true, .. }));
    let record = &mut claim.record;
    let envelope = url.filter(|_| !has_other_outcome).map(|url| {
        let digest = record.spec_sha256.as_deref().unwrap_or_default();
        let round = u32::try_from(record.count("retried")).unwrap_or(u32::MAX);
        let webhook_id = webhook_id(&record.id, digest, status, round);
        Envelope::new(webhook_id, &record.id, &url, text.clone(), now_ms())
    });
    record.webhook_id = envelope.as_ref().map(|e| e.webhook_id.clone());
    record.outcome = Some(status);
    record.error.clone_from(&failure);
    record.finished_at = Some(Timestamp::now());
    if hold.state() == Lease::Lost {
        return drain.released(claim.id(), "somebody else has it");
    }
    if !matches!(claim.trouble, Some(Trouble::Conflict { .. }))
        && let Err(error) = write_callback(drain, &spec, claim.id(), &hold, text).await
    {
        drain.hand_back(&claim, &format!("{error:#}")).await;
        return drain.ending.fault(&error);
    }
    point("drain:before-settle");
    match offer(drain, &claim, envelope.as_ref()).await {
        Ok(Settled::Yes) => {
            point("drain:after-settle");
            told_all(drain, &claim, &told);
            if envelope.is_some() {
                drain.deliverer.wake();
            }
        }
        Ok(Settled::Lost) => drain.released(claim.id(), "somebody else has it"),
        // The outcome may be half-way down: the next drain, or whoever takes the lease over, finishes
        // it or runs the job again.
        Err(error) => drain
            .ending
            .fault(&error.context(format!("job `{}`", claim.id()))),
    }
}

fn add_note(metadata: &mut Map<String, Value>, note: String) {
    let notes = metadata.entry("notes").or_insert_with(|| json!([]));
    if let Some(notes) = notes.as_array_mut() {
        notes.push(note.into());
    }
}

/// `callback.json` beside the assets. It is written before the job is settled: a crash in between
/// runs the job again, which writes it again.
async fn write_callback(drain: &Drain, spec: &JobSpec, id: &str, hold: &Hold, text: String) -> Result<()> {
    drain.check_store().await?;
    let key = key(spec.user_id.as_deref(), id, "callback.json");
    if hold.state() == Lease::Lost {
        return Ok(());
    }
    point("drain:before-callback-file");
    drain
        .store
        .replace(&key, Bytes::from(text), "application/json")
        .await
        .with_context(|| format!("job `{id}`"))?;
    point("drain:after-callback-file");
    Ok(())
}

/// Offers the outcome until the queue takes it, as long as the lease may still be ours.
async fn offer(drain: &Drain, claim: &Claim, envelope: Option<&Envelope>) -> Result<Settled> {
    let until = Instant::now() + drain.options.lease;
    loop {
        match drain.queue.settle(claim, envelope).await {
            Err(error)
                if kind_of(&error) == ErrorKind::Unavailable
                    && Instant::now() < until
                    && drain.ending.cause().is_none() =>
            {
                tracing::warn!(job = claim.id(), "the outcome is not taken yet: {error:#}");
                sleep(SETTLE_PAUSE).await;
            }
            other => return other,
        }
    }
}

fn told_all(drain: &Drain, claim: &Claim, body: &Value) {
    let record = &claim.record;
    let seconds = match (record.started_at, record.finished_at) {
        (Some(from), Some(to)) => to.duration_since(from).as_secs_f64(),
        _ => 0.0,
    };
    let ended = Ended {
        id: &record.id,
        job_type: record.job_type.as_deref(),
        status: record.outcome.unwrap_or(Status::Failed),
        error: record.error.as_ref().map(|e| (e.kind(), e.message.as_str())),
        timings: &record.timings,
        seconds,
    };
    drain.teller.settled(&ended, body);
}
