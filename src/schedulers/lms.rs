//! Linear multistep over noise levels (Adams-Bashforth of up to four steps).
//!
//! After k-diffusion's `sample_lms`; diffusers: `scheduling_lms_discrete.py`. The order never exceeds the
//! outputs at hand, as in k-diffusion: diffusers weighs a tail of image-to-image as if there were more.

use std::collections::VecDeque;

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::levels::{SigmaRules, SigmaSchedule, scaled};
use super::noise_schedule::{DDPM_BETAS, NoiseSchedule, ZeroSnr};
use super::prediction::{DIFFUSION, Prediction};
use super::scheduler::{NoiseSource, Scheduler};
use super::settings::{FinalSigma, LevelSettings};

const ORDER: usize = 4;

pub(super) struct Lms<const D: usize> {
    schedule: SigmaSchedule,
    prediction: Prediction,
    /// Earlier derivatives, the newest first.
    history: VecDeque<Tensor<D>>,
}

impl<const D: usize> Lms<D> {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        let schedule = NoiseSchedule::new(config, &DDPM_BETAS, ZeroSnr::Ignored)?;
        let settings = LevelSettings {
            final_sigma: FinalSigma::Zero,
            ..LevelSettings::read(config)?
        };
        Ok(Self {
            schedule: SigmaSchedule::new(config, &settings, &schedule, SigmaRules::SINGLE, n)?,
            prediction: config.prediction(DIFFUSION)?,
            history: VecDeque::new(),
        })
    }
}

/// The integral from `points[0]` to `end` of the polynomial that is 1 at `points[k]` and 0 at the others.
///
/// Simpson's rule, which is exact for up to four points.
fn coefficient(points: &[f64], k: usize, end: f64) -> f64 {
    let at = |x: f64| -> f64 {
        let others = points.iter().enumerate().filter(|(j, _)| *j != k);
        others.map(|(_, p)| (x - p) / (points[k] - p)).product()
    };
    let start = points[0];
    (end - start) / 6.0 * (at(start) + 4.0 * at((start + end) / 2.0) + at(end))
}

impl<const D: usize> Scheduler<D> for Lms<D> {
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
        let sigma = self.schedule.sigmas[i];
        let denoised = self
            .prediction
            .denoised_unscaled(model_output, sample.clone(), sigma);
        self.history.push_front((sample.clone() - denoised) / sigma);
        self.history.truncate(ORDER);
        let order = self.history.len();
        let points: Vec<f64> = (0..order).map(|k| self.schedule.sigmas[i - k]).collect();
        let end = self.schedule.sigmas[i + 1];
        let terms = self.history.iter().enumerate();
        terms.fold(sample, |sum, (k, derivative)| {
            sum + derivative.clone() * coefficient(&points, k, end)
        })
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        self.schedule.add_noise(original, noise, i)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_integrate_cubics_exactly() {
        let (points, end) = ([5.0, 7.0, 8.5, 11.0], 3.0);
        let cubic = |x: f64| 2.0 * x.powi(3) - x * x + 4.0;
        let integral = |x: f64| 0.5 * x.powi(4) - x.powi(3) / 3.0 + 4.0 * x;
        let sum: f64 = (0..4)
            .map(|k| coefficient(&points, k, end) * cubic(points[k]))
            .sum();
        assert!((sum - (integral(end) - integral(points[0]))).abs() < 1e-9);
    }
}
