//! What was found of a device.

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

/// What a GPU of this build would need, and whether it is there; for `doctor`.
#[derive(Debug, Clone, PartialEq)]
pub struct CudaStatus {
    pub compiled_in: bool,
    pub devices: usize,
    /// The newest CUDA that the driver speaks, as `[major, minor]`.
    pub driver: Option<[u32; 2]>,
    /// The runtime compiler's (NVRTC's).
    pub compiler: Option<[u32; 2]>,
    /// Empty when a GPU can be used.
    pub problem: String,
}
