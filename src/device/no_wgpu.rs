//! A build without wgpu.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;

use crate::fail;

pub fn open(_cache_dir: Option<&Path>) -> Result<Device> {
    fail!(Unavailable, "device `wgpu`: this build has no wgpu support"; "build with `cargo build --release --features wgpu`, or use --device cpu");
}

pub fn is_open(_device: &Device) -> bool {
    false
}
