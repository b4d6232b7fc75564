//! Stable Diffusion XL (Podell et al. 2023) as diffusers' pipelines compute it: text to image, image to
//! image, inpainting, each with ControlNets, IP-Adapters and a refiner.

use anyhow::{Context, Result};
use burn::tensor::{Device, Tensor};

use super::image::{ImageOutput, ImagePipeline, ImageRequest};
use super::loras::Adapters;
use super::observer::{Event, Observer};
use super::timings::Timings;
use crate::device::{self, Precision};
use crate::registry::ModelSpec;
use crate::schedulers::{SamplerChoice, SchedulerConfig};

mod check;
mod conditioning;
mod control;
mod denoise;
mod extras;
mod guidance;
mod image_prompt;
mod loras;
pub mod parts;
pub mod pictures;
mod plan;
pub mod prompt;
mod start;

use extras::ExtrasCache;
use parts::{Layout, Parts};
use plan::{Plan, Setting};

/// A loaded SDXL model on one device.
pub struct SdxlPipeline {
    parts: Parts,
    adapters: Adapters,
    extras: ExtrasCache,
    device: Device,
    precision: Precision,
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
            adapters: Adapters::default(),
            extras: ExtrasCache::default(),
            device: device.clone(),
            precision,
        })
    }

    fn scheduler_for(&self, request: &ImageRequest) -> Result<SchedulerConfig> {
        let choice = SamplerChoice {
            name: request.scheduler.clone(),
            ..request.sampling.clone()
        };
        choice.apply(&self.parts.scheduler)
    }
}

/// Works through a plan, batch by batch.
struct Progress<'a, 'o> {
    plan: &'a Plan<'a>,
    observer: &'a mut Observer<'o>,
    timings: &'a mut Timings,
    device: &'a Device,
    done: usize,
    total: usize,
}

impl Progress<'_, '_> {
    /// The latents of one batch, enlarged where asked.
    fn batch(&mut self, seeds: &[u64]) -> Result<Tensor<4>> {
        let plan = self.plan;
        let latents = self.denoise(|on_call| plan.first(seeds, on_call))?;
        if !plan.enlarges() {
            return Ok(latents);
        }
        let frames = self.decode(&latents, false)?;
        self.denoise(|on_call| plan.second(seeds, &frames, on_call))
    }

    fn denoise(
        &mut self,
        work: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<Tensor<4>>,
    ) -> Result<Tensor<4>> {
        (self.observer)(Event::Stage("denoise"))?;
        let (done, total, observer) = (&mut self.done, self.total, &mut *self.observer);
        let device = self.device;
        let mut on_call = || {
            // Work is queued on a GPU: without waiting here, progress would run ahead of it, and a
            // signal or a time limit would act only once the whole queue is done.
            device::sync(device)?;
            *done += 1;
            observer(Event::Step { done: *done, total })
        };
        self.timings.time("denoise", self.device, || work(&mut on_call))
    }

    fn decode(&mut self, latents: &Tensor<4>, enlarged: bool) -> Result<Vec<crate::media::frames::Frame>> {
        (self.observer)(Event::Stage("decode"))?;
        let plan = self.plan;
        self.timings
            .time("decode", self.device, || plan.decode(latents, enlarged))
    }
}

impl ImagePipeline for SdxlPipeline {
    fn text_to_image(&mut self, request: &ImageRequest, observer: &mut Observer<'_>) -> Result<ImageOutput> {
        check::check(&self.parts, request)?;
        let scheduler = self.scheduler_for(request)?;
        let mut timings = Timings::default();
        let mut notes = self.merge_loras(&request.loras, &mut timings)?;
        let (parts, device, precision) = (&self.parts, &self.device, self.precision);

        observer(Event::Stage("encode"))?;
        let extras = timings.time("encode", device, || {
            self.extras.load(request, parts, device, precision)
        })?;
        let setting = Setting {
            parts,
            extras: &extras,
            request,
            scheduler: &scheduler,
            device,
            dtype: precision.dtype(),
        };
        let plan = timings.time("encode", device, || setting.plan())?;

        let at_once = match request.deterministic {
            true => 1,
            false => request.seeds.len(),
        };
        let batches = request.seeds.chunks(at_once);
        let calls = plan.calls()?;
        let mut progress = Progress {
            plan: &plan,
            observer,
            timings: &mut timings,
            device,
            done: 0,
            total: calls * batches.len(),
        };
        let mut latents = Vec::new();
        for seeds in batches {
            latents.push(progress.batch(seeds)?);
        }
        let frames = progress.decode(&Tensor::cat(latents, 0), plan.enlarges())?;
        notes.extend(self.parts.notes.iter().cloned());
        notes.extend(extras.notes.iter().cloned());
        if plan.truncated {
            notes.push("prompt cut at 77 tokens, as asked".to_string());
        }
        Ok(ImageOutput {
            frames,
            timings: timings.0,
            scheduler: scheduler.name(),
            effective_steps: calls,
            prompt_tokens: plan.tokens.clone(),
            notes,
        })
    }
}
