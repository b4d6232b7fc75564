//! Stable Diffusion XL (Podell et al. 2023), text to image, as diffusers'
//! `StableDiffusionXLPipeline` computes it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::image::{MicroConditioning, PromptSyntax, SamplingOptions};
use super::loras::Adapters;
use super::{Event, ImageOutput, ImagePipeline, ImageRequest, Observer};
use crate::device::Precision;
use crate::fail;
use crate::media::frames::Frame;
use crate::models::sdxl_unet::Conditioning;
use crate::nn::noise::TorchGenerator;
use crate::registry::ModelSpec;
use crate::schedulers::{self, SchedulerConfig};

mod loras;
pub mod parts;
mod prompt;

use parts::{Layout, Parts};
use prompt::PromptEmbeds;

/// A loaded SDXL model on one device.
pub struct SdxlPipeline {
    parts: Parts,
    device: Device,
    dtype: DType,
    adapters: Adapters,
}

impl SdxlPipeline {
    /// # Errors
    /// Missing, broken or unfitting files, each named.
    pub fn load(spec: &ModelSpec, device: &Device, precision: Precision) -> Result<Self> {
        let mut parts = Layout::of(spec)?.load(device, precision)?;
        if let Some(name) = &spec.scheduler {
            parts.scheduler = parts
                .scheduler
                .with_scheduler(name)
                .with_context(|| format!("model `{}` in models.toml", spec.name))?;
        }
        Ok(Self {
            parts,
            device: device.clone(),
            dtype: precision.dtype(),
            adapters: Adapters::default(),
        })
    }

    fn scheduler_for(&self, request: &ImageRequest) -> Result<SchedulerConfig> {
        match &request.scheduler {
            Some(name) => self.parts.scheduler.with_scheduler(name),
            None => Ok(self.parts.scheduler.clone()),
        }
    }

    fn check(&self, request: &ImageRequest) -> Result<()> {
        let multiple = self.parts.vae.config.scale_factor();
        for (field, value) in [("width", request.width_px), ("height", request.height_px)] {
            if value == 0 || !value.is_multiple_of(multiple) {
                fail!(
                    InvalidSpec,
                    "{field} is {value}; this model needs a multiple of {multiple}, above 0"
                );
            }
        }
        if request.seeds.is_empty() {
            fail!(InvalidSpec, "num_images is 0; at least one seed is needed");
        }
        Ok(())
    }

    /// Denoises one batch: one generator, and so one picture, per seed.
    fn denoise(
        &self,
        request: &ImageRequest,
        seeds: &[u64],
        embeds: &PromptEmbeds,
        scheduler: &SchedulerConfig,
        on_step: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Tensor<4>> {
        let vae = &self.parts.vae.config;
        let (height, width) = (
            request.height_px / vae.scale_factor(),
            request.width_px / vae.scale_factor(),
        );
        let shape = [1, vae.latent_channels, height, width];
        let mut generators: Vec<TorchGenerator> =
            seeds.iter().map(|&seed| TorchGenerator::new(seed)).collect();
        let mut noise = || {
            let drawn = generators
                .iter_mut()
                .map(|g| g.randn_like_shape(shape, &self.device))
                .collect();
            Tensor::cat(drawn, 0)
        };

        let guided = request.guidance_scale > 1.0;
        let prepared = self
            .parts
            .unet
            .prepare(&self.conditioning(request, guided, embeds));
        let prepared = prepared.for_images(seeds.len());
        let mut scheduler = schedulers::build::<4>(scheduler, request.num_inference_steps)?;
        let mut latents = noise() * scheduler.init_noise_sigma();
        for (i, t) in scheduler.timesteps().to_vec().into_iter().enumerate() {
            let input = scheduler.scale_model_input(latents.clone(), i);
            let input = if guided {
                Tensor::cat(vec![input.clone(), input], 0)
            } else {
                input
            };
            let noise_pred = self
                .parts
                .unet
                .forward(input.cast(self.dtype), &[t as f32], &prepared, None);
            let noise_pred = guide(noise_pred.cast(DType::F32), guided, request.guidance_scale);
            latents = scheduler.step(noise_pred, i, latents, &mut noise);
            on_step()?;
        }
        Ok(latents)
    }

    /// The branches in diffusers' order: the unconditional row, then the conditional one.
    fn conditioning(&self, request: &ImageRequest, guided: bool, embeds: &PromptEmbeds) -> Conditioning {
        let branches = if guided {
            vec![&embeds.uncond, &embeds.cond]
        } else {
            vec![&embeds.cond]
        };
        let (height, width) = (request.height_px as f32, request.width_px as f32);
        let rows = |f: &dyn Fn(&prompt::Embeds) -> Tensor<3>| {
            Tensor::cat(branches.iter().map(|b| f(b)).collect(), 0)
        };
        Conditioning {
            encoder_hidden_states: rows(&|b| b.prompt_embeds.clone()),
            text_embeds: rows(&|b| b.pooled_prompt_embeds.clone().unsqueeze_dim(1)).squeeze_dim(1),
            time_ids: vec![vec![height, width, 0.0, 0.0, height, width]; branches.len()],
            guidance: None,
        }
    }

    /// Latents to pictures, one at a time: decoding needs the most memory of all stages.
    fn decode(&self, latents: Tensor<4>) -> Result<Vec<Frame>> {
        let count = latents.dims()[0];
        (0..count)
            .map(|i| {
                let one = self.parts.vae.unscale(latents.clone().narrow(0, i, 1));
                to_frame(self.parts.vae.decode(one))
            })
            .collect()
    }
}

/// Names what a request asks for and this build does not do.
fn check_built(request: &ImageRequest) -> Result<()> {
    let asked = [
        ("image", request.init.is_some()),
        ("controls", !request.controls.is_empty()),
        ("ip_adapters", !request.ip_adapters.is_empty()),
        ("refiner", request.refiner.is_some()),
        ("hires", request.hires.is_some()),
        ("freeu", request.freeu.is_some()),
        ("vae_tiling", request.vae_tiling.is_some()),
        ("vae", request.vae.is_some()),
        ("prompt_syntax", request.prompt_syntax != PromptSyntax::Plain),
        ("guidance_rescale", request.guidance_rescale != 0.0),
        (
            "cfg_interval",
            request.cfg_interval.is_some() || request.guided_steps.is_some(),
        ),
        ("denoising_start", request.denoising_start.is_some()),
        ("denoising_end", request.denoising_end.is_some()),
        (
            "timesteps or another sampler setting",
            request.sampling != SamplingOptions::default(),
        ),
        (
            "original_size or another size",
            request.sizes != MicroConditioning::default(),
        ),
    ];
    if let Some((field, _)) = asked.iter().find(|(_, asked)| *asked) {
        fail!(NotBuilt, "{field} is given, which this build does not do yet"; "leave it out");
    }
    Ok(())
}

/// Classifier-free guidance (Ho & Salimans 2022).
fn guide(noise_pred: Tensor<4>, guided: bool, guidance_scale: f64) -> Tensor<4> {
    if !guided {
        return noise_pred;
    }
    let [uncond, cond]: [Tensor<4>; 2] = noise_pred
        .chunk(2, 0)
        .try_into()
        .expect("both branches are in the batch");
    uncond.clone() + (cond - uncond) * guidance_scale
}

/// # Errors
/// `BadOutput` when a value is not a number.
fn to_frame(image: Tensor<4>) -> Result<Frame> {
    let [_, channels, height, width] = image.dims();
    assert_eq!(channels, 3, "the autoencoder decodes to RGB");
    let data: TensorData = image.permute([0, 2, 3, 1]).into_data();
    let values: Vec<f32> = data
        .try_into_vec_as::<f32>()
        .context("reading the decoded picture")?;
    if values.iter().any(|v| !v.is_finite()) {
        fail!(
            BadOutput, "the decoded picture holds values that are not numbers";
            "try --dtype f32; if it stays, verify the weights with `ourvidz models verify`"
        );
    }
    let rgb = values
        .iter()
        .map(|v| ((v / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8)
        .collect();
    Ok(Frame::new(width as u32, height as u32, rgb))
}

impl ImagePipeline for SdxlPipeline {
    fn text_to_image(&mut self, request: &ImageRequest, observer: &mut Observer<'_>) -> Result<ImageOutput> {
        self.check(request)?;
        check_built(request)?;
        let scheduler = self.scheduler_for(request)?;
        let mut timings = Timings::default();
        let mut notes = self.merge_loras(&request.loras, &mut timings)?;

        observer(Event::Stage("encode"))?;
        let embeds = timings.time("encode", &self.device, || {
            prompt::encode(&self.parts, request, &self.device, self.dtype)
        })?;

        observer(Event::Stage("denoise"))?;
        let calls = schedulers::build::<4>(&scheduler, request.num_inference_steps)?
            .timesteps()
            .len();
        let at_once = if request.deterministic {
            1
        } else {
            request.seeds.len()
        };
        let batches: Vec<&[u64]> = request.seeds.chunks(at_once).collect();
        let (total, mut done) = (calls * batches.len(), 0);
        let mut latents = Vec::new();
        for seeds in batches {
            let mut on_step = || {
                done += 1;
                observer(Event::Step { done, total })
            };
            latents.push(timings.time("denoise", &self.device, || {
                self.denoise(request, seeds, &embeds, &scheduler, &mut on_step)
            })?);
        }

        observer(Event::Stage("decode"))?;
        let frames = timings.time("decode", &self.device, || self.decode(Tensor::cat(latents, 0)))?;
        if embeds.truncated {
            notes.push("prompt cut at 77 tokens, as asked".to_string());
        }
        Ok(ImageOutput {
            frames,
            timings: timings.0,
            scheduler: scheduler.name(),
            effective_steps: calls,
            prompt_tokens: embeds.tokens,
            notes,
        })
    }
}

#[derive(Default)]
pub(in crate::pipelines) struct Timings(pub BTreeMap<&'static str, Duration>);

impl Timings {
    pub fn time<T>(
        &mut self,
        stage: &'static str,
        device: &Device,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let result = work()?;
        device
            .sync()
            .map_err(|e| anyhow::anyhow!("{stage}: the device failed: {e:?}"))?;
        *self.0.entry(stage).or_default() += start.elapsed();
        Ok(result)
    }
}
