//! What jobs of a language model share: the model out of the loader, its sampling, its running text.

use std::cell::RefCell;

use anyhow::Result;

use super::loader::{Ability, Loader, Pipeline};
use super::progress::Progress;
use crate::enhance::{Identity, ModelSource, default_sampling};
use crate::fail;
use crate::job::Answering;
use crate::pipelines::qwen::{Sampling, TextModel};
use crate::pipelines::{Event, Observer};
use crate::policy::Judge;
use crate::registry::{ModelFamily, ModelSpec, Source};

/// A model of the loader, as the enhancement service wants it.
pub(super) struct FromLoader<'a> {
    pub loader: &'a mut Loader,
    pub spec: &'a ModelSpec,
    pub observer: &'a mut Observer<'a>,
}

impl ModelSource for FromLoader<'_> {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn identity(&mut self) -> Result<Identity> {
        self.loader.identity(self.spec)
    }

    fn is_micro(&self) -> bool {
        is_micro(self.spec)
    }

    fn open(&mut self) -> Result<&mut dyn TextModel> {
        let (loaded, _) = self.loader.get(self.spec, Ability::Text, self.observer)?;
        text_model(&mut loaded.pipeline, self.spec)
    }
}

/// The language model in a loaded pipeline.
///
/// # Errors
/// `Internal` for a model that was loaded for something else.
pub fn text_model<'p>(pipeline: &'p mut Pipeline, spec: &ModelSpec) -> Result<&'p mut dyn TextModel> {
    match pipeline {
        Pipeline::Text(model) => Ok(&mut **model),
        _ => fail!(Internal, "model `{}` was not loaded for text", spec.name),
    }
}

/// Whether this is the small language model in the binary.
pub fn is_micro(spec: &ModelSpec) -> bool {
    spec.family == ModelFamily::Qwen && spec.source == Source::Embedded
}

/// The model's sampling with a job's own values laid over it.
///
/// # Errors
/// `InvalidSpec` for a value out of range.
pub(super) fn sampling(answering: &Answering, spec: &ModelSpec) -> Result<Sampling> {
    let default = default_sampling(is_micro(spec));
    let sampling = Sampling {
        temperature: answering.temperature.map_or(default.temperature, |v| v as f32),
        top_p: answering.top_p.map_or(default.top_p, |v| v as f32),
        top_k: answering.top_k.map_or(default.top_k, |v| v as usize),
        repetition_penalty: answering
            .repetition_penalty
            .map_or(default.repetition_penalty, |v| v as f32),
    };
    sampling.check()?;
    Ok(sampling)
}

/// Tells of loading and of running text, each from a function of its own.
pub(super) struct Listener<'r, 'p> {
    progress: RefCell<&'r mut Progress<'p>>,
    judge: &'r Judge,
}

impl<'r, 'p> Listener<'r, 'p> {
    pub fn new(progress: &'r mut Progress<'p>, judge: &'r Judge) -> Self {
        Self {
            progress: RefCell::new(progress),
            judge,
        }
    }

    /// # Errors
    /// When the job has to stop.
    pub fn event(&self, event: Event) -> Result<()> {
        self.progress.borrow_mut().observe(event)
    }

    /// The text written so far, in answer to `asked`.
    ///
    /// # Errors
    /// When the job has to stop.
    pub fn text(&self, asked: &[&str], written: &str) -> Result<()> {
        self.progress.borrow_mut().text(asked, written, self.judge)
    }
}
