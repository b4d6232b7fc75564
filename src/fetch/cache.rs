//! Fetched files by their digest.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::fetched::Fetched;
use crate::files::{Existing, mark_used, read_bounded, remove_if_there, sha256_hex, sweep, write_whole};

/// A file that was used this lately may be one that a job is about to read.
const IN_USE: Duration = Duration::from_secs(3600);

/// A folder of files, each named by its digest.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    max_bytes: u64,
}

impl Cache {
    /// Room for about fifty of the largest pictures.
    pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;

    /// The folder is made with its first file.
    pub fn new(folder: impl Into<PathBuf>, max_bytes: u64) -> Self {
        Self {
            folder: folder.into(),
            max_bytes,
        }
    }

    /// Keeps `bytes` and says where; then lets the least used files beyond the bound go.
    ///
    /// # Errors
    /// `CannotWrite` or `Io`.
    pub fn keep(&self, bytes: &[u8]) -> Result<Fetched> {
        let sha256 = sha256_hex(bytes);
        let path = self.folder.join(&sha256);
        let length = bytes.len() as u64;
        let is_there = read_bounded(&path, length).is_ok_and(|there| there == bytes);
        if is_there {
            // Only the order in which files go depends on it.
            mark_used(&path);
        } else {
            write_whole(&path, bytes, Existing::Replace)?;
            self.evict()?;
        }
        Ok(Fetched {
            path,
            sha256,
            bytes: length,
        })
    }

    fn evict(&self) -> Result<()> {
        sweep(&self.folder);
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return Ok(());
        };
        let mut files: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        files.sort();
        let mut total: u64 = files.iter().map(|(_, length, _)| length).sum();
        let spared = SystemTime::now() - IN_USE;
        for (used, length, path) in files {
            if total <= self.max_bytes || used > spared {
                break;
            }
            remove_if_there(&path)?;
            total -= length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_one_file_and_a_broken_one_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("references"), 100);
        let one = cache.keep(b"one").unwrap();
        assert_eq!(cache.keep(b"one").unwrap(), one);
        assert_eq!(one.sha256, sha256_hex(b"one"));
        fs::write(&one.path, "onx").unwrap();
        cache.keep(b"one").unwrap();
        assert_eq!(fs::read(&one.path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path().join("references")).unwrap().count(), 1);
    }

    #[test]
    fn beyond_the_bound_the_least_used_goes_and_what_jobs_may_read_stays() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path(), 10);
        let old = |hours: u64, path: &PathBuf| {
            let time = SystemTime::now() - Duration::from_secs(hours * 3600);
            fs::File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        };
        let first = cache.keep(b"aaaaa").unwrap().path;
        let second = cache.keep(b"bbbbb").unwrap().path;
        let third = cache.keep(b"ccccc").unwrap().path;
        assert!(first.exists(), "all are in use");
        old(3, &first);
        old(2, &second);
        old(2, &third);
        cache.keep(b"aaaaa").unwrap();
        cache.keep(b"d").unwrap();
        assert!(first.exists() && !second.exists());
    }
}
