//! SDXL jobs, settled and checked.

use std::path::Path;

use anyhow::{Context, Result};

use super::asked::{Asked, diffusion};
use super::follow::{Followed, follow};
use super::written::written;
use crate::config::shown;
use crate::fail;
use crate::job::inputs::Input;
use crate::job::settled::{Diffusion, Follow, Images};
use crate::job::spec::Options;
use crate::limits::{SIDE_MULTIPLE, SIDE_PX};
use crate::media::load::size_px;
use crate::registry::{ModelFamily, ModelSpec, Source};
use crate::schedulers::{PredictionType, Preset, SamplerChoice, SchedulerConfig, build};

/// # Errors
/// As [`diffusion`]; `InvalidSpec` for options that contradict each other, `InputMissing` for files
/// that are not there.
pub fn images(asked: &Asked<'_>, notes: &mut Vec<String>) -> Result<Images> {
    let config = &asked.spec.config;
    let has_reference = !asked.spec.pictures().is_empty();
    let written = written(asked.spec, notes)?;
    let mut diffusion = diffusion(asked, &written, has_reference, notes)?;
    take_preset(asked, &mut diffusion)?;
    let sampler = sampler(asked, &mut diffusion)?;
    check_weights(asked)?;
    let Followed {
        follow,
        controls,
        ip_adapters,
        own_size,
    } = follow(asked, notes)?;
    if own_size && config.width.is_none() && config.height.is_none() {
        take_size(asked.inputs, &mut diffusion)?;
    }
    check_together(config)?;
    Ok(Images {
        diffusion,
        prompt_syntax: written.syntax,
        strategy: written.strategy,
        truncate_prompt: config.truncate_prompt.unwrap_or(false),
        deterministic: config.deterministic.unwrap_or(false),
        sampler,
        follow,
        controls,
        ip_adapters,
        refiner: refiner(asked)?,
    })
}

/// What the spec or else the model's entry pins; what the spec says itself wins.
fn take_preset(asked: &Asked<'_>, diffusion: &mut Diffusion) -> Result<()> {
    let config = &asked.spec.config;
    let Some(name) = config.preset.as_ref().or(asked.model.sdxl.preset.as_ref()) else {
        return Ok(());
    };
    let preset = Preset::named(name).context("config.preset")?;
    if config.steps.is_none() {
        diffusion.steps = preset.num_inference_steps as u32;
    }
    if config.guidance_scale.is_none() {
        diffusion.guidance_scale = preset.guidance_scale;
    }
    if config.scheduler.is_none() {
        diffusion.scheduler = Some(preset.scheduler.into());
    }
    Ok(())
}

/// What the spec says of the sampler, tried on SDXL's own configuration before any work.
fn sampler(asked: &Asked<'_>, diffusion: &mut Diffusion) -> Result<SamplerChoice> {
    let (config, entry) = (&asked.spec.config, &asked.model.sdxl);
    let prediction_type = config.prediction_type.as_ref().or(entry.prediction_type.as_ref());
    let choice = SamplerChoice {
        name: diffusion.scheduler.clone(),
        schedule: config.schedule.clone(),
        timestep_spacing: config.timestep_spacing.clone(),
        prediction_type: prediction_type
            .map(|name| PredictionType::parse(name))
            .transpose()?,
        rescale_betas_zero_snr: config.rescale_betas_zero_snr.or(entry.zero_snr),
        eta: config.eta,
        timesteps: config.timesteps.clone(),
        sigmas: config.sigmas.clone(),
    };
    let scheduler = choice.apply(&SchedulerConfig::sdxl())?;
    if let Some(timesteps) = &config.timesteps {
        diffusion.steps = timesteps.len() as u32;
    }
    if let Some(sigmas) = &config.sigmas {
        diffusion.steps = sigmas.len() as u32 - 1;
    }
    build::<4>(&scheduler, diffusion.steps as usize)?;
    Ok(choice)
}

/// Image to image keeps the picture's size, down to a multiple that latents have.
fn take_size(inputs: &[Input], diffusion: &mut Diffusion) -> Result<()> {
    let Some(input) = inputs.iter().find(|input| input.field == "config.image") else {
        return Ok(());
    };
    let (width, height) = size_px(&input.name(), &input.path)?;
    let multiple = SIDE_MULTIPLE as u32;
    for (name, side, to) in [
        ("width", width, &mut diffusion.width),
        ("height", height, &mut diffusion.height),
    ] {
        *to = side / multiple * multiple;
        if !SIDE_PX.contains(&u64::from(*to)) {
            fail!(
                InvalidSpec,
                "{}: its {name} is {side}, it must be from {} to {} to be drawn at its own size", input.name(), SIDE_PX.start(), SIDE_PX.end();
                "give width and height for the result"
            );
        }
    }
    Ok(())
}

/// Files of weights must be there before any work.
fn check_weights(asked: &Asked<'_>) -> Result<()> {
    let mut config = asked.spec.config.clone();
    for (field, path) in config.weights_mut() {
        let is_entry = field == "config.refiner.model" && asked.registry.entry(path).is_some();
        // Found already, here or in lora_dir.
        let is_lora = field.starts_with("config.loras[");
        if !is_entry && !is_lora && !Path::new(path).exists() {
            fail!(InputMissing, "{field} is `{}`, which is not there", shown(path); "name an existing file or folder");
        }
    }
    Ok(())
}

fn refiner(asked: &Asked<'_>) -> Result<Option<ModelSpec>> {
    let Some(refiner) = &asked.spec.config.refiner else {
        return Ok(None);
    };
    if let Some(entry) = asked.registry.entry(&refiner.model) {
        if entry.family != ModelFamily::Sdxl {
            fail!(InvalidSpec, "config.refiner.model is `{}`, of family {}", entry.name, entry.family.name();
                "name an SDXL refiner");
        }
        entry.check_files()?;
        return Ok(Some(entry.clone()));
    }
    let path = Path::new(&refiner.model).to_path_buf();
    let source = match path.is_dir() {
        true => Source::Folder(path),
        false => Source::SingleFile {
            path,
            config_from: None,
        },
    };
    Ok(Some(ModelSpec::new(&refiner.model, ModelFamily::Sdxl, source)))
}

/// Options that exclude each other.
fn check_together(config: &Options) -> Result<()> {
    let (mask, image) = (config.mask_image.is_some(), config.image.is_some());
    let refiner = config.refiner.is_some();
    let pairs = [
        ("mask_image", mask, "image", !image, "is given without"),
        (
            "no_paste",
            config.no_paste == Some(true),
            "mask_image",
            !mask,
            "is given without",
        ),
        (
            "strength",
            config.strength.is_some(),
            "image",
            !image,
            "is given without",
        ),
        (
            "reference_strength",
            config.reference_strength.is_some(),
            "image",
            !image,
            "is given without",
        ),
        (
            "reference_type",
            config.reference_type.is_some(),
            "image",
            !image,
            "is given without",
        ),
        (
            "denoising_start",
            config.denoising_start.is_some(),
            "image",
            !image,
            "is given without",
        ),
        ("refiner", refiner, "mask_image", mask, "is given beside"),
        (
            "hires",
            config.hires.is_some(),
            "mask_image",
            mask,
            "is given beside",
        ),
        (
            "denoising_end",
            config.denoising_end.is_some(),
            "refiner",
            refiner,
            "is given beside",
        ),
        (
            "guided_steps",
            config.guided_steps.is_some(),
            "cfg_interval",
            config.cfg_interval.is_some(),
            "is given beside",
        ),
    ];
    if let Some((one, _, other, _, how)) = pairs.iter().find(|(_, given, _, wrong, _)| *given && *wrong) {
        let fix = match *how {
            "is given beside" => format!("leave one of them out; {one} needs a job of its own"),
            _ => format!("give {other} too, or leave {one} out"),
        };
        fail!(InvalidSpec, "config.{one} {how} config.{other}"; "{fix}");
    }
    if let Some([start, end]) = config.cfg_interval
        && start >= end
    {
        fail!(
            InvalidSpec,
            "config.cfg_interval is [{start}, {end}], its start must lie before its end"
        );
    }
    if let Some(control) = config
        .controls
        .iter()
        .find(|control| control.start >= control.end)
    {
        fail!(
            InvalidSpec,
            "config.controls: start is {}, it must lie before end, {}",
            control.start,
            control.end
        );
    }
    Ok(())
}

/// The options with every default of an image filled in.
pub fn write_out(images: &Images, config: &mut Options) {
    config.prompt_syntax = Some(images.prompt_syntax.name().into());
    config.truncate_prompt = Some(images.truncate_prompt);
    config.deterministic = Some(images.deterministic);
    if let Some(Follow::Start {
        strength,
        fitted: false,
        mode: "image-to-image" | "inpaint",
    }) = images.follow
    {
        config.strength = Some(strength);
        config.reference_strength = None;
    }
}
