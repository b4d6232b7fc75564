//! The loop around the denoiser.

use std::cell::OnceCell;

use anyhow::Result;
use burn::tensor::{DType, Tensor};

use super::control::ActiveControl;
use super::guidance::Guidance;
use super::start::{Beginning, Begun, Coder, Generators, Inpaint, Start};
use crate::models::sdxl_unet::{Prepared, Residuals, UNet};
use crate::schedulers::{self, Part, SchedulerConfig, Window};

/// One denoiser's share of a job, the same for every batch.
pub struct Pass<'a> {
    pub unet: &'a UNet,
    pub coder: Coder<'a>,
    pub scheduler: &'a SchedulerConfig,
    pub num_inference_steps: usize,
    pub part: Part,
    pub guidance: Guidance,
    /// For one picture; see [`Prepared::for_images`].
    pub prepared: Prepared,
    pub controls: Vec<ActiveControl<'a>>,
    /// Of the output, `[height, width]` in pixels.
    pub size: [usize; 2],
    pub dtype: DType,
}

/// Rows of both guidance branches, and those of the conditional one for steps without guidance.
pub struct Branches {
    all: Prepared,
    images: usize,
    guided: bool,
    cond: OnceCell<Prepared>,
}

impl Branches {
    pub fn new(prepared: &Prepared, images: usize, guided: bool) -> Self {
        Self {
            all: prepared.for_images(images),
            images,
            guided,
            cond: OnceCell::new(),
        }
    }

    /// Both branches, or the conditional one alone.
    pub fn rows(&self, both: bool) -> &Prepared {
        if both || !self.guided {
            return &self.all;
        }
        self.cond.get_or_init(|| self.all.rows(self.images, self.images))
    }
}

impl Pass<'_> {
    /// The calls this pass makes.
    ///
    /// # Errors
    /// `InvalidSpec` when the part of the schedule holds no step.
    pub fn window(&self) -> Result<Window> {
        let scheduler = schedulers::build::<4>(self.scheduler, self.num_inference_steps)?;
        self.scheduler.window(&*scheduler, &self.part)
    }

    /// Latents of the denoiser's scale for one batch: a generator, and so a picture, a seed.
    ///
    /// # Errors
    /// When the scheduler does not fit, or whatever `on_call` returns.
    pub fn run(
        &self,
        start: Start<'_>,
        generators: &mut Generators<'_>,
        on_call: &mut dyn FnMut() -> Result<()>,
    ) -> Result<Tensor<4>> {
        let mut scheduler = schedulers::build::<4>(self.scheduler, self.num_inference_steps)?;
        let window = self.scheduler.window(&*scheduler, &self.part)?;
        let vae = &self.coder.vae.config;
        let [height, width] = self.size.map(|side| side / vae.scale_factor());
        let shape = [1, vae.latent_channels, height, width];
        let first = window.calls.start;
        let beginning = Beginning {
            coder: self.coder,
            scheduler: &*scheduler,
            first,
            shape,
            in_channels: self.unet.config.in_channels,
        };
        let Begun { mut latents, inpaint } = beginning.latents(start, generators);

        let images = generators.len();
        let branches = Branches::new(&self.prepared, images, self.guidance.is_on());
        let controls: Vec<(&ActiveControl, Branches)> = self
            .controls
            .iter()
            .map(|control| {
                (
                    control,
                    Branches::new(&control.prepared, images, self.guidance.is_on()),
                )
            })
            .collect();
        let calls = window.calls.len();
        for i in window.calls.clone() {
            let call = i - first;
            let both = self.guidance.at(call, calls, window.order);
            let input = scheduler.scale_model_input(latents.clone(), i);
            let t = scheduler.timesteps()[i] as f32;
            let residuals = self.residuals(&controls, &input, t, both, [call, calls]);
            let input = match &inpaint {
                Some(Inpaint::Channels(channels)) => Tensor::cat(vec![input, channels.as_ref().clone()], 1),
                _ => input,
            };
            let input = doubled(input, both).cast(self.dtype);
            let noise_pred = self
                .unet
                .forward(input, &[t], branches.rows(both), residuals.as_ref())
                .cast(DType::F32);
            let noise_pred = match both {
                true => self.guidance.combine(noise_pred),
                false => noise_pred,
            };
            latents = scheduler.step(noise_pred, i, latents, &mut || generators.draw(shape));
            if let Some(Inpaint::Blend(kept)) = &inpaint {
                latents = kept.put_back(latents, &*scheduler, (call + 1 < calls).then_some(i + 1));
            }
            on_call()?;
        }
        Ok(latents)
    }

    /// What the ControlNets that are on at this call add together.
    fn residuals(
        &self,
        controls: &[(&ActiveControl, Branches)],
        input: &Tensor<4>,
        t: f32,
        both: bool,
        [call, calls]: [usize; 2],
    ) -> Option<Residuals> {
        let on = controls.iter().filter(|(control, _)| control.is_on(call, calls));
        on.map(|(control, branches)| {
            let conditional_only = both && control.guess_mode;
            let rows = both && !conditional_only;
            let input = doubled(input.clone(), rows).cast(self.dtype);
            let residuals = control.residuals(input, t, branches.rows(rows));
            match conditional_only {
                true => residuals.behind_zeros(),
                false => residuals,
            }
        })
        .reduce(Residuals::plus)
    }
}

fn doubled(x: Tensor<4>, both: bool) -> Tensor<4> {
    match both {
        true => Tensor::cat(vec![x.clone(), x], 0),
        false => x,
    }
}
