//! What a request and a model must have in common, found before any work.

use anyhow::Result;

use super::parts::Parts;
use crate::fail;
use crate::models::clip::ClipTextModel;
use crate::pipelines::image::ImageRequest;

/// # Errors
/// `InvalidSpec` for a request that this model cannot follow, `BadInput` for a model that no request
/// can use, `NotBuilt` for what this build does not do.
pub fn check(parts: &Parts, request: &ImageRequest) -> Result<()> {
    check_size(parts, request)?;
    check_channels(parts, request)?;
    check_encoders(parts)?;
    check_passes(request)?;
    check_ranges(request)
}

fn check_size(parts: &Parts, request: &ImageRequest) -> Result<()> {
    let multiple = parts.vae.config.scale_factor();
    for (field, value) in [("width", request.width_px), ("height", request.height_px)] {
        if value == 0 || !value.is_multiple_of(multiple) {
            fail!(
                InvalidSpec,
                "{field} is {value}; this model needs a multiple of {multiple}, above 0"
            );
        }
    }
    if request.seeds.is_empty() {
        fail!(InvalidSpec, "num_images is 0; at least one seed is needed");
    }
    Ok(())
}

/// Inpainting denoisers see the mask and the masked picture as channels of their own.
fn check_channels(parts: &Parts, request: &ImageRequest) -> Result<()> {
    let latent = parts.vae.config.latent_channels;
    let channels = parts.unet.config.in_channels;
    let has_mask = request.init.as_ref().is_some_and(|init| init.mask.is_some());
    if channels == latent {
        return Ok(());
    }
    if channels != 2 * latent + 1 {
        fail!(
            BadInput, "unet config: in_channels is {channels}; built are {latent}, and {} for inpainting", 2 * latent + 1;
            "InstructPix2Pix and the like are not SDXL's text-to-image or inpainting models"
        );
    }
    if !has_mask || request.hires.is_some() {
        fail!(
            InvalidSpec, "this model is an inpainting model ({channels} channels) and needs image and mask_image";
            "give -i IMAGE --mask MASK, without hires, or choose a text-to-image model"
        );
    }
    Ok(())
}

/// A denoiser attends to the states of its text encoders side by side.
fn check_encoders(parts: &Parts) -> Result<()> {
    let first = parts.text_encoder.as_ref().map_or(0, ClipTextModel::hidden_size);
    let second = parts.text_encoder_2.hidden_size();
    let wanted = parts.unet.config.cross_attention_dim;
    if first + second == wanted {
        return Ok(());
    }
    if second == wanted {
        fail!(
            BadInput, "the unet reads the second text encoder only ({wanted} channels), as refiners do, and the model has two";
            "give model_index.json \"text_encoder\": [null, null]"
        );
    }
    fail!(
        BadInput, "unet config: cross_attention_dim is {wanted}; the text encoders give {}", first + second;
        "its parts belong to different models: take them from one"
    );
}

fn check_passes(request: &ImageRequest) -> Result<()> {
    let has_mask = request.init.as_ref().is_some_and(|init| init.mask.is_some());
    for (field, given) in [
        ("refiner", request.refiner.is_some()),
        ("hires", request.hires.is_some()),
    ] {
        if given && has_mask {
            fail!(InvalidSpec, "{field} and mask_image are both given"; "inpaint first, then refine the result as image");
        }
    }
    if request.refiner.is_some() && request.denoising_end.is_some() {
        fail!(
            InvalidSpec, "refiner and denoising_end are both given";
            "the base model stops where the refiner starts: give refiner.start alone"
        );
    }
    if request.denoising_start.is_some() && request.init.is_none() {
        fail!(InvalidSpec, "denoising_start is given without image"; "give the picture to go on from, or leave it out");
    }
    Ok(())
}

fn check_ranges(request: &ImageRequest) -> Result<()> {
    let mut ranges = vec![("guidance_rescale", request.guidance_rescale, 0.0, 1.0)];
    if let Some(init) = &request.init {
        ranges.push(("strength", init.strength, 0.0, 1.0));
    }
    if let Some((start, end)) = request.cfg_interval {
        ranges.push(("cfg_interval's start", start, 0.0, end));
        ranges.push(("cfg_interval's end", end, start, 1.0));
    }
    for control in &request.controls {
        ranges.push(("controls: scale", control.scale, 0.0, 10.0));
        ranges.push(("controls: start", control.start, 0.0, control.end));
        ranges.push(("controls: end", control.end, control.start, 1.0));
    }
    if let Some(refiner) = &request.refiner {
        ranges.push(("refiner.start", refiner.start, 0.01, 0.99));
    }
    if let Some(hires) = request.hires {
        ranges.push(("hires.scale", hires.scale, 1.0, 8.0));
        ranges.push(("hires.strength", hires.strength, 0.0, 1.0));
    }
    if let Some(tiling) = request.vae_tiling {
        ranges.push(("vae_tiling.overlap", tiling.overlap, 0.0, 0.9));
        ranges.push((
            "vae_tiling.tile",
            tiling.tile_px.unwrap_or(512) as f64,
            64.0,
            8192.0,
        ));
    }
    for (field, value, low, high) in ranges {
        if !(low..=high).contains(&value) {
            fail!(InvalidSpec, "{field} is {value}; allowed: {low} to {high}");
        }
    }
    Ok(())
}
