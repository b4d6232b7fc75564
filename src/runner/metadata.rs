//! `metadata` of a callback: only what is true of the job.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Task, notes};
use crate::callback::{Asset, Report, Status, error_record};
use crate::job::{Family, JobSpec};
use crate::media::manifest::Manifest;

/// The report for one status of a job.
pub fn report(
    task: &Task,
    status: Status,
    assets: &[Asset],
    error: Option<&anyhow::Error>,
    metadata: Map<String, Value>,
) -> Report {
    Report {
        job_id: task.job.id.clone(),
        user_id: task.job.spec.user_id.clone(),
        status,
        assets: assets.to_vec(),
        error_message: error.map(|e| format!("{e:#}")),
        metadata,
    }
}

/// What is settled before any work: the producer's own fields, then ours over them.
pub fn begun(task: &Task) -> Map<String, Value> {
    let job = &task.job;
    let mut metadata = job.spec.metadata.clone();
    metadata.insert("job_type".into(), json!(job.type_name));
    metadata.insert("model".into(), json!(job.model));
    metadata.insert("seed".into(), json!(job.seeds.first()));
    metadata.insert("seeds".into(), json!(job.seeds));
    metadata.insert("num_images".into(), json!(job.seeds.len()));
    metadata.insert("steps".into(), json!(job.steps));
    metadata.insert("guidance_scale".into(), json!(job.guidance_scale));
    metadata.insert("width".into(), json!(job.width));
    metadata.insert("height".into(), json!(job.height));
    if let Some(scheduler) = &job.scheduler {
        metadata.insert("scheduler".into(), json!(scheduler));
    }
    if let Some(worker) = worker(job.kind.family) {
        metadata.insert("worker_used".into(), json!(worker));
    }
    metadata.insert(
        "compel_enabled".into(),
        json!(job.spec.compel_enabled.unwrap_or(false)),
    );
    metadata.insert("enhancement_strategy".into(), json!("none"));
    metadata.insert("notes".into(), json!(notes(task)));
    metadata.insert("ignored".into(), json!(job.ignored));
    metadata
}

/// What a finished job adds.
pub fn completed(
    task: &Task,
    manifest: &Manifest,
    assets: &[Asset],
    timings: &BTreeMap<&'static str, Duration>,
    time: Duration,
) -> Map<String, Value> {
    let mut metadata = begun(task);
    metadata.insert("scheduler".into(), json!(manifest.scheduler));
    metadata.insert("effective_steps".into(), json!(manifest.effective_steps));
    metadata.insert("model_hash".into(), json!(manifest.model.hash));
    metadata.insert("device".into(), json!(manifest.device));
    metadata.insert("dtype".into(), json!(manifest.dtype));
    metadata.insert("generation_time".into(), seconds(time));
    let stages: Map<String, Value> = timings
        .iter()
        .map(|(stage, &time)| ((*stage).to_string(), seconds(time)))
        .collect();
    metadata.insert("timings".into(), stages.into());
    metadata.insert("notes".into(), json!(manifest.notes));
    let outputs: Vec<Value> = assets
        .iter()
        .map(|a| json!({"index": a.index, "seed": a.seed, "bytes": a.bytes, "sha256": a.sha256}))
        .collect();
    metadata.insert("outputs".into(), outputs.into());
    metadata.insert("manifest".into(), json!(manifest));
    metadata
}

/// What a failed job adds.
pub fn failed(task: &Task, error: &anyhow::Error, time: Duration) -> Map<String, Value> {
    let mut metadata = begun(task);
    metadata.insert("generation_time".into(), seconds(time));
    metadata.insert("error".into(), error_record(error));
    metadata
}

/// The worker of the older system that did such jobs; receivers tell results apart by it.
fn worker(family: Family) -> Option<&'static str> {
    match family {
        Family::Sdxl => Some("sdxl"),
        Family::Wan => Some("wan"),
        Family::Qwen => Some("chat"),
        Family::None => None,
    }
}

/// Seconds, to the millisecond.
fn seconds(time: Duration) -> Value {
    json!((time.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// What can be said of a job that never started.
pub fn refused(spec: &JobSpec, error: &anyhow::Error) -> Map<String, Value> {
    let mut metadata = spec.metadata.clone();
    if let Some(job_type) = &spec.job_type {
        metadata.insert("job_type".into(), json!(job_type));
    }
    if let Some(model) = &spec.model {
        metadata.insert("model".into(), json!(model));
    }
    metadata.insert("notes".into(), json!(spec.notes));
    metadata.insert("ignored".into(), json!(spec.ignored));
    metadata.insert("error".into(), error_record(error));
    metadata
}
