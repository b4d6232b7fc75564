//! The first half of the denoiser, which ControlNet copies: embeddings, down blocks, middle block.

use std::slice::Iter;

use burn::tensor::{DType, Device, Tensor, activation};

use super::attention::CrossAttention;
use super::blocks::{DownBlock, MidBlock};
use super::config::UNetConfig;
use super::context::{LayerContext, Prepared};
use crate::nn::conv::Conv2d;
use crate::nn::embeddings::{guidance_embedding, timestep_embedding};
use crate::nn::linear::Linear;
use crate::weights::Vars;

/// What the denoiser is conditioned on besides the time.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// `[rows, tokens, cross_attention_dim]`
    pub encoder_hidden_states: Tensor<3>,
    /// `[rows, pooled]`
    pub text_embeds: Tensor<2>,
    /// Six numbers a row: original height and width, crop top and left, target height and width;
    /// for refiners five: the last one is the aesthetic score.
    pub time_ids: Vec<Vec<f32>>,
    /// Guidance minus 1 a row, for models that were distilled with it (`time_cond_proj_dim`).
    pub guidance: Option<Vec<f32>>,
}

#[derive(Debug)]
pub(in crate::models) struct Trunk {
    time_embedding: TimestepMlp,
    add_embedding: TimestepMlp,
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    config: UNetConfig,
}

impl Trunk {
    pub fn load(vars: &Vars, config: &UNetConfig) -> Self {
        let channels = &config.block_out_channels;
        let (first, time) = (channels[0], config.time_embed_dim());
        let added = config.projection_class_embeddings_input_dim;
        Self {
            time_embedding: TimestepMlp::load_conditional(
                &vars.at("time_embedding"),
                first,
                time,
                config.time_cond_proj_dim,
            ),
            add_embedding: TimestepMlp::load(&vars.at("add_embedding"), added, time),
            conv_in: Conv2d::load(&vars.at("conv_in"), config.in_channels, first, 3),
            down_blocks: (0..channels.len())
                .map(|i| DownBlock::load(&vars.at("down_blocks").at(i), config, i))
                .collect(),
            mid_block: MidBlock::load(&vars.at("mid_block"), config),
            config: config.clone(),
        }
    }

    /// Everything that stays the same in every step; `up` names the cross-attentions behind the trunk.
    pub fn prepare<'a>(
        &'a self,
        conditioning: &Conditioning,
        up: impl Iterator<Item = &'a CrossAttention>,
    ) -> Prepared {
        let text = &conditioning.encoder_hidden_states;
        let (device, dtype) = (text.device(), text.dtype());
        let layer = |cross: &CrossAttention| LayerContext {
            text: cross.keys_values(text.clone()),
            pictures: Vec::new(),
        };
        let guidance = conditioning.guidance.as_ref().map(|values| {
            let channels = self.config.time_cond_proj_dim.unwrap_or_default();
            self.time_embedding
                .condition(guidance_embedding(values, channels, &device).cast(dtype))
        });
        Prepared {
            layers: self.cross_attentions().chain(up).map(layer).collect(),
            added: self.embed_sizes(conditioning, &device, dtype),
            guidance,
            freeu: None,
        }
    }

    fn embed_sizes(&self, conditioning: &Conditioning, device: &Device, dtype: DType) -> Tensor<2> {
        let rows = conditioning.time_ids.len();
        let ids = conditioning.time_ids.concat();
        let channels = self.config.addition_time_embed_dim;
        let sizes = timestep_embedding(&ids, channels, device)
            .cast(dtype)
            .reshape([rows, ids.len() / rows * channels]);
        self.add_embedding
            .forward(Tensor::cat(vec![conditioning.text_embeds.clone(), sizes], 1))
    }

    /// Down and middle, in the order of use.
    pub fn cross_attentions(&self) -> impl Iterator<Item = &CrossAttention> {
        self.down_cross()
            .map(|(_, _, cross)| cross)
            .chain(self.mid_cross().map(|(_, cross)| cross))
    }

    /// Block, attention layer and attention.
    pub fn down_cross(&self) -> impl Iterator<Item = (usize, usize, &CrossAttention)> {
        let blocks = self.down_blocks.iter().enumerate();
        blocks.flat_map(|(i, block)| {
            block
                .cross_attentions()
                .map(move |(layer, cross)| (i, layer, cross))
        })
    }

    pub fn mid_cross(&self) -> impl Iterator<Item = (usize, &CrossAttention)> {
        self.mid_block.cross_attentions()
    }

    /// Silu of the sum of time, guidance, size and text embeddings; every residual block starts with it.
    ///
    /// # Shapes
    /// `timesteps`: one for all rows, or one each → `[rows, time_embed_dim]`.
    pub fn embed_time(&self, timesteps: &[f32], prepared: &Prepared) -> Tensor<2> {
        let (device, dtype) = (prepared.added.device(), prepared.added.dtype());
        let time = timestep_embedding(timesteps, self.config.block_out_channels[0], &device).cast(dtype);
        let time = match &prepared.guidance {
            Some(guidance) => time + guidance.clone(),
            None => time,
        };
        activation::silu(self.time_embedding.forward(time) + prepared.added.clone())
    }

    /// The first convolution.
    pub fn enter(&self, sample: Tensor<4>) -> Tensor<4> {
        self.conv_in.forward(sample)
    }

    /// From the first convolution's output to the middle block's, and the skips in the order made.
    pub fn forward(
        &self,
        x: Tensor<4>,
        temb: &Tensor<2>,
        contexts: &mut Iter<'_, LayerContext>,
    ) -> (Tensor<4>, Vec<Tensor<4>>) {
        let mut skips = vec![x.clone()];
        let mut x = x;
        for block in &self.down_blocks {
            x = block.forward(x, temb, contexts, &mut skips);
        }
        (self.mid_block.forward(x, temb, contexts), skips)
    }
}

/// Linear, silu, linear.
#[derive(Debug)]
struct TimestepMlp {
    /// Adds a condition to the input.
    cond_proj: Option<Linear>,
    linear_1: Linear,
    linear_2: Linear,
}

impl TimestepMlp {
    fn load(vars: &Vars, input: usize, output: usize) -> Self {
        Self::load_conditional(vars, input, output, None)
    }

    fn load_conditional(vars: &Vars, input: usize, output: usize, condition: Option<usize>) -> Self {
        Self {
            cond_proj: condition.map(|n| Linear::load_no_bias(&vars.at("cond_proj"), n, input)),
            linear_1: Linear::load(&vars.at("linear_1"), input, output),
            linear_2: Linear::load(&vars.at("linear_2"), output, output),
        }
    }

    fn condition(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.cond_proj {
            Some(projection) => projection.forward(x),
            None => x,
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.linear_2.forward(activation::silu(self.linear_1.forward(x)))
    }
}
