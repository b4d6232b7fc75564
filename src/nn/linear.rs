//! Fully connected layers.

use burn::tensor::{Tensor, module};

use crate::nn::{gpu, in_dtype};
use crate::weights::{Param, Vars};

/// `y = x Wᵀ + b`, with the weight kept `[out, in]` as PyTorch stores it.
#[derive(Debug, Clone)]
pub struct Linear {
    pub weight: Param<2>,
    pub bias: Option<Tensor<1>>,
}

impl Linear {
    /// Reads `weight` and `bias`.
    pub fn load(vars: &Vars, input: usize, output: usize) -> Self {
        Self {
            weight: vars.param("weight", [output, input]),
            bias: Some(vars.get("bias", [output])),
        }
    }

    /// Reads `weight` of a layer that has no bias.
    pub fn load_no_bias(vars: &Vars, input: usize, output: usize) -> Self {
        Self {
            weight: vars.param("weight", [output, input]),
            bias: None,
        }
    }

    /// # Shapes
    /// `[.., in]` → `[.., out]`, in the input's dtype.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let dtype = x.dtype();
        if gpu::serves(&x.device()) {
            let y = self.product(x);
            return match &self.bias {
                Some(bias) => y + bias.clone().cast(dtype).unsqueeze::<D>(),
                None => y,
            };
        }
        let weight = in_dtype(&self.weight.value(), dtype).transpose();
        module::linear(x, weight, self.bias.clone().map(|b| b.cast(dtype)))
    }

    /// Without the bias, on a GPU: for kernels that add it themselves.
    ///
    /// # Shapes
    /// As [`Linear::forward`].
    pub fn product<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let weight = in_dtype(&self.weight.value(), x.dtype());
        gpu::matmul(x, weight)
    }
}
