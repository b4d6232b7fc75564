//! Denoising diffusion implicit models: deterministic at eta 0, as noisy as DDPM at eta 1.
//!
//! Song et al. 2020 (arXiv 2010.02502), equations 12 and 16. diffusers: `scheduling_ddim.py`.

use anyhow::Result;
use burn::tensor::Tensor;

use super::chosen::Given;
use super::config::SchedulerConfig;
use super::families::Family;
use super::levels::whole_timesteps;
use super::noise_schedule::{DDPM_BETAS, NoiseSchedule};
use super::prediction::{DIFFUSION, Prediction};
use super::scheduler::{NoiseSource, Scheduler};
use super::spacing::Spacing;

pub(super) struct Ddim {
    timesteps: Vec<f64>,
    /// Cumulative alpha at each timestep and at the one it steps to.
    alphas: Vec<(f64, f64)>,
    prediction: Prediction,
    /// Largest magnitude of x0, where the file says `clip_sample`.
    clip: Option<f64>,
    eta: f64,
}

impl Ddim {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        config.refuse(&["thresholding"])?;
        let prediction = config.prediction(DIFFUSION)?;
        let schedule = NoiseSchedule::exact(config, &DDPM_BETAS, prediction)?;
        let train = schedule.len();
        // Latents are no pixels: where the sampler was chosen and the model does not say otherwise,
        // x0 is not clipped to [-1, 1], nor is the end cleaner than the first timestep.
        let of_file = config.chosen.family.is_none();
        let final_alpha = match config.flag("set_alpha_to_one", of_file)? {
            true => 1.0,
            false => f64::from(schedule.alphas_cumprod[0]),
        };
        let given = match &config.chosen.given {
            Some(Given::Timesteps(timesteps)) => Some(timesteps.clone()),
            _ => None,
        };
        let spacing = config.spacing(Spacing::Leading)?;
        let offset = config.integer("steps_offset", 0)?;
        let timesteps = given
            .clone()
            .unwrap_or_else(|| whole_timesteps(spacing, offset, train, n));
        let mut alphas = Vec::with_capacity(timesteps.len());
        for (i, t) in timesteps.iter().enumerate() {
            // The class steps by the same stride everywhere, whatever the next timestep is.
            let previous = match &given {
                Some(given) => given.get(i + 1).copied().unwrap_or(-1.0),
                None => t - (train / n) as f64,
            };
            let next = if previous < 0.0 {
                final_alpha
            } else {
                schedule.alpha_at(config, previous)?
            };
            alphas.push((schedule.alpha_at(config, *t)?, next));
        }
        Ok(Self {
            timesteps,
            alphas,
            prediction,
            clip: config.clip(of_file)?,
            eta: config.eta(Family::Ddim)?,
        })
    }
}

impl<const D: usize> Scheduler<D> for Ddim {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn sigmas(&self) -> &[f64] {
        &[]
    }

    fn scale_model_input(&self, sample: Tensor<D>, _i: usize) -> Tensor<D> {
        sample
    }

    fn step(
        &mut self,
        model_output: Tensor<D>,
        i: usize,
        sample: Tensor<D>,
        noise: NoiseSource<'_, D>,
    ) -> Tensor<D> {
        let (alpha_bar, next) = self.alphas[i];
        let (alpha, sigma) = (alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt());
        let mut denoised = self
            .prediction
            .denoised(model_output.clone(), sample.clone(), alpha, sigma);
        let epsilon = self
            .prediction
            .noise(model_output, sample, denoised.clone(), alpha, sigma);
        if let Some(range) = self.clip {
            denoised = denoised.clamp(-range, range);
        }
        let variance = (1.0 - next) / (1.0 - alpha_bar) * (1.0 - alpha_bar / next);
        let deviation = self.eta * variance.max(0.0).sqrt();
        let direction = (1.0 - next - deviation * deviation).max(0.0).sqrt();
        let next = denoised * next.sqrt() + epsilon * direction;
        if self.eta > 0.0 {
            next + noise() * deviation
        } else {
            next
        }
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        let (alpha_bar, _) = self.alphas[i];
        original * alpha_bar.sqrt() + noise * (1.0 - alpha_bar).sqrt()
    }
}
