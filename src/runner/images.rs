//! Pictures with SDXL.

use anyhow::Result;
use serde_json::json;

use super::image_request;
use super::loader::{Ability, Loaded, Pipeline};
use super::run::{Finished, Run, Runner, notes};
use super::store::{self, Encoded};
use crate::fail;
use crate::job::{Format, Images, Job};
use crate::media::frames::Frame;
use crate::media::manifest::{Made, Manifest, ModelRecord, Output, ReferenceRecord, frames_sha256};
use crate::media::png;
use crate::pipelines::image::VaeTiling;
use crate::pipelines::{self, Event, ImageOutput, ImageRequest};
use crate::registry::Source;

/// What an autoencoder that ran out of memory tries next.
const TILES: VaeTiling = VaeTiling {
    tile_px: None,
    overlap: 0.25,
};

pub(super) fn make(runner: &mut Runner, images: &Images, run: &mut Run<'_>) -> Result<Finished> {
    let (job, model) = (run.job, run.model()?);
    let mut built = image_request::build(job, images, Some(&runner.settings.cache_dir))?;
    let strain = &run.strain;
    let progress = &mut run.progress;
    let mut observer = |event: Event| progress.observe(event);
    let (loaded, load_time) = runner.loader.get(model, Ability::Image, &mut observer)?;
    let Pipeline::Image(pipeline) = &mut loaded.pipeline else {
        fail!(Internal, "model `{}` was not loaded for pictures", model.name);
    };
    let seeds = &job.seeds;
    let mut parts = seeds.chunks(strain.batch.unwrap_or(seeds.len()));
    let request = |part: &[u64]| ImageRequest {
        seeds: part.to_vec(),
        vae_tiling: built.request.vae_tiling.or(strain.vae_tiling.then_some(TILES)),
        ..built.request.clone()
    };
    let mut output = pipeline.text_to_image(&request(parts.next().unwrap_or(seeds)), &mut observer)?;
    for part in parts {
        let more = pipeline.text_to_image(&request(part), &mut observer)?;
        output.frames.extend(more.frames);
        for (stage, time) in more.timings {
            *output.timings.entry(stage).or_default() += time;
        }
    }
    output.notes.extend(strain.notes.iter().cloned());
    check_frames(seeds, &output.frames)?;
    let references = std::mem::take(&mut built.references);
    let weights = std::mem::take(&mut built.weights);
    let manifest = manifest(job, loaded, &output, (references, weights));
    let mut timings = output.timings;
    timings.extend(load_time.map(|time| ("load", time)));
    let (assets, store_time) = store::timed(|| {
        let encoded = encode(job, &manifest, &output.frames)?;
        store::check_golden(job, &output.frames[0], run.folder)?;
        let assets = store::store(run.folder, encoded)?;
        if run.thumbnails {
            store::thumbnails(run.folder, &assets, |index| output.frames.get(index))?;
        }
        Ok(assets)
    })?;
    timings.insert("store", store_time);
    Ok(Finished {
        manifest: Some(manifest),
        assets,
        timings,
        ..Finished::default()
    })
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
pub(super) fn model_record(job: &Job, loaded: &Loaded) -> ModelRecord {
    ModelRecord {
        name: job.model_name().unwrap_or_default().into(),
        hash: loaded.hash.clone(),
        embedded: job.model.as_ref().is_some_and(|m| m.source == Source::Embedded),
    }
}

/// Records of pictures, and of weights beside the model.
type Records = (Vec<ReferenceRecord>, Vec<ReferenceRecord>);

fn manifest(job: &Job, loaded: &Loaded, output: &ImageOutput, (references, weights): Records) -> Manifest {
    let mut notes = notes(job);
    notes.extend(output.notes.iter().cloned());
    let outputs = output.frames.iter().zip(&job.seeds).enumerate();
    Manifest::new(Made {
        spec: json!(job.manifest_spec()),
        seeds: &job.seeds,
        negative_prompt: job.diffusion().and_then(|d| d.negative_prompt.as_deref()),
        model: model_record(job, loaded),
        scheduler: &output.scheduler,
        effective_steps: output.effective_steps,
        prompt_tokens: &output.prompt_tokens,
        device: &loaded.device,
        dtype: &loaded.dtype,
        attention: pipelines::attention_used(),
        outputs: outputs
            .map(|(index, (frame, &seed))| Output::of(index, seed, std::slice::from_ref(frame)))
            .collect(),
        references,
        weights,
        notes,
    })
}

/// One PNG per frame, each with the manifest and its own parameters.
pub(super) fn encode(job: &Job, manifest: &Manifest, frames: &[Frame]) -> Result<Vec<Encoded>> {
    let json = manifest.to_json();
    let limit = job.kind.limit_bytes;
    frames
        .iter()
        .enumerate()
        .map(|(index, frame)| {
            // The frames of a video share its seed.
            let output = index.min(job.seeds.len() - 1);
            let texts = png::Texts {
                manifest: &json,
                parameters: &manifest.parameters(output),
            };
            Ok(Encoded {
                bytes: png::encode(frame, &texts, limit)?,
                pixels_sha256: frames_sha256(std::slice::from_ref(frame)),
                seed: job.seeds[output],
                format: Format::Png,
                duration_s: None,
            })
        })
        .collect()
}
