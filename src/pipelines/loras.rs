//! The adapters that requests name: files opened once, merged into whatever networks are loaded.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Result;

use crate::adapters::{Adapter, Merged, Network, ScaledAdapter};
use crate::fail;
use crate::files::input_error;

/// One adapter that a request names.
#[derive(Debug, Clone, PartialEq)]
pub struct Lora {
    pub file: PathBuf,
    /// 1 is what it was trained for; it scales the text encoders' part too.
    pub scale: f64,
}

/// The adapters of one pipeline: those in the weights now, and those to merge into networks that
/// are loaded later.
#[derive(Debug, Default)]
pub(super) struct Adapters {
    wanted: Vec<ScaledAdapter>,
    opened: Vec<(Stamp, Arc<Adapter>)>,
    merged: Merged,
    family: &'static str,
}

/// What tells a file from another, or from an earlier state of itself.
#[derive(Debug, Clone, PartialEq)]
struct Stamp {
    file: PathBuf,
    bytes: u64,
    modified: Option<SystemTime>,
}

impl Adapters {
    /// Merges these adapters, and none of earlier calls, into networks that are loaded. Returns
    /// notes for the user.
    ///
    /// # Errors
    /// Files that are missing or broken; `BadInput` for an adapter of another family or width. The
    /// weights are then unchanged.
    pub fn set(&mut self, networks: &[Network], family: &'static str, loras: &[Lora]) -> Result<Vec<String>> {
        let wanted = self.open(loras)?;
        let unknown = self.merged.set(networks, family, &wanted)?;
        (self.wanted, self.family) = (wanted, family);
        Ok(notes(unknown))
    }

    /// As [`Adapters::set`] for networks of which only the headers were read: they are merged by
    /// [`Adapters::merge_into_new`] once loaded.
    ///
    /// # Errors
    /// As [`Adapters::set`].
    pub fn set_later(
        &mut self,
        networks: &[Network],
        family: &'static str,
        loras: &[Lora],
    ) -> Result<Vec<String>> {
        let wanted = self.open(loras)?;
        let unknown = Merged::check(networks, family, &wanted)?;
        (self.wanted, self.family) = (wanted, family);
        Ok(notes(unknown))
    }

    /// Merges what was set into networks that were just loaded.
    ///
    /// # Errors
    /// As [`Adapters::set`].
    pub fn merge_into_new(&mut self, networks: &[Network]) -> Result<()> {
        self.merged.forget();
        self.merged.set(networks, self.family, &self.wanted).map(drop)
    }

    /// True when nothing was asked for last.
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Opens the files, or takes them from the last call where they have not changed.
    fn open(&mut self, loras: &[Lora]) -> Result<Vec<ScaledAdapter>> {
        let mut opened = Vec::new();
        let mut scaled = Vec::new();
        for lora in loras {
            if !lora.scale.is_finite() {
                fail!(
                    InvalidSpec,
                    "lora `{}`: the scale must be a number",
                    lora.file.display()
                );
            }
            let stamp = Stamp::of(lora)?;
            let known = self
                .opened
                .iter()
                .chain(&opened)
                .find(|(known, _)| *known == stamp);
            let adapter = match known {
                Some((_, adapter)) => adapter.clone(),
                None => Arc::new(Adapter::open(&lora.file)?),
            };
            opened.push((stamp, adapter.clone()));
            scaled.push(ScaledAdapter {
                adapter,
                scale: lora.scale,
            });
        }
        self.opened = opened;
        Ok(scaled)
    }
}

impl Stamp {
    fn of(lora: &Lora) -> Result<Self> {
        let metadata = std::fs::metadata(&lora.file).map_err(|e| input_error(&lora.file, e))?;
        Ok(Self {
            file: lora.file.clone(),
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
        })
    }
}

/// What the user should know of names that no network has.
fn notes(unknown: Vec<String>) -> Vec<String> {
    if unknown.is_empty() {
        return Vec::new();
    }
    let shown: Vec<&str> = unknown.iter().take(5).map(String::as_str).collect();
    let more = if unknown.len() > shown.len() { ", …" } else { "" };
    vec![format!(
        "{} names in the loras are not in this model and were left out: {}{more}",
        unknown.len(),
        shown.join(", ")
    )]
}
