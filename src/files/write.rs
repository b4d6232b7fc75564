//! Writing: whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;

use super::folders::{make_folder, sync_folder, write_error};
use super::parts::Part;
use super::paths::folder_of;
use super::points::point;
use super::read::read_bounded;

/// What to do when the file is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// The same bytes are success, other bytes are an error: nothing is ever lost.
    Keep,
    /// The old file gives way in one step; the new one keeps its permissions.
    Replace,
}

/// Writes `bytes` to a part file beside `path`, syncs it, moves it into place and syncs the folder,
/// so that no reader ever sees half a file. Missing folders are made.
///
/// # Errors
/// `CannotWrite` when the file cannot be made (permissions, full disk, a different file or something
/// that is no regular file in the way), `Io` when the device fails half-way. Nothing is left behind
/// then.
pub fn write_whole(path: &Path, bytes: &[u8], existing: Existing) -> Result<()> {
    let folder = folder_of(path);
    make_folder(folder)?;
    write_steps(path, folder, bytes, existing).map_err(|e| write_error(path, e).into())
}

/// Writes what can be made again, such as an entry of a cache: whole or not at all for every reader,
/// but synced by nobody. After a power cut it may be empty.
///
/// # Errors
/// As [`write_whole`].
pub fn write_cached(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = folder_of(path);
    make_folder(folder)?;
    let steps = || {
        refuse_special(path)?;
        let mut part = Part::create(folder)?;
        part.file.write_all(bytes)?;
        fs::rename(&part.path, path)
    };
    steps().map_err(|e| write_error(path, e).into())
}

/// Gives a whole, synced file its final name; false when another file is there that is to be kept.
/// A replaced file's permissions stay.
///
/// # Errors
/// As [`write_whole`].
pub fn place(from: &Path, to: &Path, existing: Existing) -> Result<bool> {
    make_folder(folder_of(to))?;
    let steps = || -> io::Result<bool> {
        refuse_special(to)?;
        match existing {
            Existing::Keep => match fs::hard_link(from, to) {
                Ok(()) => {}
                Err(_) if to.symlink_metadata().is_ok() => return Ok(false),
                Err(_) => fs::rename(from, to)?,
            },
            Existing::Replace => {
                if let Ok(old) = fs::metadata(to) {
                    fs::set_permissions(from, old.permissions())?;
                }
                fs::rename(from, to)?;
            }
        }
        point("place:placed");
        sync_folder(folder_of(to))?;
        Ok(true)
    };
    match steps() {
        // Another file system: a copy, whole or not at all.
        Err(e) if e.kind() == io::ErrorKind::CrossesDevices => {
            let bytes = fs::read(from).map_err(|e| write_error(to, e))?;
            write_whole(to, &bytes, existing).map(|()| true)
        }
        other => other.map_err(|e| write_error(to, e).into()),
    }
}

fn write_steps(path: &Path, folder: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
    refuse_special(path)?;
    let mut part = Part::create(folder)?;
    point("write:created");
    // Before anything is in it: what was private never is for all to read.
    if existing == Existing::Replace
        && let Ok(old) = fs::metadata(path)
    {
        part.file.set_permissions(old.permissions())?;
    }
    part.file.write_all(bytes)?;
    part.file.sync_all()?;
    point("write:synced");
    match existing {
        Existing::Replace => fs::rename(&part.path, path)?,
        Existing::Keep => place_new(&part.path, path, bytes)?,
    }
    point("write:placed");
    drop(part);
    sync_folder(folder)?;
    point("write:folder-synced");
    Ok(())
}

/// A device, FIFO or socket is nothing to be replaced by a file.
fn refuse_special(path: &Path) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(there) if !there.is_file() && !there.is_dir() => Err(io::Error::new(
            io::ErrorKind::InvalidFilename,
            "it is a device, FIFO or socket, no regular file",
        )),
        _ => Ok(()),
    }
}

/// Gives `part` the name `path` unless a file is there: a hard link is the one way to do that in a
/// single step. File systems without links get a check and a rename.
fn place_new(part: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::hard_link(part, path) {
        Ok(()) => Ok(()),
        Err(_) if path.symlink_metadata().is_ok() => match same_content(path, bytes) {
            true => Ok(()),
            false => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        },
        Err(_) => fs::rename(part, path),
    }
}

fn same_content(path: &Path, bytes: &[u8]) -> bool {
    read_bounded(path, bytes.len() as u64).is_ok_and(|there| there == bytes)
}
