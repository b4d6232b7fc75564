//! Heun's second-order method: every step looks ahead and corrects itself.
//!
//! Karras et al. 2022 (arXiv 2206.00364), algorithm 2 without churn. diffusers:
//! `scheduling_heun_discrete.py`.

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::levels::{SigmaRules, SigmaSchedule, scaled};
use super::noise_schedule::{NoiseSchedule, SDXL_RANGE_LINEAR, ZeroSnr};
use super::prediction::{DIFFUSION, Prediction};
use super::scheduler::{NoiseSource, Scheduler};
use super::settings::{FinalSigma, LevelSettings};

/// Timesteps come in pairs but for the first, which only predicts, and so do sigmas:
/// `s0, s1, s1, s2, s2, …, 0`. An even index predicts, an odd one corrects.
pub(super) struct Heun<const D: usize> {
    schedule: SigmaSchedule,
    prediction: Prediction,
    /// Largest magnitude of x0, where the file says `clip_sample`.
    clip: Option<f64>,
    /// Sample and derivative of the prediction, for its correction.
    predicted: Option<(Tensor<D>, Tensor<D>)>,
}

impl<const D: usize> Heun<D> {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        let schedule = NoiseSchedule::new(config, &SDXL_RANGE_LINEAR, ZeroSnr::Ignored)?;
        let settings = LevelSettings {
            final_sigma: FinalSigma::Zero,
            ..LevelSettings::read(config)?
        };
        let single = SigmaSchedule::new(config, &settings, &schedule, SigmaRules::SINGLE, n)?;
        Ok(Self {
            schedule: SigmaSchedule {
                timesteps: repeat(&single.timesteps, single.timesteps.len()),
                sigmas: repeat(&single.sigmas, single.sigmas.len() - 1),
                ..single
            },
            prediction: config.prediction(DIFFUSION)?,
            clip: config.clip(false)?,
            predicted: None,
        })
    }
}

/// Every value twice, except the first and those from `end` on.
pub(super) fn repeat(values: &[f64], end: usize) -> Vec<f64> {
    let twice = values[1..end].iter().flat_map(|v| [*v, *v]);
    let head = std::iter::once(values[0]);
    head.chain(twice).chain(values[end..].iter().copied()).collect()
}

impl<const D: usize> Scheduler<D> for Heun<D> {
    fn timesteps(&self) -> &[f64] {
        &self.schedule.timesteps
    }

    fn sigmas(&self) -> &[f64] {
        &self.schedule.sigmas
    }

    fn init_noise_sigma(&self) -> f64 {
        self.schedule.init_noise_sigma
    }

    fn order(&self) -> usize {
        2
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
        let sigmas = &self.schedule.sigmas;
        let sigma = sigmas[i];
        let mut denoised = self
            .prediction
            .denoised_unscaled(model_output, sample.clone(), sigma);
        if let Some(range) = self.clip {
            denoised = denoised.clamp(-range, range);
        }
        let derivative = (sample.clone() - denoised) / sigma;
        match self.predicted.take() {
            None => {
                self.predicted = Some((sample.clone(), derivative.clone()));
                sample + derivative * (sigmas[i + 1] - sigma)
            }
            Some((start, first)) => start + (first + derivative) * (0.5 * (sigma - sigmas[i - 1])),
        }
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        self.schedule.add_noise(original, noise, i)
    }
}
