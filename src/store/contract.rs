//! What every store promises, and what goes in and out of one.

use crate::error::{Error, ErrorKind};
use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// One file on its way into a store.
#[derive(Clone, PartialEq, Eq)]
pub struct Object {
    /// [`key`].
    pub key: String,
    pub bytes: Bytes,
    /// Of `bytes`, in lower-case hexadecimal.
    pub sha256: String,
    /// Of the pixels, where there are any: pictures and videos with the same pixels are the same.
    pub pixels_sha256: Option<String>,
    pub mime_type: String,
    /// Which of the job's outputs it is.
    pub index: usize,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes, {})", self.key, self.bytes.len(), self.sha256)
    }
}

/// What lies in the store now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// As receivers of callbacks know it: with the prefix inside the bucket.
    pub key: String,
    /// Of the stored file, which may be an earlier one with the same pixels.
    pub sha256: String,
    pub size: u64,
    /// False when the same was there already.
    pub created: bool,
}

/// A place for assets.
#[async_trait]
pub trait Store: Send + Sync {
    /// Stores a file under a key that nothing else has. The same file there already, or one with the
    /// same pixels, is success.
    ///
    /// # Errors
    /// `Conflict` when another file has the key, `Unavailable` when the store does not answer in
    /// time, `Config` when it refuses us, `CannotWrite` and `Io` for disks.
    async fn put(&self, object: &Object) -> Result<Stored>;

    /// Stores or replaces a file: for `callback.json`, whose later state replaces the earlier one.
    /// Returns the key as receivers know it.
    ///
    /// # Errors
    /// As [`Store::put`], but for `Conflict`.
    async fn replace(&self, key: &str, bytes: Bytes, mime_type: &str) -> Result<String>;

    /// What a callback calls the file that [`Stored::key`] names: the key itself, a public address,
    /// or a pre-signed one.
    ///
    /// # Errors
    /// `Config` when an address cannot be signed.
    async fn address(&self, stored_key: &str) -> Result<String>;

    /// Finds out whether the store is there and takes our files.
    ///
    /// # Errors
    /// `Unavailable` when it does not answer, `Config` when it refuses us or does not exist.
    async fn check(&self) -> Result<()>;

    /// For messages and logs: no secret in it.
    fn name(&self) -> String;
}

/// How long a store keeps trying against faults that pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a whole `put` or `replace`.
    pub operation: Duration,
    /// For one request.
    pub request: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            operation: Duration::from_secs(120),
            request: Duration::from_secs(60),
        }
    }
}

/// A key as an address below `base`.
pub(super) fn public_address(base: &url::Url, key: &str) -> String {
    // The parts of a key hold `%XX` of their own, which must not be read back as what they hide.
    let key = key.replace('%', "%25");
    format!("{}/{key}", base.as_str().trim_end_matches('/'))
}

/// The error for another file in the way.
pub(super) fn conflict(store: &str, key: &str) -> anyhow::Error {
    Error::new(
        ErrorKind::Conflict,
        format!("storage {store}: `{key}` is there already and differs; it is kept"),
    )
    .hint("give the job an id of its own, or remove the stored file")
    .into()
}
