//! Heun's second-order method: every step looks ahead and corrects itself.
//!
//! Karras et al. 2022 (arXiv 2206.00364), algorithm 2 without churn. diffusers:
//! `scheduling_heun_discrete.py`.

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::euler::SigmaSchedule;
use super::noise_schedule::{BetaDefaults, NoiseSchedule, ZeroSnr};
use super::prediction::{DIFFUSION, Prediction};
use super::spacing::{Curve, FinalSigma};
use super::{NoiseSource, Scheduler};

/// The class has SDXL's range by default, and a linear schedule over it.
const BETAS: BetaDefaults = BetaDefaults {
    start: 0.00085,
    end: 0.012,
    schedule: "linear",
};

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
        let schedule = NoiseSchedule::new(config, &BETAS, ZeroSnr::Ignored)?;
        let single = SigmaSchedule::new(config, &schedule, Curve::new(config)?, FinalSigma::Zero, n)?;
        let clip = config.flag("clip_sample", false)?;
        let range = config.number("clip_sample_range", 1.0)?;
        Ok(Self {
            schedule: SigmaSchedule {
                timesteps: repeat(&single.timesteps, single.timesteps.len()),
                sigmas: repeat(&single.sigmas, single.sigmas.len() - 1),
                init_noise_sigma: single.init_noise_sigma,
            },
            prediction: Prediction::new(config, DIFFUSION)?,
            clip: clip.then_some(range),
            predicted: None,
        })
    }
}

/// Every value twice, except the first and those from `end` on.
fn repeat(values: &[f64], end: usize) -> Vec<f64> {
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
        self.schedule.scale_model_input(sample, i)
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
