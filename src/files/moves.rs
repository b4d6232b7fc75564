//! Giving files their final names.

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};

use super::folders::sync_folder;
use super::paths::folder_of;
use super::points::point;

/// Moves a file to another name in one step and syncs both folders.
///
/// # Errors
/// As [`write_whole`], about `to`; the error of a missing `from` keeps its kind for the caller.
pub fn move_whole(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_move(from, to)
}

fn sync_move(from: &Path, to: &Path) -> io::Result<()> {
    point("move:renamed");
    sync_folder(folder_of(to))?;
    if folder_of(from) != folder_of(to) {
        sync_folder(folder_of(from))?;
    }
    Ok(())
}

/// As [`move_whole`] for a name that must be free: what is there stays.
///
/// # Errors
/// `AlreadyExists`, and those of [`move_whole`].
pub fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_new(from, to)?;
    sync_move(from, to)
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some network and FUSE file systems have no such rename.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => rename_if_free(from, to),
        other => Ok(other?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    rename_if_free(from, to)
}

pub(super) fn rename_if_free(from: &Path, to: &Path) -> io::Result<()> {
    match to.symlink_metadata() {
        Ok(_) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        Err(_) => fs::rename(from, to),
    }
}

/// Removes a file if it is there.
///
/// # Errors
/// `Io` with the path.
pub fn remove_if_there(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove `{}`", path.display()))
        }
        _ => Ok(()),
    }
}
