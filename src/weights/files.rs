//! A model's folder, whether on disk or compiled into the binary.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;

use super::Checkpoint;
use crate::error::{Error, ErrorKind};
use crate::fail;

/// The files of a model in the diffusers or Hugging Face folder layout.
#[derive(Debug, Clone)]
pub enum ModelFiles {
    Folder(PathBuf),
    /// Relative path and content of each file.
    Embedded(&'static [(&'static str, &'static [u8])]),
}

impl ModelFiles {
    /// The content of a file, or `None` where there is no such file.
    ///
    /// # Errors
    /// When the file exists but cannot be read.
    pub fn read(&self, relative: &str) -> Result<Option<Cow<'static, [u8]>>> {
        match self {
            Self::Folder(root) => {
                let path = root.join(relative);
                match std::fs::read(&path) {
                    Ok(bytes) => Ok(Some(Cow::Owned(bytes))),
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(e) => Err(e).with_context(|| format!("reading `{}`", path.display())),
                }
            }
            Self::Embedded(files) => Ok(files
                .iter()
                .find(|(name, _)| *name == relative)
                .map(|(_, bytes)| Cow::Borrowed(*bytes))),
        }
    }

    /// A JSON file that must exist.
    ///
    /// # Errors
    /// `InputMissing` without the file, `BadInput` when it does not have the expected fields.
    pub fn json<T: DeserializeOwned>(&self, relative: &str) -> Result<T> {
        let Some(bytes) = self.read(relative)? else {
            fail!(
                InputMissing, "model file `{}` not found", self.label(relative);
                "the folder must have the diffusers layout; see README, \"Real models\""
            );
        };
        serde_json::from_slice(&bytes).map_err(|e| {
            Error::new(
                ErrorKind::BadInput,
                format!("model file `{}`: {e}", self.label(relative)),
            )
            .hint("the file does not look like the one diffusers writes; fetch it again")
            .into()
        })
    }

    /// The weights of a component: one file, its `fp16` variant, or the shards of an index.
    ///
    /// # Errors
    /// `InputMissing` when none of these exists or a shard is absent.
    pub fn checkpoint(&self, component: &str) -> Result<Checkpoint> {
        for stem in ["diffusion_pytorch_model", "model"] {
            for variant in ["", ".fp16", ".bf16"] {
                let name = format!("{component}/{stem}{variant}.safetensors");
                if let Some(found) = self.single(&name)? {
                    return Ok(found);
                }
                let index = format!("{component}/{stem}.safetensors.index{variant}.json");
                if let Some(bytes) = self.read(&index)? {
                    return self.sharded(component, &index, &bytes);
                }
            }
        }
        fail!(
            InputMissing, "no weights in `{}`", self.label(component);
            "expected diffusion_pytorch_model.safetensors or model.safetensors there, or an index of shards"
        );
    }

    fn single(&self, relative: &str) -> Result<Option<Checkpoint>> {
        match self {
            Self::Folder(root) => {
                let path = root.join(relative);
                path.exists().then(|| Checkpoint::open(&path)).transpose()
            }
            Self::Embedded(files) => files
                .iter()
                .find(|(name, _)| *name == relative)
                .map(|(name, bytes)| Checkpoint::embedded(bytes, name))
                .transpose(),
        }
    }

    fn sharded(&self, component: &str, index: &str, bytes: &[u8]) -> Result<Checkpoint> {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: std::collections::BTreeMap<String, String>,
        }
        let Self::Folder(root) = self else {
            fail!(Internal, "embedded models are not sharded: `{index}`");
        };
        let index: Index = serde_json::from_slice(bytes).map_err(|e| {
            Error::new(
                ErrorKind::BadInput,
                format!("shard index `{}`: {e}", self.label(index)),
            )
        })?;
        let shards: BTreeSet<&String> = index.weight_map.values().collect();
        if let Some(bad) = shards
            .iter()
            .find(|s| s.contains('/') || s.contains('\\') || s.contains(".."))
        {
            fail!(
                BadInput,
                "shard index in `{component}`: shard name `{bad}` leaves the folder"
            );
        }
        let paths: Vec<PathBuf> = shards.iter().map(|s| root.join(component).join(s)).collect();
        Checkpoint::open_all(&paths)
    }

    /// How messages name a file of this model.
    pub fn label(&self, relative: &str) -> String {
        match self {
            Self::Folder(root) => root.join(relative).display().to_string(),
            Self::Embedded(_) => format!("(built in)/{relative}"),
        }
    }

    /// Every file that decides what the model computes, sorted, as paths relative to its root.
    ///
    /// # Errors
    /// When the folder cannot be listed.
    pub fn list(&self) -> Result<Vec<String>> {
        match self {
            Self::Folder(root) => {
                let mut found = Vec::new();
                walk(root, root, &mut found)?;
                found.sort();
                Ok(found)
            }
            Self::Embedded(files) => Ok(files.iter().map(|(name, _)| name.to_string()).collect()),
        }
    }
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("listing `{}`", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, found)?;
        } else if path
            .extension()
            .is_some_and(|e| e == "safetensors" || e == "json" || e == "txt")
        {
            let relative = path.strip_prefix(root).expect("walk stays below the root");
            found.push(relative.to_string_lossy().replace('\\', "/"));
        }
    }
    Ok(())
}
