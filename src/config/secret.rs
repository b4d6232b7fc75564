//! Secrets: from the environment or a file of their own, and never in any text of ours.

use std::fmt;
use std::path::Path;

use anyhow::Result;

use crate::error::{Error, ErrorKind, kind_of};
use crate::files::read_bounded;

/// A secret's largest file: more is no secret but a mistake.
const LARGEST_BYTES: u64 = 64 << 10;

/// Text that no log, message or record shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that signs or sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Reads a secret from a file; the end of its last line does not count.
    ///
    /// # Errors
    /// `Config` when the file is missing, unreadable, empty or no text. The message names the file
    /// and `key`, never what is in it.
    pub fn read(key: &str, path: &Path) -> Result<Self> {
        let wrong = |why: &str| {
            Error::new(
                ErrorKind::Config,
                format!("{key}: secret file `{}` {why}", path.display()),
            )
            .hint("name a file that holds the secret alone and that only you can read")
        };
        let bytes = read_bounded(path, LARGEST_BYTES).map_err(|e| match kind_of(&e) {
            ErrorKind::BadInput => wrong("is over 64 KiB"),
            _ => wrong("cannot be read"),
        })?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("is no text"))?;
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Err(wrong("is empty").into());
        }
        Ok(Self::new(text))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Says that `path` can be read by others than its owner; `None` when it cannot.
#[cfg(unix)]
pub fn read_by_others(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o044 != 0).then(|| {
        let shown = path.display();
        format!("`{shown}` holds a secret and others can read it; run `chmod 600 {shown}`")
    })
}

#[cfg(not(unix))]
pub fn read_by_others(_path: &Path) -> Option<String> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_shows_in_no_debug_text() {
        assert_eq!(format!("{:?}", Some(Secret::new("canary"))), "Some(***)");
    }

    #[test]
    fn a_secret_file_ends_before_its_last_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "whsec_abc \r\n").unwrap();
        assert_eq!(
            Secret::read("callback.secret_file", &path).unwrap().expose(),
            "whsec_abc "
        );
        for (content, why) in [
            (&b""[..], "is empty"),
            (b"\n", "is empty"),
            (b"\xff\xfe", "is no text"),
        ] {
            std::fs::write(&path, content).unwrap();
            let e = Secret::read("callback.secret_file", &path).unwrap_err();
            assert_eq!(kind_of(&e).exit_code(), 78);
            assert!(e.to_string().contains(why), "{e}");
        }
        let e = Secret::read("callback.secret_file", &folder.path().join("none")).unwrap_err();
        assert!(e.to_string().contains("cannot be read"), "{e}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_told() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, "x").unwrap();
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        mode(0o600);
        assert_eq!(read_by_others(&path), None);
        mode(0o640);
        assert!(read_by_others(&path).is_some_and(|text| text.contains("chmod 600")));
    }
}
