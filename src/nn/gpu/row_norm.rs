//! Layer and root-mean-square norms: one block of threads a row, statistics in f32.

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::layout::{Rows, empty_like, grid, vector_size};
use super::{RowNorm, RowNormPlan, Then};

/// Threads of a block.
pub const WIDTH: usize = 256;

/// The sum of all threads' values, known to each.
#[cube]
pub fn block_sum(value: f32, shared: &mut Shared<[f32]>, #[comptime] width: usize) -> f32 {
    let unit = UNIT_POS as usize;
    shared[unit] = value;
    sync_cube();
    let mut half = (width / 2).runtime();
    while half > 0 {
        if unit < half {
            let other = shared[unit + half];
            shared[unit] = shared[unit] + other;
        }
        sync_cube();
        half = half / 2;
    }
    let sum = shared[0];
    // Nobody may write again before everybody has read.
    sync_cube();
    sum
}

#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn row_norm_kernel<I: Float, W: Float, O: Float, N: Size>(
    x: &[Vector<I, N>],
    weights: &[Vector<W, N>],
    shifts: &[Vector<W, N>],
    out: &mut [Vector<O, N>],
    rows: usize,
    length: usize,
    stride: usize,
    weight_start: usize,
    shift_start: usize,
    eps: f32,
    #[comptime] kind: RowNorm,
    #[comptime] then: Then,
    #[comptime] has_shift: bool,
    #[comptime] one_more: bool,
    #[comptime] width: usize,
    #[define(I, W, O)] _dtypes: [ElemType; 3],
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let mut shared = Shared::new_slice(width);
    let scalars = (length * x[0].vector_size()) as f32;
    let start = row * stride;
    let unit = UNIT_POS as usize;

    let mut mean = 0.0f32;
    if comptime!(kind == RowNorm::Layer) {
        let mut sum = 0.0f32;
        let mut at = unit;
        while at < length {
            sum += Vector::<f32, N>::cast_from(x[start + at]).vector_sum();
            at += width;
        }
        mean = block_sum(sum, &mut shared, width) / scalars;
    }
    let mut squares = 0.0f32;
    let mut at = unit;
    while at < length {
        let off = Vector::<f32, N>::cast_from(x[start + at]) - Vector::new(mean);
        squares += (off * off).vector_sum();
        at += width;
    }
    let scale = 1.0f32 / (block_sum(squares, &mut shared, width) / scalars + eps).sqrt();

    let mut at = unit;
    while at < length {
        let normal = (Vector::<f32, N>::cast_from(x[start + at]) - Vector::new(mean)) * Vector::new(scale);
        let mut weight = Vector::<f32, N>::cast_from(weights[weight_start + at]);
        if comptime!(one_more) {
            weight = weight + Vector::new(1.0f32);
        }
        let mut y = normal * weight;
        if comptime!(has_shift) {
            y = y + Vector::cast_from(shifts[shift_start + at]);
        }
        if comptime!(then == Then::Silu) {
            y = y / (Vector::new(1.0f32) + (-y).exp());
        }
        out[row * length + at] = Vector::cast_from(y);
        at += width;
    }
}

/// See [`super::row_norm`].
pub fn row_norm(x: CubeTensor, scale: CubeTensor, shift: CubeTensor, plan: RowNormPlan) -> CubeTensor {
    let rows = Rows::of(x);
    let (scale, shift) = (into_contiguous(scale), into_contiguous(shift));
    let output = empty_like(&rows.tensor, rows.tensor.shape(), plan.out);
    let vector = vector_size(&[&rows.tensor, &scale, &output], &[rows.length, rows.stride]);
    let client = output.client.clone();
    let dtypes = [rows.tensor.dtype, scale.dtype, plan.out].map(dtype_to_storage_type);
    let length = rows.length / vector;
    row_norm_kernel::launch(
        &client,
        grid(rows.count),
        CubeDim::new_1d(WIDTH as u32),
        vector,
        rows.tensor.into_buffer_arg(),
        scale.into_buffer_arg(),
        shift.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        rows.count,
        length,
        rows.stride / vector,
        plan.rows[0] * length,
        plan.rows[1] * length,
        plan.eps,
        plan.kind,
        plan.then,
        plan.has_shift,
        plan.one_more,
        WIDTH,
        dtypes,
    );
    output
}
