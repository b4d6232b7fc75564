//! Which options a job type takes, and what the shared ones mean.

use anyhow::{Context, Result};

use super::kinds::ENHANCE;
use super::{Family, Format, JobKind, JobSpec, Output};
use crate::config::shown;
use crate::fail;
use crate::media::video::VideoFormat;
use crate::schedulers;

/// Options that the type does not take: an error, never dropped silently.
///
/// # Errors
/// `InvalidSpec` naming the option and the type.
pub(super) fn refuse_foreign(kind: &JobKind, spec: &JobSpec) -> Result<()> {
    let o = &spec.config;
    let (sdxl, wan) = (kind.family == Family::Sdxl, kind.family == Family::Wan);
    let (draws, talks) = (kind.draws(), kind.family == Family::Qwen);
    let answers = talks || kind.enhanced;
    let any = talks || draws;
    let video = kind.output == Output::Mp4;
    let several = o.num_images.is_some_and(|n| n > 1);
    let frames = o.frames.is_some_and(|n| n > 1 || sdxl);
    // Option, whether it was given, whether the type takes it.
    let table = [
        ("config.num_images", several, !video),
        ("config.frames", frames, video),
        ("config.fps", o.fps.is_some(), video),
        ("config.flow_shift", o.flow_shift.is_some(), wan),
        ("config.first_frame", o.first_frame.is_some(), video),
        ("config.last_frame", o.last_frame.is_some(), video),
        ("config.truncate_prompt", o.truncate_prompt == Some(true), sdxl),
        ("config.reference_type", o.reference_type.is_some(), sdxl),
        ("config.strength", o.strength.is_some(), sdxl),
        ("compel_enabled", spec.compel_enabled == Some(true), sdxl),
        ("compel_weights", compel_weights(spec), sdxl),
        ("model", spec.model.is_some(), any),
        ("prompt", spec.prompt.is_some(), any),
        ("negative_prompt", spec.negative_prompt.is_some(), draws),
        ("expect", spec.expect.is_some(), draws),
        ("messages", !spec.messages.is_empty(), kind.converses()),
        ("enhanced_prompt", spec.enhanced_prompt.is_some(), kind.enhanced),
        ("config.num_images", o.num_images.is_some(), draws),
        ("config.seed", o.seed.is_some(), any),
        ("config.steps", o.steps.is_some(), draws),
        ("config.guidance_scale", o.guidance_scale.is_some(), draws),
        ("config.width", o.width.is_some(), draws),
        ("config.height", o.height.is_some(), draws),
        ("config.scheduler", o.scheduler.is_some(), draws),
        ("config.auto_negative", o.auto_negative.is_some(), draws),
        ("config.truncate_prompt", o.truncate_prompt.is_some(), draws),
        ("config.deterministic", o.deterministic.is_some(), draws),
        ("config.frames", o.frames.is_some(), draws),
        ("config.vae_tiling", o.vae_tiling.is_some(), draws),
        ("config.format", o.format.is_some(), draws),
        ("config.image", o.image.is_some(), draws),
        ("config.reference_strength", o.reference_strength.is_some(), draws),
        ("config.lora", !o.lora.is_empty(), draws),
        ("config.temperature", o.temperature.is_some(), answers),
        ("config.top_p", o.top_p.is_some(), answers),
        ("config.top_k", o.top_k.is_some(), answers),
        (
            "config.repetition_penalty",
            o.repetition_penalty.is_some(),
            answers,
        ),
        ("config.max_tokens", o.max_tokens.is_some(), answers),
        ("config.system_prompt", o.system_prompt.is_some(), answers),
        ("config.legacy_names", o.legacy_names.is_some(), kind.enhances()),
        (
            "config.enhance_for",
            o.enhance_for.is_some(),
            kind.name == ENHANCE,
        ),
    ];
    match table.iter().find(|(_, given, taken)| *given && !taken) {
        Some((name, ..)) => {
            fail!(InvalidSpec, "{name} does not apply to type `{}`", kind.name; "leave it out")
        }
        None => Ok(()),
    }
}

fn compel_weights(spec: &JobSpec) -> bool {
    spec.compel_weights
        .as_deref()
        .is_some_and(|weights| !weights.trim().is_empty())
}

/// Documented options that this build does not have yet.
///
/// # Errors
/// `NotBuilt` naming the option.
pub(super) fn refuse_unbuilt(kind: &JobKind, spec: &JobSpec, notes: &mut Vec<String>) -> Result<()> {
    let o = &spec.config;
    let weights = compel_weights(spec);
    if weights && spec.compel_enabled == Some(false) {
        notes.push("compel_weights is not applied: compel_enabled is false".into());
    }
    let sdxl = kind.family == Family::Sdxl;
    let wanted = [
        ("config.image", sdxl && o.image.is_some()),
        ("config.reference_type", o.reference_type.is_some()),
        (
            "config.reference_strength",
            sdxl && o.reference_strength.is_some(),
        ),
        ("config.strength", o.strength.is_some()),
        ("config.vae_tiling", sdxl && o.vae_tiling == Some(true)),
        ("config.lora", !o.lora.is_empty()),
        ("compel_enabled", spec.compel_enabled == Some(true)),
        ("compel_weights", weights && spec.compel_enabled != Some(false)),
    ];
    match wanted.iter().find(|(_, given)| *given) {
        Some((name, _)) => {
            fail!(NotBuilt, "{name}: this build does not have it yet for type `{}`", kind.name; "leave it out")
        }
        None => Ok(()),
    }
}

/// # Errors
/// `InvalidSpec` for a name that does not exist or that the type's models cannot run.
pub(super) fn check_scheduler(name: &str, kind: &JobKind) -> Result<()> {
    schedulers::check_name(name).context("config.scheduler")?;
    let flow_model = kind.family == Family::Wan;
    if !schedulers::runs_on(name, flow_model) {
        fail!(InvalidSpec, "config.scheduler is `{}`, which does not apply to type `{}`", shown(name), kind.name;
            "it takes {}, or leave it out", schedulers::listing(flow_model));
    }
    Ok(())
}

/// The format of a job's files.
///
/// # Errors
/// `InvalidSpec` for one that does not exist or that the type does not write.
pub(super) fn format(kind: &JobKind, name: Option<&str>) -> Result<Format> {
    let formats: Vec<Format> = match kind.output {
        Output::Mp4 => VideoFormat::ALL.map(Format::Video).to_vec(),
        _ => vec![Format::Png],
    };
    let Some(name) = name else {
        return Ok(formats[0]);
    };
    match Format::from_name(name).filter(|format| formats.contains(format)) {
        Some(format) => Ok(format),
        None => {
            let names: Vec<_> = formats.iter().map(|f| f.name()).collect();
            fail!(
                InvalidSpec,
                "config.format is `{}`, it must be {} for type `{}`",
                shown(name),
                names.join(", "),
                kind.name
            )
        }
    }
}
