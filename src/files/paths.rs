//! Names of files, and the limits that file systems set to them.

use std::path::{Path, PathBuf};

/// The folder that holds `path`; `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// `path` with `suffix` between its stem and its extension: `a.png` and `.difference` give
/// `a.difference.png`.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}{suffix}.{}", extension.to_string_lossy()),
        None => format!("{stem}{suffix}"),
    };
    path.with_file_name(name)
}

/// The longest file name that `folder`, or the nearest parent that exists, takes.
pub fn name_limit_bytes(folder: &Path) -> usize {
    const USUAL: usize = 255;
    #[cfg(unix)]
    for folder in folder.ancestors() {
        let folder = if folder.as_os_str().is_empty() {
            Path::new(".")
        } else {
            folder
        };
        if let Ok(system) = rustix::fs::statvfs(folder) {
            return usize::try_from(system.f_namemax).map_or(USUAL, |limit| limit.clamp(1, USUAL));
        }
    }
    USUAL
}
