//! From what was asked for to what will run: defaults filled in, every value checked.

use anyhow::{Context, Result};
use serde_json::Value as Json;
use uuid::Uuid;

use super::fields::{self, FIELDS, Home, MAX_SEED};
use super::{Family, JobKind, JobSpec, Options, ResolvedJob, kinds, negatives};
use crate::config::{ContentMode, Settings, shown};
use crate::fail;
use crate::policy;
use crate::registry::{ModelFamily, ModelSpec, Registry};
use crate::schedulers;

/// Counts a text's tokens as the model's tokenizer sees them, without begin and end marks.
pub type CountTokens<'a> = dyn Fn(&ModelSpec, &str) -> Result<usize> + 'a;

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
    spec: &JobSpec,
    registry: &Registry,
    settings: &Settings,
    count_tokens: &CountTokens<'_>,
) -> Result<ResolvedJob> {
    let id = spec
        .id
        .clone()
        .unwrap_or_else(|| Uuid::new_v4().hyphenated().to_string());
    resolve_named(&id, spec, registry, settings, count_tokens)
        .with_context(|| format!("job `{}`", shown(&id)))
}

fn resolve_named(
    id: &str,
    spec: &JobSpec,
    registry: &Registry,
    settings: &Settings,
    count_tokens: &CountTokens<'_>,
) -> Result<ResolvedJob> {
    check_values(spec)?;
    let (type_name, kind, model) = choose(spec, registry)?;
    let mut notes = spec.notes.clone();
    refuse_foreign(kind, &spec.config)?;
    refuse_unbuilt(spec, &mut notes)?;
    let Some(prompt) = spec.prompt.clone() else {
        fail!(InvalidSpec, "prompt is missing"; "give a prompt");
    };
    policy::check_job(
        &prompt,
        spec.negative_prompt.as_deref(),
        settings.content_mode,
        false,
    )?;

    let scheduler = spec.config.scheduler.clone().or(model.scheduler.clone());
    if let Some(name) = &scheduler {
        schedulers::check_name(name).context("config.scheduler")?;
    }
    let (seeds, seed_drawn) = seeds(&spec.config)?;
    let negative = negative(
        spec,
        &prompt,
        &model,
        settings.content_mode,
        count_tokens,
        &mut notes,
    )?;
    let o = &spec.config;
    let mut job = ResolvedJob {
        id: id.into(),
        type_name,
        kind,
        model: model.name,
        prompt,
        negative_prompt: negative.text,
        auto_negative: negative.automatic,
        seeds,
        seed_drawn,
        steps: o.steps.unwrap_or(kind.steps),
        guidance_scale: o.guidance_scale.unwrap_or(kind.guidance_scale),
        width: o.width.or(model.width).unwrap_or(kind.width),
        height: o.height.or(model.height).unwrap_or(kind.height),
        scheduler,
        truncate_prompt: o.truncate_prompt.unwrap_or(false),
        deterministic: o.deterministic.unwrap_or(false),
        notes,
        ignored: spec.ignored.clone(),
        spec: spec.clone(),
    };
    job.spec = canonical(&job);
    Ok(job)
}

/// The spec with every default written out: replaying it gives the same job.
fn canonical(job: &ResolvedJob) -> JobSpec {
    JobSpec {
        id: Some(job.id.clone()),
        job_type: Some(job.type_name.clone()),
        model: Some(job.model.clone()),
        config: Options {
            num_images: Some(job.seeds.len() as u32),
            seed: job.seeds.first().copied(),
            steps: Some(job.steps),
            guidance_scale: Some(job.guidance_scale),
            width: Some(job.width),
            height: Some(job.height),
            scheduler: job.scheduler.clone(),
            auto_negative: Some(job.auto_negative),
            truncate_prompt: Some(job.truncate_prompt),
            deterministic: Some(job.deterministic),
            ..job.spec.config.clone()
        },
        ..job.spec.clone()
    }
}

/// Every range and form again: flags do not come through the parser.
fn check_values(spec: &JobSpec) -> Result<()> {
    let o = &spec.config;
    let reals = [
        ("guidance_scale", o.guidance_scale),
        ("fps", o.fps),
        ("flow_shift", o.flow_shift),
        ("reference_strength", o.reference_strength),
        ("strength", o.strength),
    ];
    for (name, value) in reals {
        if let Some(v) = value.filter(|v| !v.is_finite()) {
            fail!(InvalidSpec, "{name} is {v}, it must be a number");
        }
    }
    let json = serde_json::to_value(spec).context("the spec as JSON")?;
    for field in FIELDS {
        let (at, path) = match field.home {
            Home::Top => (&json, field.name.to_string()),
            Home::Config => (&json["config"], format!("config.{}", field.name)),
            Home::Metadata => continue,
        };
        if let Some(value) = at.get(field.name).filter(|v| **v != Json::Null)
            && let Err(message) = fields::check(field.content, value)
        {
            fail!(InvalidSpec, "{path} {message}");
        }
    }
    Ok(())
}

fn choose(spec: &JobSpec, registry: &Registry) -> Result<(String, &'static JobKind, ModelSpec)> {
    if let Some(name) = &spec.job_type {
        let kind = named_kind(name)?;
        let model = match &spec.model {
            Some(model) => registry.find(model)?,
            None => routed(kind, registry)?,
        };
        fits(kind, &model)?;
        return Ok((name.clone(), kind, model));
    }
    let model = spec.model.as_deref().map(|m| registry.find(m)).transpose()?;
    let type_name = match model.as_ref().map(|m| m.family) {
        Some(ModelFamily::Wan) => "video_fast",
        Some(ModelFamily::Qwen) => "chat_enhance",
        _ => "sdxl_image_fast",
    };
    let kind = named_kind(type_name)?;
    let model = match model {
        Some(model) => model,
        None => routed(kind, registry)?,
    };
    Ok((type_name.into(), kind, model))
}

fn named_kind(name: &str) -> Result<&'static JobKind> {
    let Some(kind) = kinds::find(name) else {
        let (message, hint) = kinds::unknown(name);
        fail!(InvalidSpec, "type {message}"; "{hint}");
    };
    if !kind.built {
        fail!(NotBuilt, "type `{name}`: this build does not run jobs of this type yet";
            "it runs {}", kinds::built_names().join(", "));
    }
    Ok(kind)
}

fn routed(kind: &JobKind, registry: &Registry) -> Result<ModelSpec> {
    match registry.route(kind.name) {
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

/// Options of video jobs on a type that makes pictures.
fn refuse_foreign(kind: &JobKind, o: &Options) -> Result<()> {
    let foreign = [
        ("frames", o.frames.is_some()),
        ("fps", o.fps.is_some()),
        ("flow_shift", o.flow_shift.is_some()),
        ("first_frame", o.first_frame.is_some()),
        ("last_frame", o.last_frame.is_some()),
    ];
    let flow = o
        .scheduler
        .as_deref()
        .is_some_and(|s| s.trim().to_lowercase().starts_with("flow"));
    let foreign = foreign.into_iter().chain([("scheduler", flow)]);
    match foreign.into_iter().find(|(_, given)| *given) {
        Some(("scheduler", _)) if kind.family == Family::Sdxl => {
            fail!(InvalidSpec, "config.scheduler is `{}`, which does not apply to type `{}`",
                shown(o.scheduler.as_deref().unwrap_or_default()), kind.name;
                "the flow schedulers are WAN's; name another or leave it out")
        }
        Some((name, _)) if kind.family == Family::Sdxl => {
            fail!(InvalidSpec, "config.{name} does not apply to type `{}`", kind.name; "leave it out")
        }
        _ => Ok(()),
    }
}

/// Documented options that this build does not have yet.
fn refuse_unbuilt(spec: &JobSpec, notes: &mut Vec<String>) -> Result<()> {
    let o = &spec.config;
    let weights = spec
        .compel_weights
        .as_deref()
        .is_some_and(|w| !w.trim().is_empty());
    if weights && spec.compel_enabled == Some(false) {
        notes.push("compel_weights is not applied: compel_enabled is false".into());
    }
    let wanted = [
        ("config.image", o.image.is_some()),
        ("config.reference_type", o.reference_type.is_some()),
        ("config.reference_strength", o.reference_strength.is_some()),
        ("config.strength", o.strength.is_some()),
        ("config.lora", !o.lora.is_empty()),
        ("compel_enabled", spec.compel_enabled == Some(true)),
        ("compel_weights", weights && spec.compel_enabled != Some(false)),
    ];
    match wanted.iter().find(|(_, given)| *given) {
        Some((name, _)) => fail!(NotBuilt, "{name}: this build does not have it yet"; "leave it out"),
        None => Ok(()),
    }
}

fn seeds(o: &Options) -> Result<(Vec<u64>, bool)> {
    let count = u64::from(o.num_images.unwrap_or(1));
    let (first, drawn) = match o.seed {
        Some(seed) => (seed, false),
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

struct Negative {
    text: Option<String>,
    automatic: bool,
}

/// The automatic negative prompt, then the user's.
fn negative(
    spec: &JobSpec,
    prompt: &str,
    model: &ModelSpec,
    mode: ContentMode,
    count_tokens: &CountTokens<'_>,
    notes: &mut Vec<String>,
) -> Result<Negative> {
    let user = spec.negative_prompt.as_deref();
    let none_for_model = model
        .auto_negative
        .as_deref()
        .is_some_and(|a| a.trim().is_empty());
    if none_for_model && spec.config.auto_negative == Some(true) {
        notes.push(format!("model `{}` has no automatic negative prompt", model.name));
    }
    if none_for_model || spec.config.auto_negative == Some(false) {
        return Ok(Negative {
            text: user.map(str::to_owned),
            automatic: false,
        });
    }
    let terms = match &model.auto_negative {
        Some(own) => negatives::own_terms(own, prompt),
        None => negatives::terms_for(prompt, mode),
    };
    let text = negatives::join(&terms, user, &|text| count_tokens(model, text))
        .map_err(|e| e.context("counting the tokens of the negative prompt"))?;
    Ok(Negative {
        text,
        automatic: true,
    })
}
