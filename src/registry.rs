//! models.toml: names of models, where their files are, and which job type uses which.

use std::path::PathBuf;

/// Where a model's weights come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Compiled into the binary.
    Embedded,
    /// A diffusers or Hugging Face folder.
    Folder(PathBuf),
    /// One checkpoint file; its configuration may come from a folder.
    SingleFile {
        path: PathBuf,
        config_from: Option<PathBuf>,
    },
}

/// The architecture behind an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelFamily {
    Sdxl,
    Wan,
    Qwen,
    /// Draws gradients; for tests of everything around the models.
    Mock,
}

/// One `[models.NAME]` entry, or a model named by its path.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    pub name: String,
    pub family: ModelFamily,
    pub source: Source,
    /// `f32`, `f16` or `bf16`; `None` lets the device decide.
    pub dtype: Option<String>,
    /// File name → pinned digest; checked before loading.
    pub sha256: std::collections::BTreeMap<String, String>,
    pub scheduler: Option<String>,
    /// Native size where it differs from the job type's.
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub license: Option<String>,
    /// Memory need if measured.
    pub memory_bytes: Option<u64>,
}
