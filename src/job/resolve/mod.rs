//! From what was asked for to what will run: defaults filled in, every value checked.

use anyhow::{Context, Result};
use uuid::Uuid;

use super::fields::FIELDS;
use super::inputs::{Addresses, inputs};
use super::kinds::{self, Family, JobKind, Output};
use super::origin::Trust;
use super::parse::values;
use super::settled::{Job, Work};
use super::spec::{JobSpec, Options};
use crate::config::{Settings, shown};
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::limits::{IMAGES_OF_PRODUCERS, MAX_SEED};
use crate::registry::{ModelFamily, ModelSpec, Registry};

mod asked;
mod follow;
mod images;
mod loras;
pub mod negatives;
mod options;
mod text;
mod trust;
mod video;
mod written;

use asked::Asked;
pub use asked::CountTokens;
pub use trust::check_trust;

/// Seeds are drawn below 2^53, so that readers which keep numbers as doubles do not change them.
const DRAWN_SEED_BITS: u32 = 53;

/// Settles every value of a job.
///
/// A model given by its path has no native size here: callers that know it put the entry into the
/// registry first ([`Registry::insert`]). The content rules are checked before `count_tokens` is
/// called, which may load something.
///
/// # Errors
/// `InvalidSpec` for a value out of range or an option that the type does not take, `NotBuilt` for
/// what this build cannot do yet, `InputMissing` for an unknown model, `Refused` by the content
/// rules; each names the job.
pub fn resolve(
    request: &Request<'_>,
    registry: &Registry,
    settings: &Settings,
    count_tokens: &CountTokens<'_>,
) -> Result<Job> {
    resolve_named(request, registry, settings, count_tokens)
        .with_context(|| format!("job `{}`", shown(request.id)))
}

/// A spec that asks to become a job.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The spec's own, or one made for it: results and the manifest hold only the spec's own.
    pub id: &'a str,
    pub spec: &'a JobSpec,
    pub trust: Trust,
    pub addresses: Addresses<'a>,
}

fn resolve_named(
    request: &Request<'_>,
    registry: &Registry,
    settings: &Settings,
    count_tokens: &CountTokens<'_>,
) -> Result<Job> {
    let Request { id, spec, trust, .. } = *request;
    check_values(spec, trust)?;
    check_trust(spec, trust, registry)?;
    let (type_name, kind, model) = choose(spec, registry)?;
    let mut notes = spec.notes.clone();
    options::refuse_foreign(kind, spec)?;
    let (seeds, seed_drawn) = seeds(kind, &spec.config)?;
    let inputs = inputs(spec, request.addresses)?;
    let work = match &model {
        None => Work::Admin,
        Some(model) => {
            let asked = Asked {
                spec,
                kind,
                model,
                registry,
                settings,
                count_tokens,
                inputs: &inputs,
                trust,
            };
            work(&asked, &mut notes)?
        }
    };
    let mut job = Job {
        id: id.into(),
        type_name,
        kind,
        model,
        seeds,
        seed_drawn,
        notes,
        ignored: spec.ignored.clone(),
        spec_sha256: spec.digest(),
        spec: spec.clone(),
        work,
        inputs,
        difference: None,
    };
    job.spec = canonical(&job);
    Ok(job)
}

fn work(asked: &Asked<'_>, notes: &mut Vec<String>) -> Result<Work> {
    Ok(match asked.kind.family {
        Family::Sdxl => Work::Images(Box::new(images::images(asked, notes)?)),
        Family::Wan if asked.kind.enhanced => {
            let enhancing = Box::new(text::enhancing(asked)?);
            Work::EnhancedVideo(enhancing, video::video(asked, notes)?)
        }
        Family::Wan => Work::Video(video::video(asked, notes)?),
        Family::Qwen if asked.kind.name == kinds::ENHANCE => Work::Enhance(text::enhancing(asked)?),
        Family::Qwen => Work::Chat(text::chat(asked, notes)?),
        Family::None => Work::Admin,
    })
}

/// The spec with every default written out: replaying it gives the same job.
fn canonical(job: &Job) -> JobSpec {
    let mut spec = JobSpec {
        job_type: Some(job.type_name.clone()),
        model: job.model_name().map(String::from),
        ..job.spec.clone()
    };
    let config = &mut spec.config;
    config.seed = job.seeds.first().copied();
    if let Some(diffusion) = job.diffusion() {
        config.num_images = Some(job.seeds.len() as u32);
        config.steps = Some(diffusion.steps);
        config.guidance_scale = Some(diffusion.guidance_scale);
        config.width = Some(diffusion.width);
        config.height = Some(diffusion.height);
        config.scheduler.clone_from(&diffusion.scheduler);
        config.auto_negative = Some(diffusion.auto_negative);
        config.format = Some(diffusion.format.name().into());
    }
    match &job.work {
        Work::Images(images) => images::write_out(images, config),
        Work::Video(video) | Work::EnhancedVideo(_, video) => video::write_out(video, job.kind, config),
        Work::Enhance(_) | Work::Chat(_) | Work::Admin => {}
    }
    spec
}

/// Every range and form again: flags do not come through the parser.
fn check_values(spec: &JobSpec, trust: Trust) -> Result<()> {
    let json = serde_json::to_value(spec).context("the spec as JSON")?;
    for field in FIELDS {
        if let Some(value) = field.value(&json)
            && let Err(wrong) = values::check(field.content, value)
        {
            fail!(InvalidSpec, "{}", wrong.about(&field.path()));
        }
    }
    match spec.config.num_images {
        Some(n) if !trust.any_quantity && !IMAGES_OF_PRODUCERS.contains(&u64::from(n)) => {
            fail!(InvalidSpec, "config.num_images is {n}, it must be one of 1, 3, 6 in a queue";
                "the operator may allow any number from 1 to 64 with any_quantity = true under [queue]")
        }
        _ => Ok(()),
    }
}

/// The type that a spec names or that its model implies.
///
/// # Errors
/// As [`resolve`] for an unknown type or model, or a pair that does not fit.
pub fn job_kind(spec: &JobSpec, registry: &Registry) -> Result<&'static JobKind> {
    choose(spec, registry).map(|(_, kind, _)| kind)
}

/// Type and model; no model for the types that use none.
fn choose(spec: &JobSpec, registry: &Registry) -> Result<(String, &'static JobKind, Option<ModelSpec>)> {
    if let Some(name) = &spec.job_type {
        let kind = named_kind(name)?;
        if kind.family == Family::None {
            return Ok((name.clone(), kind, None));
        }
        let model = match &spec.model {
            Some(model) => registry.find(model)?,
            None => routed(kind, registry)?,
        };
        fits(kind, &model)?;
        return Ok((name.clone(), kind, Some(model)));
    }
    let model = spec.model.as_deref().map(|m| registry.find(m)).transpose()?;
    let talks = !spec.messages.is_empty();
    let type_name = match model.as_ref().map(|m| m.family) {
        _ if talks => "chat_conversation",
        Some(ModelFamily::Wan) => "video_fast",
        Some(ModelFamily::Qwen) => "chat_enhance",
        _ => "sdxl_image_fast",
    };
    let kind = named_kind(type_name)?;
    let model = match model {
        Some(model) => model,
        None => routed(kind, registry)?,
    };
    fits(kind, &model)?;
    Ok((type_name.into(), kind, Some(model)))
}

fn named_kind(name: &str) -> Result<&'static JobKind> {
    let Some(kind) = kinds::find(name) else {
        let (message, hint) = kinds::unknown(name);
        fail!(InvalidSpec, "type {message}"; "{hint}");
    };
    if !kind.built {
        return Err(not_built(name));
    }
    Ok(kind)
}

fn not_built(type_name: &str) -> anyhow::Error {
    Error::new(
        ErrorKind::NotBuilt,
        format!("type `{type_name}`: this build does not run jobs of this type yet"),
    )
    .hint(format!("it runs {}", kinds::built_names().join(", ")))
    .into()
}

fn routed(kind: &JobKind, registry: &Registry) -> Result<ModelSpec> {
    match registry.route(kind.name) {
        // Where this one's files are missing, rules take over.
        Some(model) if kind.name == kinds::ENHANCE => registry
            .entry(model)
            .cloned()
            .map_or_else(|| registry.find(model), Ok),
        Some(model) => registry.find(model),
        None => fail!(Config, "no model is routed to type `{}`", kind.name;
            "name one under [routes] in models.toml or with --model"),
    }
}

fn fits(kind: &JobKind, model: &ModelSpec) -> Result<()> {
    let fits = match model.family {
        ModelFamily::Mock => true,
        ModelFamily::Sdxl => kind.family == Family::Sdxl,
        ModelFamily::Wan => kind.family == Family::Wan,
        ModelFamily::Qwen => kind.family == Family::Qwen,
    };
    if !fits {
        fail!(InvalidSpec, "model `{}` is of family {}, which type `{}` cannot use",
            model.name, model.family.name(), kind.name;
            "leave `model` or `type` out, or name a fitting pair");
    }
    Ok(())
}

fn seeds(kind: &JobKind, o: &Options) -> Result<(Vec<u64>, bool)> {
    if kind.output == Output::Json {
        return Ok((Vec::new(), false));
    }
    let count = u64::from(o.num_images.unwrap_or(1));
    let (first, drawn) = match o.seed {
        Some(seed) => (seed, false),
        // The same request without a seed shall find its answer in the cache.
        None if kind.name == kinds::ENHANCE => (0, false),
        None => (draw_seed(count), true),
    };
    match first.checked_add(count - 1) {
        Some(last) if last <= MAX_SEED => Ok(((first..=last).collect(), drawn)),
        _ => fail!(InvalidSpec, "config.seed is {first}: with {count} images the last one passes {MAX_SEED}";
            "use a seed of at most {}", MAX_SEED - (count - 1)),
    }
}

fn draw_seed(count: u64) -> u64 {
    let random = Uuid::new_v4().as_u128() as u64;
    random % ((1 << DRAWN_SEED_BITS) - count)
}
