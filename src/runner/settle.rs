//! From a spec to a job that can run, or a refusal; nothing is loaded and no picture decoded.

use anyhow::{Context, Result};

use super::loader::with_native_size;
use super::run::Runner;
use crate::config::shown;
use crate::fail;
use crate::job::{Format, Job, Request, Work, resolve};
use crate::media::load::check_reference;
use crate::media::video::available;
use crate::pipelines;
use crate::prompts::{PromptSyntax, texts};
use crate::registry::ModelFamily;

impl Runner {
    /// Settles every value of a job; see [`resolve`].
    ///
    /// # Errors
    /// As [`resolve`], `Unavailable` for a format that this machine cannot write, `InvalidSpec` for
    /// references to a model that takes none, `InputMissing` or `BadInput` for files that are not
    /// there or no pictures by their first bytes; each names the job.
    pub fn settle(&mut self, request: &Request<'_>) -> Result<Job> {
        let named = || format!("job `{}`", shown(request.id));
        self.learn_size(request).with_context(named)?;
        let job = resolve(request, &self.registry, &self.settings, &|model, text| {
            self.counters.count(model, text)
        })?;
        if let Some(Format::Video(format)) = job.diffusion().map(|d| d.format) {
            available(format).with_context(named)?;
        }
        check_references(&job).with_context(named)?;
        for input in &job.inputs {
            check_reference(&input.name(), &input.path).with_context(named)?;
        }
        Ok(job)
    }

    /// Tokens of a prompt as the job's model sees them: those that are encoded, without the notation
    /// of weights.
    ///
    /// # Errors
    /// When the vocabulary cannot be read.
    pub fn count_tokens(&self, job: &Job, text: &str) -> Result<Option<usize>> {
        let Some(model) = &job.model else {
            return Ok(None);
        };
        let syntax = match &job.work {
            Work::Images(images) => images.prompt_syntax,
            _ => PromptSyntax::Plain,
        };
        let words = texts(syntax, text)?;
        let count = |word: &String| self.counters.count(model, word);
        words.iter().map(count).sum::<Result<usize>>().map(Some)
    }

    /// Resolving takes a model's native size from the registry; a model that only its files know is
    /// looked at first. Names that do not exist are left to the resolver, which has the better
    /// message.
    fn learn_size(&mut self, request: &Request<'_>) -> Result<()> {
        let spec = request.spec;
        let routed = || {
            self.registry
                .route(spec.job_type.as_deref().unwrap_or("sdxl_image_fast"))
        };
        let Some(name) = spec.model.as_deref().or_else(routed) else {
            return Ok(());
        };
        if !request.trust.models && self.registry.entry(name).is_none() {
            return Ok(());
        }
        if let Ok(model) = self.registry.find(name)
            && model.family == ModelFamily::Sdxl
        {
            self.registry.insert(with_native_size(model)?);
        }
        Ok(())
    }
}

fn check_references(job: &Job) -> Result<()> {
    let (Some(video), Some(model)) = (job.video(), &job.model) else {
        return Ok(());
    };
    let asked = &video.references;
    for (field, source) in [
        ("first_frame", &asked.first_frame),
        ("last_frame", &asked.last_frame),
        ("image", &asked.image),
    ] {
        if source.is_some() && !pipelines::takes_references(model)? {
            fail!(
                InvalidSpec, "config.{field}: model `{}` takes no reference picture", model.name;
                "reference frames need a VACE model: route the type to one in models.toml (Wan2.1-VACE-1.3B-diffusers), name it with --model, or leave {field} out"
            );
        }
    }
    Ok(())
}
