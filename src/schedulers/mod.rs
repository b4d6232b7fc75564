//! Samplers: how a trajectory from noise to a picture is cut into steps.
//!
//! A scheduler knows neither the network nor the progress bar. The loop around it is
//!
//! ```text
//! latents = noise * init_noise_sigma()
//! for i in begin_index..timesteps().len():
//!     model_output = network(scale_model_input(latents, i), timesteps()[i])
//!     latents = step(model_output, i, latents, noise)
//! ```
//!
//! Timesteps and sigmas carry the roundings of diffusers 0.42 (`src/diffusers/schedulers/`),
//! since a rounding may decide a timestep; coefficients of a step are computed on the CPU in
//! double precision, and the step itself is plain float32 tensor arithmetic.

use anyhow::Result;
use burn::tensor::Tensor;

mod config;
mod ddim;
mod dpmpp;
mod euler;
mod flow_euler;
mod heun;
mod lcm;
mod names;
mod noise_schedule;
mod prediction;
mod spacing;
mod unipc;

pub use config::SchedulerConfig;
pub use names::{NAMES, check_name, listing, runs_on};

/// Draws standard normal noise of the latents' shape; a batch has one generator per image.
pub type NoiseSource<'a, const D: usize> = &'a mut dyn FnMut() -> Tensor<D>;

/// One run of a sampler over latents of rank `D` (float32, any shape).
///
/// Multistep schedulers remember earlier outputs, so that one value serves one run, from its
/// begin index to its last step in order.
pub trait Scheduler<const D: usize> {
    /// What the network is called with, one per call. Heun calls it twice a step but for the last.
    fn timesteps(&self) -> &[f64];

    /// Noise levels, one more than timesteps; empty for ddim and lcm, which use cumulative alphas.
    fn sigmas(&self) -> &[f64];

    /// What standard normal noise is multiplied by to become the first latents.
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// Network calls per step: 2 for heun, 1 for all others.
    fn order(&self) -> usize {
        1
    }

    /// The latents as the network expects them at timestep index `i`.
    fn scale_model_input(&self, sample: Tensor<D>, i: usize) -> Tensor<D>;

    /// The latents after timestep index `i`, from the network's output for `scale_model_input(sample, i)`.
    ///
    /// `noise` is called by the stochastic schedulers only: once a step (lcm: not at the last).
    fn step(
        &mut self,
        model_output: Tensor<D>,
        i: usize,
        sample: Tensor<D>,
        noise: NoiseSource<'_, D>,
    ) -> Tensor<D>;

    /// Clean latents with as much noise as timestep index `i` expects.
    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D>;

    /// Where image-to-image with this denoising strength (0 to 1) enters `timesteps`.
    ///
    /// As `get_timesteps` of diffusers' image-to-image pipelines, except that at least one step remains.
    fn begin_index(&self, strength: f64) -> usize {
        let steps = self.timesteps().len().div_ceil(self.order());
        let kept = ((steps as f64 * strength) as usize).clamp(1, steps);
        (steps - kept) * self.order()
    }
}

/// A scheduler for `num_inference_steps` steps, exactly as `config` says.
///
/// # Errors
/// `Config` when the configuration asks for something that is not built, `InvalidSpec` when the
/// step count does not fit the scheduler; both name the field, its value and the allowed ones.
pub fn build<const D: usize>(
    config: &SchedulerConfig,
    num_inference_steps: usize,
) -> Result<Box<dyn Scheduler<D>>> {
    let train = config.integer("num_train_timesteps", 1000)?;
    if num_inference_steps == 0 || num_inference_steps as i64 > train {
        crate::fail!(
            InvalidSpec,
            "steps is {num_inference_steps}; allowed: 1 to {train}"
        );
    }
    let n = num_inference_steps;
    Ok(match config.class_name() {
        "EulerDiscreteScheduler" => Box::new(euler::Euler::new(config, n)?),
        "EulerAncestralDiscreteScheduler" => Box::new(euler::EulerAncestral::new(config, n)?),
        "HeunDiscreteScheduler" => Box::new(heun::Heun::new(config, n)?),
        "DDIMScheduler" => Box::new(ddim::Ddim::new(config, n)?),
        "DPMSolverMultistepScheduler" => Box::new(dpmpp::Dpmpp::new(config, n)?),
        "UniPCMultistepScheduler" => Box::new(unipc::UniPc::new(config, n)?),
        "LCMScheduler" => Box::new(lcm::Lcm::new(config, n)?),
        "FlowMatchEulerDiscreteScheduler" => Box::new(flow_euler::FlowEuler::new(config, n)?),
        other => return Err(config.unknown_class(other)),
    })
}
