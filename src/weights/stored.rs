//! Stored numbers to tensors: one stored tensor, and what it becomes in memory.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{AllocationProperty, Bytes, DType, Device, Tensor, TensorData};
use half::slice::HalfFloatSliceExt;
use safetensors::Dtype;

use super::checkpoint::{Entry, Source};
use super::names::Origin;

/// A tensor in its file and the form it takes in memory: enough to read it, and to read it again.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub source: Arc<Source>,
    pub entry: Entry,
    pub origin: Origin,
    /// `None` keeps the stored type.
    pub dtype: Option<DType>,
    pub device: Device,
}

impl Stored {
    /// The tensor in the shape that its model expects.
    pub fn read<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        let (source, entry) = (&self.source, &self.entry);
        source.prefetch(entry);
        let bytes = &source.bytes()[entry.range()];
        let part = self.origin.byte_range(bytes.len());
        let data = match (entry.dtype, self.dtype) {
            (Dtype::F16, Some(DType::F32)) => TensorData::new(widen_f16(&bytes[part]), shape),
            (Dtype::BF16, Some(DType::F32)) => TensorData::new(widen_bf16(&bytes[part]), shape),
            _ => self.as_stored(part, shape),
        };
        let stored = data.dtype();
        let tensor = Tensor::<D>::from_data(data, (&self.device, stored));
        let copied = stored != stored_dtype(entry.dtype);
        if copied && self.origin.is_last_part() {
            source.release(entry);
        }
        let tensor = match self.dtype {
            Some(dtype) if dtype != stored => tensor.cast(dtype),
            _ => tensor,
        };
        if self.origin.transposed {
            transposed(tensor)
        } else {
            tensor
        }
    }

    /// The stored numbers without a copy: the tensor reads the mapped file, and is copied only if
    /// written to, or if the file does not align its numbers.
    fn as_stored<const D: usize>(&self, part: Range<usize>, shape: [usize; D]) -> TensorData {
        let dtype = stored_dtype(self.entry.dtype);
        let shared = self.source.shared_bytes(&self.entry).slice(part);
        if (shared.as_ptr() as usize).is_multiple_of(dtype.size()) {
            let bytes = Bytes::from_shared(shared, AllocationProperty::File);
            return TensorData::from_bytes(bytes, shape, dtype);
        }
        TensorData::from_bytes_vec(shared.to_vec(), shape, dtype)
    }
}

fn transposed<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    assert_eq!(D, 2, "only matrices are stored transposed");
    let [rows, columns] = [tensor.dims()[0], tensor.dims()[1]];
    let data: Tensor<2> = tensor.reshape([columns, rows]);
    let back = data.transpose();
    let dims = back.dims();
    let mut shape = [0; D];
    shape.copy_from_slice(&dims);
    back.reshape(shape)
}

fn stored_dtype(dtype: Dtype) -> DType {
    match dtype {
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        Dtype::F32 => DType::F32,
        other => unreachable!("only floats get here, not {other:?}"),
    }
}

/// Little-endian floats of 16 or 32 bits as f32.
///
/// # Panics
/// For any other type.
pub(super) fn widen(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        Dtype::F16 => widen_f16(bytes),
        Dtype::BF16 => widen_bf16(bytes),
        Dtype::F32 => read_f32(bytes),
        other => unreachable!("only floats get here, not {other:?}"),
    }
}

/// Little-endian half floats to f32, with the processor's conversion where it has one.
pub fn widen_f16(bytes: &[u8]) -> Vec<f32> {
    const AT_ONCE: usize = 4096;
    let mut halves = [half::f16::ZERO; AT_ONCE];
    let mut wide = vec![0.0; bytes.len() / 2];
    for (bytes, wide) in bytes.chunks(2 * AT_ONCE).zip(wide.chunks_mut(AT_ONCE)) {
        for (half, b) in halves.iter_mut().zip(bytes.chunks_exact(2)) {
            *half = half::f16::from_le_bytes([b[0], b[1]]);
        }
        halves[..wide.len()].convert_to_f32_slice(wide);
    }
    wide
}

fn read_f32(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
        .collect()
}

fn widen_bf16(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(2)
        .map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32())
        .collect()
}
