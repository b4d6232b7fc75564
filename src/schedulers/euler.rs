//! Euler's method over noise levels, plain and ancestral.
//!
//! Karras et al. 2022 (arXiv 2206.00364), algorithm 2 without churn; ancestral sampling after
//! k-diffusion. diffusers: `scheduling_euler_discrete.py`, `scheduling_euler_ancestral_discrete.py`.

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::noise_schedule::{DDPM_BETAS, NoiseSchedule, ZeroSnr};
use super::prediction::{DIFFUSION, EPSILON_OR_VELOCITY, Prediction};
use super::spacing::{Curve, FinalSigma, SigmaTable, Spacing, leading, linspace, to_f32, trailing};
use super::{NoiseSource, Scheduler};

/// Timesteps and noise levels as euler, euler-ancestral and heun use them.
pub(super) struct SigmaSchedule {
    pub timesteps: Vec<f64>,
    /// One more than timesteps.
    pub sigmas: Vec<f64>,
    pub init_noise_sigma: f64,
}

impl SigmaSchedule {
    pub fn new(
        config: &SchedulerConfig,
        schedule: &NoiseSchedule,
        curve: Curve,
        final_sigma: FinalSigma,
        n: usize,
    ) -> Result<Self> {
        let spacing = Spacing::new(config, "linspace")?;
        let train = schedule.len();
        let timesteps = match spacing {
            Spacing::Linspace => {
                let mut ascending = linspace(0.0, (train - 1) as f64, n);
                ascending.reverse();
                ascending
            }
            Spacing::Leading => leading(train / n, n, config.integer("steps_offset", 0)?),
            Spacing::Trailing => trailing(train, train, n),
        };
        let mut timesteps = to_f32(timesteps);
        let table = SigmaTable::new(schedule.sigmas());
        let mut sigmas: Vec<f64> = timesteps.iter().map(|t| table.at(*t)).collect();
        if curve != Curve::Table {
            sigmas = curve.sigmas(config, [sigmas[0], sigmas[sigmas.len() - 1]], n)?;
            timesteps = to_f32(sigmas.iter().map(|s| table.timestep_of(*s)));
        }
        sigmas.push(match final_sigma {
            FinalSigma::Zero => 0.0,
            FinalSigma::SigmaMin => schedule.sigma_min(),
        });
        let sigmas = to_f32(sigmas);
        let largest = sigmas.iter().copied().fold(0.0, f64::max);
        Ok(Self {
            timesteps,
            init_noise_sigma: match spacing {
                Spacing::Leading => (largest * largest + 1.0).sqrt(),
                Spacing::Linspace | Spacing::Trailing => largest,
            },
            sigmas,
        })
    }

    pub fn scale_model_input<const D: usize>(&self, sample: Tensor<D>, i: usize) -> Tensor<D> {
        sample / (self.sigmas[i].powi(2) + 1.0).sqrt()
    }

    pub fn add_noise<const D: usize>(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        original + noise * self.sigmas[i]
    }
}

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
        let (curve, final_sigma) = (Curve::new(config)?, FinalSigma::new(config)?);
        Ok(Self {
            schedule: SigmaSchedule::new(config, &schedule, curve, final_sigma, n)?,
            prediction: Prediction::new(config, DIFFUSION)?,
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
        self.schedule.scale_model_input(sample, i)
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
}

impl EulerAncestral {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        let schedule = NoiseSchedule::new(config, &DDPM_BETAS, ZeroSnr::NearlyZero)?;
        Ok(Self {
            schedule: SigmaSchedule::new(config, &schedule, Curve::Table, FinalSigma::Zero, n)?,
            prediction: Prediction::new(config, EPSILON_OR_VELOCITY)?,
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
        self.schedule.scale_model_input(sample, i)
    }

    fn step(
        &mut self,
        model_output: Tensor<D>,
        i: usize,
        sample: Tensor<D>,
        noise: NoiseSource<'_, D>,
    ) -> Tensor<D> {
        let (from, to) = (self.schedule.sigmas[i], self.schedule.sigmas[i + 1]);
        let up_squared = to.powi(2) * (from.powi(2) - to.powi(2)) / from.powi(2);
        let down = (to.powi(2) - up_squared).sqrt();
        let denoised = self
            .prediction
            .denoised_unscaled(model_output, sample.clone(), from);
        let derivative = (sample.clone() - denoised) / from;
        sample + derivative * (down - from) + noise() * up_squared.sqrt()
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        self.schedule.add_noise(original, noise, i)
    }
}
