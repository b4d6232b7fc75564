//! Locks between processes; all of them end with their holder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::folders::write_error;
use super::read::open_with;
use crate::error::{Error, ErrorKind};
use crate::fail;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// Holds a folder against other holders of the same kind while several files in it change together.
/// Where folders cannot be locked it holds nothing.
#[derive(Debug)]
pub struct FolderLock {
    _folder: Option<File>,
}

impl FolderLock {
    /// Waits for the lock, as others hold it for as long as they write.
    ///
    /// # Errors
    /// `Locked` when another process holds it for longer than `patience`.
    pub fn take(folder: &Path, patience: Duration) -> Result<Self> {
        let Ok(file) = File::open(folder) else {
            return Ok(Self { _folder: None });
        };
        let end = Instant::now() + patience;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _folder: Some(file) }),
                Err(TryLockError::Error(_)) => return Ok(Self { _folder: None }),
                Err(TryLockError::WouldBlock) if Instant::now() < end => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::new(
                        ErrorKind::Locked,
                        format!("folder `{}`: another process writes into it", folder.display()),
                    )
                    .hint("wait for it to end, or choose another folder")
                    .into());
                }
            }
        }
    }
}

/// A lock that ends with its holder, even one that is killed.
#[derive(Debug)]
pub struct Lock {
    /// Locked as long as it is open.
    file: File,
}

impl Lock {
    /// Locks `path`, which is made if needed; `None` while somebody else holds it.
    ///
    /// # Errors
    /// `CannotWrite` when the file cannot be made, `Io` when the file system has no locks.
    pub fn try_take(path: &Path) -> Result<Option<Self>> {
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = open_with(path, &options).map_err(|e| write_error(path, e))?;
        Self::of(file, path)
    }

    /// Locks a file that is there; `None` while somebody else holds it, and when it has gone or
    /// another one has taken its place.
    ///
    /// # Errors
    /// `Io` when the file system has no locks.
    pub fn try_take_existing(path: &Path) -> Result<Option<Self>> {
        let Ok(file) = open_with(path, OpenOptions::new().read(true).write(true)) else {
            return Ok(None);
        };
        let lock = Self::of(file, path)?;
        Ok(lock.filter(|lock| lock.is_of(path)))
    }

    /// As [`Self::try_take`], waiting for other holders.
    ///
    /// # Errors
    /// Also `Locked` when another process holds it for longer than `patience`.
    pub fn take(path: &Path, patience: Duration) -> Result<Self> {
        let end = Instant::now() + patience;
        loop {
            if let Some(lock) = Self::try_take(path)? {
                return Ok(lock);
            }
            if Instant::now() >= end {
                fail!(Locked, "lock `{}`: another process holds it", path.display(); "wait for it to end");
            }
            std::thread::sleep(PAUSE);
        }
    }

    fn of(file: File, path: &Path) -> Result<Option<Self>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(e)) => {
                Err(e).with_context(|| format!("lock `{}`: cannot be taken", path.display()))
            }
        }
    }

    /// Whether the locked file is the one that now has the name `path`.
    #[cfg(unix)]
    fn is_of(&self, path: &Path) -> bool {
        use std::os::unix::fs::MetadataExt;
        let identity = |m: &fs::Metadata| (m.dev(), m.ino());
        let (locked, named) = (self.file.metadata(), path.symlink_metadata());
        matches!((&locked, &named), (Ok(a), Ok(b)) if identity(a) == identity(b))
    }

    #[cfg(not(unix))]
    fn is_of(&self, path: &Path) -> bool {
        self.file.metadata().is_ok() && path.symlink_metadata().is_ok()
    }
}
