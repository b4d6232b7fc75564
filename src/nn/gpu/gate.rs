//! Gated feed-forward layers: bias, activation and product in one kernel.

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::Gate;
use super::layout::{Rows, empty_like, grid, vector_size};
use super::row_norm::WIDTH;

#[cube(launch)]
fn gate_kernel<I: Float, W: Float, N: Size>(
    x: &[Vector<I, N>],
    bias: &[Vector<W, N>],
    out: &mut [Vector<I, N>],
    vectors: usize,
    half: usize,
    stride: usize,
    #[comptime] has_bias: bool,
    #[comptime] gate: Gate,
    #[define(I, W)] _dtypes: [ElemType; 2],
) {
    let at = ABSOLUTE_POS;
    if at >= vectors {
        terminate!();
    }
    let column = at % half;
    let start = at / half * stride + column;
    let mut first = Vector::<f32, N>::cast_from(x[start]);
    let mut second = Vector::<f32, N>::cast_from(x[start + half]);
    if comptime!(has_bias) {
        first = first + Vector::cast_from(bias[column]);
        second = second + Vector::cast_from(bias[half + column]);
    }
    let one = Vector::<f32, N>::new(1.0f32);
    let y = match comptime!(gate) {
        Gate::GeluOfSecond => {
            let root = Vector::<f32, N>::new(core::f32::consts::FRAC_1_SQRT_2);
            first * second * Vector::new(0.5f32) * (one + (second * root).erf())
        }
        Gate::SiluOfFirst => first / (one + (-first).exp()) * second,
    };
    out[at] = Vector::cast_from(y);
}

/// See [`super::gate`].
pub fn gate(x: CubeTensor, bias: CubeTensor, has_bias: bool, gate: Gate) -> CubeTensor {
    let rows = Rows::of(x);
    let half = rows.length / 2;
    let mut shape = rows.tensor.shape();
    let last = shape.num_dims() - 1;
    shape[last] = half;
    let output = empty_like(&rows.tensor, shape, rows.tensor.dtype);
    let vector = vector_size(&[&rows.tensor, &bias], &[half, rows.stride]);
    let vectors = rows.count * half / vector;
    let client = output.client.clone();
    let dtypes = [rows.tensor.dtype, bias.dtype].map(dtype_to_storage_type);
    gate_kernel::launch(
        &client,
        grid(vectors.div_ceil(WIDTH)),
        CubeDim::new_1d(WIDTH as u32),
        vector,
        rows.tensor.into_buffer_arg(),
        bias.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        vectors,
        half / vector,
        rows.stride / vector,
        has_bias,
        gate,
        dtypes,
    );
    output
}
