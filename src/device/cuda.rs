//! NVIDIA GPUs: what is there, how kernels are compiled and kept, how much memory is left.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use burn::tensor::Device;
use cudarc::driver::CudaContext;

use super::found::{CudaStatus, Memory};
use super::kernels;
use crate::error::{Error, ErrorKind};

/// Devices in use, each with the context that all work on it shares.
static OPENED: Mutex<Vec<(usize, Device, Arc<CudaContext>)>> = Mutex::new(Vec::new());

/// # Errors
/// `Unavailable`, with what is missing.
pub fn open(index: usize, cache_dir: Option<&Path>) -> Result<Device> {
    let status = status();
    if !status.problem.is_empty() {
        return Err(unavailable(index, &status.problem)
            .hint("install what is missing (`ourvidz doctor` lists it), or use --device cpu")
            .into());
    }
    if index >= status.devices {
        return Err(unavailable(
            index,
            &format!("this machine has {} CUDA device(s)", status.devices),
        )
        .hint("count from cuda:0, or use --device cpu")
        .into());
    }
    let context = CudaContext::new(index).map_err(|e| {
        unavailable(index, &format!("the driver cannot open it: {e:?}"))
            .hint("see `nvidia-smi`, or use --device cpu")
    })?;
    let card = context.name().unwrap_or_default();
    kernels::configure(&kernels_name(&card, status.driver), cache_dir);
    let device = Device::cuda(index);
    if let Ok(mut opened) = OPENED.lock()
        && !opened.iter().any(|(known, ..)| *known == index)
    {
        opened.push((index, device.clone(), context));
    }
    Ok(device)
}

fn unavailable(index: usize, reason: &str) -> Error {
    Error::new(ErrorKind::Unavailable, format!("device `cuda:{index}`: {reason}"))
}

/// The file that keeps kernels and tuning results: another card or driver has another one. What
/// another build compiled is told apart inside it.
fn kernels_name(card: &str, driver: Option<[u32; 2]>) -> String {
    let [major, minor] = driver.unwrap_or_default();
    let card: String = card
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    format!("{card}-driver-{major}.{minor}")
}

pub fn name(device: &Device) -> String {
    opened(device).map_or_else(|| "cuda".into(), |(index, _)| format!("cuda:{index}"))
}

fn opened(device: &Device) -> Option<(usize, Arc<CudaContext>)> {
    let opened = OPENED.lock().ok()?;
    let found = opened.iter().find(|(_, known, _)| known == device)?;
    Some((found.0, found.2.clone()))
}

/// Volta and later.
pub fn has_tensor_cores(device: &Device) -> bool {
    let capability = opened(device).and_then(|(_, context)| context.compute_capability().ok());
    capability.is_some_and(|(major, _)| major >= 7)
}

/// Asks the driver.
pub fn memory(device: &Device) -> Option<Memory> {
    let (_, context) = opened(device)?;
    let (free, total) = context.mem_get_info().ok()?;
    let in_use_bytes = (total - free) as u64;
    Some(Memory {
        total_bytes: total as u64,
        available_bytes: free as u64,
        in_use_bytes,
        peak_bytes: in_use_bytes,
    })
}

pub fn status() -> CudaStatus {
    let (devices, driver) = driver();
    let compiler = compiler();
    let problem = problem(devices, driver, compiler, headers_missing().as_deref());
    CudaStatus {
        compiled_in: true,
        devices,
        driver,
        compiler,
        problem,
    }
}

fn problem(
    devices: usize,
    driver: Option<[u32; 2]>,
    compiler: Option<[u32; 2]>,
    headers: Option<&str>,
) -> String {
    if devices == 0 {
        return "no NVIDIA driver or no GPU found".into();
    }
    let Some([major, minor]) = compiler else {
        return "the CUDA runtime compiler (libnvrtc) was not found; install the CUDA toolkit".into();
    };
    if let Some(missing) = headers {
        return missing.into();
    }
    match driver {
        // The compiler's output is of its own version, and a driver refuses what is newer than itself.
        Some(driver) if driver < [major, minor] => format!(
            "the runtime compiler is of CUDA {major}.{minor}, the driver of {}.{}: it refuses kernels of a newer one; update the driver, or install that version's toolkit",
            driver[0], driver[1]
        ),
        _ => String::new(),
    }
}

/// Devices and version, without a panic where the library is missing.
fn driver() -> (usize, Option<[u32; 2]>) {
    // SAFETY: only tries to open the library.
    if !unsafe { cudarc::driver::sys::is_culib_present() } {
        return (0, None);
    }
    let devices = CudaContext::device_count().unwrap_or_default();
    let mut version = 0;
    // SAFETY: writes one integer.
    let told = unsafe { cudarc::driver::sys::cuDriverGetVersion(&mut version) }.result();
    let version = u32::try_from(version).ok().filter(|_| told.is_ok());
    (
        usize::try_from(devices).unwrap_or_default(),
        version.map(|version| [version / 1000, version % 1000 / 10]),
    )
}

fn compiler() -> Option<[u32; 2]> {
    // SAFETY: only tries to open the library.
    if !unsafe { cudarc::nvrtc::sys::is_culib_present() } {
        return None;
    }
    let (mut major, mut minor) = (0, 0);
    // SAFETY: writes two integers.
    let told = unsafe { cudarc::nvrtc::sys::nvrtcVersion(&mut major, &mut minor) }.result();
    told.ok()?;
    Some([u32::try_from(major).ok()?, u32::try_from(minor).ok()?])
}

/// Looks for the headers that kernels include, where the code generator will tell the compiler to.
fn headers_missing() -> Option<String> {
    let Some(root) = cubecl::cuda::install::cuda_path() else {
        return Some(
            "CUDA headers not found (install the CUDA toolkit to /usr/local/cuda, or set CUDA_PATH)".into(),
        );
    };
    lacking(&root).map(|header| {
        format!(
            "CUDA header `{header}` not found below {} (install the CUDA toolkit there, or set CUDA_PATH)",
            root.join("include").display()
        )
    })
}

fn lacking(root: &Path) -> Option<&'static str> {
    const NEEDED: [&str; 4] = ["cuda_fp16.h", "cuda_bf16.h", "mma.h", "cuda/barrier"];
    let include = root.join("include");
    let folders: [PathBuf; 2] = [include.join("cccl"), include];
    NEEDED
        .into_iter()
        .find(|header| !folders.iter().any(|folder| folder.join(header).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_newer_than_the_driver_is_a_problem() {
        assert_eq!(problem(1, Some([13, 0]), Some([12, 8]), None), "");
        assert_eq!(problem(1, Some([12, 8]), Some([12, 8]), None), "");
        assert!(problem(1, Some([12, 4]), Some([12, 8]), None).contains("12.8"));
        assert!(problem(1, Some([12, 4]), None, None).contains("libnvrtc"));
        assert!(problem(0, None, Some([12, 8]), None).contains("no GPU"));
        assert_eq!(
            problem(1, Some([13, 0]), Some([13, 0]), Some("no headers")),
            "no headers"
        );
    }

    #[test]
    fn every_header_that_kernels_include_is_looked_for() {
        let root = tempfile::tempdir().unwrap();
        let include = root.path().join("include");
        std::fs::create_dir_all(include.join("cccl/cuda")).unwrap();
        for header in ["cuda_fp16.h", "cuda_bf16.h", "mma.h"] {
            assert_eq!(lacking(root.path()), Some(header));
            std::fs::write(include.join(header), "").unwrap();
        }
        assert_eq!(lacking(root.path()), Some("cuda/barrier"));
        std::fs::write(include.join("cccl/cuda/barrier"), "").unwrap();
        assert_eq!(lacking(root.path()), None);
    }

    #[test]
    fn kernels_are_kept_apart_by_card_and_driver() {
        let name = kernels_name("NVIDIA H100 80GB HBM3", Some([12, 8]));
        assert_eq!(name, "NVIDIA-H100-80GB-HBM3-driver-12.8");
        assert_ne!(name, kernels_name("NVIDIA H100 80GB HBM3", Some([13, 0])));
    }
}
