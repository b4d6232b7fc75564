//! Euler's method over noise levels, plain and ancestral.
//!
//! Karras et al. 2022 (arXiv 2206.00364), algorithm 2 without churn; ancestral sampling after
//! k-diffusion. diffusers: `scheduling_euler_discrete.py`, `scheduling_euler_ancestral_discrete.py`.

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::families::Family;
use super::levels::{SigmaRules, SigmaSchedule, ancestral_step, scaled};
use super::noise_schedule::{DDPM_BETAS, NoiseSchedule, ZeroSnr};
use super::prediction::{DIFFUSION, EPSILON_OR_VELOCITY, Prediction};
use super::scheduler::{NoiseSource, Scheduler};
use super::settings::{FinalSigma, LevelSettings};

/// `euler`: follows the probability-flow ODE.
pub(super) struct Euler {
    schedule: SigmaSchedule,
    prediction: Prediction,
}

impl Euler {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        config.choice("interpolation_type", "linear", &[("linear", ())])?;
        config.choice("timestep_type", "discrete", &[("discrete", ())])?;
        let schedule = NoiseSchedule::new(config, &DDPM_BETAS, ZeroSnr::NearlyZero)?;
        let settings = LevelSettings::read(config)?;
        Ok(Self {
            schedule: SigmaSchedule::new(config, &settings, &schedule, SigmaRules::SINGLE, n)?,
            prediction: config.prediction(DIFFUSION)?,
        })
    }
}

impl<const D: usize> Scheduler<D> for Euler {
    fn timesteps(&self) -> &[f64] {
        &self.schedule.timesteps
    }

    fn sigmas(&self) -> &[f64] {
        &self.schedule.sigmas
    }

    fn init_noise_sigma(&self) -> f64 {
        self.schedule.init_noise_sigma
    }

    fn scale_model_input(&self, sample: Tensor<D>, i: usize) -> Tensor<D> {
        scaled(sample, self.schedule.sigmas[i])
    }

    fn step(
        &mut self,
        model_output: Tensor<D>,
        i: usize,
        sample: Tensor<D>,
        _noise: NoiseSource<'_, D>,
    ) -> Tensor<D> {
        let (sigma, next) = (self.schedule.sigmas[i], self.schedule.sigmas[i + 1]);
        let denoised = self
            .prediction
            .denoised_unscaled(model_output, sample.clone(), sigma);
        let derivative = (sample.clone() - denoised) / sigma;
        sample + derivative * (next - sigma)
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        self.schedule.add_noise(original, noise, i)
    }
}

/// `euler-ancestral`: steps below the next noise level and adds fresh noise up to it.
pub(super) struct EulerAncestral {
    schedule: SigmaSchedule,
    prediction: Prediction,
    eta: f64,
}

impl EulerAncestral {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        let schedule = NoiseSchedule::new(config, &DDPM_BETAS, ZeroSnr::NearlyZero)?;
        let settings = LevelSettings {
            final_sigma: FinalSigma::Zero,
            ..LevelSettings::read(config)?
        };
        Ok(Self {
            schedule: SigmaSchedule::new(config, &settings, &schedule, SigmaRules::SINGLE, n)?,
            prediction: config.prediction(EPSILON_OR_VELOCITY)?,
            eta: config.eta(Family::EulerAncestral)?,
        })
    }
}

impl<const D: usize> Scheduler<D> for EulerAncestral {
    fn timesteps(&self) -> &[f64] {
        &self.schedule.timesteps
    }

    fn sigmas(&self) -> &[f64] {
        &self.schedule.sigmas
    }

    fn init_noise_sigma(&self) -> f64 {
        self.schedule.init_noise_sigma
    }

    fn scale_model_input(&self, sample: Tensor<D>, i: usize) -> Tensor<D> {
        scaled(sample, self.schedule.sigmas[i])
    }

    fn step(
        &mut self,
        model_output: Tensor<D>,
        i: usize,
        sample: Tensor<D>,
        noise: NoiseSource<'_, D>,
    ) -> Tensor<D> {
        let (from, to) = (self.schedule.sigmas[i], self.schedule.sigmas[i + 1]);
        let (down, up) = ancestral_step(from, to, self.eta);
        let denoised = self
            .prediction
            .denoised_unscaled(model_output, sample.clone(), from);
        let derivative = (sample.clone() - denoised) / from;
        sample + derivative * (down - from) + noise() * up
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        self.schedule.add_noise(original, noise, i)
    }
}
