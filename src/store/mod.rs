//! Where a queue's assets go: a folder or S3. Nothing that is stored is ever replaced by something
//! else.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::config::{StorageSettings, shown};
use crate::error::{Error, ErrorKind};
use crate::fail;

mod faults;
mod folder;
mod s3;

pub use folder::FolderStore;
pub use s3::S3Store;

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

/// The store that `target` names: a folder, or `s3://BUCKET/PREFIX`.
///
/// # Errors
/// `Config` for an address of another kind, and for settings that contradict each other.
pub fn open(target: &str, settings: &StorageSettings, patience: Patience) -> Result<Arc<dyn Store>> {
    match target.split_once("://") {
        None => Ok(Arc::new(FolderStore::new(target, settings)?)),
        Some(("s3", place)) => Ok(Arc::new(S3Store::new(place, settings, patience)?)),
        Some((scheme, _)) => fail!(
            Config, "storage begins with `{}:`", shown(scheme);
            "name a folder, or s3://BUCKET/PREFIX"
        ),
    }
}

/// The key of a job's file: `{user or "_"}/{id}/{file}`, such as `_/a/0.png`. Whatever a producer
/// sends as a user stays one part of the key.
pub fn key(user_id: Option<&str>, job_id: &str, file: &str) -> String {
    let user = user_id.map(safe_part).filter(|user| !user.is_empty());
    format!("{}/{}/{file}", user.as_deref().unwrap_or("_"), safe_part(job_id))
}

/// `text` as one part of a key: what is no letter, digit, `_`, `-`, `@` or inner dot is written as
/// `%XX`, and what is very long ends in its digest.
fn safe_part(text: &str) -> String {
    const LONGEST: usize = 128;
    let mut part = String::new();
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'.' if at > 0 => part.push('.'),
            b'_' | b'-' | b'@' => part.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => part.push(char::from(byte)),
            _ => part.push_str(&format!("%{byte:02X}")),
        }
    }
    if part.len() > LONGEST {
        let digest = crate::files::sha256_hex(text.as_bytes());
        part.truncate(LONGEST - 33);
        part.push('-');
        part.push_str(&digest[..32]);
    }
    part
}

/// A key as an address below `base`.
fn public_address(base: &url::Url, key: &str) -> String {
    // The parts of a key hold `%XX` of their own, which must not be read back as what they hide.
    let key = key.replace('%', "%25");
    format!("{}/{key}", base.as_str().trim_end_matches('/'))
}

/// The error for another file in the way.
fn conflict(store: &str, key: &str) -> anyhow::Error {
    Error::new(
        ErrorKind::Conflict,
        format!("storage {store}: `{key}` is there already and differs; it is kept"),
    )
    .hint("give the job an id of its own, or remove the stored file")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_three_parts_whatever_the_user_is_called() {
        assert_eq!(key(None, "a", "0.png"), "_/a/0.png");
        assert_eq!(key(Some(""), "a", "0.png"), "_/a/0.png");
        assert_eq!(key(Some("ann@x.org"), "a", "0.png"), "ann@x.org/a/0.png");
        assert_eq!(key(Some("../../etc"), "a", "0.png"), "%2E.%2F..%2Fetc/a/0.png");
        assert_eq!(key(Some("."), "a", "0.png"), "%2E/a/0.png");
        for user in ["/", "..", "a/b", "a\\b", "a\0b", "é", "a b\n", "%2F"] {
            let key = key(Some(user), "a", "0.png");
            assert_eq!(key.split('/').count(), 3, "{key}");
            assert!(key.bytes().all(|b| b.is_ascii_graphic()), "{key}");
        }
    }

    #[test]
    fn very_long_users_stay_apart_and_fit_a_file_name() {
        let key_of = |user: String| key(Some(&user), "a", "0.png");
        let (one, other) = (key_of("é".repeat(500)), key_of("é".repeat(501)));
        assert_ne!(one, other);
        assert!(one.split('/').all(|part| part.len() <= 128));
    }
}
