//! `--device` to a Burn device, probed before first use so that a missing driver is a message.

use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, Result};
use burn::tensor::{DType, Device};

use crate::error::{Error, ErrorKind};

#[cfg(feature = "cuda")]
mod cuda;
#[cfg(not(feature = "cuda"))]
#[path = "device/no_cuda.rs"]
mod cuda;
mod found;
#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod kernels;
#[cfg(feature = "wgpu")]
mod wgpu;
#[cfg(not(feature = "wgpu"))]
#[path = "device/no_wgpu.rs"]
mod wgpu;

pub use found::{CudaStatus, Memory};

/// What `--device` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU that works, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda(usize),
    /// Through Vulkan, Metal or DirectX.
    Wgpu,
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let index = text
            .strip_prefix("cuda")
            .map(|rest| rest.strip_prefix(':').unwrap_or(rest));
        match (text, index) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            ("wgpu", _) => Ok(Self::Wgpu),
            (_, Some(index)) if text.starts_with("cuda:") && index.parse::<usize>().is_ok() => {
                Ok(Self::Cuda(index.parse().expect("checked above")))
            }
            _ => Err(Error::new(
                ErrorKind::Usage,
                format!("device is `{text}`; allowed: auto, cpu, cuda, cuda:N, wgpu"),
            )),
        }
    }
}

/// The number type that weights and activations have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    F32,
    F16,
    Bf16,
}

impl Precision {
    /// Its name as `--dtype` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// The same for Burn.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }

    /// What a device computes fastest without visible loss.
    pub fn default_for(device: &Device) -> Self {
        if is_cpu(device) || is_wgpu(device) {
            Self::F32
        } else {
            Self::F16
        }
    }

    /// The same for networks whose values do not fit f16: as fast on a GPU, with f32's range.
    pub fn wide_range_for(device: &Device) -> Self {
        if is_cpu(device) || is_wgpu(device) {
            Self::F32
        } else {
            Self::Bf16
        }
    }
}

impl FromStr for Precision {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "f32" | "fp32" | "float32" => Ok(Self::F32),
            "f16" | "fp16" | "float16" => Ok(Self::F16),
            "bf16" | "bfloat16" => Ok(Self::Bf16),
            _ => Err(Error::new(
                ErrorKind::Usage,
                format!("dtype is `{text}`; allowed: f32, f16, bf16"),
            )),
        }
    }
}

/// True for Burn's CPU backend.
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// True for a GPU that is spoken to through wgpu, whose half types are not taken for granted.
fn is_wgpu(device: &Device) -> bool {
    !is_cpu(device) && wgpu::is_open(device)
}

/// How results name a device: `cpu`, `cuda:0`, `wgpu`.
pub fn name(device: &Device) -> String {
    if is_cpu(device) {
        return "cpu".into();
    }
    if is_wgpu(device) {
        return "wgpu".into();
    }
    cuda::name(device)
}

/// A device ready for use.
#[derive(Debug, Clone)]
pub struct Opened {
    pub device: Device,
    /// Why the CPU computes although a GPU might: for people to read.
    pub note: Option<String>,
}

/// Opens a device, or says what is missing. A GPU's compiled kernels and tuning results are kept
/// under `cache_dir`; without one they last as long as the process.
///
/// # Errors
/// `Unavailable` when a GPU is asked for and the build, the driver, the runtime compiler or the
/// card is missing; the message names `--device cpu`.
pub fn open(choice: DeviceChoice, cache_dir: Option<&Path>) -> Result<Opened> {
    let opened = |device| Opened { device, note: None };
    match choice {
        DeviceChoice::Cpu => Ok(opened(Device::flex())),
        DeviceChoice::Cuda(index) => cuda::open(index, cache_dir).map(opened),
        DeviceChoice::Wgpu => wgpu::open(cache_dir).map(opened),
        DeviceChoice::Auto => Ok(cuda::open(0, cache_dir).map_or_else(
            |_| Opened {
                device: Device::flex(),
                note: fallback(&cuda_status(), has_nvidia_driver()),
            },
            opened,
        )),
    }
}

/// What `auto` says when it takes the CPU: nothing where nobody could expect a GPU.
fn fallback(cuda: &CudaStatus, has_driver: bool) -> Option<String> {
    (cuda.compiled_in || has_driver).then(|| {
        format!(
            "the CPU computes, for device is `auto` and no GPU can be used: {} (`ourvidz doctor` tells more)",
            cuda.problem
        )
    })
}

/// Whether NVIDIA's driver runs, whatever this build can do with it.
fn has_nvidia_driver() -> bool {
    Path::new("/proc/driver/nvidia/version").exists()
}

/// Waits until a device has done all work it was given; the CPU always has.
///
/// # Errors
/// What went wrong in that work: out of memory, or a failed launch.
pub fn sync(device: &Device) -> Result<()> {
    device.sync().context("the device failed")
}

/// Whether a device multiplies small matrices of half types in one instruction.
pub fn has_tensor_cores(device: &Device) -> bool {
    !is_cpu(device) && cuda::has_tensor_cores(device)
}

/// What a device says of its memory; `None` where the system does not tell.
pub fn memory(device: &Device) -> Option<Memory> {
    if is_cpu(device) {
        host_memory()
    } else {
        cuda::memory(device)
    }
}

/// The computer's own memory.
pub fn host_memory() -> Option<Memory> {
    let all = std::fs::read_to_string("/proc/meminfo").ok()?;
    let own = std::fs::read_to_string("/proc/self/status").ok()?;
    Some(Memory {
        total_bytes: kibibytes(&all, "MemTotal:")?,
        available_bytes: kibibytes(&all, "MemAvailable:")?,
        in_use_bytes: kibibytes(&own, "VmRSS:")?,
        peak_bytes: kibibytes(&own, "VmHWM:")?,
    })
}

/// A line such as `MemTotal:  123 kB`, in bytes.
fn kibibytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Gives pooled memory that holds nothing back to the device; when it returns, the device has it.
pub fn release_pools(device: &Device) {
    if is_cpu(device) {
        return;
    }
    // Work in the queue still holds what it reads, and what it gives back is free only once done. A
    // failure here is the failure of that work, which its own reader hears of.
    let _ = device.sync();
    device.memory_cleanup();
    let _ = device.sync();
}

/// Looks for usable GPUs without opening one.
pub fn cuda_status() -> CudaStatus {
    cuda::status()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_host_tells_its_memory() {
        let memory = memory(&Device::flex()).unwrap();
        assert!(memory.in_use_bytes > 0 && memory.in_use_bytes <= memory.peak_bytes);
        assert!(memory.available_bytes <= memory.total_bytes);
    }

    #[test]
    fn device_names_are_read_and_others_refused() {
        assert_eq!("cuda:1".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(1));
        assert_eq!("cuda".parse::<DeviceChoice>().unwrap(), DeviceChoice::Cuda(0));
        assert_eq!("auto".parse::<DeviceChoice>().unwrap(), DeviceChoice::Auto);
        for bad in ["cuda1", "cuda:", "cuda:x", "gpu", ""] {
            assert!(bad.parse::<DeviceChoice>().is_err(), "{bad}");
        }
    }

    #[test]
    fn auto_says_why_the_cpu_computes_where_a_gpu_could_be_expected() {
        let cuda = |compiled_in| CudaStatus {
            compiled_in,
            devices: 0,
            driver: None,
            compiler: None,
            problem: "no GPU found".into(),
        };
        assert_eq!(fallback(&cuda(false), false), None);
        for (compiled_in, has_driver) in [(true, false), (false, true), (true, true)] {
            let note = fallback(&cuda(compiled_in), has_driver).unwrap();
            assert!(note.contains("no GPU found") && note.contains("CPU"), "{note}");
        }
    }
}
