//! SHA-256 of weight files, remembered between runs by path, size and modification time.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::files::{hex, open_regular, read_bounded, sha256_hex, write_cached};
use crate::weights::ModelFiles;

/// Files below this size are cheaper to digest than to look up.
const REMEMBERED_FROM_BYTES: u64 = 16 << 20;

/// The digests known so far.
#[derive(Default)]
pub struct Digests {
    store: Option<PathBuf>,
    known: BTreeMap<String, String>,
}

/// Far above what digests of all models fill.
const LARGEST_STORE_BYTES: u64 = 64 << 20;

impl Digests {
    /// Reads what earlier runs left in `cache_dir`; an unreadable store only means more work.
    pub fn open(cache_dir: Option<&Path>) -> Self {
        let store = cache_dir.map(|dir| dir.join("digests.json"));
        let known = store
            .as_ref()
            .and_then(|path| read_bounded(path, LARGEST_STORE_BYTES).ok())
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self { store, known }
    }

    /// One digest over several files of a model, by name and content.
    ///
    /// # Errors
    /// As [`Digests::of_file`].
    pub fn of_all(&mut self, files: &ModelFiles, names: &[String]) -> Result<String> {
        let mut lines = String::new();
        for name in names {
            let digest = match files {
                ModelFiles::Folder(root) => self.of_file(&root.join(name))?,
                ModelFiles::Embedded(_) => {
                    Self::of_bytes(&files.read(name)?.expect("listed, so it is there"))
                }
            };
            lines.push_str(&format!("{digest}  {name}\n"));
        }
        Ok(Self::of_bytes(lines.as_bytes()))
    }

    /// # Errors
    /// `InputMissing` when the file cannot be opened; reading errors as they come.
    pub fn of_file(&mut self, path: &Path) -> Result<String> {
        let mut file = open_regular(path).context("the model")?;
        let metadata = file
            .metadata()
            .with_context(|| format!("reading `{}`", path.display()))?;
        let modified = metadata
            .modified()
            .ok()
            .and_then(|t| t.duration_since(UNIX_EPOCH).ok())
            .unwrap_or_default();
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let key = format!(
            "{} {} {}",
            canonical.display(),
            metadata.len(),
            modified.as_nanos()
        );
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            let read = file
                .read(&mut buffer)
                .with_context(|| format!("reading `{}`", path.display()))?;
            if read == 0 {
                break;
            }
            hasher.update(&buffer[..read]);
        }
        let digest = hex(&hasher.finalize());
        if metadata.len() >= REMEMBERED_FROM_BYTES {
            self.known.insert(key, digest.clone());
            self.remember();
        }
        Ok(digest)
    }

    /// The digest of bytes in memory.
    pub fn of_bytes(bytes: &[u8]) -> String {
        sha256_hex(bytes)
    }

    /// A store that cannot be written costs time at the next run, nothing else.
    fn remember(&self) {
        let Some(store) = &self.store else { return };
        let Ok(json) = serde_json::to_vec(&self.known) else {
            return;
        };
        let _ = write_cached(store, &json);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_digested_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        std::fs::write(&path, vec![0; REMEMBERED_FROM_BYTES as usize]).unwrap();
        let first = Digests::open(Some(folder.path())).of_file(&path).unwrap();
        assert_eq!(first, Digests::open(Some(folder.path())).of_file(&path).unwrap());
        std::fs::write(&path, vec![1; REMEMBERED_FROM_BYTES as usize + 1]).unwrap();
        assert_ne!(first, Digests::open(Some(folder.path())).of_file(&path).unwrap());
    }
}
