//! Loads models as jobs need them, and knows what can be asked of one without loading it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use burn::tensor::Device;

use crate::config::Settings;
use crate::device::{self, DeviceChoice, Precision};
use crate::pipelines::wan::Residency;
use crate::pipelines::{self, ImagePipeline, LoadOptions, Observer, VideoPipeline};
use crate::registry::{ModelFamily, ModelSpec};

/// What a model can do, once it is in memory.
pub enum Pipeline {
    Image(Box<dyn ImagePipeline>),
    Video(Box<dyn VideoPipeline>),
}

/// Which of its abilities a job needs of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    Image,
    Video,
}

/// A model in memory and the facts about it that a result must name.
pub struct Loaded {
    pub pipeline: Pipeline,
    /// SHA-256 over everything that decides what it computes.
    pub hash: String,
    /// Where it computes, such as `cpu` or `cuda:0`.
    pub device: String,
    pub dtype: String,
}

/// Keeps the last model: jobs of one model in a row share it.
pub struct Loader {
    choice: DeviceChoice,
    /// Opened with the first model, so that a missing GPU is the job's failure and is reported.
    device: Option<Device>,
    /// `None` lets model and device decide.
    precision: Option<Precision>,
    cache_dir: Option<PathBuf>,
    last: Option<(ModelSpec, Ability, Loaded)>,
}

impl Loader {
    /// # Errors
    /// `Usage` for a device or a number format that does not exist.
    pub fn new(settings: &Settings) -> Result<Self> {
        Ok(Self {
            choice: settings.device.parse()?,
            device: None,
            precision: settings.dtype.as_deref().map(str::parse).transpose()?,
            cache_dir: Some(settings.cache_dir.clone()),
            last: None,
        })
    }

    /// A loader that has this model already.
    #[cfg(test)]
    pub(super) fn holding(model: ModelSpec, ability: Ability, loaded: Loaded) -> Self {
        Self {
            choice: DeviceChoice::Cpu,
            device: None,
            precision: None,
            cache_dir: None,
            last: Some((model, ability, loaded)),
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
        ability: Ability,
        observer: &mut Observer<'_>,
    ) -> Result<(&mut Loaded, Option<Duration>)> {
        let known = self
            .last
            .as_ref()
            .is_some_and(|(spec, able, _)| spec == model && *able == ability);
        let mut time = None;
        if !known {
            // First out, then in: two models need not fit at once.
            self.last = None;
            let start = Instant::now();
            let loaded = self.open(model, ability, observer)?;
            time = Some(start.elapsed());
            self.last = Some((model.clone(), ability, loaded));
        }
        let (.., loaded) = self.last.as_mut().expect("loaded above or before");
        Ok((loaded, time))
    }

    fn open(&mut self, model: &ModelSpec, ability: Ability, observer: &mut Observer<'_>) -> Result<Loaded> {
        let device = match &self.device {
            Some(device) => device.clone(),
            None => self.device.insert(device::open(self.choice)?).clone(),
        };
        let options = LoadOptions {
            device,
            precision: self.precision,
            cache_dir: self.cache_dir.clone(),
        };
        let dtype = options.precision_for(model)?.name().to_string();
        let pipeline = match ability {
            Ability::Image => Pipeline::Image(pipelines::open(model, &options, observer)?),
            Ability::Video => {
                let residency = Residency::Keep;
                Pipeline::Video(pipelines::open_video(model, &options, residency, observer)?)
            }
        };
        Ok(Loaded {
            pipeline,
            hash: pipelines::model_hash(model, options.cache_dir.as_deref())?,
            device: device::name(&options.device),
            dtype,
        })
    }

    /// Drops the model, whatever state it is in.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

/// A model's tokenizers, as a function from a text to its number of tokens.
type Counter = Box<dyn Fn(&str) -> Result<usize>>;

/// Counts tokens with each model's own tokenizers, read once.
#[derive(Default)]
pub struct TokenCounters {
    known: RefCell<HashMap<String, Counter>>,
}

impl TokenCounters {
    /// Tokens of `text` without begin and end marks.
    ///
    /// # Errors
    /// When the vocabulary cannot be read.
    pub fn count(&self, model: &ModelSpec, text: &str) -> Result<usize> {
        let mut known = self.known.borrow_mut();
        if !known.contains_key(&model.name) {
            known.insert(model.name.clone(), pipelines::token_counter(model)?);
        }
        known[&model.name](text)
    }
}

/// The entry with the size its files tell, where models.toml does not.
///
/// # Errors
/// When the model's configuration cannot be read.
pub fn with_native_size(mut model: ModelSpec) -> Result<ModelSpec> {
    let untold = model.width.is_none() && model.height.is_none();
    if untold && model.family == ModelFamily::Sdxl {
        let native = pipelines::native_size_px(&model)?.and_then(|px| u32::try_from(px).ok());
        (model.width, model.height) = (native, native);
    }
    Ok(model)
}
