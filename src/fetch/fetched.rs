//! What a reference may cost, and what becomes of it.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// A reference that is on this machine and may be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    pub path: PathBuf,
    /// Digest of the file, for manifest and callback.
    pub sha256: String,
    pub bytes: u64,
}

/// What a reference may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Of the file as it comes over the network.
    pub bytes: u64,
    /// Of a picture inside a `data:` address, decoded.
    pub data_bytes: u64,
    /// For all of a download: names, connections, redirects, body.
    pub time: Duration,
    pub redirects: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes: 20 << 20,
            data_bytes: 10_000_000,
            time: Duration::from_secs(30),
            redirects: 3,
        }
    }
}
