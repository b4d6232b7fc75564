//! Euler's method for flow matching models.
//!
//! Esser et al. 2024 (arXiv 2403.03206). diffusers: `scheduling_flow_match_euler_discrete.py`.

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::levels::{flow_shift, shifted};
use super::scheduler::{NoiseSource, Scheduler};
use super::spacing::{linspace, to_f32};

pub(super) struct FlowEuler {
    timesteps: Vec<f64>,
    sigmas: Vec<f64>,
}

impl FlowEuler {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        config.refuse(&[
            "use_dynamic_shifting",
            "invert_sigmas",
            "shift_terminal",
            "stochastic_sampling",
        ])?;
        // Of a file of another class, these are not meant for this one.
        if config.chosen.family.is_none() {
            config.refuse(&["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"])?;
        }
        let train = config.train_timesteps()? as f64;
        let shift = flow_shift(config)?;
        // The ends of the training schedule are shifted, and shifted once more with the rest.
        let end = |timestep: f64| -> f64 {
            let (sigma, shift) = ((timestep as f32) / train as f32, shift as f32);
            (shift * sigma / (1.0 + (shift - 1.0) * sigma)).into()
        };
        let mut sigmas: Vec<f64> = linspace(end(train) * train, end(1.0) * train, n)
            .into_iter()
            .map(|t| shifted(t / train, shift))
            .collect();
        sigmas = to_f32(sigmas);
        let timesteps = sigmas
            .iter()
            .map(|s| f64::from(*s as f32 * train as f32))
            .collect();
        sigmas.push(0.0);
        Ok(Self { timesteps, sigmas })
    }
}

impl<const D: usize> Scheduler<D> for FlowEuler {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn sigmas(&self) -> &[f64] {
        &self.sigmas
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
        sample + model_output * (self.sigmas[i + 1] - self.sigmas[i])
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        noise * self.sigmas[i] + original * (1.0 - self.sigmas[i])
    }
}
