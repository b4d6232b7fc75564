//! Folders: made, synced; and why something in them could not be written.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use anyhow::Result;

use crate::error::{Error, ErrorKind};

/// Makes `folder` and its parents.
///
/// # Errors
/// `CannotWrite`, naming the folder.
pub fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| write_error(folder, e).into())
}

/// Syncs a folder, so that names made or removed in it survive a power cut.
///
/// # Errors
/// What the system says, but for file systems that cannot sync a folder.
#[cfg(unix)]
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network and FUSE file systems cannot sync a folder; the file itself is synced.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
pub fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Says in our words why `path` could not be written.
pub fn write_error(path: &Path, e: io::Error) -> Error {
    use io::ErrorKind::*;
    let shown = path.display();
    let cannot = |why: String, hint: &str| {
        Error::new(ErrorKind::CannotWrite, format!("file `{shown}`: {why}")).hint(hint)
    };
    match e.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => cannot(
            format!("no room left ({e})"),
            "free some space, or choose another place",
        ),
        AlreadyExists => cannot(
            "a different file is already there, and it is kept".into(),
            "choose another name",
        ),
        PermissionDenied | ReadOnlyFilesystem | NotFound | NotADirectory | IsADirectory | InvalidFilename => {
            cannot(
                format!("cannot be written ({e})"),
                "choose a place that you may write to",
            )
        }
        _ => Error::new(ErrorKind::Io, format!("file `{shown}`: writing failed ({e})")),
    }
}
