//! Reading: regular files only, bounded, never waiting.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use anyhow::Result;

use crate::error::{Error, ErrorKind};

/// Reads a regular file of at most `limit_bytes` that the user named.
///
/// # Errors
/// `InputMissing` when it is not there, may not be read or is no regular file; `BadInput` over the
/// limit; `Io` when reading fails.
pub fn read_bounded(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let file = open_regular(path)?;
    let mut bytes = Vec::new();
    file.take(limit_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|e| input_error(path, e))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(Error::new(
            ErrorKind::BadInput,
            format!(
                "file `{}`: over the limit of {}",
                path.display(),
                shown_bytes(limit_bytes)
            ),
        )
        .into());
    }
    Ok(bytes)
}

/// Opens a regular file for reading; a FIFO does not block and is refused, like a device.
///
/// # Errors
/// `InputMissing` when it is not there, may not be read or is no regular file, `Io` otherwise.
pub fn open_regular(path: &Path) -> Result<File> {
    open_with(path, OpenOptions::new().read(true)).map_err(|e| input_error(path, e).into())
}

/// Opens without waiting for the other end of a FIFO, and refuses what is no regular file.
pub(super) fn open_with(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let mut options = options.clone();
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32);
    }
    let file = options.open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory));
    }
    if !kind.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidFilename,
            "it is a device, FIFO or socket, no regular file",
        ));
    }
    Ok(file)
}

/// Says in our words why a file that the user named could not be read.
pub fn input_error(path: &Path, e: io::Error) -> Error {
    use io::ErrorKind::*;
    let kind = match e.kind() {
        NotFound | PermissionDenied | IsADirectory | NotADirectory | InvalidFilename => {
            ErrorKind::InputMissing
        }
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("file `{}`: cannot be read ({e})", path.display()))
}

/// Marks a file as used now.
pub fn mark_used(path: &Path) {
    set_time(path, SystemTime::now());
}

/// Sets when a file was changed last. Best effort, for what only hints at something: without the right
/// to, it stays as it is.
pub fn set_time(path: &Path, time: SystemTime) {
    if let Ok(file) = open_with(path, OpenOptions::new().write(true)) {
        let _ = file.set_modified(time);
    }
}

/// Bytes as people read them: `20 MiB`, `64 KiB`, `500 bytes`.
pub fn shown_bytes(bytes: u64) -> String {
    match bytes {
        n if n >= 1 << 20 && n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n >= 1 << 10 && n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
    }
}
