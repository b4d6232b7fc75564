//! Where a queue's assets go: a folder or S3. Nothing that is stored is ever replaced by something
//! else.

use std::sync::Arc;

use anyhow::Result;

use crate::config::{StorageSettings, shown};
use crate::fail;

mod contract;
mod faults;
mod folder;
mod s3;

pub use contract::{Object, Patience, Store, Stored};

pub use folder::FolderStore;
pub use s3::S3Store;

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
