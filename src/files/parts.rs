//! Files and folders under random names, on their way to their place, and what killed writers left.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;
use uuid::Uuid;

use super::folders::{make_folder, write_error};
use super::read::open_with;

/// Every part file begins and ends like this.
pub(super) const PART_START: &str = ".ourvidz-";
pub(super) const PART_END: &str = ".part";

/// A file under a random name, locked while its writer lives and removed when it goes out of scope;
/// after a rename there is nothing to remove.
pub(super) struct Part {
    pub file: File,
    pub path: PathBuf,
}

impl Part {
    pub fn create(folder: &Path) -> io::Result<Self> {
        loop {
            let path = folder.join(format!("{PART_START}{}{PART_END}", Uuid::new_v4().simple()));
            // `create_new` follows no link and takes no file that is there.
            let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            let part = Self { file, path };
            match part.file.try_lock() {
                // A sweep between creation and lock may have taken it: then there is no such name.
                Ok(()) if part.path.symlink_metadata().is_ok() => return Ok(part),
                Ok(()) | Err(TryLockError::WouldBlock) => continue,
                // A file system without locks has no sweeps either: they ask for the lock first.
                Err(TryLockError::Error(_)) => return Ok(part),
            }
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Nothing to be done if it fails: the error that brought us here is the one to report.
        let _ = fs::remove_file(&self.path);
    }
}

/// A folder under a random name, for files on their way to another place on the same file system.
/// It is locked while its owner lives and removed when it goes out of scope.
#[derive(Debug)]
pub struct Staging {
    path: PathBuf,
    /// Locked as long as it is open; `None` where folders cannot be locked.
    _lock: Option<File>,
}

impl Staging {
    /// Makes one inside `folder`, which is made if needed.
    ///
    /// # Errors
    /// `CannotWrite`, naming the folder.
    pub fn create(folder: &Path) -> Result<Self> {
        make_folder(folder)?;
        loop {
            let path = folder.join(format!("{PART_START}{}{PART_END}", Uuid::new_v4().simple()));
            fs::create_dir(&path).map_err(|e| write_error(folder, e))?;
            let lock = match File::open(&path).map(|folder| (folder.try_lock(), folder)) {
                // A sweep between creation and lock may have taken it: then there is no such name.
                Ok((Ok(()), lock)) if path.symlink_metadata().is_ok() => Some(lock),
                Ok((Ok(()) | Err(TryLockError::WouldBlock), _)) => continue,
                Ok((Err(TryLockError::Error(_)), _)) | Err(_) => None,
            };
            return Ok(Self { path, _lock: lock });
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // What cannot be removed is for the next sweep.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the part files and staging folders that killed writers left in `folder`; those of living ones are locked.
/// Best effort: what cannot be removed stays.
pub fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with(PART_START) && name.ends_with(PART_END)) {
            continue;
        }
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if File::open(&path).is_ok_and(|folder| folder.try_lock().is_ok()) {
                let _ = fs::remove_dir_all(&path);
            }
        } else if let Ok(file) = open_with(&path, OpenOptions::new().read(true))
            && file.try_lock().is_ok()
        {
            let _ = fs::remove_file(&path);
        }
    }
}
