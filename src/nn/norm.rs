//! Normalisation with statistics in f32, whatever the dtype of the data.

use burn::tensor::{DType, Tensor, activation, module};

use super::gpu::{self, RowNorm, RowNormPlan, Then};
use crate::weights::Vars;

/// Layer normalisation over the last axis (Ba et al. 2016).
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    eps: f64,
}

impl LayerNorm {
    pub(super) fn of(weight: Tensor<1>, bias: Tensor<1>, eps: f64) -> Self {
        Self { weight, bias, eps }
    }

    pub fn load(vars: &Vars, channels: usize, eps: f64) -> Self {
        Self {
            weight: vars.get("weight", [channels]),
            bias: vars.get("bias", [channels]),
            eps,
        }
    }

    /// # Shapes
    /// `[.., channels]` → the same.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dtype = x.dtype();
        self.forward_to(x, dtype)
    }

    /// As [`LayerNorm::forward`], in `dtype`.
    pub fn forward_to<const D: usize>(&self, x: Tensor<D>, dtype: DType) -> Tensor<D> {
        if gpu::serves(&x.device()) {
            let plan = RowNormPlan::new(RowNorm::Layer, self.eps, dtype);
            return gpu::row_norm(x, self.weight.clone(), Some(self.bias.clone()), plan);
        }
        let (weight, bias) = (
            self.weight.clone().cast(DType::F32),
            self.bias.clone().cast(DType::F32),
        );
        module::layer_norm(x.cast(DType::F32), weight, Some(bias), self.eps).cast(dtype)
    }
}

/// Group normalisation (Wu & He 2018) over `[batch, channels, height, width]`.
#[derive(Debug, Clone)]
pub struct GroupNorm {
    weight: Tensor<1>,
    bias: Tensor<1>,
    groups: usize,
    eps: f64,
}

impl GroupNorm {
    pub(super) fn of(weight: Tensor<1>, bias: Tensor<1>, groups: usize, eps: f64) -> Self {
        Self {
            weight,
            bias,
            groups,
            eps,
        }
    }

    pub fn load(vars: &Vars, groups: usize, channels: usize, eps: f64) -> Self {
        Self {
            weight: vars.get("weight", [channels]),
            bias: vars.get("bias", [channels]),
            groups,
            eps,
        }
    }

    /// # Shapes
    /// `[batch, channels, height, width]` → the same.
    ///
    /// # Panics
    /// If the channels do not divide into the groups.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        match gpu::serves(&x.device()) {
            true => self.on_gpu(x, Then::Nothing),
            false => self.plain(x),
        }
    }

    /// The norm and SiLU behind it.
    ///
    /// # Shapes
    /// As [`GroupNorm::forward`].
    pub fn forward_silu(&self, x: Tensor<4>) -> Tensor<4> {
        match gpu::serves(&x.device()) {
            true => self.on_gpu(x, Then::Silu),
            false => activation::silu(self.plain(x)),
        }
    }

    fn on_gpu(&self, x: Tensor<4>, then: Then) -> Tensor<4> {
        gpu::group_norm(x, [&self.weight, &self.bias], self.groups, self.eps, then)
    }

    fn plain(&self, x: Tensor<4>) -> Tensor<4> {
        let dtype = x.dtype();
        let [batch, channels, height, width] = x.dims();
        assert_eq!(
            channels % self.groups,
            0,
            "{channels} channels in {} groups",
            self.groups
        );
        // One group is one row of a layer norm without affine part: one kernel, two passes.
        let per_group = channels / self.groups * height * width;
        let grouped = x.cast(DType::F32).reshape([batch * self.groups, per_group]);
        let ones = Tensor::ones([per_group], (&grouped.device(), DType::F32));
        let normal = module::layer_norm(grouped, ones, None, self.eps);
        let affine = |t: &Tensor<1>| t.clone().cast(DType::F32).reshape([1, channels, 1, 1]);
        let y = normal.reshape([batch, channels, height, width]) * affine(&self.weight) + affine(&self.bias);
        y.cast(dtype)
    }
}
