//! The one place that opens, writes, locks and sweeps files.
//!
//! Reads are bounded and take regular files only: a FIFO or a device never blocks us and an endless
//! file never fills the memory. Writes appear whole or not at all: a part file with a random name,
//! synced, moved into place, its folder synced.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::error::{Error, ErrorKind};

pub mod points;

use points::point;

/// What to do when the file is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// The same bytes are success, other bytes are an error: nothing is ever lost.
    Keep,
    /// The old file gives way in one step; the new one keeps its permissions.
    Replace,
}

/// Every part file begins and ends like this.
const PART_START: &str = ".ourvidz-";
const PART_END: &str = ".part";

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
    refuse_special(path)?;
    let mut part = Part::create(folder)?;
    point("write:created");
    part.file.write_all(bytes)?;
    if existing == Existing::Replace
        && let Ok(old) = fs::metadata(path)
    {
        part.file.set_permissions(old.permissions())?;
    }
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

fn rename_if_free(from: &Path, to: &Path) -> io::Result<()> {
    match to.symlink_metadata() {
        Ok(_) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        Err(_) => fs::rename(from, to),
    }
}

/// A file under a random name, locked while its writer lives and removed when it goes out of scope;
/// after a rename there is nothing to remove.
struct Part {
    file: File,
    path: PathBuf,
}

impl Part {
    fn create(folder: &Path) -> io::Result<Self> {
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
        const PAUSE: Duration = Duration::from_millis(10);
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
                    .hint("wait for it to end, or choose another --output")
                    .into());
                }
            }
        }
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
fn open_with(path: &Path, options: &OpenOptions) -> io::Result<File> {
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

/// Bytes as people read them: `20 MiB`, `64 KiB`, `500 bytes`.
pub fn shown_bytes(bytes: u64) -> String {
    match bytes {
        n if n >= 1 << 20 && n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n >= 1 << 10 && n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n => format!("{n} bytes"),
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

#[cfg(test)]
mod tests;
