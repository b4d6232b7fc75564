//! A text in one of the notations, with the arithmetic that it gives to weights.

use anyhow::Result;
use burn::tensor::{DType, Tensor};

use super::chunks;
use super::compel;
use super::encoder::{Encoded, TextEncoder, away_from};
use crate::prompts::PromptSyntax;

/// Encodes a prompt. With `truncate` only its first 75 tokens count.
///
/// # Errors
/// `InvalidSpec` when compel's operators are used wrongly; when the tokenizer fails.
pub fn encode(encoder: &TextEncoder, syntax: PromptSyntax, prompt: &str, truncate: bool) -> Result<Encoded> {
    match syntax {
        PromptSyntax::Compel => compel::encode(encoder, prompt, truncate),
        PromptSyntax::Plain => {
            let chunks = chunks::plain(encoder.tokenizer, prompt, truncate)?;
            Ok(encoder.weighed(chunks, |states, _| states))
        }
        PromptSyntax::A1111 => {
            let chunks = chunks::a1111(encoder.tokenizer, prompt, truncate)?;
            Ok(encoder.weighed(chunks, multiply_and_keep_mean))
        }
        PromptSyntax::Comfy => {
            let chunks = chunks::comfy(encoder.tokenizer, prompt, truncate)?;
            Ok(encoder.weighed(chunks, |states, weights| {
                away_from(encoder.empty(), states, weights)
            }))
        }
    }
}

/// A1111's "original" emphasis: states times weights, then all scaled so that their mean over
/// tokens and channels stays.
fn multiply_and_keep_mean(states: Tensor<3>, weights: Tensor<3>) -> Tensor<3> {
    let dtype = states.dtype();
    let wide = states.cast(DType::F32);
    let mean = wide.clone().mean();
    let weighted = wide * weights;
    let factor = (mean / weighted.clone().mean()).reshape([1, 1, 1]);
    (weighted * factor).cast(dtype)
}
