//! What a safetensors file says of its tensors, without the tensors.

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::files::open_regular;

/// Headers of checkpoints are far smaller.
const LARGEST_HEADER_BYTES: u64 = 64 << 20;

/// The header of a safetensors file: what is said of each tensor, by name.
pub(super) fn header(path: &Path) -> Option<serde_json::Map<String, Value>> {
    let mut file = open_regular(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let length = u64::from_le_bytes(length);
    if length > LARGEST_HEADER_BYTES {
        return None;
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    match header {
        Value::Object(tensors) => Some(tensors),
        _ => None,
    }
}
