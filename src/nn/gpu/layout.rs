//! Shapes and strides of tensors as kernels read them.

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// A tensor seen as rows that each lie in one piece.
pub struct Rows {
    pub tensor: CubeTensor,
    pub count: usize,
    pub length: usize,
    /// From the start of one row to the start of the next, in elements.
    pub stride: usize,
}

impl Rows {
    /// Copies the tensor where its rows are scattered.
    pub fn of(tensor: CubeTensor) -> Self {
        let tensor = match row_stride(&tensor) {
            Some(_) => tensor,
            None => into_contiguous(tensor),
        };
        let shape = tensor.shape();
        let length = shape[shape.num_dims() - 1];
        let stride = row_stride(&tensor).unwrap_or(length);
        Self {
            count: shape.num_elements() / length.max(1),
            length,
            stride,
            tensor,
        }
    }
}

/// The distance of rows, where one step fits all of them.
fn row_stride(tensor: &CubeTensor) -> Option<usize> {
    let (shape, strides) = (tensor.meta.shape(), tensor.meta.strides());
    let last = shape.num_dims() - 1;
    if strides[last] != 1 && shape[last] != 1 {
        return None;
    }
    let mut stride = None;
    let mut expected = 0;
    for axis in (0..last).rev().filter(|&axis| shape[axis] != 1) {
        match stride {
            None => (stride, expected) = (Some(strides[axis]), strides[axis] * shape[axis]),
            Some(_) if strides[axis] == expected => expected *= shape[axis],
            Some(_) => return None,
        }
    }
    Some(stride.unwrap_or(shape[last]))
}

/// Numbers that one thread reads at once, so that rows begin at whole vectors.
pub fn vector_size(tensors: &[&CubeTensor], lengths: &[usize]) -> usize {
    let widest = tensors.iter().map(|t| 16 / t.dtype.size()).min().unwrap_or(1);
    [8, 4, 2, 1]
        .into_iter()
        .filter(|&size| size <= widest)
        .find(|size| lengths.iter().all(|length| length.is_multiple_of(*size)))
        .unwrap_or(1)
}

/// A grid for that many blocks within what every device allows an axis.
pub fn grid(blocks: usize) -> CubeCount {
    const MOST: usize = 65_535;
    let columns = blocks.clamp(1, MOST);
    CubeCount::Static(columns as u32, blocks.div_ceil(columns) as u32, 1)
}

/// Memory for a result, row by row without gaps.
pub fn empty_like(tensor: &CubeTensor, shape: Shape, dtype: DType) -> CubeTensor {
    empty_device_contiguous_dtype(tensor.client.clone(), tensor.device.clone(), shape, dtype)
}

/// `[batch, channels, ..]` as `[batch, .., channels]`, a view.
pub fn to_last(tensor: CubeTensor) -> CubeTensor {
    let rank = tensor.meta.shape().num_dims();
    let axes: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
    permute(tensor, &axes)
}

/// Undoes [`to_last`].
pub fn from_last(tensor: CubeTensor) -> CubeTensor {
    let rank = tensor.meta.shape().num_dims();
    let axes: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    permute(tensor, &axes)
}

/// See [`super::channels_last`].
pub fn channels_last(x: CubeTensor) -> CubeTensor {
    let x = to_last(x);
    let (client, device, dtype) = (x.client.clone(), x.device.clone(), x.dtype);
    let copy = cubecl::std::tensor::into_contiguous(&client, x.binding(), dtype_to_storage_type(dtype));
    from_last(CubeTensor::new(
        client,
        copy.handle,
        *copy.metadata,
        device,
        dtype,
    ))
}
