//! A build without CUDA.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;

use super::found::{CudaStatus, Memory};
use crate::fail;

pub fn open(_index: usize, _cache_dir: Option<&Path>) -> Result<Device> {
    fail!(Unavailable, "device `cuda`: this build has no CUDA support"; "build with `cargo build --release --features cuda`, or use --device cpu");
}

pub fn name(_device: &Device) -> String {
    "cpu".into()
}

pub fn has_tensor_cores(_device: &Device) -> bool {
    false
}

pub fn memory(_device: &Device) -> Option<Memory> {
    None
}

pub fn status() -> CudaStatus {
    CudaStatus {
        compiled_in: false,
        devices: 0,
        driver: None,
        compiler: None,
        problem: "built without the `cuda` feature".into(),
    }
}
