//! The files that a job reads when it runs: found and permitted here, decoded there.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::spec::JobSpec;
use crate::config::shown;
use crate::fail;
use crate::text::without_secrets;

/// One file that a job reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// The spec's field, such as `config.first_frame`.
    pub field: String,
    /// As the spec names it: a path or an address.
    pub source: String,
    /// Where it lies on this machine.
    pub path: PathBuf,
    /// What it must be, in hexadecimal; `None` where nobody knows.
    pub sha256: Option<String>,
}

impl Input {
    /// What messages call it.
    pub fn name(&self) -> String {
        format!("{} `{}`", self.field, shown(&public_source(&self.source)))
    }
}

/// A file that was fetched for a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Local {
    pub path: PathBuf,
    pub sha256: String,
}

/// What was fetched, by its address in the spec.
pub type Fetched = HashMap<String, Local>;

/// What is known of the addresses that a spec names.
#[derive(Debug, Clone, Copy)]
pub enum Addresses<'a> {
    /// All that could be fetched is here.
    Fetched(&'a Fetched),
    /// They are fetched when the job is about to run: until then they are no files.
    Later,
}

/// Every reference of a spec, field and source; the golden picture is none.
pub fn references(spec: &JobSpec) -> Vec<(String, &str)> {
    spec.pictures()
}

/// Every file of this machine that a spec names, field and path.
pub fn local_files(spec: &JobSpec) -> Vec<(String, String)> {
    let golden = spec.expect.as_ref().map(|expect| &expect.image);
    let golden = golden.map(|path| ("expect.image".to_string(), path.display().to_string()));
    let pictures = references(spec).into_iter();
    pictures
        .map(|(field, source)| (field, source.to_string()))
        .filter(|(_, source)| scheme(source).is_none())
        .chain(golden)
        .collect()
}

/// Finds every file that the job reads.
///
/// # Errors
/// `InvalidSpec` for an address that was not fetched.
pub(super) fn inputs(spec: &JobSpec, addresses: Addresses<'_>) -> Result<Vec<Input>> {
    let mut inputs = Vec::new();
    for (field, source) in references(spec) {
        match addresses {
            Addresses::Later if scheme(source).is_some() => {}
            _ => inputs.push(input(field, source, addresses)?),
        }
    }
    if let Some(expect) = &spec.expect {
        let source = expect.image.display().to_string();
        inputs.push(input("expect.image".into(), &source, addresses)?);
    }
    Ok(inputs)
}

fn input(field: String, source: &str, addresses: Addresses<'_>) -> Result<Input> {
    let fetched = match addresses {
        Addresses::Fetched(fetched) => fetched.get(source),
        Addresses::Later => None,
    };
    let (path, sha256) = match fetched {
        Some(local) => (local.path.clone(), Some(local.sha256.clone())),
        None => {
            if let Some(scheme) = scheme(source) {
                fail!(
                    InvalidSpec, "{field} begins with `{scheme}:`, and only references are fetched";
                    "save the picture as a file and name its path"
                );
            }
            (Path::new(source).to_path_buf(), None)
        }
    };
    Ok(Input {
        field,
        source: source.into(),
        path,
        sha256,
    })
}

/// A source as others may see it: an address without what may be secret in it, a path as it is.
pub fn public_source(source: &str) -> String {
    match scheme(source) {
        Some(_) => without_secrets(source),
        None => source.into(),
    }
}

/// `https` of `https://…`, `data` of `data:…`; a drive letter is none.
pub fn scheme(source: &str) -> Option<&str> {
    let (scheme, _) = source.split_once(':')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
    (scheme.len() > 1 && scheme.len() < 20 && scheme.chars().all(fits)).then_some(scheme)
}
