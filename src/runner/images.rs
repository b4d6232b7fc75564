//! Pictures with SDXL.

use anyhow::Result;

use super::loader::{Ability, Loaded, Pipeline};
use super::store::{self, Encoded};
use super::{Finished, Limits, Runner, Strain, Task, notes};
use crate::fail;
use crate::job::{Format, Images};
use crate::media::frames::Frame;
use crate::media::manifest::{Made, Manifest, ModelRecord, Output};
use crate::media::png;
use crate::pipelines::{Event, ImageOutput, ImageRequest};
use crate::registry::Source;

pub(super) fn make(
    runner: &mut Runner<'_>,
    task: &Task,
    images: &Images,
    limits: Limits<'_>,
    strain: &Strain,
) -> Result<Finished> {
    let reporter = &mut *runner.reporter;
    let mut observer = |event: Event| {
        reporter.event(&task.job.id, &event);
        limits.check()
    };
    let (loaded, load_time) = runner.loader.get(task.model(), Ability::Image, &mut observer)?;
    let Pipeline::Image(pipeline) = &mut loaded.pipeline else {
        fail!(
            Internal,
            "model `{}` was not loaded for pictures",
            task.model().name
        );
    };
    let seeds = &task.job.seeds;
    let mut parts = seeds.chunks(strain.batch.unwrap_or(seeds.len()));
    let mut output =
        pipeline.text_to_image(&request(parts.next().unwrap_or(seeds), images), &mut observer)?;
    for part in parts {
        let more = pipeline.text_to_image(&request(part, images), &mut observer)?;
        output.frames.extend(more.frames);
        for (stage, time) in more.timings {
            *output.timings.entry(stage).or_default() += time;
        }
    }
    output.notes.extend(strain.notes.iter().cloned());
    check_frames(seeds, &output.frames)?;
    let manifest = manifest(task, loaded, &output);
    let mut timings = output.timings;
    timings.extend(load_time.map(|time| ("load", time)));
    let (assets, store_time) = store::timed(|| {
        let encoded = encode(task, &manifest, &output.frames)?;
        store::check_golden(task, &output.frames[0])?;
        store::store(task, encoded)
    })?;
    timings.insert("store", store_time);
    Ok(Finished {
        manifest: Some(manifest),
        assets,
        timings,
        ..Finished::default()
    })
}

/// The request in the pipeline's words.
fn request(seeds: &[u64], images: &Images) -> ImageRequest {
    let d = &images.diffusion;
    ImageRequest {
        prompt: d.prompt.clone(),
        negative_prompt: d.negative_prompt.clone(),
        seeds: seeds.to_vec(),
        num_inference_steps: d.steps as usize,
        guidance_scale: d.guidance_scale,
        width_px: d.width as usize,
        height_px: d.height as usize,
        scheduler: d.scheduler.clone(),
        truncate_prompt: images.truncate_prompt,
        deterministic: images.deterministic,
        ..ImageRequest::default()
    }
}

/// # Errors
/// `BadOutput` for an all-black picture, `Internal` for a missing one.
pub(super) fn check_frames(seeds: &[u64], frames: &[Frame]) -> Result<()> {
    if frames.len() != seeds.len() {
        fail!(
            Internal,
            "{} images were asked for and {} came",
            seeds.len(),
            frames.len()
        );
    }
    if let Some(index) = frames.iter().position(Frame::is_all_black) {
        fail!(
            BadOutput,
            "image {index} (seed {}) is all black", seeds[index];
            "try --dtype f32, or another seed"
        );
    }
    Ok(())
}

/// Which weights a result is attributed to.
pub(super) fn model_record(task: &Task, loaded: &Loaded) -> ModelRecord {
    ModelRecord {
        name: task.model().name.clone(),
        hash: loaded.hash.clone(),
        embedded: task.model().source == Source::Embedded,
    }
}

fn manifest(task: &Task, loaded: &Loaded, output: &ImageOutput) -> Manifest {
    let mut notes = notes(task);
    notes.extend(output.notes.iter().cloned());
    let outputs = output.frames.iter().zip(&task.job.seeds).enumerate();
    Manifest::new(Made {
        job: &task.job,
        model: model_record(task, loaded),
        scheduler: &output.scheduler,
        effective_steps: output.effective_steps,
        prompt_tokens: &output.prompt_tokens,
        device: &loaded.device,
        dtype: &loaded.dtype,
        outputs: outputs
            .map(|(index, (frame, &seed))| Output::of(index, seed, std::slice::from_ref(frame)))
            .collect(),
        notes,
    })
}

/// One PNG per frame, each with the manifest and its own parameters.
pub(super) fn encode(task: &Task, manifest: &Manifest, frames: &[Frame]) -> Result<Vec<Encoded>> {
    let json = manifest.to_json();
    let limit = task.job.kind.limit_bytes;
    frames
        .iter()
        .enumerate()
        .map(|(index, frame)| {
            // The frames of a video share its seed.
            let output = index.min(task.job.seeds.len() - 1);
            let texts = png::Texts {
                manifest: &json,
                parameters: &manifest.parameters(output),
            };
            Ok(Encoded {
                bytes: png::encode(frame, &texts, limit)?,
                seed: task.job.seeds[output],
                format: Format::Png,
                duration_s: None,
            })
        })
        .collect()
}
