//! Transformer blocks of the denoiser: attention to the picture itself, to the text and to reference
//! pictures.

use std::slice::Iter;

use burn::tensor::{Tensor, activation};

use super::config::UNetConfig;
use super::context::{KeysValues, LayerContext};
use crate::nn::attention::{merge_heads, sdpa, split_heads};
use crate::nn::gpu::{self, Gate};
use crate::nn::linear::Linear;
use crate::nn::norm::{GroupNorm, LayerNorm};
use crate::weights::Vars;

/// Transformer blocks over the pixels of a feature map.
#[derive(Debug)]
pub(in crate::models) struct Transformer2D {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl Transformer2D {
    pub fn load(vars: &Vars, config: &UNetConfig, block: usize) -> Self {
        let channels = config.block_out_channels[block];
        let heads = config.attention_head_dim.at(block);
        let depth = config.transformer_layers_per_block.at(block);
        Self {
            norm: GroupNorm::load(&vars.at("norm"), config.norm_num_groups, channels, 1e-6),
            proj_in: Linear::load(&vars.at("proj_in"), channels, channels),
            transformer_blocks: (0..depth)
                .map(|i| {
                    let vars = vars.at("transformer_blocks").at(i);
                    TransformerBlock::load(&vars, channels, heads, config.cross_attention_dim)
                })
                .collect(),
            proj_out: Linear::load(&vars.at("proj_out"), channels, channels),
        }
    }

    /// Takes one entry of `contexts` for each of its transformer blocks.
    pub fn forward(&self, x: Tensor<4>, contexts: &mut Iter<'_, LayerContext>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let y = self.norm.forward(x.clone());
        let y = y.permute([0, 2, 3, 1]).reshape([batch, height * width, channels]);
        let mut y = self.proj_in.forward(y);
        for block in &self.transformer_blocks {
            let context = contexts.next().expect("prepared for every cross-attention");
            y = block.forward(y, context);
        }
        let y = self.proj_out.forward(y).reshape([batch, height, width, channels]);
        x + y.permute([0, 3, 1, 2])
    }

    /// The attentions to text, in the order they are used.
    pub fn cross_attentions(&self) -> impl Iterator<Item = &CrossAttention> {
        self.transformer_blocks.iter().map(|block| &block.attn2)
    }
}

/// Self-attention, attention to the text, gated feed-forward.
#[derive(Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: SelfAttention,
    norm2: LayerNorm,
    attn2: CrossAttention,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
}

impl TransformerBlock {
    fn load(vars: &Vars, channels: usize, heads: usize, context: usize) -> Self {
        const EPS: f64 = 1e-5;
        Self {
            norm1: LayerNorm::load(&vars.at("norm1"), channels, EPS),
            attn1: SelfAttention(Projections::load(&vars.at("attn1"), channels, channels, heads)),
            norm2: LayerNorm::load(&vars.at("norm2"), channels, EPS),
            attn2: CrossAttention(Projections::load(&vars.at("attn2"), channels, context, heads)),
            norm3: LayerNorm::load(&vars.at("norm3"), channels, EPS),
            ff_in: Linear::load(&vars.at("ff.net.0.proj"), channels, 8 * channels),
            ff_out: Linear::load(&vars.at("ff.net.2"), 4 * channels, channels),
        }
    }

    fn forward(&self, x: Tensor<3>, context: &LayerContext) -> Tensor<3> {
        let x = x.clone() + self.attn1.forward(self.norm1.forward(x));
        let x = x.clone() + self.attn2.forward(self.norm2.forward(x), context);
        x.clone() + self.feed_forward(self.norm3.forward(x))
    }

    /// GEGLU (Shazeer 2020).
    fn feed_forward(&self, x: Tensor<3>) -> Tensor<3> {
        if gpu::serves(&x.device()) {
            let y = self.ff_in.product(x);
            return self
                .ff_out
                .forward(gpu::gate(y, self.ff_in.bias.clone(), Gate::GeluOfSecond));
        }
        let [value, gate]: [Tensor<3>; 2] = self
            .ff_in
            .forward(x)
            .chunk(2, 2)
            .try_into()
            .expect("chunk(2) gives two halves");
        self.ff_out.forward(value * activation::gelu(gate))
    }
}

#[derive(Debug)]
struct Projections {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
}

impl Projections {
    fn load(vars: &Vars, channels: usize, context: usize, heads: usize) -> Self {
        Self {
            to_q: Linear::load_no_bias(&vars.at("to_q"), channels, channels),
            to_k: Linear::load_no_bias(&vars.at("to_k"), context, channels),
            to_v: Linear::load_no_bias(&vars.at("to_v"), context, channels),
            to_out: Linear::load(&vars.at("to_out.0"), channels, channels),
            heads,
        }
    }

    fn queries(&self, x: Tensor<3>) -> Tensor<4> {
        split_heads(self.to_q.forward(x), self.heads)
    }

    fn keys_values(&self, context: Tensor<3>) -> KeysValues {
        KeysValues {
            k: split_heads(self.to_k.forward(context.clone()), self.heads),
            v: split_heads(self.to_v.forward(context), self.heads),
        }
    }
}

#[derive(Debug)]
struct SelfAttention(Projections);

impl SelfAttention {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let KeysValues { k, v } = self.0.keys_values(x.clone());
        let attended = sdpa(self.0.queries(x), k, v, false);
        self.0.to_out.forward(merge_heads(attended))
    }
}

/// Attention to the text, and to reference pictures beside it.
#[derive(Debug)]
pub(in crate::models) struct CrossAttention(Projections);

impl CrossAttention {
    /// Keys and values of the text; they stay the same in every step.
    ///
    /// # Shapes
    /// `[rows, tokens, cross_attention_dim]` → two of `[rows, heads, tokens, head_dim]`.
    pub fn keys_values(&self, text: Tensor<3>) -> KeysValues {
        self.0.keys_values(text)
    }

    /// Width and number of heads, for projections of another context.
    pub fn channels_and_heads(&self) -> [usize; 2] {
        [self.0.to_q.weight.dims()[0], self.0.heads]
    }

    fn forward(&self, x: Tensor<3>, context: &LayerContext) -> Tensor<3> {
        let queries = self.0.queries(x);
        let attend = |to: &KeysValues| sdpa(queries.clone(), to.k.clone(), to.v.clone(), false);
        let mut attended = attend(&context.text);
        for (picture, scale) in &context.pictures {
            attended = attended + attend(picture) * *scale;
        }
        self.0.to_out.forward(merge_heads(attended))
    }
}
