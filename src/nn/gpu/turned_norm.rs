//! Root-mean-square norm and rotary positions of queries and keys in one kernel, a block a row.

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::layout::{Rows, empty_like, grid};
use super::row_norm::{WIDTH, block_sum};

/// Vectors are pairs.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn turned_norm_kernel<I: Float, W: Float, N: Size>(
    x: &[Vector<I, N>],
    bias: &[Vector<W, N>],
    weight: &[Vector<W, N>],
    cos: &[f32],
    sin: &[f32],
    out: &mut [Vector<I, N>],
    rows: usize,
    pairs: usize,
    stride: usize,
    positions: usize,
    head_pairs: usize,
    eps: f32,
    #[comptime] width: usize,
    #[define(I, W)] _dtypes: [ElemType; 2],
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let mut shared = Shared::new_slice(width);
    let unit = UNIT_POS as usize;
    let start = row * stride;
    let mut squares = 0.0f32;
    let mut at = unit;
    while at < pairs {
        let v = Vector::<f32, N>::cast_from(x[start + at]) + Vector::cast_from(bias[at]);
        squares += (v * v).vector_sum();
        at += width;
    }
    let mean = block_sum(squares, &mut shared, width) / (pairs * 2) as f32;
    let scale = 1.0f32 / (mean + eps).sqrt();
    let turns = row % positions * head_pairs;
    let mut at = unit;
    while at < pairs {
        let v = Vector::<f32, N>::cast_from(x[start + at]) + Vector::cast_from(bias[at]);
        let v = v * Vector::new(scale) * Vector::cast_from(weight[at]);
        let turn = turns + at % head_pairs;
        let mut turned = Vector::<f32, N>::empty();
        let (even, odd) = (v.extract(0usize), v.extract(1usize));
        turned.insert(0usize, even * cos[turn] - odd * sin[turn]);
        turned.insert(1usize, even * sin[turn] + odd * cos[turn]);
        out[row * pairs + at] = Vector::cast_from(turned);
        at += width;
    }
}

/// See [`super::turned_norm`].
pub fn turned_norm(
    x: CubeTensor,
    [bias, weight]: [CubeTensor; 2],
    [cos, sin]: [CubeTensor; 2],
    eps: f32,
) -> CubeTensor {
    let rows = Rows::of(x);
    let (cos, sin) = (into_contiguous(cos), into_contiguous(sin));
    let output = empty_like(&rows.tensor, rows.tensor.shape(), rows.tensor.dtype);
    let positions = rows.tensor.shape()[1];
    let client = output.client.clone();
    let head_pairs = cos.shape().num_elements() / positions;
    let dtypes = [rows.tensor.dtype, weight.dtype].map(dtype_to_storage_type);
    turned_norm_kernel::launch(
        &client,
        grid(rows.count),
        CubeDim::new_1d(WIDTH as u32),
        2,
        rows.tensor.into_buffer_arg(),
        bias.into_buffer_arg(),
        weight.into_buffer_arg(),
        cos.into_buffer_arg(),
        sin.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        rows.count,
        rows.length / 2,
        rows.stride / 2,
        positions,
        head_pairs,
        eps,
        WIDTH,
        dtypes,
    );
    output
}
