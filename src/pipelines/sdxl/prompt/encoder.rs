//! Chunks to hidden states, with the arithmetic that each notation gives to weights.

use std::cell::OnceCell;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::chunks::Chunk;
use crate::models::clip::ClipTextModel;
use crate::tokenizers::clip::ClipTokenizer;

/// A text encoder with its tokenizer, and how it is read.
pub struct TextEncoder<'a> {
    pub tokenizer: &'a ClipTokenizer,
    pub model: &'a ClipTextModel,
    /// Layers skipped besides the last one.
    pub clip_skip: usize,
    pub device: &'a Device,
    pub dtype: DType,
    /// See [`Self::empty`].
    empty: OnceCell<Tensor<3>>,
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

impl<'a> TextEncoder<'a> {
    pub fn new(
        (tokenizer, model): (&'a ClipTokenizer, &'a ClipTextModel),
        clip_skip: usize,
        device: &'a Device,
        dtype: DType,
    ) -> Self {
        Self {
            tokenizer,
            model,
            clip_skip,
            device,
            dtype,
            empty: OnceCell::new(),
        }
    }

    /// Encodes chunks and weighs each that has a weight: `[1, length, hidden]`, `[1, length, 1]`.
    pub(super) fn weighed(
        &self,
        chunks: Vec<Chunk>,
        weigh: impl Fn(Tensor<3>, Tensor<3>) -> Tensor<3>,
    ) -> Encoded {
        let ids: Vec<Vec<u32>> = chunks.iter().map(|chunk| chunk.ids.clone()).collect();
        let output = self.model.forward(&ids, self.clip_skip, self.device, self.dtype);
        let rows = chunks.iter().enumerate().map(|(i, chunk)| {
            let states = output.penultimate.clone().narrow(0, i, 1);
            match chunk.is_plain() {
                true => states,
                false => weigh(states, self.weights(&chunk.weights)),
            }
        });
        Encoded {
            states: Tensor::cat(rows.collect(), 1),
            pooled: output.text_embeds.map(|embeds| embeds.narrow(0, 0, 1)),
            chunks,
        }
    }

    /// The states of an empty prompt, encoded when first asked for: `[1, length, hidden]`. Weighing and
    /// filling up ask often.
    pub fn empty(&self) -> Tensor<3> {
        let encoded = || {
            let ids = vec![self.tokenizer.chunk(&[])];
            let output = self.model.forward(&ids, self.clip_skip, self.device, self.dtype);
            output.penultimate
        };
        self.empty.get_or_init(encoded).clone()
    }

    /// `[1, weights, 1]`, f32.
    pub fn weights(&self, weights: &[f64]) -> Tensor<3> {
        let values: Vec<f32> = weights.iter().map(|w| *w as f32).collect();
        Tensor::from_data(TensorData::new(values, [1, weights.len(), 1]), self.device)
    }
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
