//! WAN 2.1, text and reference frames to video, as diffusers' `WanPipeline` and `WanVACEPipeline`
//! compute it.

use anyhow::{Context, Result};
use burn::tensor::{DType, Tensor};

use super::load::{LoadOptions, Residency};
use super::loras::Adapters;
use super::observer::{Event, Observer};
use super::timings::Timings;
use super::video::{VideoOutput, VideoPipeline, VideoRequest};
use crate::device;
use crate::fail;
use crate::media::frames::Frame;
use crate::models::wan_transformer::{Control, TextCache, WanTransformer};
use crate::models::wan_vae::WanVae;
use crate::models::wan_vae_tiling::Tiling;
use crate::nn::noise::TorchGenerator;
use crate::registry::ModelSpec;
use crate::schedulers::{self, Scheduler, SchedulerConfig};
use crate::weights::vars::Mode;

mod clean;
mod control;
mod embed_store;
mod loras;
pub mod parts;
mod text;

use parts::{Layout, Networks, Target};
use text::{TEXT_LENGTH, Texts};

/// A WAN model on one device. Networks are loaded when their stage begins.
pub struct WanPipeline {
    networks: Networks,
    scheduler: SchedulerConfig,
    residency: Residency,
    texts: Texts,
    transformer: Option<WanTransformer>,
    vae: Option<WanVae>,
    adapters: Adapters,
    /// What was left out of the files.
    notes: Vec<String>,
}

impl WanPipeline {
    /// Reads configurations and tokenizer, and accounts for every tensor; loads no network yet.
    ///
    /// # Errors
    /// Missing, broken or unfitting files, each named.
    pub fn open(spec: &ModelSpec, options: &LoadOptions, residency: Residency) -> Result<Self> {
        let layout = Layout::of(spec)?;
        let mut scheduler = layout.scheduler()?;
        if let Some(name) = &spec.scheduler {
            scheduler = scheduler
                .with_scheduler(name)
                .with_context(|| format!("model `{}` in models.toml", spec.name))?;
        }
        let mut notes = Vec::new();
        for report in layout.verify()? {
            notes.extend(report.into_result()?);
        }
        Ok(Self {
            notes,
            scheduler,
            residency,
            texts: Texts::new(layout.tokenizer()?, options.cache_dir.clone()),
            transformer: None,
            vae: None,
            adapters: Adapters::default(),
            networks: Networks {
                configs: layout.configs()?,
                target: Target {
                    device: options.device.clone(),
                    precision: options.precision_for(spec)?,
                    mode: Mode::Load,
                },
                layout,
            },
        })
    }

    /// Which scheduler a request asks for.
    fn scheduler_for(&self, request: &VideoRequest) -> Result<SchedulerConfig> {
        let mut config = self.scheduler.clone();
        if let Some(name) = &request.scheduler {
            config = config.with_scheduler(name)?;
        }
        match request.flow_shift {
            Some(shift) => config.with_flow_shift(shift),
            None => Ok(config),
        }
    }

    fn check(&self, request: &VideoRequest) -> Result<()> {
        let vae = &self.networks.configs.vae;
        let [_, patch_height, patch_width] = self.networks.configs.transformer.patch_size;
        for (field, value, patch) in [
            ("width", request.width_px, patch_width),
            ("height", request.height_px, patch_height),
        ] {
            let multiple = vae.scale_factor_spatial() * patch;
            if value == 0 || !value.is_multiple_of(multiple) {
                fail!(
                    InvalidSpec,
                    "{field} is {value}; this model needs a multiple of {multiple}, above 0"
                );
            }
        }
        let (frames, stride) = (request.num_frames, vae.scale_factor_temporal());
        if frames == 0 || frames % stride != 1 % stride {
            let below = frames.saturating_sub(1) / stride * stride + 1;
            fail!(
                InvalidSpec, "frames is {frames}; this model needs {stride}n+1";
                "the nearest are {below} and {}", below + stride
            );
        }
        let [_, _, latents @ ..] = self.latents_shape(request);
        self.networks.configs.transformer.patches(latents)?;
        if !(request.guidance_scale.is_finite() && request.references.scale.is_finite()) {
            fail!(
                InvalidSpec,
                "guidance_scale and reference_strength must be numbers"
            );
        }
        self.check_references(request)
    }

    /// `[1, z_dim, latent frames, height / 8, width / 8]`
    fn latents_shape(&self, request: &VideoRequest) -> [usize; 5] {
        let vae = &self.networks.configs.vae;
        let subject = usize::from(request.references.subject.is_some());
        [
            1,
            vae.z_dim,
            vae.latent_frames(request.num_frames) + subject,
            request.height_px / vae.scale_factor_spatial(),
            request.width_px / vae.scale_factor_spatial(),
        ]
    }

    fn check_references(&self, request: &VideoRequest) -> Result<()> {
        for (field, picture) in request.references.pictures() {
            if !self.takes_references() {
                fail!(
                    InvalidSpec, "{field} is given, but this WAN model takes no reference picture";
                    "route the job to a VACE model (Wan2.1-VACE-1.3B-diffusers) in models.toml, or leave {field} out"
                );
            }
            let size = (picture.width as usize, picture.height as usize);
            if size != (request.width_px, request.height_px) {
                fail!(
                    InvalidSpec,
                    "{field} is {}x{}; it must be fitted to {}x{} first",
                    size.0,
                    size.1,
                    request.width_px,
                    request.height_px
                );
            }
            if request.num_frames == 1 && field != "image" {
                fail!(InvalidSpec, "{field} is given for a single frame"; "use `image` as the reference of a picture");
            }
        }
        Ok(())
    }

    fn load_vae(&mut self, observer: &mut Observer<'_>) -> Result<()> {
        if self.vae.is_none() {
            observer(Event::Stage("load"))?;
            self.vae = Some(self.networks.vae()?);
        }
        Ok(())
    }

    fn load_transformer(&mut self, observer: &mut Observer<'_>) -> Result<()> {
        if self.transformer.is_none() {
            observer(Event::Stage("load"))?;
            let transformer = self.networks.transformer()?;
            self.adapters.merge_into_new(&loras::networks(&transformer))?;
            self.transformer = Some(transformer);
        }
        Ok(())
    }

    fn give_memory_back(&self) {
        device::release_pools(&self.networks.target.device);
    }

    fn encode(&mut self, texts: &[&str], observer: &mut Observer<'_>) -> Result<()> {
        self.texts.encode(texts, &self.networks, observer)?;
        if self.residency == Residency::InTurn && self.texts.release() {
            self.give_memory_back();
        }
        Ok(())
    }

    /// The control video of a VACE model.
    fn control(&mut self, request: &VideoRequest, observer: &mut Observer<'_>) -> Result<Option<Tensor<5>>> {
        if !self.takes_references() {
            return Ok(None);
        }
        self.load_vae(observer)?;
        observer(Event::Stage("encode"))?;
        let vae = self.vae.as_ref().expect("just loaded");
        let control = control::control_latents(vae, request, &self.networks.target.device);
        if self.residency == Residency::InTurn {
            self.vae = None;
            self.give_memory_back();
        }
        Ok(Some(control))
    }

    fn denoise(
        &self,
        request: &VideoRequest,
        control: Option<Tensor<5>>,
        mut scheduler: Box<dyn Scheduler<5>>,
        observer: &mut Observer<'_>,
    ) -> Result<Tensor<5>> {
        let transformer = self.transformer.as_ref().expect("loaded for this stage");
        let (device, dtype) = (
            &self.networks.target.device,
            self.networks.target.dtype("transformer"),
        );
        let guidance = Guidance::of(request, &self.texts, transformer, dtype);
        let control = control.map(|control| {
            let layers = self
                .networks
                .configs
                .transformer
                .vace_layers
                .as_ref()
                .map_or(0, Vec::len);
            transformer.control(control, &vec![request.references.scale; layers], dtype)
        });

        let shape = self.latents_shape(request);
        let rope = transformer.rope([shape[2], shape[3], shape[4]], device)?;
        let mut generator = TorchGenerator::new(request.seed);
        let mut noise = || generator.randn_like_shape(shape, device);
        let mut latents = noise() * scheduler.init_noise_sigma();
        let timesteps = scheduler.timesteps().to_vec();
        for (i, t) in timesteps.iter().enumerate() {
            let input = scheduler.scale_model_input(latents.clone(), i);
            let predict = |text: &TextCache, control: Option<&Control>| {
                transformer.forward(input.clone(), *t as f32, &rope, text, control, dtype)
            };
            let noise_pred = guidance.predict(|text| predict(text, control.as_ref()));
            latents = scheduler.step(noise_pred, i, latents, &mut noise);
            // Work is queued on a GPU: without waiting here, progress would run ahead of it.
            device::sync(device)?;
            observer(Event::Step {
                done: i + 1,
                total: timesteps.len(),
            })?;
        }
        // A subject's latent stands before the video's own.
        let subject = usize::from(request.references.subject.is_some());
        Ok(latents.narrow(2, subject, shape[2] - subject))
    }

    fn decode(&self, latents: Tensor<5>, tiled: bool, observer: &mut Observer<'_>) -> Result<Vec<Frame>> {
        let vae = self.vae.as_ref().expect("loaded for this stage");
        let latents = vae.unscale(latents);
        let mut frames = Vec::new();
        if tiled {
            let video = vae.decode_tiled(latents, Tiling::default());
            for i in 0..video.dims()[2] {
                frames.extend(to_frames(video.clone().narrow(2, i, 1))?);
            }
        } else {
            let (mut done, total) = (0, latents.dims()[2]);
            vae.decode_each(latents, &mut |chunk| {
                frames.extend(to_frames(chunk)?);
                done += 1;
                observer(Event::Step { done, total })
            })?;
        }
        Ok(frames)
    }
}

/// The texts that steer: one, or with classifier-free guidance (Ho & Salimans 2022) two.
struct Guidance {
    cond: TextCache,
    uncond: Option<TextCache>,
    scale: f64,
}

impl Guidance {
    fn of(request: &VideoRequest, texts: &Texts, transformer: &WanTransformer, dtype: DType) -> Self {
        let cache = |text: &str| transformer.text_cache(texts.get(text).embeds.clone(), dtype);
        Self {
            cond: cache(&request.prompt),
            uncond: is_guided(request).then(|| cache(negative(request))),
            scale: request.guidance_scale,
        }
    }

    fn predict(&self, network: impl Fn(&TextCache) -> Tensor<5>) -> Tensor<5> {
        let cond = network(&self.cond);
        match &self.uncond {
            None => cond,
            Some(uncond) => {
                let uncond = network(uncond);
                uncond.clone() + (cond - uncond) * self.scale
            }
        }
    }
}

fn is_guided(request: &VideoRequest) -> bool {
    request.guidance_scale > 1.0
}

fn negative(request: &VideoRequest) -> &str {
    request.negative_prompt.as_deref().unwrap_or_default()
}

/// `[1, 3, frames, height, width]` in −1…1 to 8-bit pictures.
///
/// # Errors
/// `BadOutput` when a value is not a number.
fn to_frames(chunk: Tensor<5>) -> Result<Vec<Frame>> {
    let [_, _, _, height, width] = chunk.dims();
    let values: Vec<f32> = chunk
        .permute([0, 2, 3, 4, 1])
        .try_into_vec_as::<f32>()
        .context("reading the decoded frames")?;
    if values.iter().any(|v| !v.is_finite()) {
        fail!(
            BadOutput, "the decoded video holds values that are not numbers";
            "try --dtype bf16 or f32; if it stays, verify the weights with `ourvidz models verify`"
        );
    }
    Ok(values
        .chunks_exact(height * width * 3)
        .map(|pixels| {
            let rgb = pixels
                .iter()
                .map(|v| ((v / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8)
                .collect();
            Frame::new(width as u32, height as u32, rgb)
        })
        .collect())
}

impl VideoPipeline for WanPipeline {
    fn takes_references(&self) -> bool {
        self.networks.configs.transformer.vace_layers.is_some()
    }

    fn text_to_video(&mut self, request: &VideoRequest, observer: &mut Observer<'_>) -> Result<VideoOutput> {
        self.check(request)?;
        let config = self.scheduler_for(request)?;
        let scheduler = schedulers::build::<5>(&config, request.num_inference_steps)?;
        let effective_steps = scheduler.timesteps().len();
        let mut notes = loras::set(
            &mut self.adapters,
            &request.loras,
            self.transformer.as_ref(),
            &self.networks,
        )?;
        let device = self.networks.target.device.clone();
        let mut timings = Timings::default();

        observer(Event::Stage("encode"))?;
        let mut texts = vec![request.prompt.as_str()];
        texts.extend(is_guided(request).then(|| negative(request)));
        let control = timings.time("encode", &device, || {
            self.encode(&texts, observer)?;
            self.control(request, observer)
        })?;

        timings.time("load", &device, || self.load_transformer(observer))?;
        observer(Event::Stage("denoise"))?;
        let latents = timings.time("denoise", &device, || {
            self.denoise(request, control, scheduler, observer)
        })?;
        if self.residency == Residency::InTurn {
            self.transformer = None;
            self.give_memory_back();
        }

        timings.time("load", &device, || self.load_vae(observer))?;
        observer(Event::Stage("decode"))?;
        let frames = timings.time("decode", &device, || {
            self.decode(latents, request.vae_tiling, observer)
        })?;
        if self.residency == Residency::InTurn {
            self.vae = None;
            self.give_memory_back();
        }

        let prompt = self.texts.get(&request.prompt);
        notes.extend(self.notes.iter().cloned());
        if prompt.cut {
            notes.push(format!(
                "prompt cut at {TEXT_LENGTH} tokens, the most that WAN reads"
            ));
        }
        Ok(VideoOutput {
            frames,
            timings: timings.0,
            scheduler: config.name(),
            effective_steps,
            prompt_tokens: prompt.tokens,
            notes,
        })
    }
}
