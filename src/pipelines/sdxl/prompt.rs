//! Prompts to the embeddings that SDXL's denoiser attends to.

use anyhow::Result;
use burn::tensor::{DType, Device, Tensor};

use super::parts::Parts;
use crate::pipelines::ImageRequest;

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

/// Encodes prompt and negative prompt as `StableDiffusionXLPipeline.encode_prompt` does, in
/// 75-token chunks where a prompt is longer than one.
///
/// # Errors
/// When a tokenizer cannot encode the text.
pub fn encode(parts: &Parts, request: &ImageRequest, device: &Device, dtype: DType) -> Result<PromptEmbeds> {
    let zeroed = request.negative_prompt.is_none() && parts.force_zeros_for_empty_prompt;
    let negative = request.negative_prompt.as_deref().unwrap_or_default();
    let truncate = request.truncate_prompt;
    let longest = |text: &str| -> Result<usize> {
        let first = parts.tokenizer.chunks(text, truncate)?.len();
        Ok(first.max(parts.tokenizer_2.chunks(text, truncate)?.len()))
    };
    let chunks = longest(&request.prompt)?.max(if zeroed { 1 } else { longest(negative)? });

    let cond = encode_one(parts, &request.prompt, truncate, chunks, device, dtype)?;
    let uncond = if zeroed {
        cond.zeros_like()
    } else {
        encode_one(parts, negative, truncate, chunks, device, dtype)?
    };
    let mut tokens = Vec::new();
    for tokenizer in [&parts.tokenizer, &parts.tokenizer_2] {
        let count = tokenizer.count(&request.prompt)?;
        let room = tokenizer.max_length() - 2;
        let kept = if truncate { count.min(room) } else { count };
        tokens.push(
            (0..kept.div_ceil(room).max(1))
                .map(|i| (kept - i * room).min(room))
                .collect(),
        );
    }
    let truncated = truncate && parts.tokenizer.count(&request.prompt)? > parts.tokenizer.max_length() - 2;
    Ok(PromptEmbeds {
        cond,
        uncond,
        tokens,
        truncated,
    })
}

impl Embeds {
    fn zeros_like(&self) -> Self {
        Self {
            prompt_embeds: self.prompt_embeds.zeros_like(),
            pooled_prompt_embeds: self.pooled_prompt_embeds.zeros_like(),
        }
    }
}

/// Both encoders over `chunks` chunks; short texts are filled up with empty ones.
fn encode_one(
    parts: &Parts,
    text: &str,
    truncate: bool,
    chunks: usize,
    device: &Device,
    dtype: DType,
) -> Result<Embeds> {
    let mut states = Vec::new();
    let mut pooled = None;
    for (tokenizer, encoder) in [
        (&parts.tokenizer, &parts.text_encoder),
        (&parts.tokenizer_2, &parts.text_encoder_2),
    ] {
        let mut ids = tokenizer.chunks(text, truncate)?;
        while ids.len() < chunks {
            ids.extend(tokenizer.chunks("", truncate)?);
        }
        let output = encoder.forward(&ids, device, dtype);
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
