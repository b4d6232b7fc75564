//! Two-dimensional convolutions and nearest-neighbour enlargement.

use burn::tensor::ops::{ConvOptions, InterpolateMode, InterpolateOptions};
use burn::tensor::{Tensor, module};

use crate::device;
use crate::weights::Vars;

/// A 2-D convolution with bias and the same padding on all sides.
#[derive(Debug, Clone)]
pub struct Conv2d {
    pub weight: Tensor<4>,
    pub bias: Tensor<1>,
    pub stride: usize,
    pub padding: usize,
}

impl Conv2d {
    /// Reads a `kernel`×`kernel` convolution of stride 1 that keeps the size.
    pub fn load(vars: &Vars, input: usize, output: usize, kernel: usize) -> Self {
        Self {
            weight: vars.get("weight", [output, input, kernel, kernel]),
            bias: vars.get("bias", [output]),
            stride: 1,
            padding: kernel / 2,
        }
    }

    /// The same layer with another stride.
    pub fn with_stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// The same layer with another padding.
    pub fn with_padding(self, padding: usize) -> Self {
        Self { padding, ..self }
    }

    /// # Shapes
    /// `[batch, in, height, width]` → `[batch, out, height / stride, width / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let dtype = x.dtype();
        let options = ConvOptions::new([self.stride; 2], [self.padding; 2], [1, 1], 1);
        module::conv2d(
            x,
            self.weight.clone().cast(dtype),
            Some(self.bias.clone().cast(dtype)),
            options,
        )
    }
}

/// Enlarges to `height`×`width` by repeating the nearest pixel, as `torch.nn.functional.interpolate`.
///
/// # Shapes
/// `[batch, channels, h, w]` → `[batch, channels, height, width]`.
pub fn upsample_nearest(x: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size([height, width]);
    module::interpolate(x, options)
}
