//! Denoising diffusion implicit models, deterministic (eta 0).
//!
//! Song et al. 2020 (arXiv 2010.02502), equation 12. diffusers: `scheduling_ddim.py`.

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::noise_schedule::{DDPM_BETAS, NoiseSchedule, ZeroSnr};
use super::prediction::{DIFFUSION, Prediction};
use super::spacing::{Spacing, leading, linspace, trailing};
use super::{NoiseSource, Scheduler};

pub(super) struct Ddim {
    timesteps: Vec<f64>,
    /// Cumulative alpha at each timestep and at the one it steps to.
    alphas: Vec<(f64, f64)>,
    prediction: Prediction,
    /// Largest magnitude of x0, where the file says `clip_sample`.
    clip: Option<f64>,
}

impl Ddim {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        config.refuse(&["thresholding"])?;
        let prediction = Prediction::new(config, DIFFUSION)?;
        let schedule = NoiseSchedule::new(config, &DDPM_BETAS, ZeroSnr::Exact)?;
        let alphas = &schedule.alphas_cumprod;
        if prediction == Prediction::Epsilon && alphas.contains(&0.0) {
            let allowed = "false with prediction_type `epsilon`";
            return Err(config.not_built("rescale_betas_zero_snr", "true", allowed));
        }
        let train = schedule.len();
        let timesteps = match Spacing::new(config, "leading")? {
            Spacing::Linspace => {
                let ascending = linspace(0.0, (train - 1) as f64, n);
                ascending.into_iter().rev().map(f64::round_ties_even).collect()
            }
            Spacing::Leading => leading(train / n, n, config.integer("steps_offset", 0)?),
            Spacing::Trailing => trailing(train, train, n),
        };
        let final_alpha = match config.flag("set_alpha_to_one", true)? {
            true => 1.0,
            false => alphas[0],
        };
        let mut pairs = Vec::with_capacity(n);
        for t in &timesteps {
            let previous = *t as i64 - (train / n) as i64;
            let alpha = alphas.get(*t as i64 as usize).copied().ok_or_else(|| {
                let offset = format!("such that timestep {t} exists");
                config.not_built("steps_offset", &t.to_string(), &offset)
            })?;
            let next = usize::try_from(previous).map_or(final_alpha, |p| alphas[p]);
            pairs.push((alpha.into(), next.into()));
        }
        let clip = config.flag("clip_sample", true)?;
        let range = config.number("clip_sample_range", 1.0)?;
        Ok(Self {
            timesteps,
            alphas: pairs,
            prediction,
            clip: clip.then_some(range),
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
        _noise: NoiseSource<'_, D>,
    ) -> Tensor<D> {
        let (alpha_bar, next) = self.alphas[i];
        let (alpha, sigma) = (alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt());
        let mut denoised = self
            .prediction
            .denoised(model_output.clone(), sample.clone(), alpha, sigma);
        let epsilon = match self.prediction {
            Prediction::Epsilon | Prediction::Flow => model_output,
            Prediction::Velocity => model_output * alpha + sample * sigma,
            Prediction::Sample => (sample - denoised.clone() * alpha) / sigma,
        };
        if let Some(range) = self.clip {
            denoised = denoised.clamp(-range, range);
        }
        denoised * next.sqrt() + epsilon * (1.0 - next).sqrt()
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        let (alpha_bar, _) = self.alphas[i];
        original * alpha_bar.sqrt() + noise * (1.0 - alpha_bar).sqrt()
    }
}
