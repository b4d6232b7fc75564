//! `queue status`: what waits, runs, failed and was not delivered, and how long it will take.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::super::common::{print, surroundings, table};
use super::super::queue_parts::{Known, open, place};
use crate::cli::{Place as ModelPlace, QueueStatus};
use crate::progress::Volume;
use crate::queue::{Access, QueueName, Record, Running, Snapshot};

/// Completed jobs from which times are learned.
const LEARN_FROM: usize = 200;

/// Prints the state of a queue.
///
/// # Errors
/// Of the queue, and `Io` when stdout fails.
pub async fn run(args: &QueueStatus) -> Result<u8> {
    let (settings, registry) = surroundings(&ModelPlace::default(), Volume::Quiet)?;
    let place = place(args.queue.as_deref(), &settings)?;
    let known = Arc::new(Known::new(registry));
    let queue = open(&place, Access::Look, &settings, false, known).await?;
    let snapshot = queue.snapshot().await?;
    let recent = queue.recent(LEARN_FROM).await?;
    let status = Status::of(&snapshot, &recent, Timestamp::now());
    let text = match args.json {
        true => format!("{}\n", status.json()),
        false => status.text(&queue.shown()),
    };
    print(&text)?;
    Ok(0)
}

/// Mean seconds of completed jobs by type.
#[derive(Debug, Default, PartialEq)]
struct Times(BTreeMap<String, f64>);

impl Times {
    fn of(recent: &[Record]) -> Self {
        let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
        for record in recent {
            if let (Some(kind), Some(from), Some(to)) =
                (&record.job_type, record.started_at, record.finished_at)
            {
                let (seconds, jobs) = sums.entry(kind.clone()).or_default();
                *seconds += to.duration_since(from).as_secs_f64().max(0.0);
                *jobs += 1.0;
            }
        }
        Self(
            sums.into_iter()
                .map(|(kind, (seconds, jobs))| (kind, seconds / jobs))
                .collect(),
        )
    }
}

/// The old system's bands.
fn band(seconds: f64) -> &'static str {
    match seconds {
        s if s <= 0.0 => "immediate",
        s if s < 60.0 => "< 1 min",
        s if s < 180.0 => "1-3 mins",
        s if s < 600.0 => "3-10 mins",
        _ => "> 10 mins",
    }
}

struct Status<'a> {
    snapshot: &'a Snapshot,
    now: Timestamp,
    depth: BTreeMap<&'static str, (usize, Option<f64>)>,
    /// By queue: how long a job that is added now waits; `None` while a type was never measured.
    eta: BTreeMap<&'static str, Option<&'static str>>,
}

impl<'a> Status<'a> {
    fn of(snapshot: &'a Snapshot, recent: &[Record], now: Timestamp) -> Self {
        let times = Times::of(recent);
        let mut depth: BTreeMap<&str, (usize, Option<f64>)> =
            QueueName::ALL.iter().map(|q| (q.name(), (0, None))).collect();
        for waiting in &snapshot.waiting {
            let Some(queue) = waiting.queue else { continue };
            let age = now.duration_since(waiting.queued_at).as_secs_f64().max(0.0);
            let (count, oldest) = depth.entry(queue.name()).or_default();
            *count += 1;
            *oldest = Some(oldest.map_or(age, |o: f64| o.max(age)));
        }
        let eta = QueueName::ALL
            .iter()
            .map(|&queue| (queue.name(), wait_s(snapshot, queue, &times, now).map(band)))
            .collect();
        Self {
            snapshot,
            now,
            depth,
            eta,
        }
    }

    fn undelivered(&self) -> usize {
        self.snapshot.outbox.waiting + self.snapshot.outbox.given_up
    }

    fn json(&self) -> Value {
        let queues: Map<String, Value> = self
            .depth
            .iter()
            .map(|(queue, (depth, oldest_s))| {
                let oldest_s = oldest_s.map(|s| (s * 10.0).round() / 10.0);
                (
                    (*queue).to_string(),
                    json!({"depth": depth, "oldest_s": oldest_s}),
                )
            })
            .collect();
        json!({
            "queues": queues,
            "running": self.snapshot.running,
            "done": self.snapshot.done,
            "dead": self.snapshot.dead,
            "undelivered": self.undelivered(),
            "etaEstimates": self.eta,
            "workers": self.workers(),
            "timestamp": self.now.to_string(),
        })
    }

    /// Workers by what they work on, as the older system's metrics told them.
    fn workers(&self) -> Value {
        let mut workers: BTreeMap<&str, Vec<Value>> = ["chat", "sdxl", "wan"]
            .into_iter()
            .map(|family| (family, Vec::new()))
            .collect();
        for running in &self.snapshot.running {
            let record = json!({
                "worker": running.worker,
                "device": running.device,
                "status": "busy",
                "job_id": running.id,
                "since": running.since.to_string(),
            });
            workers.entry(family(running)).or_default().push(record);
        }
        json!(workers)
    }

    fn text(&self, shown: &str) -> String {
        let mut text = format!("queue {}\n", crate::text::escaped(shown));
        let mut rows = vec![
            ["queue", "waiting", "oldest", "wait for a new job"]
                .map(String::from)
                .to_vec(),
        ];
        for (queue, (depth, oldest)) in &self.depth {
            let eta = self
                .eta
                .get(queue)
                .copied()
                .flatten()
                .unwrap_or("not measured yet");
            rows.push(vec![
                (*queue).to_string(),
                depth.to_string(),
                oldest.map_or_else(|| "-".into(), age),
                eta.into(),
            ]);
        }
        text += &table(&rows);
        if !self.snapshot.running.is_empty() {
            let mut rows = vec![
                ["running", "type", "worker", "device", "for", "step"]
                    .map(String::from)
                    .to_vec(),
            ];
            for running in &self.snapshot.running {
                rows.push(vec![
                    running.id.clone(),
                    running.job_type.clone().unwrap_or_default(),
                    running.worker.clone(),
                    running.device.clone(),
                    age(self.now.duration_since(running.since).as_secs_f64()),
                    format!("{}/{}", running.step, running.total),
                ]);
            }
            text += &table(&rows);
        }
        let Snapshot { done, dead, .. } = self.snapshot;
        let _ = writeln!(
            text,
            "{done} done, {dead} dead, {} callbacks not delivered",
            self.undelivered()
        );
        text
    }
}

/// How long a job waits that is added to `queue` now: everything before it, shared by the workers
/// that run.
fn wait_s(snapshot: &Snapshot, queue: QueueName, times: &Times, now: Timestamp) -> Option<f64> {
    let before = snapshot.waiting.iter().filter(|w| w.queue == Some(queue));
    let mut seconds = 0.0;
    for waiting in before {
        seconds += times.0.get(waiting.job_type.as_ref()?)?;
    }
    let ours = |running: &&Running| family(running) == family_of(queue);
    for running in snapshot.running.iter().filter(ours) {
        let passed = now.duration_since(running.since).as_secs_f64().max(0.0);
        seconds += (times.0.get(running.job_type.as_ref()?)? - passed).max(0.0);
    }
    Some(seconds / snapshot.running.len().max(1) as f64)
}

fn family(running: &Running) -> &'static str {
    let kind = running.job_type.as_deref().and_then(crate::job::kinds::find);
    match kind.map(|kind| kind.family) {
        Some(crate::job::Family::Sdxl) => "sdxl",
        Some(crate::job::Family::Wan) => "wan",
        _ => "chat",
    }
}

fn family_of(queue: QueueName) -> &'static str {
    match queue {
        QueueName::Sdxl => "sdxl",
        QueueName::Chat => "chat",
        QueueName::Wan => "wan",
    }
}

/// Seconds as people read them.
fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..=59 => format!("{seconds} s"),
        60..=3599 => format!("{} min", seconds / 60),
        3600..=86_399 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Waiting;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn done(job_type: &str, seconds: i64) -> Record {
        let mut record = Record::new("a", None, at(0));
        record.job_type = Some(job_type.into());
        record.started_at = Some(at(0));
        record.finished_at = Some(at(seconds));
        record
    }

    fn waiting(queue: QueueName, job_type: &str) -> Waiting {
        Waiting {
            id: "a".into(),
            job_type: Some(job_type.into()),
            queue: Some(queue),
            affinity: None,
            queued_at: at(900),
        }
    }

    #[test]
    fn waits_are_told_in_the_old_bands_from_measured_times() {
        let recent = [
            done("sdxl_image_fast", 30),
            done("sdxl_image_fast", 50),
            done("video_fast", 700),
        ];
        let snapshot = Snapshot {
            waiting: vec![
                waiting(QueueName::Sdxl, "sdxl_image_fast"),
                waiting(QueueName::Sdxl, "sdxl_image_fast"),
                waiting(QueueName::Wan, "video_fast"),
            ],
            ..Snapshot::default()
        };
        let status = Status::of(&snapshot, &recent, at(1000)).json();
        assert_eq!(
            status["etaEstimates"],
            json!({"sdxl_queue": "1-3 mins", "chat_queue": "immediate", "wan_queue": "> 10 mins"})
        );
        assert_eq!(
            status["queues"]["sdxl_queue"],
            json!({"depth": 2, "oldest_s": 100.0})
        );
        assert_eq!(
            status["queues"]["chat_queue"],
            json!({"depth": 0, "oldest_s": null})
        );
        assert_eq!(status["workers"], json!({"chat": [], "sdxl": [], "wan": []}));
    }

    #[test]
    fn what_was_never_measured_has_no_estimate() {
        let snapshot = Snapshot {
            waiting: vec![waiting(QueueName::Sdxl, "sdxl_image_fast")],
            ..Snapshot::default()
        };
        assert_eq!(
            Status::of(&snapshot, &[], at(1000)).json()["etaEstimates"]["sdxl_queue"],
            Value::Null
        );
    }

    #[test]
    fn every_band_has_its_bounds() {
        let bands = [0.0, 59.9, 60.0, 180.0, 600.0].map(band);
        assert_eq!(
            bands,
            ["immediate", "< 1 min", "1-3 mins", "3-10 mins", "> 10 mins"]
        );
    }
}
