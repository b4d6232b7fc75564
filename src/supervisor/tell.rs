//! What a drain tells: JSON lines on stdout for programs, log lines on stderr for people, and the
//! numbers at its end.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Write};

use anyhow::Result;
use serde_json::{Value, json};

use crate::error::{Error, ErrorKind};
use crate::events::Event;
use crate::ndjson;
use crate::outcome::Status;

/// Speaks for a drain.
pub struct Teller {
    json: bool,
    /// The first failure of stdout other than a closed pipe; nothing is written after one.
    stdout: RefCell<Stdout>,
    tally: RefCell<Tally>,
}

#[derive(Default)]
struct Stdout {
    closed: bool,
    failure: Option<io::Error>,
}

/// What was done so far.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub completed: u64,
    /// Failed and cancelled.
    pub failed: u64,
    pub released: u64,
    /// What the failed ones failed by.
    pub failures: Vec<ErrorKind>,
    /// Jobs by type and outcome.
    pub jobs: BTreeMap<(String, &'static str), u64>,
    /// Seconds by stage of all completed jobs.
    pub stages: BTreeMap<String, f64>,
    /// Bytes in memory by model, summed over the workers, by worker.
    pub models: BTreeMap<String, BTreeMap<String, u64>>,
    pub delivered: u64,
}

impl Teller {
    /// With `json`, stdout carries one event a line.
    pub fn new(json: bool) -> Self {
        Self {
            json,
            stdout: RefCell::default(),
            tally: RefCell::default(),
        }
    }

    pub fn tally(&self) -> Tally {
        self.tally.borrow().clone()
    }

    /// A job is ours.
    pub fn claimed(&self, job_id: &str, job_type: Option<&str>, attempt: u32) {
        tracing::debug!(job = job_id, job_type, attempt, "claimed");
        self.line(json!({"event": "claimed", "job_id": job_id, "type": job_type, "attempt": attempt}));
    }

    /// What a worker says of a job.
    pub fn event(&self, worker: &str, event: &Event) {
        match event {
            Event::Job { job_id, summary } => tracing::info!(job = job_id, worker, "begins: {summary}"),
            Event::Stage { job_id, stage } => tracing::debug!(job = job_id, worker, "stage {stage}"),
            Event::Step {
                job_id,
                stage,
                done,
                total,
            } => {
                tracing::trace!(job = job_id, worker, "{stage} {done} of {total}");
            }
            Event::Writing { .. } => {}
            Event::Note { text } | Event::Info { text } => tracing::info!(worker, "{text}"),
            Event::Detail { text } => tracing::debug!(worker, "{text}"),
        }
        if let Some(line) = ndjson::line(event) {
            self.line(line);
        }
    }

    /// A job's files are in the store.
    pub fn uploaded(&self, job_id: &str, keys: &[&str]) {
        tracing::debug!(job = job_id, files = keys.len(), "uploaded");
        self.line(json!({"event": "uploaded", "job_id": job_id, "assets": keys}));
    }

    /// A job has its outcome, which is stored; `body` is that of its callback.
    pub fn settled(&self, job: &Ended<'_>, body: &Value) {
        let outcome = job.status.name();
        let mut tally = self.tally.borrow_mut();
        let job_type = job.job_type.unwrap_or("unknown").to_string();
        *tally.jobs.entry((job_type, outcome)).or_default() += 1;
        match job.error {
            None => {
                tally.completed += 1;
                for (stage, seconds) in job.timings {
                    *tally.stages.entry(stage.clone()).or_default() += seconds;
                }
                tracing::info!(job = job.id, seconds = job.seconds, "completed");
            }
            Some((kind, message)) => {
                tally.failed += 1;
                tally.failures.push(kind);
                tracing::error!(job = job.id, code = kind.code(), "{outcome}: {message}");
            }
        }
        drop(tally);
        self.line(ndjson::result(body));
    }

    /// A job was handed back, or lost to somebody else.
    pub fn released(&self, job_id: &str, why: &str) {
        self.tally.borrow_mut().released += 1;
        tracing::info!(job = job_id, "handed back: {why}");
        self.line(json!({"event": "released", "job_id": job_id, "reason": why}));
    }

    /// A callback arrived.
    pub fn delivered(&self, job_id: &str) {
        self.tally.borrow_mut().delivered += 1;
        tracing::info!(job = job_id, "callback delivered");
        self.line(json!({"event": "delivered", "job_id": job_id}));
    }

    /// A worker was started, is ready, or has ended.
    pub fn worker(&self, worker: &str, device: &str, state: &str, detail: &str) {
        tracing::info!(
            worker,
            device,
            "worker {state}{}{detail}",
            if detail.is_empty() { "" } else { ": " }
        );
        self.line(
            json!({"event": "worker", "worker": worker, "device": device, "state": state, "detail": detail}),
        );
    }

    /// What a worker's models take.
    pub fn models(&self, worker: &str, models: BTreeMap<String, u64>) {
        self.tally.borrow_mut().models.insert(worker.into(), models);
    }

    /// # Errors
    /// `Io` when stdout failed other than by a reader that left.
    pub fn finish(&self) -> Result<()> {
        match self.stdout.borrow_mut().failure.take() {
            Some(e) => {
                Err(Error::new(ErrorKind::Io, format!("standard output: writing failed ({e})")).into())
            }
            None => Ok(()),
        }
    }

    fn line(&self, value: Value) {
        let mut stdout = self.stdout.borrow_mut();
        if !self.json || stdout.closed {
            return;
        }
        let mut out = io::stdout().lock();
        if let Err(e) = writeln!(out, "{value}").and_then(|()| out.flush()) {
            stdout.closed = true;
            if e.kind() != io::ErrorKind::BrokenPipe {
                stdout.failure = Some(e);
            }
        }
    }
}

/// What is told of a job at its end.
pub struct Ended<'a> {
    pub id: &'a str,
    pub job_type: Option<&'a str>,
    pub status: Status,
    pub error: Option<(ErrorKind, &'a str)>,
    pub timings: &'a BTreeMap<String, f64>,
    pub seconds: f64,
}

/// The tally as Prometheus reads it; `depth` is how many wait in each queue.
pub fn metrics(
    tally: &Tally,
    depth: &BTreeMap<&'static str, usize>,
    dead: usize,
    undelivered: usize,
) -> String {
    let mut text = Exposition::default();
    text.head(
        "ourvidz_jobs_total",
        "counter",
        "Jobs that this drain brought to an outcome.",
    );
    for ((job_type, outcome), count) in &tally.jobs {
        text.sample(&[("type", job_type), ("outcome", outcome)], *count as f64);
    }
    text.head(
        "ourvidz_jobs_released_total",
        "counter",
        "Jobs that this drain handed back.",
    );
    text.sample(&[], tally.released as f64);
    text.head(
        "ourvidz_stage_seconds_total",
        "counter",
        "Time of completed jobs by stage.",
    );
    for (stage, seconds) in &tally.stages {
        text.sample(&[("stage", stage)], *seconds);
    }
    text.head(
        "ourvidz_callbacks_delivered_total",
        "counter",
        "Callbacks that this drain delivered.",
    );
    text.sample(&[], tally.delivered as f64);
    text.head("ourvidz_queue_depth", "gauge", "Jobs that wait.");
    for (queue, count) in depth {
        text.sample(&[("queue", queue)], *count as f64);
    }
    text.head("ourvidz_dead_jobs", "gauge", "Jobs that failed and are kept.");
    text.sample(&[], dead as f64);
    text.head("ourvidz_undelivered_callbacks", "gauge", "Callbacks that wait.");
    text.sample(&[], undelivered as f64);
    text.head("ourvidz_model_memory_bytes", "gauge", "Memory of loaded models.");
    for (worker, models) in &tally.models {
        for (model, bytes) in models {
            text.sample(&[("worker", worker), ("model", model)], *bytes as f64);
        }
    }
    text.0
}

/// The text format of Prometheus, version 0.0.4.
#[derive(Default)]
struct Exposition(String, String);

impl Exposition {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.0
            .push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        self.1 = name.into();
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        let escaped = |v: &str| v.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        let labels = match labels.is_empty() {
            true => String::new(),
            false => format!("{{{}}}", labels.join(",")),
        };
        self.0.push_str(&format!("{}{labels} {value}\n", self.1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_reads_jobs_stages_depth_and_memory() {
        let mut tally = Tally::default();
        tally.jobs.insert(("sdxl_image_fast".into(), "completed"), 2);
        tally.stages.insert("denoise".into(), 1.5);
        tally
            .models
            .insert("w".into(), BTreeMap::from([("a\"b".to_string(), 10)]));
        let text = metrics(&tally, &BTreeMap::from([("sdxl_queue", 3)]), 1, 0);
        for line in [
            "# TYPE ourvidz_jobs_total counter",
            "ourvidz_jobs_total{type=\"sdxl_image_fast\",outcome=\"completed\"} 2",
            "ourvidz_stage_seconds_total{stage=\"denoise\"} 1.5",
            "ourvidz_queue_depth{queue=\"sdxl_queue\"} 3",
            "ourvidz_dead_jobs 1",
            "ourvidz_model_memory_bytes{worker=\"w\",model=\"a\\\"b\"} 10",
        ] {
            assert!(text.lines().any(|l| l == line), "no `{line}` in:\n{text}");
        }
    }
}
