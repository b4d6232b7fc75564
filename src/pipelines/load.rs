//! Where and how a model is loaded.

use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::Device;

use crate::device::Precision;
use crate::error::{Error, ErrorKind};
use crate::registry::{ModelFamily, ModelSpec};

/// Where and how to load.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    pub device: Device,
    /// `None`: the registry entry's, else what suits the device.
    pub precision: Option<Precision>,
    /// Keeps digests of weight files between runs; `None` computes them each time.
    pub cache_dir: Option<PathBuf>,
}

impl LoadOptions {
    /// The number type a model will have.
    ///
    /// # Errors
    /// `Config` when the registry entry names an unknown one.
    pub fn precision_for(&self, spec: &ModelSpec) -> Result<Precision> {
        match (&self.precision, &spec.dtype) {
            (Some(precision), _) => Ok(*precision),
            (None, Some(name)) => name.parse().map_err(|e: Error| {
                Error::new(
                    ErrorKind::Config,
                    format!("models.toml: model `{}`: {e}", spec.name),
                )
                .into()
            }),
            // Both were trained in bf16; Qwen2.5's activations overflow f16.
            (None, None) if matches!(spec.family, ModelFamily::Qwen | ModelFamily::Wan) => {
                Ok(Precision::wide_range_for(&self.device))
            }
            (None, None) => Ok(Precision::default_for(&self.device)),
        }
    }
}

/// What happens to a network when its stage is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residency {
    /// All networks stay in memory, for the next job.
    Keep,
    /// Each is released before the next one is loaded.
    InTurn,
}
