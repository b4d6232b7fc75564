//! What can be measured inside the process: loading a model, and pictures, videos and answers of it.

use anyhow::Result;
use burn::tensor::Device;

use super::shapes;
use super::synthetic::{Component, Synthetic};
use super::{Case, Laps, Repeat, Stage, machine, memory, repeat};
use crate::fail;
use crate::models::sdxl_unet::UNetConfig;
use crate::models::sdxl_vae::VaeConfig;
use crate::pipelines::Residency;
use crate::pipelines::embedded::SDXL_BASE;
use crate::pipelines::qwen::{Message, Role, Sampling, TextRequest};
use crate::pipelines::{self, Event, ImageRequest, LoadOptions, VideoRequest};
use crate::registry::{ModelFamily, ModelSpec};

/// What is asked of a model that draws.
const PROMPT: &str = "a red circle on a white background, centred, plain, in the manner of a sign";
/// Tokens of an answer: enough for the rate to settle.
const ANSWER_TOKENS: usize = 32;

/// A model to measure, and what is known of its shapes.
#[derive(Debug, Clone)]
pub struct Subject {
    pub spec: ModelSpec,
    /// `None` for models whose shapes are not counted.
    pub synthetic: Option<Synthetic>,
}

/// One set of values of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Values {
    pub width_px: usize,
    pub height_px: usize,
    pub frames: usize,
    pub steps: usize,
    pub batch: usize,
    pub guidance_scale: f64,
}

impl Values {
    fn shown(&self, family: ModelFamily) -> String {
        let size = format!("{}x{}", self.width_px, self.height_px);
        match family {
            ModelFamily::Wan => format!("{size} frames {} steps {}", self.frames, self.steps),
            ModelFamily::Qwen => String::new(),
            _ => format!("{size} batch {} steps {}", self.batch, self.steps),
        }
    }

    /// Rows that guidance computes together.
    fn rows(&self) -> u64 {
        self.batch as u64 * if self.guidance_scale > 1.0 { 2 } else { 1 }
    }
}

/// Loads the model as often as asked.
///
/// # Errors
/// Whatever is wrong with its files or the device.
pub fn load(subject: &Subject, options: &LoadOptions, repeated: &Repeat) -> Result<Case> {
    // Its digest is computed once and remembered: that is no part of loading.
    pipelines::model_hash(&subject.spec, options.cache_dir.as_deref())?;
    machine::reset_peak();
    let stages = repeat(repeated, |laps| {
        laps.begin("load");
        match subject.spec.family {
            ModelFamily::Wan => drop(pipelines::open_video(
                &subject.spec,
                options,
                Residency::Keep,
                &mut |_| Ok(()),
            )?),
            ModelFamily::Qwen => drop(pipelines::open_text(&subject.spec, options, &mut |_| Ok(()))?),
            _ => drop(pipelines::open(&subject.spec, options, &mut |_| Ok(()))?),
        }
        options.device.sync()?;
        laps.end();
        Ok(())
    })?;
    Ok(case(
        format!("load {}", subject.spec.name),
        subject,
        stages,
        options,
    ))
}

/// Pictures, videos or answers, by the model's family.
///
/// # Errors
/// As [`load`], and whatever ends the work.
pub fn run(subject: &Subject, values: &Values, options: &LoadOptions, repeated: &Repeat) -> Result<Case> {
    pipelines::model_hash(&subject.spec, options.cache_dir.as_deref())?;
    machine::reset_peak();
    let mut stages = match subject.spec.family {
        ModelFamily::Wan => videos(subject, values, options, repeated)?,
        ModelFamily::Qwen => answers(subject, options, repeated)?,
        ModelFamily::Sdxl | ModelFamily::Mock => pictures(subject, values, options, repeated)?,
    };
    count(subject, values, &mut stages)?;
    let name = format!("{} {}", subject.spec.name, values.shown(subject.spec.family));
    Ok(case(name.trim().to_string(), subject, stages, options))
}

fn case(name: String, subject: &Subject, stages: Vec<Stage>, options: &LoadOptions) -> Case {
    let (peak_host_bytes, peak_device_bytes) = memory(&options.device);
    Case {
        name,
        dtype: options
            .precision_for(&subject.spec)
            .ok()
            .map(|p| p.name().to_string()),
        stages,
        peak_host_bytes,
        peak_device_bytes,
    }
}

fn pictures(
    subject: &Subject,
    values: &Values,
    options: &LoadOptions,
    repeated: &Repeat,
) -> Result<Vec<Stage>> {
    let mut pipeline = pipelines::open(&subject.spec, options, &mut |_| Ok(()))?;
    let request = ImageRequest {
        prompt: PROMPT.into(),
        negative_prompt: Some(String::new()),
        seeds: (0..values.batch as u64).collect(),
        num_inference_steps: values.steps,
        guidance_scale: values.guidance_scale,
        width_px: values.width_px,
        height_px: values.height_px,
        ..ImageRequest::default()
    };
    repeat(repeated, |laps| {
        let made = pipeline.text_to_image(&request, &mut |event| {
            observe(event, laps, &options.device, repeated)
        });
        usable(made.map(drop), subject)
    })
}

fn videos(
    subject: &Subject,
    values: &Values,
    options: &LoadOptions,
    repeated: &Repeat,
) -> Result<Vec<Stage>> {
    let mut pipeline = pipelines::open_video(&subject.spec, options, Residency::Keep, &mut |_| Ok(()))?;
    let request = VideoRequest {
        prompt: PROMPT.into(),
        negative_prompt: None,
        seed: 0,
        num_frames: values.frames,
        num_inference_steps: values.steps,
        guidance_scale: values.guidance_scale,
        width_px: values.width_px,
        height_px: values.height_px,
        scheduler: None,
        flow_shift: None,
        references: pipelines::References::default(),
        loras: Vec::new(),
        vae_tiling: false,
    };
    repeat(repeated, |laps| {
        let made = pipeline.text_to_video(&request, &mut |event| {
            observe(event, laps, &options.device, repeated)
        });
        usable(made.map(drop), subject)
    })
}

/// Random weights may draw a picture that a job would be refused; its time counts all the same.
fn usable(made: Result<()>, subject: &Subject) -> Result<()> {
    match made {
        Err(error)
            if subject.synthetic.is_some()
                && crate::error::kind_of(&error) == crate::error::ErrorKind::BadOutput =>
        {
            Ok(())
        }
        other => other,
    }
}

/// Waits for the device where a stage ends, so that each stage gets its own time.
fn observe(event: Event, laps: &mut Laps, device: &Device, repeated: &Repeat) -> Result<()> {
    repeated.stop.check()?;
    if let Event::Stage(stage) = event {
        device.sync()?;
        laps.begin(stage);
    }
    Ok(())
}

fn answers(subject: &Subject, options: &LoadOptions, repeated: &Repeat) -> Result<Vec<Stage>> {
    let mut model = pipelines::open_text(&subject.spec, options, &mut |_| Ok(()))?;
    let message = Message {
        role: Role::User,
        content: [PROMPT; 4].join(". "),
    };
    let request = TextRequest {
        messages: vec![message],
        sampling: Sampling::GREEDY,
        seed: 0,
        max_new_tokens: ANSWER_TOKENS,
    };
    let (mut prompt_tokens, mut generated) = (0, 0);
    let mut stages = repeat(repeated, |laps| {
        laps.begin("prefill");
        let mut first = true;
        let output = model.generate(&request, &mut |_| {
            if std::mem::take(&mut first) {
                laps.begin("decode");
            }
            repeated.stop.check()
        })?;
        laps.end();
        (prompt_tokens, generated) = (output.prompt_tokens, output.tokens_generated);
        Ok(())
    })?;
    if generated < 2 {
        fail!(
            BadOutput,
            "model `{}`: it answered {generated} tokens, too few to time",
            subject.spec.name
        );
    }
    for stage in &mut stages {
        let tokens = if stage.stage == "prefill" {
            prompt_tokens
        } else {
            generated - 1
        };
        stage.unit = Some(("tokens".into(), tokens as f64));
    }
    Ok(stages)
}

/// Adds rates, and for full-size models what the shapes say.
fn count(subject: &Subject, values: &Values, stages: &mut [Stage]) -> Result<()> {
    for stage in stages.iter_mut().filter(|s| s.stage == "denoise") {
        stage.unit = Some(("it".into(), values.steps as f64));
    }
    let Some(synthetic) = &subject.synthetic else {
        return Ok(());
    };
    let components = synthetic.components()?;
    for stage in stages {
        let (flop, bytes) = match synthetic.family {
            ModelFamily::Sdxl => sdxl(&stage.stage, &components, values)?,
            ModelFamily::Wan => wan(&stage.stage, &components, synthetic, values),
            _ => qwen(stage, &components),
        };
        stage.flop = flop.map(|n| n as f64);
        stage.bytes = bytes.map(|n| n as f64);
    }
    Ok(())
}

fn tensors<'a>(components: &'a [Component], folder: &str) -> &'a [super::synthetic::Wanted] {
    let found = components.iter().find(|c| c.folder == folder);
    found.map_or(&[], |c| &c.tensors)
}

/// Stored weights have two bytes each.
fn weight_bytes(components: &[Component], folder: &str) -> u64 {
    2 * shapes::parameters(tensors(components, folder))
}

fn sdxl(stage: &str, components: &[Component], values: &Values) -> Result<(Option<u64>, Option<u64>)> {
    let latents = [values.height_px as u64 / 8, values.width_px as u64 / 8];
    let steps = values.steps as u64;
    Ok(match stage {
        "encode" => {
            let flop = |folder| shapes::text_encoder(tensors(components, folder), 2 * 77);
            let bytes = weight_bytes(components, "text_encoder") + weight_bytes(components, "text_encoder_2");
            (Some(flop("text_encoder") + flop("text_encoder_2")), Some(bytes))
        }
        "denoise" => {
            let config: UNetConfig = SDXL_BASE.json("unet/config.json")?;
            let row = shapes::unet(tensors(components, "unet"), &config, latents);
            (
                Some(row * values.rows() * steps),
                Some(weight_bytes(components, "unet") * steps),
            )
        }
        "decode" => {
            let config: VaeConfig = SDXL_BASE.json("vae/config.json")?;
            let row = shapes::vae_decode(tensors(components, "vae"), &config, latents);
            (Some(row * values.batch as u64), None)
        }
        _ => (None, None),
    })
}

fn wan(
    stage: &str,
    components: &[Component],
    model: &Synthetic,
    values: &Values,
) -> (Option<u64>, Option<u64>) {
    let steps = values.steps as u64;
    match stage {
        "encode" => {
            let text = tensors(components, "text_encoder");
            (
                Some(values.rows() * shapes::text_encoder(text, 512)),
                Some(weight_bytes(components, "text_encoder")),
            )
        }
        "denoise" => {
            let tokens = shapes::wan_tokens(
                values.frames as u64,
                values.width_px as u64,
                values.height_px as u64,
            );
            let row =
                shapes::wan_transformer(tensors(components, "transformer"), &model.transformer(), tokens);
            (
                Some(row * values.rows() * steps),
                Some(weight_bytes(components, "transformer") * values.rows() * steps),
            )
        }
        _ => (None, None),
    }
}

fn qwen(stage: &Stage, components: &[Component]) -> (Option<u64>, Option<u64>) {
    let tokens = stage.unit.as_ref().map_or(0, |(_, count)| *count as u64);
    let weights = tensors(components, "");
    let passes = if stage.stage == "prefill" { 1 } else { tokens };
    (
        Some(shapes::text_encoder(weights, tokens)),
        Some(2 * shapes::parameters(weights) * passes),
    )
}
