//! Softmax over rows of f32, a block of threads a row.

use burn::backend::TensorMetadata;
use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::layout::{Rows, empty_like, grid, vector_size};
use super::row_norm::{WIDTH, block_sum};

#[cube]
fn block_max(value: f32, shared: &mut Shared<[f32]>, #[comptime] width: usize) -> f32 {
    let unit = UNIT_POS as usize;
    shared[unit] = value;
    sync_cube();
    let mut half = (width / 2).runtime();
    while half > 0 {
        if unit < half {
            let other = shared[unit + half];
            shared[unit] = max(shared[unit], other);
        }
        sync_cube();
        half = half / 2;
    }
    let most = shared[0];
    // Nobody may write again before everybody has read.
    sync_cube();
    most
}

#[cube(launch)]
fn softmax_kernel<N: Size>(
    x: &[Vector<f32, N>],
    out: &mut [Vector<f32, N>],
    rows: usize,
    length: usize,
    stride: usize,
    #[comptime] width: usize,
) {
    let row = CUBE_POS as usize;
    if row >= rows {
        terminate!();
    }
    let mut shared = Shared::new_slice(width);
    let start = row * stride;
    let unit = UNIT_POS as usize;
    let mut most = Vector::<f32, N>::new(f32::MIN);
    let mut at = unit;
    while at < length {
        most = max(most, x[start + at]);
        at += width;
    }
    let mut highest = f32::MIN.runtime();
    #[unroll]
    for lane in 0..most.vector_size() {
        highest = max(highest, most.extract(lane));
    }
    let highest = block_max(highest, &mut shared, width);
    let mut sum = 0.0f32;
    let mut at = unit;
    while at < length {
        sum += (x[start + at] - Vector::new(highest)).exp().vector_sum();
        at += width;
    }
    let share = 1.0f32 / block_sum(sum, &mut shared, width);
    let mut at = unit;
    while at < length {
        out[row * length + at] = (x[start + at] - Vector::new(highest)).exp() * Vector::new(share);
        at += width;
    }
}

/// See [`super::softmax`].
pub fn softmax(x: CubeTensor) -> CubeTensor {
    let rows = Rows::of(x);
    let output = empty_like(&rows.tensor, rows.tensor.shape(), DType::F32);
    let vector = vector_size(&[&rows.tensor], &[rows.length, rows.stride]);
    let client = output.client.clone();
    softmax_kernel::launch(
        &client,
        grid(rows.count),
        CubeDim::new_1d(WIDTH as u32),
        vector,
        rows.tensor.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        rows.count,
        rows.length / vector,
        rows.stride / vector,
        WIDTH,
    );
    output
}
