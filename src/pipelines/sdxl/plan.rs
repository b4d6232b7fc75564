//! A request laid out as passes of denoisers over the latents, before the first step.

use anyhow::Result;
use burn::tensor::{DType, Device, Tensor};

use super::conditioning::conditioning;
use super::control::ActiveControl;
use super::denoise::Pass;
use super::extras::Extras;
use super::guidance::Guidance;
use super::image_prompt;
use super::parts::Parts;
use super::pictures::{self, Repaint};
use super::prompt::{self, PromptEmbeds};
use super::start::{Coder, Generators, Init, Start};
use crate::media::frames::Frame;
use crate::models::sdxl_unet::{FreeU, UNet};
use crate::models::sdxl_vae::Vae;
use crate::models::sdxl_vae_tiling::Tiling;
use crate::pipelines::image::ImageRequest;
use crate::schedulers::{Part, SchedulerConfig};

/// What everything is computed with.
pub struct Setting<'a> {
    pub parts: &'a Parts,
    pub extras: &'a Extras,
    pub request: &'a ImageRequest,
    pub scheduler: &'a SchedulerConfig,
    pub device: &'a Device,
    pub dtype: DType,
}

/// The passes of a request.
pub struct Plan<'a> {
    setting: &'a Setting<'a>,
    base: Pass<'a>,
    refiner: Option<Pass<'a>>,
    hires: Option<Pass<'a>>,
    /// The picture to start from, at the size of the first pass.
    init: Option<Frame>,
    repaint: Option<Repaint>,
    pub tokens: Vec<Vec<usize>>,
    pub truncated: bool,
}

impl<'a> Setting<'a> {
    /// Encodes texts and pictures, and prepares every pass.
    ///
    /// # Errors
    /// Whatever in the request does not fit the model.
    pub fn plan(&'a self) -> Result<Plan<'a>> {
        let request = self.request;
        let embeds = prompt::encode(&self.parts.encoders(), request, self.device, self.dtype)?;
        let size = [request.height_px, request.width_px];
        let init = request.init.as_ref();
        let repaint = init.and_then(|init| Some(Repaint::of(&init.mask.as_ref()?.picture, size)));
        Ok(Plan {
            base: self.base_pass(&embeds, size)?,
            refiner: self.refiner_pass(size)?,
            hires: self.hires_pass(&embeds)?,
            init: init.map(|init| pictures::at_size(&init.picture, size)),
            repaint,
            tokens: embeds.tokens,
            truncated: embeds.truncated,
            setting: self,
        })
    }

    fn base_pass(&'a self, embeds: &PromptEmbeds, size: [usize; 2]) -> Result<Pass<'a>> {
        let request = self.request;
        let part = Part {
            strength: request.init.as_ref().map(|init| init.strength),
            denoising_start: request.denoising_start,
            denoising_end: request
                .refiner
                .as_ref()
                .map(|refiner| refiner.start)
                .or(request.denoising_end),
        };
        self.with_adapters(&self.parts.unet, embeds, size, part)
    }

    /// The same denoiser over the enlarged picture.
    fn hires_pass(&'a self, embeds: &PromptEmbeds) -> Result<Option<Pass<'a>>> {
        let Some(hires) = self.request.hires else {
            return Ok(None);
        };
        let multiple = self.parts.vae.config.scale_factor();
        let size = [self.request.height_px, self.request.width_px]
            .map(|side| (side as f64 * hires.scale) as usize / multiple * multiple);
        let part = Part {
            strength: Some(hires.strength),
            ..Part::default()
        };
        self.with_adapters(&self.parts.unet, embeds, size, part).map(Some)
    }

    fn refiner_pass(&'a self, size: [usize; 2]) -> Result<Option<Pass<'a>>> {
        let (Some(refiner), Some(asked)) = (&self.extras.refiner, &self.request.refiner) else {
            return Ok(None);
        };
        let encoders = refiner.encoders(self.parts);
        let embeds = prompt::encode(&encoders, self.request, self.device, self.dtype)?;
        let part = Part {
            denoising_start: Some(asked.start),
            ..Part::default()
        };
        let vae = refiner.vae(self.parts);
        self.pass(refiner.unet(), vae, &embeds, size, part).map(Some)
    }

    /// A pass with the ControlNets and IP-Adapters of the request.
    fn with_adapters(
        &'a self,
        unet: &'a UNet,
        embeds: &PromptEmbeds,
        size: [usize; 2],
        part: Part,
    ) -> Result<Pass<'a>> {
        let mut pass = self.pass(unet, &self.parts.vae, embeds, size, part)?;
        let request = self.request;
        let places = unet.cross_places();
        let guided = pass.guidance.is_on();
        for (asked, (adapter, encoder)) in request.ip_adapters.iter().zip(&self.extras.adapters) {
            image_prompt::attach(&mut pass.prepared, asked, adapter, encoder, &places, guided)?;
        }
        if let Some(freeu) = request.freeu {
            let freeu = FreeU::new([freeu.s1, freeu.s2], [freeu.b1, freeu.b2]);
            pass.prepared.set_freeu(freeu);
        }
        if !request.controls.is_empty() {
            let shared = conditioning(&unet.config, request, &pass.guidance, embeds, size)?;
            let controls = request.controls.iter().zip(&self.extras.controls);
            pass.controls = controls
                .map(|(asked, net)| ActiveControl::new(net, asked, &shared, size, self.dtype))
                .collect();
        }
        Ok(pass)
    }

    fn pass(
        &'a self,
        unet: &'a UNet,
        vae: &'a Vae,
        embeds: &PromptEmbeds,
        size: [usize; 2],
        part: Part,
    ) -> Result<Pass<'a>> {
        let guidance = Guidance::of(self.request, unet.config.time_cond_proj_dim.is_some());
        let conditioning = conditioning(&unet.config, self.request, &guidance, embeds, size)?;
        Ok(Pass {
            unet,
            coder: self.coder(vae),
            scheduler: self.scheduler,
            num_inference_steps: self.request.num_inference_steps,
            part,
            guidance,
            prepared: unet.prepare(&conditioning),
            controls: Vec::new(),
            size,
            dtype: self.dtype,
        })
    }

    /// The request's autoencoder, or that of the model, in tiles where asked.
    fn coder(&'a self, own: &'a Vae) -> Coder<'a> {
        let vae = self.extras.vae.as_deref().unwrap_or(own);
        let tiling = self.request.vae_tiling.map(|tiling| {
            let tile_px = tiling.tile_px.unwrap_or(vae.config.sample_size);
            Tiling::new(tile_px, tiling.overlap, vae.config.scale_factor())
        });
        Coder { vae, tiling }
    }
}

impl Plan<'_> {
    /// Calls of denoisers for one batch.
    ///
    /// # Errors
    /// `InvalidSpec` when a pass would hold no step.
    pub fn calls(&self) -> Result<usize> {
        let mut calls = 0;
        for pass in self.passes() {
            calls += pass.window()?.calls.len();
        }
        Ok(calls)
    }

    fn passes(&self) -> impl Iterator<Item = &Pass<'_>> {
        std::iter::once(&self.base)
            .chain(&self.refiner)
            .chain(&self.hires)
    }

    /// The latents of one batch before any enlarging.
    ///
    /// # Errors
    /// Whatever `on_call` returns.
    pub fn first(&self, seeds: &[u64], on_call: &mut dyn FnMut() -> Result<()>) -> Result<Tensor<4>> {
        let setting = self.setting;
        let start = match (&self.init, &setting.request.init) {
            (Some(frame), Some(init)) => Start::Pictures(Init {
                frames: vec![frame.clone()],
                strength: init.strength,
                repaint: self.repaint.as_ref(),
                add_noise: setting.request.denoising_start.is_none(),
            }),
            _ => Start::Noise,
        };
        let mut generators = Generators::new(seeds, setting.device);
        let latents = self.base.run(start, &mut generators, on_call)?;
        match &self.refiner {
            Some(refiner) => {
                // A fresh generator with the same seed, as a second pipeline of diffusers gets.
                let mut generators = Generators::new(seeds, setting.device);
                refiner.run(Start::Latents(Box::new(latents)), &mut generators, on_call)
            }
            None => Ok(latents),
        }
    }

    /// True when the pictures of [`Self::first`] are to be enlarged and refined.
    pub fn enlarges(&self) -> bool {
        self.hires.is_some()
    }

    /// The latents of the enlarged pictures; `frames` are those of [`Self::first`].
    ///
    /// # Errors
    /// Whatever `on_call` returns.
    pub fn second(
        &self,
        seeds: &[u64],
        frames: &[Frame],
        on_call: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Tensor<4>> {
        let hires = self.hires.as_ref().expect("called only when it enlarges");
        let larger = frames.iter().map(|frame| pictures::at_size(frame, hires.size));
        let start = Start::Pictures(Init {
            frames: larger.collect(),
            strength: hires.part.strength.unwrap_or(1.0),
            repaint: None,
            add_noise: true,
        });
        hires.run(start, &mut Generators::new(seeds, self.setting.device), on_call)
    }

    /// Latents to pictures, one at a time: decoding needs the most memory of all stages.
    ///
    /// # Errors
    /// `BadOutput` when a value is not a number.
    pub fn decode(&self, latents: &Tensor<4>, enlarged: bool) -> Result<Vec<Frame>> {
        let coder = match (enlarged, &self.refiner) {
            (false, Some(refiner)) => refiner.coder,
            _ => self.base.coder,
        };
        (0..latents.dims()[0])
            .map(|i| pictures::to_frame(coder.decode(latents.clone().narrow(0, i, 1))))
            .map(|frame| Ok(self.pasted(frame?)))
            .collect()
    }

    /// With the kept pixels of the picture, where it was asked for.
    fn pasted(&self, frame: Frame) -> Frame {
        let mask = self.setting.request.init.as_ref().and_then(|i| i.mask.as_ref());
        match (&self.repaint, &self.init) {
            (Some(repaint), Some(init)) if mask.is_some_and(|m| m.paste_back) => repaint.paste(&frame, init),
            _ => frame,
        }
    }
}
