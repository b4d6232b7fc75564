//! What the measurements were made on, and what that machine can do at most.

use std::time::{Duration, Instant};

use anyhow::Result;
use burn::tensor::{DType, Device, Distribution, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::device::{self, is_cpu};

/// The machine's own limits, from a matrix product and a copy timed in the same run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    pub flop_per_second: f64,
    /// Read and written.
    pub bytes_per_second: f64,
}

/// Processor time of this process, all threads, user and system.
pub fn core_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// Processor time of finished child processes, in the kernel's ticks of 10 ms.
pub fn children_core_time() -> Duration {
    /// `cutime` and `cstime`, counted behind the name in brackets, which may hold spaces.
    const FIELDS: std::ops::Range<usize> = 13..15;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = behind.split_whitespace().skip(FIELDS.start).take(FIELDS.len());
    Duration::from_millis(10 * ticks.filter_map(|t| t.parse::<u64>().ok()).sum::<u64>())
}

/// Lets the peak of the host's memory begin anew; where the system cannot, the peak is the process's.
pub fn reset_peak() {
    // Documented in proc(5): 5 resets the peak resident set size.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// Times a square product and a copy on `device`, best of a few.
///
/// # Errors
/// When the device cannot be waited for.
pub fn limits(device: &Device, dtype: DType) -> Result<Limits> {
    let (side, floats) = if is_cpu(device) {
        (1024, 1 << 25)
    } else {
        (8192, 1 << 28)
    };
    let options = (device, dtype);
    let a = Tensor::<2>::random([side, side], Distribution::Uniform(-1.0, 1.0), options);
    let b = Tensor::<2>::random([side, side], Distribution::Uniform(-1.0, 1.0), options);
    let product_s = best(device, || drop(a.clone().matmul(b.clone())))?;
    let vector = Tensor::<1>::random([floats], Distribution::Uniform(-1.0, 1.0), options);
    // Adding a number reads and writes each element once.
    let copy_s = best(device, || drop(vector.clone().add_scalar(1.0)))?;
    Ok(Limits {
        flop_per_second: 2.0 * (side as f64).powi(3) / product_s,
        bytes_per_second: 2.0 * (floats * dtype.size()) as f64 / copy_s,
    })
}

fn best(device: &Device, work: impl Fn()) -> Result<f64> {
    const ROUNDS: usize = 6;
    let mut best_s = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work();
        device.sync()?;
        best_s = best_s.min(start.elapsed().as_secs_f64());
    }
    Ok(best_s.max(1e-9))
}

/// Processor, device, driver, build: what must be alike for two reports to be compared.
pub fn environment(device: &Device) -> Value {
    let mut record = Map::new();
    record.insert("version".into(), json!(env!("CARGO_PKG_VERSION")));
    record.insert(
        "build".into(),
        json!(if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        }),
    );
    record.insert(
        "target".into(),
        json!(format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)),
    );
    record.insert("device".into(), json!(device::name(device)));
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = cpu.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim().to_string())
    };
    record.insert("processor".into(), json!(field("model name")));
    record.insert("processor_mhz".into(), json!(field("cpu MHz")));
    let cores = std::thread::available_parallelism().map(usize::from).ok();
    record.insert("cores".into(), json!(cores));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    record.insert("kernel".into(), json!(kernel.map(|text| text.trim().to_string())));
    let host = device::host_memory();
    record.insert("memory_bytes".into(), json!(host.map(|m| m.total_bytes)));
    if !is_cpu(device) {
        record.insert(
            "device_memory_bytes".into(),
            json!(device::memory(device).map(|m| m.total_bytes)),
        );
        let driver = std::fs::read_to_string("/proc/driver/nvidia/version").ok();
        let driver = driver.and_then(|text| text.lines().next().map(String::from));
        record.insert("driver".into(), json!(driver));
    }
    Value::Object(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_limits_and_a_clock() {
        let before = core_time();
        let limits = limits(&Device::flex(), DType::F32).unwrap();
        assert!(
            limits.flop_per_second > 1e8 && limits.bytes_per_second > 1e7,
            "{limits:?}"
        );
        assert!(core_time() > before);
    }

    #[test]
    fn the_environment_names_processor_and_build() {
        let record = environment(&Device::flex());
        assert_eq!(record["device"], "cpu");
        assert_eq!(record["version"], env!("CARGO_PKG_VERSION"));
        assert!(record["cores"].as_u64().is_some_and(|n| n > 0));
    }
}
