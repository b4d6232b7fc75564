//! What a network's output means, and the clean latents it implies.

use burn::tensor::Tensor;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Prediction {
    /// The noise.
    Epsilon,
    /// Salimans & Ho 2022 (arXiv 2202.00512): `alpha * noise - sigma * x0`.
    Velocity,
    /// The clean latents.
    Sample,
    /// Lipman et al. 2022 (arXiv 2210.02747): `noise - x0`.
    Flow,
}

use Prediction::{Epsilon, Flow, Sample, Velocity};

impl Prediction {
    /// x0 from `sample = alpha * x0 + sigma * noise`.
    pub fn denoised<const D: usize>(
        self,
        output: Tensor<D>,
        sample: Tensor<D>,
        alpha: f64,
        sigma: f64,
    ) -> Tensor<D> {
        match self {
            Epsilon => (sample - output * sigma) / alpha,
            Velocity => sample * alpha - output * sigma,
            Sample => output,
            Flow => sample - output * sigma,
        }
    }

    /// The noise in `sample = alpha * x0 + sigma * noise`, given the x0 that [`Self::denoised`] found.
    pub fn noise<const D: usize>(
        self,
        output: Tensor<D>,
        sample: Tensor<D>,
        denoised: Tensor<D>,
        alpha: f64,
        sigma: f64,
    ) -> Tensor<D> {
        match self {
            Epsilon => output,
            Velocity => output * alpha + sample * sigma,
            Sample | Flow => (sample - denoised * alpha) / sigma,
        }
    }

    /// x0 from `sample = x0 + sigma * noise`, where the network saw `sample / sqrt(sigma^2 + 1)`.
    pub fn denoised_unscaled<const D: usize>(
        self,
        output: Tensor<D>,
        sample: Tensor<D>,
        sigma: f64,
    ) -> Tensor<D> {
        match self {
            Epsilon | Flow => sample - output * sigma,
            Velocity => {
                let scale = sigma * sigma + 1.0;
                output * (-sigma / scale.sqrt()) + sample / scale
            }
            Sample => output,
        }
    }
}

pub(super) const DIFFUSION: &[(&str, Prediction)] = &[
    ("epsilon", Epsilon),
    ("v_prediction", Velocity),
    ("sample", Sample),
];

pub(super) const EPSILON_OR_VELOCITY: &[(&str, Prediction)] =
    &[("epsilon", Epsilon), ("v_prediction", Velocity)];

pub(super) const DIFFUSION_OR_FLOW: &[(&str, Prediction)] = &[
    ("epsilon", Epsilon),
    ("v_prediction", Velocity),
    ("sample", Sample),
    ("flow_prediction", Flow),
];

/// Signal and noise of a level: variance-preserving, or on a straight line for flow models.
pub(super) fn alpha_sigma(sigma: f64, flow: bool) -> (f64, f64) {
    if flow {
        (1.0 - sigma, sigma)
    } else {
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        (alpha, sigma * alpha)
    }
}

/// Half the logarithm of the signal-to-noise ratio; infinite without noise.
pub(super) fn lambda(sigma: f64, flow: bool) -> f64 {
    let (alpha, sigma) = alpha_sigma(sigma, flow);
    alpha.ln() - sigma.ln()
}
