//! Root-mean-square normalisation (Zhang & Sennrich 2019), with statistics in f32.

use burn::tensor::{DType, Tensor, activation};

use super::gpu::{self, RowNorm, RowNormPlan, Then};
use crate::weights::Vars;

/// Over the last axis: `x / √(mean(x²) + ε) · weight`.
#[derive(Debug, Clone)]
pub struct RmsNorm {
    weight: Tensor<1>,
    eps: f64,
}

impl RmsNorm {
    pub(super) fn of(weight: Tensor<1>, eps: f64) -> Self {
        Self { weight, eps }
    }

    pub fn load(vars: &Vars, channels: usize, eps: f64) -> Self {
        Self {
            weight: vars.get("weight", [channels]),
            eps,
        }
    }

    /// # Shapes
    /// `[.., channels]` → the same, in the input's dtype.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dtype = x.dtype();
        if gpu::serves(&x.device()) {
            let plan = RowNormPlan::new(RowNorm::RootMeanSquare, self.eps, dtype);
            return gpu::row_norm(x, self.weight.clone(), None, plan);
        }
        let x = x.cast(DType::F32);
        let mean_square = x.clone().square().mean_dim(D - 1);
        let normal = x * (mean_square + self.eps).sqrt().recip();
        let weight = self.weight.clone().cast(DType::F32).unsqueeze::<D>();
        (normal * weight).cast(dtype)
    }
}

impl RmsNorm {
    /// What [`gpu::turned_norm`] takes of it.
    pub fn weight_and_eps(&self) -> (Tensor<1>, f64) {
        (self.weight.clone(), self.eps)
    }
}

/// Over the channels of `[batch, channels, frames, height, width]`: `x / max(‖x‖₂, 1e-12) · √channels · gamma`.
///
/// As `WanRMS_norm` of diffusers, which stores `gamma` with trailing ones.
#[derive(Debug, Clone)]
pub struct ChannelRmsNorm {
    gamma: Tensor<1>,
    channels: usize,
}

impl ChannelRmsNorm {
    /// Reads `gamma` of shape `[channels, 1, 1, 1]`.
    pub fn load(vars: &Vars, channels: usize) -> Self {
        Self::of(vars.get("gamma", [channels, 1, 1, 1]), channels)
    }

    /// Reads `gamma` of shape `[channels, 1, 1]`, as the attention blocks store it.
    pub fn load_for_images(vars: &Vars, channels: usize) -> Self {
        Self::of(vars.get("gamma", [channels, 1, 1]), channels)
    }

    pub(super) fn of<const D: usize>(gamma: Tensor<D>, channels: usize) -> Self {
        Self {
            gamma: gamma.flatten(0, D - 1),
            channels,
        }
    }

    /// # Shapes
    /// `[batch, channels, frames, height, width]` → the same, in the input's dtype.
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        match gpu::serves(&x.device()) {
            true => self.on_gpu(x, Then::Nothing),
            false => self.plain(x),
        }
    }

    /// The norm and SiLU behind it.
    ///
    /// # Shapes
    /// As [`ChannelRmsNorm::forward`].
    pub fn forward_silu(&self, x: Tensor<5>) -> Tensor<5> {
        match gpu::serves(&x.device()) {
            true => self.on_gpu(x, Then::Silu),
            false => activation::silu(self.plain(x)),
        }
    }

    /// Channels last, each pixel is a row whose root mean square is its length by √channels.
    fn on_gpu(&self, x: Tensor<5>, then: Then) -> Tensor<5> {
        let eps = 1e-24 / self.channels as f64;
        let plan = RowNormPlan {
            then,
            ..RowNormPlan::new(RowNorm::RootMeanSquare, eps, x.dtype())
        };
        let rows = x.permute([0, 2, 3, 4, 1]);
        gpu::row_norm(rows, self.gamma.clone(), None, plan).permute([0, 4, 1, 2, 3])
    }

    fn plain(&self, x: Tensor<5>) -> Tensor<5> {
        let dtype = x.dtype();
        let x = x.cast(DType::F32);
        let norm = x.clone().square().sum_dim(1).sqrt().clamp_min(1e-12);
        let gamma = self.gamma.clone().cast(DType::F32) * (self.channels as f64).sqrt();
        (x * norm.recip() * gamma.reshape([1, self.channels, 1, 1, 1])).cast(dtype)
    }
}
