//! Prompts to the embeddings that SDXL's denoiser attends to.

use anyhow::Result;
use burn::tensor::{DType, Device, Tensor};

use crate::fail;
use crate::models::clip::ClipTextModel;
use crate::pipelines::ImageRequest;
use crate::tokenizers::clip::ClipTokenizer;

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

/// A text for each encoder of a model.
type Texts<'a> = Vec<(&'a ClipTokenizer, &'a ClipTextModel, &'a str)>;

/// Encodes prompt and negative prompt as `StableDiffusionXLPipeline.encode_prompt` does, in
/// 75-token chunks where a prompt is longer than one.
///
/// # Errors
/// `InvalidSpec` when `clip_skip` leaves no layer; when a tokenizer cannot encode the text.
pub fn encode(
    encoders: &Encoders<'_>,
    request: &ImageRequest,
    device: &Device,
    dtype: DType,
) -> Result<PromptEmbeds> {
    let (negative, negative_2) = (&request.negative_prompt, &request.negative_prompt_2);
    let zeroed = negative.is_none() && negative_2.is_none() && encoders.force_zeros_for_empty_prompt;
    let negative = negative.as_deref().unwrap_or_default();
    let positive = texts(encoders, &request.prompt, request.prompt_2.as_deref());
    let negative = texts(encoders, negative, negative_2.as_deref());
    let clip_skip = checked_clip_skip(&positive, request)?;
    let truncate = request.truncate_prompt;
    let longest = |texts: &Texts| -> Result<usize> {
        let mut most = 1;
        for (tokenizer, _, text) in texts {
            most = most.max(tokenizer.chunks(text, truncate)?.len());
        }
        Ok(most)
    };
    let chunks = longest(&positive)?.max(if zeroed { 1 } else { longest(&negative)? });

    let cond = encode_one(&positive, truncate, chunks, clip_skip, device, dtype)?;
    let uncond = if zeroed {
        cond.zeros_like()
    } else {
        // As in diffusers, clip_skip leaves negative prompts alone.
        encode_one(&negative, truncate, chunks, 0, device, dtype)?
    };
    let mut tokens = Vec::new();
    let mut truncated = false;
    for (tokenizer, _, text) in &positive {
        let count = tokenizer.count(text)?;
        let room = tokenizer.max_length() - 2;
        truncated |= truncate && count > room;
        let kept = if truncate { count.min(room) } else { count };
        tokens.push(
            (0..kept.div_ceil(room).max(1))
                .map(|i| (kept - i * room).min(room))
                .collect(),
        );
    }
    Ok(PromptEmbeds {
        cond,
        uncond,
        tokens,
        truncated,
    })
}

/// Which text each encoder gets; a model with the second encoder only gives it the first text.
fn texts<'a>(encoders: &Encoders<'a>, text: &'a str, text_2: Option<&'a str>) -> Texts<'a> {
    let (tokenizer_2, encoder_2) = encoders.second;
    match encoders.first {
        Some((tokenizer, encoder)) => vec![
            (tokenizer, encoder, text),
            (tokenizer_2, encoder_2, text_2.unwrap_or(text)),
        ],
        None => vec![(tokenizer_2, encoder_2, text)],
    }
}

fn checked_clip_skip(texts: &Texts, request: &ImageRequest) -> Result<usize> {
    let clip_skip = request.clip_skip.unwrap_or(0);
    let most = texts.iter().map(|(_, encoder, _)| encoder.most_clip_skip()).min();
    match most {
        Some(most) if clip_skip > most => fail!(
            InvalidSpec,
            "clip_skip is {clip_skip}; this model's text encoders allow 0 to {most}"
        ),
        _ => Ok(clip_skip),
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

/// All encoders over `chunks` chunks; short texts are filled up with empty ones.
fn encode_one(
    texts: &Texts,
    truncate: bool,
    chunks: usize,
    clip_skip: usize,
    device: &Device,
    dtype: DType,
) -> Result<Embeds> {
    let mut states = Vec::new();
    let mut pooled = None;
    for (tokenizer, encoder, text) in texts {
        let mut ids = tokenizer.chunks(text, truncate)?;
        while ids.len() < chunks {
            ids.extend(tokenizer.chunks("", truncate)?);
        }
        let output = encoder.forward(&ids, clip_skip, device, dtype);
        let [_, length, width] = output.penultimate.dims();
        states.push(output.penultimate.reshape([1, chunks * length, width]));
        // The pooled embedding is that of the first chunk, where the subject is named.
        pooled = output.text_embeds.map(|embeds| embeds.narrow(0, 0, 1)).or(pooled);
    }
    Ok(Embeds {
        prompt_embeds: Tensor::cat(states, 2),
        pooled_prompt_embeds: pooled.expect("the second encoder has a projection"),
    })
}
