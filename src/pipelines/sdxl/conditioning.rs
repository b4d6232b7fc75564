//! What a denoiser is conditioned on besides the time, row by row.

use anyhow::Result;
use burn::tensor::Tensor;

use super::guidance::Guidance;
use super::prompt::{Embeds, PromptEmbeds};
use crate::fail;
use crate::models::sdxl_unet::{Conditioning, UNetConfig};
use crate::pipelines::image::ImageRequest;

const AESTHETIC_SCORE: f64 = 6.0;
const NEGATIVE_AESTHETIC_SCORE: f64 = 2.5;

/// The branches in diffusers' order: the unconditional row where there is guidance, then the
/// conditional one. `size` is the picture's, `[height, width]` in pixels.
///
/// # Errors
/// `BadInput` when the denoiser takes another number of sizes than SDXL's or its refiner's.
pub fn conditioning(
    unet: &UNetConfig,
    request: &ImageRequest,
    guidance: &Guidance,
    embeds: &PromptEmbeds,
    size: [usize; 2],
) -> Result<Conditioning> {
    let ids = TimeIds::of(unet, request, embeds, size)?;
    let mut branches = vec![(&embeds.cond, ids.positive)];
    if guidance.is_on() {
        branches.insert(0, (&embeds.uncond, ids.negative));
    }
    let states = |embeds: &Embeds| embeds.prompt_embeds.clone();
    let pooled = |embeds: &Embeds| embeds.pooled_prompt_embeds.clone();
    Ok(Conditioning {
        encoder_hidden_states: Tensor::cat(branches.iter().map(|(e, _)| states(e)).collect(), 0),
        text_embeds: Tensor::cat(branches.iter().map(|(e, _)| pooled(e)).collect(), 0),
        guidance: guidance.embedding().map(|value| vec![value; branches.len()]),
        time_ids: branches.into_iter().map(|(_, ids)| ids).collect(),
    })
}

struct TimeIds {
    positive: Vec<f32>,
    negative: Vec<f32>,
}

impl TimeIds {
    /// As `_get_add_time_ids` of diffusers' pipelines: text to image takes the negative sizes only
    /// when both are given; image to image takes each by itself, and the positive crop for both.
    fn of(
        unet: &UNetConfig,
        request: &ImageRequest,
        embeds: &PromptEmbeds,
        size: [usize; 2],
    ) -> Result<Self> {
        let sizes = &request.sizes;
        let pooled = embeds.cond.pooled_prompt_embeds.dims()[1];
        let original = sizes.original_size.unwrap_or(size);
        let target = sizes.target_size.unwrap_or(size);
        let crop = sizes.crops_coords_top_left;
        let negative_crop = sizes.negative_crops_coords_top_left;
        let negative_original = sizes.negative_original_size.unwrap_or(original);
        let negative_target = sizes.negative_target_size.unwrap_or(target);
        if takes_aesthetic_score(unet, pooled)? {
            let score = sizes.aesthetic_score.unwrap_or(AESTHETIC_SCORE);
            let negative_score = sizes.negative_aesthetic_score.unwrap_or(NEGATIVE_AESTHETIC_SCORE);
            return Ok(Self {
                positive: row(&[original, crop], Some(score)),
                negative: row(&[negative_original, negative_crop], Some(negative_score)),
            });
        }
        let positive = row(&[original, crop, target], None);
        let both_given = sizes.negative_original_size.is_some() && sizes.negative_target_size.is_some();
        let negative = match (request.init.is_some(), both_given) {
            (true, _) => row(&[negative_original, crop, negative_target], None),
            (false, true) => row(&[negative_original, negative_crop, negative_target], None),
            (false, false) => positive.clone(),
        };
        Ok(Self { positive, negative })
    }
}

fn row(pairs: &[[usize; 2]], score: Option<f64>) -> Vec<f32> {
    let sizes = pairs.iter().flatten().map(|&v| v as f32);
    sizes.chain(score.map(|s| s as f32)).collect()
}

/// Refiners take five numbers, the last one a score, where base models take six.
///
/// # Errors
/// `BadInput` for any other number.
fn takes_aesthetic_score(unet: &UNetConfig, pooled: usize) -> Result<bool> {
    let left = unet.projection_class_embeddings_input_dim.checked_sub(pooled);
    match left {
        Some(left) if left == 6 * unet.addition_time_embed_dim => Ok(false),
        Some(left) if left == 5 * unet.addition_time_embed_dim => Ok(true),
        _ => fail!(
            BadInput,
            "unet config: projection_class_embeddings_input_dim {} leaves no room for {pooled} channels of pooled text and 5 or 6 sizes",
            unet.projection_class_embeddings_input_dim;
            "the text encoders and the unet belong to different models"
        ),
    }
}
