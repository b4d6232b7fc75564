//! Where a queue is: a folder or a Redis server.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use url::Url;

use crate::fail;

/// The address of a queue. Shown without user and password.
#[derive(Clone, PartialEq, Eq)]
pub enum Place {
    Folder(PathBuf),
    Redis(Url),
}

impl Place {
    /// Reads what the user wrote.
    ///
    /// # Errors
    /// `Config` for an address that is no Redis one or is broken; it is not repeated, because it may
    /// hold a password.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((scheme, _)) = text.split_once("://") else {
            return Ok(Self::Folder(text.into()));
        };
        if !matches!(scheme, "redis" | "rediss") {
            fail!(Config, "queue: `{}://` is no queue", printable(scheme);
                "use a folder, redis://HOST or rediss://HOST");
        }
        match Url::parse(text) {
            Ok(url) if url.host_str().is_some_and(|host| !host.is_empty()) => Ok(Self::Redis(url)),
            Ok(_) => fail!(Config, "queue: the {scheme} address names no host"; "use {scheme}://HOST:6379"),
            Err(e) => fail!(Config, "queue: the {scheme} address cannot be read ({e})";
                "use {scheme}://HOST:6379; escape @, / and # of a password as %40, %2F and %23"),
        }
    }
}

/// What of a scheme may be shown.
fn printable(scheme: &str) -> String {
    scheme.chars().filter(char::is_ascii_graphic).take(20).collect()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(folder) => write!(f, "{}", folder.display()),
            Self::Redis(url) => {
                write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
                if let Some(port) = url.port() {
                    write!(f, ":{port}")?;
                }
                match url.path() {
                    "" | "/" => Ok(()),
                    path => f.write_str(path),
                }
            }
        }
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_user_password_and_query() {
        let place = Place::parse("rediss://me:s3cret@host:7000/2?token=s3cret#s3cret").unwrap();
        assert_eq!(
            format!("{place} {place:?}"),
            "rediss://host:7000/2 rediss://host:7000/2"
        );
    }

    #[test]
    fn what_has_no_scheme_is_a_folder() {
        assert_eq!(Place::parse("a/b").unwrap(), Place::Folder("a/b".into()));
    }

    #[test]
    fn a_broken_address_is_not_repeated() {
        for text in [
            "http://me:s3cret@host",
            "redis://:s3cret@",
            "redis://me:s3cret@host:99999",
            "s3cret@x://host",
        ] {
            let error = Place::parse(text).unwrap_err();
            assert_eq!(crate::error::kind_of(&error).exit_code(), 78);
            assert!(!format!("{error:#}").contains("s3cret@h"), "{error:#}");
        }
    }
}
