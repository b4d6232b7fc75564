//! What every sampler can do.

use burn::tensor::Tensor;

/// Draws standard normal noise of the latents' shape; a batch has one generator per image.
pub type NoiseSource<'a, const D: usize> = &'a mut dyn FnMut() -> Tensor<D>;

/// One run of a sampler over latents of rank `D` (float32, any shape).
///
/// Multistep schedulers remember earlier outputs, so that one value serves one run, from its
/// begin index to its last step in order.
pub trait Scheduler<const D: usize> {
    /// What the network is called with, one per call. Samplers of second order call it twice a step but for
    /// the last, pndm once more in all.
    fn timesteps(&self) -> &[f64];

    /// Noise levels, one more than timesteps; empty for ddim, pndm, lcm and tcd, which use
    /// cumulative alphas.
    fn sigmas(&self) -> &[f64];

    /// What standard normal noise is multiplied by to become the first latents.
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// Network calls per step: 2 for heun, dpm2, dpm2-ancestral, dpmpp-2s-ancestral and dpmpp-sde.
    fn order(&self) -> usize {
        1
    }

    /// Steps of the whole trajectory.
    fn num_steps(&self) -> usize {
        self.timesteps().len().div_ceil(self.order())
    }

    /// The latents as the network expects them at timestep index `i`.
    fn scale_model_input(&self, sample: Tensor<D>, i: usize) -> Tensor<D>;

    /// The latents after timestep index `i`, from the network's output for `scale_model_input(sample, i)`.
    ///
    /// `noise` is called by the stochastic schedulers only, in diffusers' order: once a step (lcm, tcd and
    /// the samplers of second order: not at the last; dpmpp-sde: twice a step).
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
        let steps = self.num_steps();
        let kept = ((steps as f64 * strength) as usize).clamp(1, steps);
        (steps - kept) * self.order()
    }
}
