//! Files that appear whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::error::{Error, ErrorKind};

/// What to do when the file is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// The same bytes are success, other bytes are an error: nothing is ever lost.
    Keep,
    /// The old file gives way in one step.
    Replace,
}

/// Writes `bytes` to a temporary file beside `path`, syncs it, moves it into place and syncs the
/// folder, so that no reader ever sees half a file. Missing folders are made.
///
/// # Errors
/// `CannotWrite` when the file cannot be made (permissions, full disk, a different file in the
/// way), `Io` when the device fails half-way. Nothing is left behind then.
pub fn write_whole(path: &Path, bytes: &[u8], existing: Existing) -> Result<()> {
    let folder = folder_of(path);
    make_folder(folder)?;
    write_steps(path, folder, bytes, existing).map_err(|e| write_error(path, e).into())
}

/// Makes `folder` and its parents.
///
/// # Errors
/// `CannotWrite`, naming the folder.
pub fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|e| write_error(folder, e).into())
}

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

/// The SHA-256 of `bytes` in lower-case hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn write_steps(path: &Path, folder: &Path, bytes: &[u8], existing: Existing) -> io::Result<()> {
    let (mut file, temporary) = create_temporary(path, folder)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    match existing {
        Existing::Replace => fs::rename(&temporary.0, path)?,
        Existing::Keep => place_new(&temporary.0, path, bytes)?,
    }
    sync_folder(folder)
}

/// Gives `temporary` the name `path` unless a file is there: a hard link is the one way to do that
/// in a single step. File systems without links get a check and a rename.
fn place_new(temporary: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Ok(()) => Ok(()),
        Err(_) if path.symlink_metadata().is_ok() => match fs::read(path) {
            Ok(there) if there == bytes => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        },
        Err(_) => fs::rename(temporary, path),
    }
}

/// Removes the temporary file when it goes out of scope; after a rename there is nothing to remove.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // Nothing to be done if it fails: the error that brought us here is the one to report.
        let _ = fs::remove_file(&self.0);
    }
}

fn create_temporary(path: &Path, folder: &Path) -> io::Result<(File, Temporary)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let short: String = name.chars().take(40).collect();
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{short}.{}-{number}.part", std::process::id()));
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&temporary)?;
    Ok((file, Temporary(temporary)))
}

#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some network and FUSE file systems cannot sync a folder; the file itself is synced.
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        other => other,
    }
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Says in our words why `path` could not be written.
fn write_error(path: &Path, e: io::Error) -> Error {
    use io::ErrorKind::*;
    let shown = path.display();
    let cannot = |why: String, hint: &str| {
        Error::new(ErrorKind::CannotWrite, format!("output `{shown}`: {why}")).hint(hint)
    };
    match e.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => cannot(
            format!("no room left ({e})"),
            "free some space or choose another place with --output",
        ),
        AlreadyExists => cannot(
            "a different file is already there, and it is kept".into(),
            "choose another --output, or overwrite it with --force",
        ),
        PermissionDenied | ReadOnlyFilesystem | NotFound | NotADirectory | IsADirectory | InvalidFilename => {
            cannot(
                format!("cannot be written ({e})"),
                "choose a place you may write to with --output",
            )
        }
        _ => Error::new(ErrorKind::Io, format!("output `{shown}`: writing failed ({e})")),
    }
}

/// Reads a file that the user named.
///
/// # Errors
/// `InputMissing` when it is not there or may not be read, `Io` otherwise.
pub fn read_input(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|e| input_error(path, e).into())
}

/// Says in our words why a file that the user named could not be read.
pub fn input_error(path: &Path, e: io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::NotADirectory => ErrorKind::InputMissing,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("file `{}`: cannot be read ({e})", path.display()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::kind_of;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn a_written_file_is_whole_and_leaves_no_temporary_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er/a.png");
        write_whole(&path, b"one", Existing::Keep).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(names(path.parent().unwrap()), ["a.png"]);
    }

    #[test]
    fn keeping_accepts_the_same_bytes_and_refuses_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        write_whole(&path, b"one", Existing::Keep).unwrap();
        write_whole(&path, b"one", Existing::Keep).unwrap();
        let refused = write_whole(&path, b"two", Existing::Keep).unwrap_err();
        assert_eq!(kind_of(&refused), ErrorKind::CannotWrite);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write_whole(&path, b"two", Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(names(folder.path()), ["a.png"]);
    }

    #[test]
    fn a_file_where_a_folder_is_needed_cannot_be_written() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a"), b"").unwrap();
        let error = write_whole(&folder.path().join("a/b.png"), b"x", Existing::Keep).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::CannotWrite);
    }

    #[test]
    fn a_full_disk_is_cannot_write() {
        let error = write_error(Path::new("a.png"), io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(error.kind.exit_code(), 73);
        let error = write_error(Path::new("a.png"), io::Error::from_raw_os_error(5));
        assert_eq!(error.kind.exit_code(), 74);
    }

    #[test]
    fn a_suffix_goes_before_the_extension() {
        assert_eq!(with_suffix(Path::new("x/a.png"), "-1"), Path::new("x/a-1.png"));
        assert_eq!(with_suffix(Path::new("x/a"), "-1"), Path::new("x/a-1"));
    }
}
