//! Chunks to hidden states, with the arithmetic that each notation gives to weights.

use anyhow::Result;
use burn::tensor::{DType, Device, Tensor, TensorData};

use super::chunks::{self, Chunk};
use super::compel;
use crate::models::clip::ClipTextModel;
use crate::prompts::PromptSyntax;
use crate::tokenizers::clip::ClipTokenizer;

/// A text encoder with its tokenizer, and how it is read.
#[derive(Clone, Copy)]
pub struct TextEncoder<'a> {
    pub tokenizer: &'a ClipTokenizer,
    pub model: &'a ClipTextModel,
    /// Layers skipped besides the last one.
    pub clip_skip: usize,
    pub device: &'a Device,
    pub dtype: DType,
}

/// A text as one encoder sees it.
#[derive(Debug, Clone)]
pub struct Encoded {
    /// `[1, chunks · length, hidden]`
    pub states: Tensor<3>,
    /// Of the first chunk, never weighted: `[1, projection_dim]`; only with a projection.
    pub pooled: Option<Tensor<2>>,
    pub chunks: Vec<Chunk>,
}

impl TextEncoder<'_> {
    /// Encodes a prompt. With `truncate` only its first 75 tokens count.
    ///
    /// # Errors
    /// `InvalidSpec` when compel's operators are used wrongly; when the tokenizer fails.
    pub fn encode(&self, syntax: PromptSyntax, prompt: &str, truncate: bool) -> Result<Encoded> {
        match syntax {
            PromptSyntax::Compel => compel::encode(self, prompt, truncate),
            PromptSyntax::Plain => {
                let chunks = chunks::plain(self.tokenizer, prompt, truncate)?;
                self.weighed(chunks, |states, _| states)
            }
            PromptSyntax::A1111 => {
                let chunks = chunks::a1111(self.tokenizer, prompt, truncate)?;
                self.weighed(chunks, multiply_and_keep_mean)
            }
            PromptSyntax::Comfy => {
                let chunks = chunks::comfy(self.tokenizer, prompt, truncate)?;
                let plain = chunks.iter().all(Chunk::is_plain);
                let empty = (!plain).then(|| self.empty()).transpose()?;
                self.weighed(chunks, |states, weights| match &empty {
                    Some(empty) => away_from(empty.clone(), states, weights),
                    None => states,
                })
            }
        }
    }

    /// Encodes chunks and weighs each that has a weight: `[1, length, hidden]`, `[1, length, 1]`.
    fn weighed(
        &self,
        chunks: Vec<Chunk>,
        weigh: impl Fn(Tensor<3>, Tensor<3>) -> Tensor<3>,
    ) -> Result<Encoded> {
        let ids: Vec<Vec<u32>> = chunks.iter().map(|chunk| chunk.ids.clone()).collect();
        let output = self.model.forward(&ids, self.clip_skip, self.device, self.dtype);
        let rows = chunks.iter().enumerate().map(|(i, chunk)| {
            let states = output.penultimate.clone().narrow(0, i, 1);
            match chunk.is_plain() {
                true => states,
                false => weigh(states, self.weights(&chunk.weights)),
            }
        });
        Ok(Encoded {
            states: Tensor::cat(rows.collect(), 1),
            pooled: output.text_embeds.map(|embeds| embeds.narrow(0, 0, 1)),
            chunks,
        })
    }

    /// The states of an empty prompt: `[1, length, hidden]`.
    pub fn empty(&self) -> Result<Tensor<3>> {
        let ids = vec![self.tokenizer.chunk(&[])];
        let output = self.model.forward(&ids, self.clip_skip, self.device, self.dtype);
        Ok(output.penultimate)
    }

    /// `[1, weights, 1]`, f32.
    pub fn weights(&self, weights: &[f64]) -> Tensor<3> {
        let values: Vec<f32> = weights.iter().map(|w| *w as f32).collect();
        Tensor::from_data(TensorData::new(values, [1, weights.len(), 1]), self.device)
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

/// ComfyUI's and compel's: each state as far from the empty prompt's as its weight says. Where the
/// weight is 1 the state stays as it is, to the last bit.
pub(super) fn away_from(empty: Tensor<3>, states: Tensor<3>, weights: Tensor<3>) -> Tensor<3> {
    let dtype = states.dtype();
    let dims = states.dims();
    let (empty, wide) = (empty.cast(DType::F32), states.cast(DType::F32));
    let moved = empty.clone() + (wide.clone() - empty) * weights.clone();
    let unweighted = weights.equal_elem(1.0).expand(dims);
    moved.mask_where(unweighted, wide).cast(dtype)
}
