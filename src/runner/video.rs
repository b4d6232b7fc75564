//! Videos, and pictures of one frame, with WAN.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::loader::{Ability, Loaded, Pipeline};
use super::run::{Finished, Run, Runner, notes};
use super::store::{self, Encoded};
use super::{image_request, images, inputs};
use crate::fail;
use crate::job::{Format, Job, Output as Kind, Video};
use crate::media;
use crate::media::frames::Frame;
use crate::media::manifest::{Made, Manifest, Output, ReferenceRecord, frames_sha256};
use crate::media::png::Texts;
use crate::media::read::Probe;
use crate::media::video::{Fps, VideoFormat, VideoSettings};
use crate::pipelines::{self, Event, References, VideoOutput, VideoRequest};

/// What came out for all seeds of a job.
struct Rendered {
    /// The frames of each seed.
    clips: Vec<Vec<Frame>>,
    timings: BTreeMap<&'static str, Duration>,
    /// The facts of the last run; all runs of a job share them.
    facts: VideoOutput,
}

pub(super) fn make(runner: &mut Runner, job: &Job, video: &Video, run: &mut Run<'_>) -> Result<Finished> {
    let model = run.model()?;
    let (references, records) = inputs::of_video(job, video)?;
    let strain = &run.strain;
    let progress = &mut run.progress;
    let mut observer = |event: Event| progress.observe(event);
    let (loaded, load_time) = runner.loader.get(model, Ability::Video, &mut observer)?;
    let Pipeline::Video(pipeline) = &mut loaded.pipeline else {
        fail!(Internal, "model `{}` was not loaded for videos", model.name);
    };
    let mut rendered: Option<Rendered> = None;
    for &seed in &job.seeds {
        let request = VideoRequest {
            vae_tiling: video.vae_tiling || strain.vae_tiling,
            ..request(video, &references, seed)
        };
        let mut output = pipeline.text_to_video(&request, &mut observer)?;
        output.notes.extend(strain.notes.iter().cloned());
        check_frames(video, seed, &output.frames)?;
        let frames = std::mem::take(&mut output.frames);
        let all = rendered.get_or_insert_with(|| Rendered {
            clips: Vec::new(),
            timings: BTreeMap::new(),
            facts: output.clone(),
        });
        all.clips.push(frames);
        for (stage, time) in &output.timings {
            *all.timings.entry(stage).or_default() += *time;
        }
    }
    let Some(mut rendered) = rendered else {
        fail!(Internal, "a job without seeds");
    };
    *rendered.timings.entry("load").or_default() += load_time.unwrap_or_default();
    let loras = image_request::lora_records(&video.diffusion, Some(&runner.settings.cache_dir))?;
    let manifest = manifest(job, loaded, &rendered, (records, loras));
    // A stage of its own: minutes may lie between encoding and the last step.
    observer(Event::Stage("store"))?;
    finish(job, video, rendered, manifest, run)
}

fn finish(
    job: &Job,
    video: &Video,
    rendered: Rendered,
    manifest: Manifest,
    run: &Run<'_>,
) -> Result<Finished> {
    let mut metadata = Map::new();
    metadata.insert("reference_mode".into(), json!(video.references.mode()));
    let (assets, store_time) = store::timed(|| {
        store::check_golden(job, &rendered.clips[0][0], run.folder)?;
        let files = encode(job, video, &rendered, &manifest, &mut metadata)?;
        run.progress.check()?;
        let assets = store::store(run.folder, files)?;
        if run.thumbnails {
            let of_clips = assets.len() == rendered.clips.len();
            let frame = |index: usize| match of_clips {
                true => rendered.clips.get(index)?.first(),
                false => rendered.clips.iter().flatten().nth(index),
            };
            store::thumbnails(run.folder, &assets, frame)?;
        }
        Ok(assets)
    })?;
    let mut timings = rendered.timings;
    timings.insert("store", store_time);
    Ok(Finished {
        manifest: Some(manifest),
        assets,
        timings,
        metadata,
        ..Finished::default()
    })
}

/// The request in the pipeline's words.
fn request(video: &Video, references: &References, seed: u64) -> VideoRequest {
    let d = &video.diffusion;
    VideoRequest {
        prompt: d.prompt.clone(),
        negative_prompt: d.negative_prompt.clone(),
        seed,
        num_frames: video.frames as usize,
        num_inference_steps: d.steps as usize,
        guidance_scale: d.guidance_scale,
        width_px: d.width as usize,
        height_px: d.height as usize,
        scheduler: d.scheduler.clone(),
        flow_shift: video.flow_shift,
        references: references.clone(),
        loras: image_request::loras(d),
        vae_tiling: video.vae_tiling,
    }
}

/// # Errors
/// `BadOutput` for a video that is black from beginning to end, `Internal` for missing frames.
fn check_frames(video: &Video, seed: u64, frames: &[Frame]) -> Result<()> {
    if frames.len() != video.frames as usize {
        fail!(
            Internal,
            "{} frames were asked for and {} came",
            video.frames,
            frames.len()
        );
    }
    if frames.iter().all(Frame::is_all_black) {
        fail!(
            BadOutput,
            "the output of seed {seed} is all black"; "try --dtype f32, or another seed"
        );
    }
    Ok(())
}

fn manifest(
    job: &Job,
    loaded: &Loaded,
    rendered: &Rendered,
    (references, weights): (Vec<ReferenceRecord>, Vec<ReferenceRecord>),
) -> Manifest {
    let facts = &rendered.facts;
    let mut notes = notes(job);
    notes.extend(facts.notes.iter().cloned());
    let outputs = rendered.clips.iter().zip(&job.seeds).enumerate();
    Manifest::new(Made {
        spec: json!(job.manifest_spec()),
        seeds: &job.seeds,
        negative_prompt: job.diffusion().and_then(|d| d.negative_prompt.as_deref()),
        model: images::model_record(job, loaded),
        scheduler: &facts.scheduler,
        effective_steps: facts.effective_steps,
        prompt_tokens: &[vec![facts.prompt_tokens]],
        device: &loaded.device,
        dtype: &loaded.dtype,
        attention: pipelines::attention_used(),
        outputs: outputs
            .map(|(index, (clip, &seed))| Output::of(index, seed, clip))
            .collect(),
        references,
        weights,
        notes,
    })
}

/// The files of a job; what is said of a video's length is read from its encoded form.
fn encode(
    job: &Job,
    video: &Video,
    rendered: &Rendered,
    manifest: &Manifest,
    metadata: &mut Map<String, Value>,
) -> Result<Vec<Encoded>> {
    let format = video.diffusion.format;
    if job.kind.output == Kind::Png {
        let pictures: Vec<Frame> = rendered.clips.iter().flatten().cloned().collect();
        return images::encode(job, manifest, &pictures);
    }
    let clip = &rendered.clips[0];
    metadata.insert("fps".into(), json!(video.fps));
    metadata.insert("frames".into(), json!(clip.len()));
    let Format::Video(container) = format else {
        fail!(Internal, "a video as {}", format.name());
    };
    if container == VideoFormat::PngFrames {
        let files = images::encode(job, manifest, clip)?;
        check_total(&files, job.kind.limit_bytes)?;
        return Ok(files);
    }
    let settings = VideoSettings {
        format: container,
        fps: Fps::new(video.fps)?,
        crf: job.kind.crf,
    };
    let texts = Texts {
        manifest: &manifest.to_json(),
        parameters: &manifest.parameters(0),
    };
    let bytes = media::video::encode(clip, &settings, &texts, job.kind.limit_bytes)?;
    let probe = media::read::probe_bytes(&bytes)?;
    check_probe(clip, &probe)?;
    metadata.insert("fps".into(), json!(probe.fps));
    metadata.insert("frames".into(), json!(probe.frames));
    metadata.insert("duration_seconds".into(), json!(probe.duration_s));
    Ok(vec![Encoded {
        bytes,
        pixels_sha256: frames_sha256(clip),
        seed: job.seeds[0],
        format,
        duration_s: Some(probe.duration_s),
    }])
}

/// The limit of a video holds for all its frames together.
///
/// # Errors
/// `OutputTooLarge`.
fn check_total(files: &[Encoded], limit_bytes: u64) -> Result<()> {
    let total: u64 = files.iter().map(|file| file.bytes.len() as u64).sum();
    if total > limit_bytes {
        fail!(
            OutputTooLarge, "the {} frames take {total} bytes together, over the limit of {limit_bytes} bytes for this job type", files.len();
            "ask for fewer frames or a smaller size, or take --format mp4"
        );
    }
    Ok(())
}

/// # Errors
/// `BadOutput` when the encoder wrote something else than it was given.
fn check_probe(clip: &[Frame], probe: &Probe) -> Result<()> {
    let given = (clip.len() as u64, clip[0].width, clip[0].height);
    if (probe.frames, probe.width, probe.height) != given {
        fail!(
            BadOutput, "the encoder wrote {} frames of {}x{} for {} of {}x{}",
            probe.frames, probe.width, probe.height, given.0, given.1, given.2;
            "run `ourvidz doctor` for the FFmpeg at hand, or take --format png-frames"
        );
    }
    Ok(())
}
