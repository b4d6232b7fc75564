//! Reference pictures: from an `https:` or a `data:` address to a checked file on this machine.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::config::{Settings, shown};
use crate::error::{Error, ErrorKind, kind_of};
use crate::media::load::check_picture;
use crate::text::without_secrets;

pub mod address;
mod cache;
mod data;
mod fetched;
mod https;

pub use fetched::{Fetched, Limits};

pub use address::Policy;
pub use cache::Cache;
use https::{Https, blocked, failed};
pub use https::{Resolve, SystemResolver};

/// Fetches references and keeps them by digest. Each job's addresses are asked anew: what an address
/// shows may change.
pub struct Fetcher {
    https: Https,
    cache: Cache,
}

impl Fetcher {
    /// The operator's: public addresses, and `references/` in the cache folder.
    pub fn of(settings: &Settings) -> Self {
        let folder = settings.cache_dir.join("references");
        Self::new(
            Cache::new(folder, Cache::DEFAULT_MAX_BYTES),
            Arc::new(SystemResolver),
            Policy::of_this_build(),
            Limits::default(),
        )
    }

    /// With names, addresses and limits of the caller's making.
    pub fn new(cache: Cache, resolver: Arc<dyn Resolve>, policy: Policy, limits: Limits) -> Self {
        Self {
            https: Https {
                resolver,
                policy,
                limits,
                authorities: Vec::new(),
            },
            cache,
        }
    }

    /// Trusts an authority besides those of the system's store or `SSL_CERT_FILE`.
    pub fn trusting(mut self, authority: reqwest::Certificate) -> Self {
        self.https.authorities.push(authority);
        self
    }

    /// Fetches the references of one job, given as field and source; by source. An address that the
    /// job names twice is asked once. Sources without a scheme are paths and left out.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`], about the first that fails.
    pub async fn fetch_all<'a>(
        &self,
        references: impl IntoIterator<Item = (String, &'a str)>,
    ) -> Result<HashMap<String, Fetched>> {
        let mut fetched = HashMap::new();
        for (field, source) in references {
            if scheme(source).is_some() && !fetched.contains_key(source) {
                fetched.insert(source.to_string(), self.fetch(&field, source).await?);
            }
        }
        Ok(fetched)
    }

    /// Fetches one reference; `field` names it in messages, such as `config.first_frame`.
    ///
    /// # Errors
    /// `FetchBlocked` for an address that may not be asked, `FetchFailed` for what is missing, too
    /// large or no picture, `Unavailable` for a server that fails or takes too long, `CannotWrite`
    /// and `Io` from the cache.
    pub async fn fetch(&self, field: &str, reference: &str) -> Result<Fetched> {
        let name = format!("{field} `{}`", shown(&without_secrets(reference)));
        let bytes = match scheme(reference) {
            Some("data") => {
                let limit = self.https.limits.data_bytes;
                data::decode(reference, limit).map_err(|why| failed(&name, &why))?
            }
            Some(_) => self.https.get(&name, reference).await?,
            None => return Err(blocked(&name, "is no https or data address")),
        };
        let cache = self.cache.clone();
        let keep = move || {
            check_picture(&name, &bytes).map_err(as_fetch_failure)?;
            cache.keep(&bytes)
        };
        tokio::task::spawn_blocking(keep)
            .await
            .context("keeping a reference was broken off")?
    }
}

/// `https` of `https://…`, in lower case; one letter is a drive and none.
fn scheme(source: &str) -> Option<&'static str> {
    let (scheme, _) = source.split_once(':')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
    if scheme.len() < 2 || scheme.len() >= 20 || !scheme.chars().all(fits) {
        return None;
    }
    Some(match scheme.eq_ignore_ascii_case("data") {
        true => "data",
        false => "https",
    })
}

/// A picture that came over the network and is none is a reference that could not be fetched.
fn as_fetch_failure(error: anyhow::Error) -> anyhow::Error {
    match kind_of(&error) {
        ErrorKind::BadInput => Error {
            kind: ErrorKind::FetchFailed,
            ..Error::summary(&error)
        }
        .into(),
        _ => error,
    }
}
