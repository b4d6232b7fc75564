//! Assets in a folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use async_trait::async_trait;
use bytes::Bytes;
use url::Url;

use super::contract::{Object, Store, Stored, conflict};
use crate::config::StorageSettings;
use crate::error::{ErrorKind, kind_of};
use crate::fail;
use crate::files::points::point;
use crate::files::{Existing, folder_of, make_folder, read_bounded, sha256_hex, sweep, write_whole};
use crate::media::manifest::read_manifest;

/// The largest file that is compared with a new one.
const LARGEST_BYTES: u64 = 1 << 30;

/// A folder whose files appear whole and stay as they are.
#[derive(Debug, Clone)]
pub struct FolderStore {
    root: PathBuf,
    public_url: Option<Url>,
}

impl FolderStore {
    /// # Errors
    /// `Config` when the settings ask for pre-signed addresses: a folder has none.
    pub fn new(root: impl Into<PathBuf>, settings: &StorageSettings) -> Result<Self> {
        if settings.presign.is_some() {
            fail!(
                Config, "storage.presign is set and the storage is a folder";
                "remove storage.presign, or set storage.public_url to where the folder is served"
            );
        }
        Ok(Self {
            root: root.into(),
            public_url: settings.public_url.clone(),
        })
    }

    fn put_now(&self, object: &Object) -> Result<Stored> {
        let path = self.root.join(&object.key);
        // What a killed writer left of this job goes with its next try.
        sweep(folder_of(&path));
        point("store:before-put");
        let stored = |sha256: String, size: u64, created| Stored {
            key: object.key.clone(),
            sha256,
            size,
            created,
        };
        let size = object.bytes.len() as u64;
        if path.symlink_metadata().is_err() {
            match write_whole(&path, &object.bytes, Existing::Keep) {
                Ok(()) => {
                    point("store:after-put");
                    return Ok(stored(object.sha256.clone(), size, true));
                }
                // Somebody else was quicker: what is there now decides.
                Err(_) if path.symlink_metadata().is_ok() => {}
                Err(error) => return Err(error),
            }
        }
        match self.same(&path, object)? {
            Some((sha256, size)) => Ok(stored(sha256, size, false)),
            None => Err(conflict(&self.name(), &object.key)),
        }
    }

    /// Digest and size of the file at `path` when it holds what `object` does.
    fn same(&self, path: &Path, object: &Object) -> Result<Option<(String, u64)>> {
        let there = match read_bounded(path, LARGEST_BYTES) {
            Ok(bytes) => bytes,
            // A device, a folder or a giant is something else.
            Err(e) if matches!(kind_of(&e), ErrorKind::InputMissing | ErrorKind::BadInput) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let sha256 = sha256_hex(&there);
        let same_pixels = || {
            let wanted = object.pixels_sha256.as_deref();
            wanted.is_some() && wanted == pixels_of(path, object.index).as_deref()
        };
        let same = sha256 == object.sha256 || same_pixels();
        Ok(same.then_some((sha256, there.len() as u64)))
    }
}

/// The digest of the pixels that a stored file's manifest names for it.
fn pixels_of(path: &Path, index: usize) -> Option<String> {
    let (manifest, _) = read_manifest(path).ok()?;
    let output = manifest.outputs.into_iter().find(|o| o.index == index)?;
    Some(output.pixels_sha256)
}

/// Runs what waits for a disk beside the other work of the runtime.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("storing in a folder was broken off")?
}

#[async_trait]
impl Store for FolderStore {
    async fn put(&self, object: &Object) -> Result<Stored> {
        let (store, object) = (self.clone(), object.clone());
        beside(move || store.put_now(&object)).await
    }

    async fn replace(&self, key: &str, bytes: Bytes, _mime_type: &str) -> Result<String> {
        let path = self.root.join(key);
        beside(move || {
            sweep(folder_of(&path));
            point("store:before-replace");
            write_whole(&path, &bytes, Existing::Replace)?;
            point("store:after-replace");
            Ok(())
        })
        .await?;
        Ok(key.into())
    }

    async fn address(&self, stored_key: &str) -> Result<String> {
        Ok(match &self.public_url {
            Some(base) => super::contract::public_address(base, stored_key),
            None => stored_key.into(),
        })
    }

    async fn check(&self) -> Result<()> {
        let root = self.root.clone();
        beside(move || {
            make_folder(&root)?;
            sweep(&root);
            Ok(())
        })
        .await
    }

    fn name(&self) -> String {
        format!("folder `{}`", self.root.display())
    }
}
