//! A model's folder, whether on disk or compiled into the binary.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Result;
use serde::de::DeserializeOwned;

use super::checkpoint::Checkpoint;
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files::read_bounded;

/// Tokenizers and configurations; the largest known has 34 MB.
const LARGEST_SIDE_FILE_BYTES: u64 = 256 << 20;

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
                match path.symlink_metadata() {
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    _ => read_bounded(&path, LARGEST_SIDE_FILE_BYTES).map(|bytes| Some(Cow::Owned(bytes))),
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

    /// The weight files of a component, relative to the root: one file, its half-precision
    /// variant, or the shards of an index. The component `""` is the root itself, as in the
    /// folders of language models.
    ///
    /// # Errors
    /// `InputMissing` when none of these exists, `BadInput` for a broken index.
    pub fn weight_files(&self, component: &str) -> Result<Vec<String>> {
        const LAYOUTS: &[(&str, &str)] = &[
            ("diffusion_pytorch_model", "safetensors"),
            ("model", "safetensors"),
            ("diffusion_pytorch_model", "bin"),
            ("pytorch_model", "bin"),
        ];
        for (stem, ending) in LAYOUTS {
            for variant in ["", ".fp16", ".bf16"] {
                let name = inside(component, &format!("{stem}{variant}.{ending}"));
                if self.has(&name) {
                    return Ok(vec![name]);
                }
                let index = inside(component, &format!("{stem}.{ending}.index{variant}.json"));
                if self.has(&index) {
                    return self.shards(component, &index);
                }
            }
        }
        fail!(
            InputMissing, "no weights in `{}`", self.label(component);
            "expected diffusion_pytorch_model.safetensors or model.safetensors there, or an index of shards"
        );
    }

    fn shards(&self, component: &str, index: &str) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: std::collections::BTreeMap<String, String>,
        }
        let parsed: Index = self.json(index)?;
        let shards: BTreeSet<&String> = parsed.weight_map.values().collect();
        if let Some(bad) = shards
            .iter()
            .find(|s| s.contains('/') || s.contains('\\') || s.contains(".."))
        {
            fail!(
                BadInput,
                "shard index `{}`: shard name `{bad}` leaves the folder",
                self.label(index)
            );
        }
        if shards.is_empty() {
            fail!(BadInput, "shard index `{}` names no shard", self.label(index));
        }
        Ok(shards.into_iter().map(|shard| inside(component, shard)).collect())
    }

    /// The weights of a component, see [`ModelFiles::weight_files`].
    ///
    /// # Errors
    /// When there are none, or one of them is missing or broken.
    pub fn checkpoint(&self, component: &str) -> Result<Checkpoint> {
        let names = self.weight_files(component)?;
        match self {
            Self::Folder(root) => {
                Checkpoint::open_all(&names.iter().map(|name| root.join(name)).collect::<Vec<_>>())
            }
            Self::Embedded(files) => {
                let (name, bytes) = files
                    .iter()
                    .find(|(name, _)| *name == names[0])
                    .expect("just found");
                Checkpoint::embedded(bytes, name)
            }
        }
    }

    /// Every file that decides what the model computes: weights, configurations, vocabularies.
    ///
    /// # Errors
    /// When a component has no weights.
    pub fn deciding(&self, components: &[&str]) -> Result<Vec<String>> {
        const SMALL: &[&str] = &[
            "model_index.json",
            "scheduler/scheduler_config.json",
            "tokenizer/merges.txt",
            "tokenizer/special_tokens_map.json",
            "tokenizer/tokenizer.json",
            "tokenizer/tokenizer_config.json",
            "tokenizer/vocab.json",
            "tokenizer_2/merges.txt",
            "tokenizer_2/special_tokens_map.json",
            "tokenizer_2/tokenizer.json",
            "tokenizer_2/tokenizer_config.json",
            "tokenizer_2/vocab.json",
        ];
        let mut names: Vec<String> = SMALL
            .iter()
            .filter(|n| self.has(n))
            .map(|n| n.to_string())
            .collect();
        for component in components {
            names.push(format!("{component}/config.json"));
            names.extend(self.weight_files(component)?);
        }
        names.sort();
        Ok(names)
    }

    /// True when there is such a file.
    pub fn has(&self, relative: &str) -> bool {
        match self {
            Self::Folder(root) => root.join(relative).is_file(),
            Self::Embedded(files) => files.iter().any(|(name, _)| *name == relative),
        }
    }

    /// How messages name a file of this model.
    pub fn label(&self, relative: &str) -> String {
        match self {
            Self::Folder(root) => root.join(relative).display().to_string(),
            Self::Embedded(_) => format!("(built in)/{relative}"),
        }
    }
}

fn inside(component: &str, name: &str) -> String {
    if component.is_empty() {
        name.to_string()
    } else {
        format!("{component}/{name}")
    }
}
