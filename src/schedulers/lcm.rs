//! Latent consistency models: every call predicts the end, noise leads back to the next step.
//!
//! Luo et al. 2023 (arXiv 2310.04378), algorithm 3. diffusers: `scheduling_lcm.py`.

use anyhow::Result;
use burn::tensor::Tensor;

use super::chosen::Given;
use super::config::SchedulerConfig;
use super::noise_schedule::{NoiseSchedule, SDXL_BETAS};
use super::prediction::{DIFFUSION, Prediction};
use super::scheduler::{NoiseSource, Scheduler};

const SIGMA_DATA: f64 = 0.5;

pub(super) struct Lcm {
    timesteps: Vec<f64>,
    alphas_cumprod: Vec<f64>,
    timestep_scaling: f64,
    prediction: Prediction,
    clip: Option<f64>,
}

impl Lcm {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        config.refuse(&["thresholding"])?;
        let prediction = config.prediction(DIFFUSION)?;
        let schedule = NoiseSchedule::exact(config, &SDXL_BETAS, prediction)?;
        let timesteps = distilled_timesteps(config, schedule.len(), n)?;
        let alpha = |t: &f64| f64::from(schedule.alphas_cumprod[*t as usize]);
        Ok(Self {
            alphas_cumprod: timesteps.iter().map(alpha).collect(),
            timesteps,
            timestep_scaling: config.number("timestep_scaling", 10.0)?,
            prediction,
            clip: config.clip(false)?,
        })
    }
}

/// `n` of the timesteps that the model was distilled on, evenly spread, from the highest down.
///
/// Whatever `timestep_spacing` says, as in diffusers' classes.
pub(super) fn distilled_timesteps(config: &SchedulerConfig, train: usize, n: usize) -> Result<Vec<f64>> {
    if let Some(Given::Timesteps(timesteps)) = &config.chosen.given {
        return Ok(timesteps.clone());
    }
    let original = config.integer("original_inference_steps", 50)?;
    if !(1..=train as i64).contains(&original) {
        let allowed = format!("1 to {train}");
        return Err(config.not_built("original_inference_steps", &original.to_string(), &allowed));
    }
    let original = original as usize;
    if n > original {
        crate::fail!(InvalidSpec, "steps is {n}; allowed with {}: 1 to {original}", config.name();
            "distilled models need 4 to 8 steps");
    }
    let stride = train / original;
    Ok((0..n)
        .map(|i| {
            let index = (i as f64 * (original as f64 / n as f64)).floor() as usize;
            ((original - index) * stride - 1) as f64
        })
        .collect())
}

impl<const D: usize> Scheduler<D> for Lcm {
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
        let alpha_bar = self.alphas_cumprod[i];
        let (alpha, sigma) = (alpha_bar.sqrt(), (1.0 - alpha_bar).sqrt());
        let mut predicted = self
            .prediction
            .denoised(model_output, sample.clone(), alpha, sigma);
        if let Some(range) = self.clip {
            predicted = predicted.clamp(-range, range);
        }
        let scaled = self.timesteps[i] * self.timestep_scaling;
        let norm = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let (c_skip, c_out) = (SIGMA_DATA * SIGMA_DATA / norm, scaled / norm.sqrt());
        let denoised = predicted * c_out + sample * c_skip;
        match self.alphas_cumprod.get(i + 1) {
            Some(next) => denoised * next.sqrt() + noise() * (1.0 - next).sqrt(),
            None => denoised,
        }
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        let alpha_bar = self.alphas_cumprod[i];
        original * alpha_bar.sqrt() + noise * (1.0 - alpha_bar).sqrt()
    }
}
