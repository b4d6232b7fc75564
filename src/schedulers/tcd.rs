//! Trajectory consistency distillation: every call jumps below the next step, noise leads back to it.
//!
//! Zheng et al. 2024 (arXiv 2402.19159), algorithm 4; `eta` is the paper's gamma. diffusers:
//! `scheduling_tcd.py`, whose pipelines set it to 0 unless told otherwise, as here.

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::families::Family;
use super::lcm::distilled_timesteps;
use super::noise_schedule::{NoiseSchedule, SDXL_BETAS};
use super::prediction::{DIFFUSION, Prediction};
use super::scheduler::{NoiseSource, Scheduler};

/// Cumulative alphas of a step: where it starts, where the jump lands, where noise leads back to.
#[derive(Debug, Clone, Copy)]
struct Jump {
    from: f64,
    landing: f64,
    to: f64,
}

pub(super) struct Tcd {
    timesteps: Vec<f64>,
    jumps: Vec<Jump>,
    prediction: Prediction,
    eta: f64,
}

impl Tcd {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        config.refuse(&["thresholding"])?;
        let prediction = config.prediction(DIFFUSION)?;
        let schedule = NoiseSchedule::exact(config, &SDXL_BETAS, prediction)?;
        let timesteps = distilled_timesteps(config, schedule.len(), n)?;
        let eta = config.eta(Family::Tcd)?;
        let mut jumps = Vec::with_capacity(timesteps.len());
        for (i, t) in timesteps.iter().enumerate() {
            let to = timesteps.get(i + 1).copied().unwrap_or(0.0);
            // torch multiplies whole timesteps in single precision.
            let landing = ((1.0 - eta) as f32 * to as f32).floor();
            jumps.push(Jump {
                from: schedule.alpha_at(config, *t)?,
                landing: schedule.alpha_at(config, landing.into())?,
                to: schedule.alpha_at(config, to)?,
            });
        }
        Ok(Self {
            timesteps,
            jumps,
            prediction,
            eta,
        })
    }
}

impl<const D: usize> Scheduler<D> for Tcd {
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
        let Jump { from, landing, to } = self.jumps[i];
        let (alpha, sigma) = (from.sqrt(), (1.0 - from).sqrt());
        let denoised = self
            .prediction
            .denoised(model_output.clone(), sample.clone(), alpha, sigma);
        let epsilon = self
            .prediction
            .noise(model_output, sample, denoised.clone(), alpha, sigma);
        let landed = denoised * landing.sqrt() + epsilon * (1.0 - landing).sqrt();
        if self.eta == 0.0 || i + 1 == self.timesteps.len() {
            return landed;
        }
        landed * (to / landing).sqrt() + noise() * (1.0 - to / landing).sqrt()
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        let alpha_bar = self.jumps[i].from;
        original * alpha_bar.sqrt() + noise * (1.0 - alpha_bar).sqrt()
    }
}
