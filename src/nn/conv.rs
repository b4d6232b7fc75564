//! Two-dimensional convolutions and nearest-neighbour enlargement.

use burn::tensor::ops::{ConvOptions, InterpolateMode, InterpolateOptions};
use burn::tensor::{Tensor, module};

use crate::device;
use crate::nn::{gpu, in_dtype};
use crate::weights::{Param, Vars};

/// A 2-D convolution with bias and the same padding on all sides.
#[derive(Debug, Clone)]
pub struct Conv2d {
    pub weight: Param<4>,
    pub bias: Tensor<1>,
    pub stride: usize,
    pub padding: usize,
}

impl Conv2d {
    /// Reads a `kernel`×`kernel` convolution of stride 1 that keeps the size.
    pub fn load(vars: &Vars, input: usize, output: usize, kernel: usize) -> Self {
        Self {
            weight: vars
                .param("weight", [output, input, kernel, kernel])
                .laid_out(channels_last),
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
        let (weight, bias) = (
            in_dtype(&self.weight.value(), dtype),
            self.bias.clone().cast(dtype),
        );
        if device::is_cpu(&x.device()) && self.columns(&x) <= MATMUL_COLUMNS {
            return conv2d_by_matmul(x, weight, bias, self.stride, self.padding);
        }
        if gpu::serves(&x.device()) {
            return gpu::convolution(x, weight, bias, &[self.stride; 2], &[self.padding; 2]);
        }
        let options = ConvOptions::new([self.stride; 2], [self.padding; 2], [1, 1], 1);
        module::conv2d(x, weight, Some(bias), options)
    }

    /// How many values all windows of an input hold together.
    fn columns(&self, x: &Tensor<4>) -> usize {
        let [_, input, kernel, _] = self.weight.dims();
        let [batch, _, height, width] = x.dims();
        batch * input * kernel * kernel * height * width / (self.stride * self.stride)
    }
}

/// As the kernels of a GPU read weights; elsewhere as they are.
pub(super) fn channels_last<const D: usize>(weight: Tensor<D>) -> Tensor<D> {
    match gpu::serves(&weight.device()) {
        true => gpu::channels_last(weight),
        false => weight,
    }
}

/// Up to this many values (64 MB of f32) the CPU gathers all windows and multiplies once. That
/// took 0.5 to 1.1 of the time of Burn 0.22's CPU convolution, which lays out its weights anew
/// each call.
const MATMUL_COLUMNS: usize = 16 << 20;

/// Convolution as one product of the weights with all windows of the input (im2col).
fn conv2d_by_matmul(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Tensor<1>,
    stride: usize,
    padding: usize,
) -> Tensor<4> {
    let [output, input, kernel, _] = weight.dims();
    let x = match padding {
        0 => x,
        n => x.pad((n, n, n, n), 0.0),
    };
    let rows: Tensor<5> = x.unfold(2, kernel, stride);
    let windows: Tensor<6> = rows.unfold(3, kernel, stride);
    let [batch, _, height, width, _, _] = windows.dims();
    let depth = input * kernel * kernel;
    let columns = windows
        .permute([0, 1, 4, 5, 2, 3])
        .reshape([batch, depth, height * width]);
    let y = weight.reshape([1, output, depth]).matmul(columns);
    (y + bias.reshape([1, output, 1])).reshape([batch, output, height, width])
}

/// Enlarges to `height`×`width` by repeating the nearest pixel, as `torch.nn.functional.interpolate`.
///
/// # Shapes
/// `[batch, channels, h, w]` → `[batch, channels, height, width]`.
pub fn upsample_nearest(x: Tensor<4>, height: usize, width: usize) -> Tensor<4> {
    let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size([height, width]);
    module::interpolate(x, options)
}

/// The channels of both, those of `b` behind those of `a`.
///
/// # Shapes
/// `[batch, a, height, width]` and `[batch, b, height, width]` → `[batch, a + b, height, width]`.
pub fn beside(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    if !gpu::serves(&a.device()) {
        return Tensor::cat(vec![a, b], 1);
    }
    // Joined where they lie: a GPU keeps channels last.
    let last = |x: Tensor<4>| x.permute([0, 2, 3, 1]);
    Tensor::cat(vec![last(a), last(b)], 3).permute([0, 3, 1, 2])
}

/// A convolution without bias whose windows touch but do not overlap, one token a window.
///
/// # Shapes
/// `x: [batch, in, height, width]`, `weight: [out, in, side, side]` → `[batch, windows, out]`, row by
/// row.
pub fn patches(x: Tensor<4>, weight: Tensor<4>) -> Tensor<3> {
    let [output, input, side, _] = weight.dims();
    let [batch, _, height, width] = x.dims();
    let (rows, columns) = (height / side, width / side);
    let windows = x
        .reshape([batch, input, rows, side, columns, side])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([batch, rows * columns, input * side * side]);
    windows.matmul(weight.reshape([1, output, input * side * side]).swap_dims(1, 2))
}
