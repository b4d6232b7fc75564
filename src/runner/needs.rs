//! What models took in memory, remembered between runs.

use std::collections::BTreeMap;
use std::path::Path;

use crate::files::{Existing, read_bounded, write_whole};
use crate::memory::Need;

const FILE: &str = "memory-needs.json";

/// Device name → model name → need.
type Needs = BTreeMap<String, BTreeMap<String, Need>>;

/// The needs measured on a device in earlier runs. A file that cannot be read is as good as none:
/// everything in it is measured again.
pub fn read(folder: &Path, device: &str) -> BTreeMap<String, Need> {
    all(folder).remove(device).unwrap_or_default()
}

/// Keeps the needs measured on a device. What cannot be kept is measured again next time.
pub fn write(folder: &Path, device: &str, needs: &BTreeMap<String, Need>) {
    let mut all = all(folder);
    if all.get(device) == Some(needs) {
        return;
    }
    all.insert(device.into(), needs.clone());
    if let Ok(text) = serde_json::to_vec(&all) {
        let _ = write_whole(&folder.join(FILE), &text, Existing::Replace);
    }
}

/// Far above what all models and devices of a machine fill.
const LARGEST_BYTES: u64 = 1 << 20;

fn all(folder: &Path) -> Needs {
    let text = read_bounded(&folder.join(FILE), LARGEST_BYTES).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs_are_kept_per_device_and_a_broken_file_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let needs = |bytes| {
            let need = Need {
                weights_bytes: bytes,
                work_bytes: 1,
            };
            BTreeMap::from([("m".to_string(), need)])
        };
        write(folder.path(), "cpu", &needs(5));
        write(folder.path(), "cuda:0", &needs(7));
        assert_eq!(read(folder.path(), "cpu"), needs(5));
        assert_eq!(read(folder.path(), "cuda:0"), needs(7));
        assert!(read(folder.path(), "cuda:1").is_empty());
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(read(folder.path(), "cpu").is_empty());
        write(folder.path(), "cpu", &needs(9));
        assert_eq!(read(folder.path(), "cpu"), needs(9));
    }
}
