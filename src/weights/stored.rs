//! Stored numbers to tensors: one stored tensor, and what it becomes in memory.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::{AllocationProperty, Bytes, DType, Device, Tensor, TensorData};
use half::slice::HalfFloatSliceExt;
use safetensors::Dtype;

use super::origin::Origin;
use super::source::{Entry, Source};

/// A tensor in its file and the form it takes in memory: enough to read it, and to read it again.
#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub source: Arc<Source>,
    pub entry: Entry,
    pub origin: Origin,
    /// Of 8-bit numbers whose file has one.
    pub scale: Option<Scale>,
    /// `None` keeps the stored type; 8-bit numbers become f16, which holds each of them.
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
            (Dtype::F8_E4M3 | Dtype::F8_E5M2 | Dtype::F64, wanted) => {
                let values = self.scaled(part, bytes);
                match (entry.dtype, wanted) {
                    (Dtype::F64, _) | (_, Some(DType::F32 | DType::BF16)) => TensorData::new(values, shape),
                    _ => {
                        let halves: Vec<half::f16> = values.into_iter().map(half::f16::from_f32).collect();
                        TensorData::new(halves, shape)
                    }
                }
            }
            _ => self.as_stored(part, shape),
        };
        let stored = data.dtype();
        let tensor = Tensor::<D>::from_data(data, (&self.device, stored));
        let copied = kept_as(entry.dtype) != Some(stored);
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

    /// Numbers of another width than tensors have, as f32 and multiplied by their scale.
    fn scaled(&self, part: Range<usize>, bytes: &[u8]) -> Vec<f32> {
        let rows = self.entry.shape.first().copied().unwrap_or(1).max(1);
        let row_bytes = (bytes.len() / rows).max(1);
        let mut values = widen(self.entry.dtype, &bytes[part.clone()]);
        if let Some(scale) = &self.scale {
            let columns = row_bytes / (self.entry.dtype.bitsize() / 8).max(1);
            scale.apply(&mut values, part.start / row_bytes, columns.max(1));
        }
        values
    }

    /// The stored numbers without a copy: the tensor reads the mapped file, and is copied only if
    /// written to, or if the file does not align its numbers.
    fn as_stored<const D: usize>(&self, part: Range<usize>, shape: [usize; D]) -> TensorData {
        let dtype = kept_as(self.entry.dtype).expect("numbers of another width were widened");
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

/// What 8-bit numbers are multiplied by.
#[derive(Debug, Clone)]
pub(super) enum Scale {
    Whole(f32),
    /// One of each row, which is an output.
    Rows(Arc<[f32]>),
}

impl Scale {
    /// Multiplies `values`, which begin at row `first`.
    pub fn apply(&self, values: &mut [f32], first: usize, columns: usize) {
        match self {
            Self::Whole(scale) => values.iter_mut().for_each(|v| *v *= scale),
            Self::Rows(scales) => {
                for (row, scale) in values.chunks_mut(columns).zip(&scales[first..]) {
                    row.iter_mut().for_each(|v| *v *= scale);
                }
            }
        }
    }
}

/// Whether weights of this type are read.
pub(super) fn is_read(dtype: Dtype) -> bool {
    kept_as(dtype).is_some() || matches!(dtype, Dtype::F64 | Dtype::F8_E4M3 | Dtype::F8_E5M2)
}

/// The type in which tensors hold stored numbers as they are.
fn kept_as(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::F32 => Some(DType::F32),
        _ => None,
    }
}

/// Little-endian floats as f32.
///
/// # Panics
/// For any other type.
pub(super) fn widen(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        Dtype::F16 => widen_f16(bytes),
        Dtype::BF16 => widen_bf16(bytes),
        Dtype::F32 => read_f32(bytes),
        Dtype::F64 => bytes
            .as_chunks::<8>()
            .0
            .iter()
            .map(|b| f64::from_le_bytes(*b) as f32)
            .collect(),
        Dtype::F8_E4M3 => bytes.iter().map(|b| E4M3[usize::from(*b)]).collect(),
        // The upper half of an f16.
        Dtype::F8_E5M2 => bytes
            .iter()
            .map(|b| half::f16::from_le_bytes([0, *b]).to_f32())
            .collect(),
        other => unreachable!("only floats get here, not {other:?}"),
    }
}

/// Every number of `float8_e4m3fn` (Micikevicius et al. 2022, arXiv 2209.05433): four bits of exponent
/// with bias 7, three of fraction, no infinities.
static E4M3: [f32; 256] = {
    let mut table = [0.0; 256];
    let mut bits = 0;
    while bits < 256 {
        let (exponent, fraction) = ((bits >> 3) & 15, (bits & 7) as f32);
        let magnitude = match (exponent, bits & 7) {
            (15, 7) => f32::NAN,
            (0, _) => fraction / 512.0,
            _ => (1.0 + fraction / 8.0) * f32::from_bits(((exponent as u32) + 120) << 23),
        };
        table[bits] = if bits >= 128 { -magnitude } else { magnitude };
        bits += 1;
    }
    table
};

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

#[cfg(test)]
mod tests {
    use super::*;

    /// The right sides are PyTorch's `float8_e4m3fn` and `float8_e5m2`.
    #[test]
    fn eight_bit_floats_have_pytorchs_values() {
        let bytes = [0x00, 0x01, 0x07, 0x08, 0x38, 0x40, 0x7e, 0xbc, 0xfe];
        let e4m3 = [
            0.0,
            0.001953125,
            0.013671875,
            0.015625,
            1.0,
            2.0,
            448.0,
            -1.5,
            -448.0,
        ];
        assert_eq!(widen(Dtype::F8_E4M3, &bytes), e4m3);
        assert!(widen(Dtype::F8_E4M3, &[0x7f, 0xff]).iter().all(|v| v.is_nan()));
        let bytes = [0x01, 0x3c, 0x7b, 0xc1];
        assert_eq!(
            widen(Dtype::F8_E5M2, &bytes),
            [1.525_878_9e-5, 1.0, 57344.0, -2.5]
        );
        assert_eq!(widen(Dtype::F64, &1.5_f64.to_le_bytes()), [1.5]);
    }

    #[test]
    fn a_scale_of_each_row_starts_at_the_right_row() {
        let mut values = [1.0, 1.0, 1.0, 1.0];
        Scale::Rows([2.0, 3.0, 4.0].into()).apply(&mut values, 1, 2);
        assert_eq!(values, [3.0, 3.0, 4.0, 4.0]);
    }
}
