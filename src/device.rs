//! `--device` to a Burn device, probed before first use so that a missing driver is a message.

use std::str::FromStr;

use anyhow::Result;
use burn::tensor::{DType, Device};

use crate::error::{Error, ErrorKind};
#[cfg(not(feature = "cuda"))]
use crate::fail;

/// What `--device` may say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU that works, else the CPU.
    #[default]
    Auto,
    Cpu,
    Cuda(usize),
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
            (_, Some(index)) if text.starts_with("cuda:") && index.parse::<usize>().is_ok() => {
                Ok(Self::Cuda(index.parse().expect("checked above")))
            }
            _ => Err(Error::new(
                ErrorKind::Usage,
                format!("device is `{text}`; allowed: auto, cpu, cuda, cuda:N"),
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
        if is_cpu(device) { Self::F32 } else { Self::F16 }
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

/// How results name a device: `cpu`, `cuda:0`.
pub fn name(device: &Device) -> String {
    if is_cpu(device) {
        return "cpu".into();
    }
    cuda::name(device)
}

/// Opens a device, or says what is missing.
///
/// # Errors
/// `Unavailable` when a GPU is asked for and the build, the driver, the runtime compiler or the
/// card is missing; the message names `--device cpu`.
pub fn open(choice: DeviceChoice) -> Result<Device> {
    match choice {
        DeviceChoice::Cpu => Ok(Device::flex()),
        DeviceChoice::Cuda(index) => cuda::open(index),
        DeviceChoice::Auto => Ok(cuda::open(0).unwrap_or_else(|_| Device::flex())),
    }
}

/// Memory of a device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    pub total_bytes: u64,
    /// Not in use by anybody, other processes included.
    pub available_bytes: u64,
    /// Held by this process on the CPU; by everybody on a GPU.
    pub in_use_bytes: u64,
    /// The most that was in use so far. On a GPU pooled pages stay with the process, so that it is
    /// what is in use now.
    pub peak_bytes: u64,
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

/// Gives pooled memory that holds nothing back to the device.
pub fn release_pools(device: &Device) {
    if !is_cpu(device) {
        device.memory_cleanup();
    }
}

/// What a GPU of this build would need, and whether it is there; for `doctor`.
#[derive(Debug, Clone, PartialEq)]
pub struct CudaStatus {
    pub compiled_in: bool,
    pub devices: usize,
    /// Empty when a GPU can be used.
    pub problem: String,
}

/// Looks for usable GPUs without opening one.
pub fn cuda_status() -> CudaStatus {
    cuda::status()
}

#[cfg(not(feature = "cuda"))]
mod cuda {
    use super::*;

    pub fn open(_index: usize) -> Result<Device> {
        fail!(Unavailable, "device `cuda`: this build has no CUDA support"; "build with `cargo build --release --features cuda`, or use --device cpu");
    }

    pub fn name(_device: &Device) -> String {
        "cpu".into()
    }

    pub fn memory(_device: &Device) -> Option<Memory> {
        None
    }

    pub fn status() -> CudaStatus {
        CudaStatus {
            compiled_in: false,
            devices: 0,
            problem: "built without the `cuda` feature".into(),
        }
    }
}

#[cfg(feature = "cuda")]
mod cuda {
    use std::path::{Path, PathBuf};

    use burn::tensor::DeviceType;

    use super::*;

    pub fn open(index: usize) -> Result<Device> {
        let status = status();
        if !status.problem.is_empty() {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!("device `cuda:{index}`: {}", status.problem),
            )
            .hint("install what is missing (`ourvidz doctor` lists it), or use --device cpu")
            .into());
        }
        if index >= status.devices {
            return Err(Error::new(
                ErrorKind::Unavailable,
                format!(
                    "device `cuda:{index}`: this machine has {} CUDA device(s)",
                    status.devices
                ),
            )
            .hint("count from cuda:0, or use --device cpu")
            .into());
        }
        Ok(Device::cuda(index))
    }

    pub fn name(device: &Device) -> String {
        index(device).map_or_else(|| "cuda".into(), |index| format!("cuda:{index}"))
    }

    fn index(device: &Device) -> Option<usize> {
        (0..status().devices).find(|&index| Device::cuda(index) == *device)
    }

    /// Asks the driver; the context is the one that all work on the device shares.
    pub fn memory(device: &Device) -> Option<Memory> {
        let context = cudarc::driver::CudaContext::new(index(device)?).ok()?;
        context.bind_to_thread().ok()?;
        let (free, total) = cudarc::driver::result::mem_get_info().ok()?;
        let in_use_bytes = (total - free) as u64;
        Some(Memory {
            total_bytes: total as u64,
            available_bytes: free as u64,
            in_use_bytes,
            peak_bytes: in_use_bytes,
        })
    }

    pub fn status() -> CudaStatus {
        let devices = count_devices();
        let problem = if devices == 0 {
            "no NVIDIA driver or no GPU found".to_string()
        } else if headers().is_none() {
            "CUDA headers not found (set CUDA_PATH, or install the CUDA toolkit to /usr/local/cuda)"
                .to_string()
        } else {
            String::new()
        };
        CudaStatus {
            compiled_in: true,
            devices,
            problem,
        }
    }

    /// The driver binding panics where libraries are missing; here that only means: no device.
    fn count_devices() -> usize {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(|_| {}));
        let found = std::panic::catch_unwind(|| Device::enumerate(DeviceType::Cuda).into_vec().len());
        std::panic::set_hook(hook);
        found.unwrap_or(0)
    }

    fn headers() -> Option<PathBuf> {
        let roots = [std::env::var_os("CUDA_PATH"), std::env::var_os("CUDA_HOME")];
        roots
            .into_iter()
            .flatten()
            .map(PathBuf::from)
            .chain([PathBuf::from("/usr/local/cuda"), PathBuf::from("/usr")])
            .find(|root| Path::new(root).join("include/cuda_runtime.h").exists())
    }
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
}
