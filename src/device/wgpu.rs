//! GPUs through wgpu: Vulkan, Metal or DirectX, whatever the system offers.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, Result};
use burn::tensor::{Device, DeviceKind};

use super::kernels;
use crate::error::{Error, ErrorKind};

static OPENED: OnceLock<Device> = OnceLock::new();

/// The system's preferred GPU; a software one where there is no other.
///
/// # Errors
/// `Unavailable` where the system has no graphics driver that computes.
pub fn open(cache_dir: Option<&Path>) -> Result<Device> {
    if let Some(device) = OPENED.get() {
        return Ok(device.clone());
    }
    kernels::configure("wgpu", cache_dir);
    let hint = "install a Vulkan driver (Debian: mesa-vulkan-drivers), or use --device cpu";
    let unavailable =
        |why: &str| Error::new(ErrorKind::Unavailable, format!("device `wgpu`: {why}")).hint(hint);
    // A driver that is missing is a panic below.
    let device = std::panic::catch_unwind(|| {
        let device = Device::wgpu(DeviceKind::DefaultDevice);
        device.sync().map(|()| device)
    })
    .map_err(|_| unavailable("no graphics driver that computes was found"))?
    .context("opening the GPU")?;
    Ok(OPENED.get_or_init(|| device).clone())
}

pub fn is_open(device: &Device) -> bool {
    OPENED.get() == Some(device)
}
