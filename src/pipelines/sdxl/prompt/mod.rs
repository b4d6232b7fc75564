//! Prompts to the embeddings that SDXL's denoiser attends to.
//!
//! [`chunks`] cuts weighted text into rows of tokens, [`encoder`] encodes them, `notation` weighs them
//! as each notation does; compel has an arithmetic of its own.

use anyhow::Result;
use burn::tensor::{DType, Device, Tensor};

use crate::fail;
use crate::models::clip::ClipTextModel;
use crate::pipelines::image::ImageRequest;
use crate::tokenizers::clip::ClipTokenizer;

pub mod chunks;
mod compel;
pub mod encoder;
pub mod notation;

use encoder::{Encoded, TextEncoder};

/// Text conditioning of both guidance branches, for one image.
pub struct PromptEmbeds {
    pub cond: Embeds,
    pub uncond: Embeds,
    /// Tokens in each chunk, per text encoder.
    pub tokens: Vec<Vec<usize>>,
    /// Words cut off by `truncate_prompt`.
    pub truncated: bool,
}

/// One branch.
#[derive(Clone)]
pub struct Embeds {
    /// `[1, tokens, cross_attention_dim]`
    pub prompt_embeds: Tensor<3>,
    /// `[1, pooled]`
    pub pooled_prompt_embeds: Tensor<2>,
}

/// Tokenizers and text encoders of a model.
pub struct Encoders<'a> {
    /// Refiners have none.
    pub first: Option<(&'a ClipTokenizer, &'a ClipTextModel)>,
    pub second: (&'a ClipTokenizer, &'a ClipTextModel),
    /// Without a negative prompt, its embeddings are zeros.
    pub force_zeros_for_empty_prompt: bool,
}

/// A branch before the encoders' states are joined: one [`Encoded`] a text encoder.
struct Branch<'a> {
    encoders: Vec<TextEncoder<'a>>,
    encoded: Vec<Encoded>,
}

/// Encodes prompt and negative prompt as `StableDiffusionXLPipeline.encode_prompt` does, in chunks
/// where a prompt is longer than one, with the weights of the request's notation.
///
/// # Errors
/// `InvalidSpec` when `clip_skip` leaves no layer or the notation is used wrongly; when a tokenizer
/// cannot encode the text.
pub fn encode(
    models: &Encoders<'_>,
    request: &ImageRequest,
    device: &Device,
    dtype: DType,
) -> Result<PromptEmbeds> {
    let (negative, negative_2) = (&request.negative_prompt, &request.negative_prompt_2);
    let zeroed = negative.is_none() && negative_2.is_none() && models.force_zeros_for_empty_prompt;
    let (syntax, truncate) = (request.prompt_syntax, request.truncate_prompt);
    let branch = |text: &str, text_2: Option<&str>, clip_skip| -> Result<Branch> {
        let encoders = encoders(models, clip_skip, device, dtype);
        let texts = [text, text_2.unwrap_or(text)];
        // A model with the second encoder only gives it the first text.
        let encoded = encoders
            .iter()
            .zip(texts)
            .map(|(encoder, text)| notation::encode(encoder, syntax, text, truncate));
        Ok(Branch {
            encoded: encoded.collect::<Result<_>>()?,
            encoders,
        })
    };
    let clip_skip = checked_clip_skip(models, request)?;
    let positive = branch(&request.prompt, request.prompt_2.as_deref(), clip_skip)?;
    let negative = match zeroed {
        true => None,
        // As in diffusers, clip_skip leaves negative prompts alone.
        false => Some(branch(
            negative.as_deref().unwrap_or_default(),
            negative_2.as_deref(),
            0,
        )?),
    };
    let length = positive.length().max(negative.as_ref().map_or(0, Branch::length));
    let (tokens, truncated) = (positive.tokens(), truncate && positive.is_cut(request)?);
    let cond = positive.joined(length)?;
    let uncond = match negative {
        Some(negative) => negative.joined(length)?,
        None => cond.zeros_like(),
    };
    Ok(PromptEmbeds {
        cond,
        uncond,
        tokens,
        truncated,
    })
}

/// A model's text encoders, in order.
fn encoders<'a>(
    models: &Encoders<'a>,
    clip_skip: usize,
    device: &'a Device,
    dtype: DType,
) -> Vec<TextEncoder<'a>> {
    models
        .first
        .into_iter()
        .chain([models.second])
        .map(|parts| TextEncoder::new(parts, clip_skip, device, dtype))
        .collect()
}

fn checked_clip_skip(models: &Encoders<'_>, request: &ImageRequest) -> Result<usize> {
    let clip_skip = request.clip_skip.unwrap_or(0);
    let models = models.first.into_iter().chain([models.second]);
    match models.map(|(_, model)| model.most_clip_skip()).min() {
        Some(most) if clip_skip > most => fail!(
            InvalidSpec,
            "clip_skip is {clip_skip}; this model's text encoders allow 0 to {most}"
        ),
        _ => Ok(clip_skip),
    }
}

impl Branch<'_> {
    /// Tokens of its longest text, with marks and padding.
    fn length(&self) -> usize {
        let lengths = self.encoded.iter().map(|encoded| encoded.states.dims()[1]);
        lengths.max().unwrap_or(0)
    }

    fn tokens(&self) -> Vec<Vec<usize>> {
        let of = |encoded: &Encoded| encoded.chunks.iter().map(|chunk| chunk.tokens).collect();
        self.encoded.iter().map(of).collect()
    }

    /// Whether truncation left something out.
    fn is_cut(&self, request: &ImageRequest) -> Result<bool> {
        let texts = [Some(&request.prompt), request.prompt_2.as_ref()];
        for text in texts.into_iter().flatten() {
            let words = crate::prompts::texts(request.prompt_syntax, text)?;
            for encoder in &self.encoders {
                let counts = words.iter().map(|word| encoder.tokenizer.count(word));
                let count: usize = counts.sum::<Result<usize>>()?;
                if count > encoder.tokenizer.max_length() - 2 {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The encoders' states side by side, filled up with empty prompts to `length` tokens. The
    /// pooled embedding is that of the first chunk, where the subject is named.
    fn joined(self, length: usize) -> Result<Embeds> {
        let (mut states, mut pooled) = (Vec::new(), None);
        for (encoder, encoded) in self.encoders.iter().zip(self.encoded) {
            let mut parts = vec![encoded.states];
            let missing = length - parts[0].dims()[1];
            if missing > 0 {
                let empty = encoder.empty();
                parts.extend(vec![empty.clone(); missing / empty.dims()[1]]);
            }
            states.push(Tensor::cat(parts, 1));
            pooled = encoded.pooled.or(pooled);
        }
        Ok(Embeds {
            prompt_embeds: Tensor::cat(states, 2),
            pooled_prompt_embeds: pooled.expect("the second encoder has a projection"),
        })
    }
}

impl Embeds {
    fn zeros_like(&self) -> Self {
        Self {
            prompt_embeds: self.prompt_embeds.zeros_like(),
            pooled_prompt_embeds: self.pooled_prompt_embeds.zeros_like(),
        }
    }
}
