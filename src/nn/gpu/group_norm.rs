//! Group norm with channels last, in two launches: statistics of slices of the picture, then all of
//! it normalised. Slices keep every processor busy where there are few groups.

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::Then;
use super::layout::{empty_like, from_last, grid, to_last, vector_size};
use super::row_norm::{WIDTH, block_sum};

/// Most slices of one picture.
const SLICES: usize = 32;
/// Fewest pixels of a slice.
const SLICE_PIXELS: usize = 64;

/// Mean, sum of squared distances from it, and count, of one group in one slice.
#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn statistics_kernel<I: Float, N: Size>(
    x: &[Vector<I, N>],
    out: &mut [f32],
    groups: usize,
    slices: usize,
    group_vectors: usize,
    pixels: usize,
    #[comptime] width: usize,
    #[define(I)] _dtype: ElemType,
) {
    let slice = CUBE_POS_X as usize % slices;
    let group = CUBE_POS_X as usize / slices;
    let batch = CUBE_POS_Y as usize;
    let row = group_vectors * groups;
    let first = pixels * slice / slices;
    let last = pixels * (slice + 1) / slices;
    let start = (batch * pixels + first) * row + group * group_vectors;
    let vectors = (last - first) * group_vectors;
    let scalars = (vectors * x[0].vector_size()) as f32;
    let mut shared = Shared::new_slice(width);

    let mut sum = 0.0f32;
    let mut at = UNIT_POS as usize;
    while at < vectors {
        let v = Vector::<f32, N>::cast_from(x[start + at / group_vectors * row + at % group_vectors]);
        sum += v.vector_sum();
        at += width;
    }
    let mean = block_sum(sum, &mut shared, width) / scalars;
    let mut squares = 0.0f32;
    let mut at = UNIT_POS as usize;
    while at < vectors {
        let v = Vector::<f32, N>::cast_from(x[start + at / group_vectors * row + at % group_vectors]);
        let off = v - Vector::new(mean);
        squares += (off * off).vector_sum();
        at += width;
    }
    let squares = block_sum(squares, &mut shared, width);
    if UNIT_POS == 0 {
        let at = ((batch * groups + group) * slices + slice) * 3;
        out[at] = mean;
        out[at + 1] = squares;
        out[at + 2] = scalars;
    }
}

#[cube(launch)]
#[allow(clippy::too_many_arguments)]
fn normalise_kernel<I: Float, W: Float, N: Size>(
    x: &[Vector<I, N>],
    statistics: &[f32],
    weight: &[Vector<W, N>],
    bias: &[Vector<W, N>],
    out: &mut [Vector<I, N>],
    groups: usize,
    slices: usize,
    group_vectors: usize,
    pixels: usize,
    block_pixels: usize,
    eps: f32,
    #[comptime] then: Then,
    #[comptime] most_groups: usize,
    #[comptime] width: usize,
    #[define(I, W)] _dtypes: [ElemType; 2],
) {
    let batch = CUBE_POS_Y as usize;
    let mut means = Shared::new_slice(most_groups);
    let mut scales = Shared::new_slice(most_groups);
    let mut group = UNIT_POS as usize;
    while group < groups {
        // Chan, Golub & LeVeque 1979: the statistics of two sets from those of each.
        let start = (batch * groups + group) * slices * 3;
        let mut mean = statistics[start];
        let mut squares = statistics[start + 1];
        let mut count = statistics[start + 2];
        for slice in 1..slices {
            let at = start + slice * 3;
            let more = statistics[at + 2];
            let off = statistics[at] - mean;
            let total = count + more;
            squares += statistics[at + 1] + off * off * count * more / total;
            mean += off * more / total;
            count = total;
        }
        means[group] = mean;
        scales[group] = 1.0f32 / (squares / count + eps).sqrt();
        group += width;
    }
    sync_cube();

    let row = group_vectors * groups;
    let first = CUBE_POS_X as usize * block_pixels;
    let mut last = first + block_pixels;
    if last > pixels {
        last = pixels;
    }
    let end = (batch * pixels + last) * row;
    let mut at = (batch * pixels + first) * row + UNIT_POS as usize;
    while at < end {
        let channel = at % row;
        let group = channel / group_vectors;
        let off = Vector::<f32, N>::cast_from(x[at]) - Vector::new(means[group]);
        let mut y = off * Vector::new(scales[group]) * Vector::cast_from(weight[channel])
            + Vector::cast_from(bias[channel]);
        if comptime!(then == Then::Silu) {
            y = y / (Vector::new(1.0f32) + (-y).exp());
        }
        out[at] = Vector::cast_from(y);
        at += width;
    }
}

/// See [`super::group_norm`].
pub fn group_norm(
    x: CubeTensor,
    weight: CubeTensor,
    bias: CubeTensor,
    groups: usize,
    eps: f32,
    then: Then,
) -> CubeTensor {
    let x = into_contiguous(to_last(x));
    let shape = x.shape();
    let (batch, channels) = (shape[0], shape[shape.num_dims() - 1]);
    let pixels = shape.num_elements() / (batch * channels);
    let slices = pixels.div_ceil(SLICE_PIXELS).clamp(1, SLICES);
    let statistics = empty_like(&x, Shape::new([batch, groups, slices, 3]), DType::F32);
    let output = empty_like(&x, shape, x.dtype);
    let vector = vector_size(&[&x, &weight], &[channels / groups]);
    let group_vectors = channels / groups / vector;
    let client = x.client.clone();
    let block = CubeDim::new_1d(WIDTH as u32);
    let (dtype, weights) = (
        dtype_to_storage_type(x.dtype),
        dtype_to_storage_type(weight.dtype),
    );
    statistics_kernel::launch(
        &client,
        CubeCount::Static((groups * slices) as u32, batch as u32, 1),
        block,
        vector,
        x.clone().into_buffer_arg(),
        statistics.clone().into_buffer_arg(),
        groups,
        slices,
        group_vectors,
        pixels,
        WIDTH,
        dtype,
    );
    // About 16 vectors a thread; at most 65,535 blocks a picture.
    let block_pixels = (16 * WIDTH / (group_vectors * groups))
        .max(1)
        .max(pixels.div_ceil(65_535));
    let CubeCount::Static(blocks, ..) = grid(pixels.div_ceil(block_pixels)) else {
        unreachable!("a grid is static");
    };
    normalise_kernel::launch(
        &client,
        CubeCount::Static(blocks, batch as u32, 1),
        block,
        vector,
        x.into_buffer_arg(),
        statistics.into_buffer_arg(),
        weight.into_buffer_arg(),
        bias.into_buffer_arg(),
        output.clone().into_buffer_arg(),
        groups,
        slices,
        group_vectors,
        pixels,
        block_pixels,
        eps,
        then,
        groups,
        WIDTH,
        [dtype, weights],
    );
    from_last(output)
}
