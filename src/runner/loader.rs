//! The one place that turns a registry entry into a loaded pipeline, and keeps the last one.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::error::{Error, ErrorKind};
use crate::media::files::sha256_hex;
use crate::pipelines::mock::MockPipeline;
use crate::pipelines::{Event, ImagePipeline, Observer};
use crate::registry::{ModelFamily, ModelSpec};

/// A model in memory and the facts about it that a result must name.
pub struct Loaded {
    pub pipeline: Box<dyn ImagePipeline>,
    /// SHA-256 over the weights.
    pub hash: String,
    /// Where it computes, such as `cpu` or `cuda:0`.
    pub device: String,
    pub dtype: String,
}

/// Loads models as jobs need them; jobs of one model in a row share it.
pub struct Loader {
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    device: String,
    /// `f32`, `f16` or `bf16`; `None` lets model and device decide.
    dtype: Option<String>,
    last: Option<(ModelSpec, Loaded)>,
}

impl Loader {
    pub fn new(device: impl Into<String>, dtype: Option<String>) -> Self {
        Self {
            device: device.into(),
            dtype,
            last: None,
        }
    }

    /// A loader that has this model already.
    #[cfg(test)]
    pub(super) fn holding(model: ModelSpec, loaded: Loaded) -> Self {
        Self {
            last: Some((model, loaded)),
            ..Self::new("cpu", None)
        }
    }

    /// The pipeline of `model`, and how long loading took if it had to be loaded.
    ///
    /// # Errors
    /// Missing or broken weights, an unavailable device, a family that is not built, or what the
    /// observer returned.
    pub fn get(
        &mut self,
        model: &ModelSpec,
        observer: &mut Observer<'_>,
    ) -> Result<(&mut Loaded, Option<Duration>)> {
        let known = self.last.as_ref().is_some_and(|(spec, _)| spec == model);
        let mut time = None;
        if !known {
            // First out, then in: two models need not fit at once.
            self.last = None;
            observer(Event::Stage("load"))?;
            let start = Instant::now();
            let loaded = open(model, &self.device, self.dtype.as_deref())?;
            time = Some(start.elapsed());
            self.last = Some((model.clone(), loaded));
        }
        let (_, loaded) = self.last.as_mut().expect("loaded above or before");
        Ok((loaded, time))
    }

    /// Drops the model, whatever state it is in.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

fn open(model: &ModelSpec, _device: &str, _dtype: Option<&str>) -> Result<Loaded> {
    match model.family {
        // Computes on no device and with no weights: the digest is that of nothing.
        ModelFamily::Mock => Ok(Loaded {
            pipeline: Box::new(MockPipeline),
            hash: sha256_hex(b""),
            device: "cpu".into(),
            dtype: "u8".into(),
        }),
        ModelFamily::Sdxl | ModelFamily::Wan | ModelFamily::Qwen => Err(not_built(model)),
    }
}

/// Counts a text's tokens as the model's tokenizer sees them, without begin and end marks.
///
/// # Errors
/// `NotBuilt` for a family that this build cannot run; a broken vocabulary.
pub fn count_tokens(model: &ModelSpec, text: &str) -> Result<usize> {
    match model.family {
        ModelFamily::Mock => Ok(text.split_whitespace().count()),
        ModelFamily::Sdxl | ModelFamily::Wan | ModelFamily::Qwen => Err(not_built(model)),
    }
}

fn not_built(model: &ModelSpec) -> anyhow::Error {
    Error::new(
        ErrorKind::NotBuilt,
        format!(
            "model `{}`: family {} is not in this build",
            model.name,
            model.family.name()
        ),
    )
    .into()
}
