//! Layers that more than one model family uses, on plain tensors.

pub mod attention;
pub mod causal_conv3d;
pub mod conv;
pub mod embeddings;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
pub mod gpu;
#[cfg(not(any(feature = "cuda", feature = "wgpu")))]
#[path = "no_gpu.rs"]
pub mod gpu;
pub mod gpu_check;
pub mod linear;
pub mod noise;
pub mod norm;
pub mod rms_norm;
pub mod rope;
pub mod rotary;
pub mod tiles;

use burn::tensor::{DType, Tensor, TensorData};

use crate::device;
use crate::weights::stored::widen_f16;

/// A weight in the dtype of the activations that meet it; free where it has that already.
///
/// Large models keep their f16 weights on the CPU and widen them layer by layer. Burn 0.22 converts
/// one element at a time there, so that case is done here with vector instructions.
pub fn in_dtype<const D: usize>(weight: &Tensor<D>, dtype: DType) -> Tensor<D> {
    if weight.dtype() == DType::F16 && dtype == DType::F32 && device::is_cpu(&weight.device()) {
        let wide = widen_f16(weight.to_data().as_bytes());
        return Tensor::from_data(TensorData::new(wide, weight.dims()), &weight.device());
    }
    weight.clone().cast(dtype)
}
