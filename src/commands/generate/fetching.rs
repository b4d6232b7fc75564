//! Fetches the references of a job that are addresses.

use anyhow::Result;

use crate::config::Settings;
use crate::fetch::Fetcher;
use crate::job::{Fetched, JobSpec, Local, references, scheme};
use crate::net;

/// Every `https:` and `data:` reference of a spec, checked and on this machine; paths are left out.
///
/// # Errors
/// As [`Fetcher::fetch`], about the first that fails.
pub fn fetched(spec: &JobSpec, settings: &Settings) -> Result<Fetched> {
    let mut addresses = references(spec);
    addresses.retain(|(_, source)| scheme(source).is_some());
    if addresses.is_empty() {
        return Ok(Fetched::new());
    }
    let fetcher = Fetcher::of(settings);
    let found = net::runtime()?.block_on(fetcher.fetch_all(addresses))?;
    let local = |(source, fetched): (String, crate::fetch::Fetched)| {
        let local = Local {
            path: fetched.path,
            sha256: fetched.sha256,
        };
        (source, local)
    };
    Ok(found.into_iter().map(local).collect())
}
