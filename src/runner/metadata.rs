//! `metadata` of a callback: only what is true of the job.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::run::{Finished, notes};
use crate::job::{Family, Follow, Job, JobSpec, Output, Strategy, Work};
use crate::outcome::{Asset, Failure};

/// Names under which only this program speaks.
const OURS: &[&str] = &[
    "error",
    "outputs",
    "references",
    "spec_sha256",
    "manifest",
    "timings",
    "generation_time",
    "model",
    "model_hash",
    "device",
    "dtype",
    "scheduler",
    "effective_steps",
    "steps",
    "seed",
    "seeds",
    "seed_drawn",
    "num_images",
    "guidance_scale",
    "width",
    "height",
    "format",
    "frames",
    "fps",
    "duration_seconds",
    "flow_shift",
    "reference_mode",
    "strength",
    "memory_pressure",
    "worker_used",
    "job_type",
    "compel_enabled",
    "compel_weights",
    "prompt_syntax",
    "response",
    "tokens_generated",
    "prompt_tokens",
    "finish_reason",
    "original_prompt",
    "enhanced_prompt",
    "quality_score",
    "quality_criteria",
    "notes",
    "ignored",
];

/// The producer's fields, without those that would pass for ours.
fn producers_own(spec: &JobSpec) -> Map<String, Value> {
    let is_ours = |name: &str| {
        let of_enhancement = name.starts_with("enhancement_") && name != "enhancement_type";
        OURS.contains(&name) || of_enhancement
    };
    let mut metadata = spec.metadata.clone();
    metadata.retain(|name, _| !is_ours(name));
    metadata
}

/// What is settled before any work: the producer's own fields, then ours over them.
pub fn begun(job: &Job) -> Map<String, Value> {
    let mut metadata = producers_own(&job.spec);
    metadata.insert("job_type".into(), json!(job.type_name));
    metadata.insert("spec_sha256".into(), json!(job.spec_sha256));
    if let Some(model) = job.model_name() {
        metadata.insert("model".into(), json!(model));
    }
    if !job.seeds.is_empty() {
        metadata.insert("seed".into(), json!(job.seeds[0]));
        metadata.insert("seeds".into(), json!(job.seeds));
    }
    if let Some(d) = job.diffusion() {
        metadata.insert("num_images".into(), json!(job.seeds.len()));
        metadata.insert("steps".into(), json!(d.steps));
        metadata.insert("guidance_scale".into(), json!(d.guidance_scale));
        metadata.insert("width".into(), json!(d.width));
        metadata.insert("height".into(), json!(d.height));
        metadata.insert("format".into(), json!(d.format.name()));
        if let Some(scheduler) = &d.scheduler {
            metadata.insert("scheduler".into(), json!(scheduler));
        }
    }
    if let Some(video) = job.video() {
        metadata.insert("frames".into(), json!(video.frames));
        if job.kind.output == Output::Mp4 {
            metadata.insert("fps".into(), json!(video.fps));
        }
        // Left out, it is the model's own.
        if let Some(shift) = video.flow_shift {
            metadata.insert("flow_shift".into(), json!(shift));
        }
        metadata.insert("reference_mode".into(), json!(video.references.mode()));
    }
    if let Work::Images(images) = &job.work
        && let Some(follow) = &images.follow
    {
        metadata.insert("reference_mode".into(), json!(follow.mode()));
        if let Follow::Start { strength, .. } = follow {
            metadata.insert("strength".into(), json!(strength));
        }
    }
    if let Some(worker) = worker(job.kind.family) {
        metadata.insert("worker_used".into(), json!(worker));
    }
    if job.kind.draws() {
        metadata.insert(
            "compel_enabled".into(),
            json!(job.spec.compel_enabled.unwrap_or(false)),
        );
        let strategy = match &job.work {
            Work::Images(images) => images.strategy,
            _ => Strategy::None,
        };
        metadata.insert("enhancement_strategy".into(), json!(strategy.name()));
        if let Some(weights) = &job.spec.compel_weights {
            metadata.insert("compel_weights".into(), json!(weights));
        }
        if let Work::Images(images) = &job.work {
            metadata.insert("prompt_syntax".into(), json!(images.prompt_syntax.name()));
        }
    }
    metadata.insert("notes".into(), json!(notes(job)));
    metadata.insert("ignored".into(), json!(job.ignored));
    metadata
}

/// What a finished job adds.
pub(super) fn completed(job: &Job, finished: &Finished, time: Duration) -> Map<String, Value> {
    let mut metadata = begun(job);
    metadata.insert("generation_time".into(), seconds(time));
    let stages: Map<String, Value> = finished
        .timings
        .iter()
        .map(|(stage, &time)| ((*stage).to_string(), seconds(time)))
        .collect();
    metadata.insert("timings".into(), stages.into());
    if let Some(manifest) = &finished.manifest {
        metadata.insert("scheduler".into(), json!(manifest.scheduler));
        metadata.insert("effective_steps".into(), json!(manifest.effective_steps));
        metadata.insert("model_hash".into(), json!(manifest.model.hash));
        metadata.insert("device".into(), json!(manifest.device));
        metadata.insert("dtype".into(), json!(manifest.dtype));
        metadata.insert("notes".into(), json!(manifest.notes));
        if !manifest.references.is_empty() {
            metadata.insert("references".into(), json!(manifest.references));
        }
        metadata.insert("outputs".into(), outputs(&finished.assets));
        metadata.insert("manifest".into(), json!(manifest));
    }
    metadata.extend(finished.metadata.clone());
    metadata
}

/// What is said of each file.
pub fn outputs(assets: &[Asset]) -> Value {
    assets.iter().map(output).collect()
}

fn output(asset: &Asset) -> Value {
    let mut record =
        json!({"index": asset.index, "seed": asset.seed, "bytes": asset.bytes, "sha256": asset.sha256});
    if let Some(duration_s) = asset.duration_s {
        record["duration_seconds"] = duration_s.into();
    }
    record
}

/// What a failed job adds.
pub fn failed(job: &Job, error: &anyhow::Error, time: Duration) -> Map<String, Value> {
    let mut metadata = begun(job);
    metadata.insert("generation_time".into(), seconds(time));
    metadata.insert("error".into(), json!(Failure::of(error)));
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
    let mut metadata = producers_own(spec);
    if let Some(job_type) = &spec.job_type {
        metadata.insert("job_type".into(), json!(job_type));
    }
    if let Some(model) = &spec.model {
        metadata.insert("model".into(), json!(model));
    }
    metadata.insert("notes".into(), json!(spec.notes));
    metadata.insert("ignored".into(), json!(spec.ignored));
    metadata.insert("error".into(), json!(Failure::of(error)));
    metadata
}
