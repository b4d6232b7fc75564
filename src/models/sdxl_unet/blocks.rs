//! Residual, down, middle and up blocks of the denoiser; ControlNet has the first three too.

use std::slice::Iter;

use burn::tensor::Tensor;

use super::attention::{CrossAttention, Transformer2D};
use super::config::UNetConfig;
use super::context::LayerContext;
use super::freeu::FreeU;
use crate::nn::conv::{Conv2d, beside, upsample_nearest};
use crate::nn::linear::Linear;
use crate::nn::norm::GroupNorm;
use crate::weights::Vars;

/// Residual block (He et al. 2015) with the time added between its convolutions.
#[derive(Debug)]
struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Linear,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl ResnetBlock {
    fn load(vars: &Vars, config: &UNetConfig, input: usize, output: usize) -> Self {
        let (groups, eps) = (config.norm_num_groups, config.norm_eps);
        Self {
            norm1: GroupNorm::load(&vars.at("norm1"), groups, input, eps),
            conv1: Conv2d::load(&vars.at("conv1"), input, output, 3),
            time_emb_proj: Linear::load(&vars.at("time_emb_proj"), config.time_embed_dim(), output),
            norm2: GroupNorm::load(&vars.at("norm2"), groups, output, eps),
            conv2: Conv2d::load(&vars.at("conv2"), output, output, 3),
            conv_shortcut: (input != output)
                .then(|| Conv2d::load(&vars.at("conv_shortcut"), input, output, 1)),
        }
    }

    /// `temb`: `[batch, time_embed_dim]`, already through silu.
    fn forward(&self, x: Tensor<4>, temb: &Tensor<2>) -> Tensor<4> {
        let y = self.conv1.forward(self.norm1.forward_silu(x.clone()));
        let y = y + self
            .time_emb_proj
            .forward(temb.clone())
            .unsqueeze_dims::<4>(&[2, 3]);
        let y = self.conv2.forward(self.norm2.forward_silu(y));
        let shortcut = match &self.conv_shortcut {
            Some(conv) => conv.forward(x),
            None => x,
        };
        shortcut + y
    }
}

#[derive(Debug)]
pub(in crate::models) struct DownBlock {
    resnets: Vec<ResnetBlock>,
    /// One after each residual block, or none.
    attentions: Vec<Transformer2D>,
    downsampler: Option<Conv2d>,
}

impl DownBlock {
    pub fn load(vars: &Vars, config: &UNetConfig, block: usize) -> Self {
        let channels = &config.block_out_channels;
        let (input, output) = (channels[block.saturating_sub(1)], channels[block]);
        let layers = config.layers_per_block;
        let attends = config.down_block_types[block] == "CrossAttnDownBlock2D";
        let is_last = block + 1 == channels.len();
        Self {
            resnets: (0..layers)
                .map(|i| {
                    let input = if i == 0 { input } else { output };
                    ResnetBlock::load(&vars.at("resnets").at(i), config, input, output)
                })
                .collect(),
            attentions: (0..if attends { layers } else { 0 })
                .map(|i| Transformer2D::load(&vars.at("attentions").at(i), config, block))
                .collect(),
            downsampler: (!is_last)
                .then(|| Conv2d::load(&vars.at("downsamplers.0.conv"), output, output, 3).with_stride(2)),
        }
    }

    pub fn forward(
        &self,
        mut x: Tensor<4>,
        temb: &Tensor<2>,
        contexts: &mut Iter<'_, LayerContext>,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(x, temb);
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(x, contexts);
            }
            skips.push(x.clone());
        }
        if let Some(downsampler) = &self.downsampler {
            x = downsampler.forward(x);
            skips.push(x.clone());
        }
        x
    }

    /// Each with the number of its attention layer, in the order they are used.
    pub fn cross_attentions(&self) -> impl Iterator<Item = (usize, &CrossAttention)> {
        numbered(&self.attentions)
    }
}

fn numbered(attentions: &[Transformer2D]) -> impl Iterator<Item = (usize, &CrossAttention)> {
    let each = attentions.iter().enumerate();
    each.flat_map(|(i, attention)| attention.cross_attentions().map(move |cross| (i, cross)))
}

#[derive(Debug)]
pub(in crate::models) struct MidBlock {
    resnet_in: ResnetBlock,
    attention: Transformer2D,
    resnet_out: ResnetBlock,
}

impl MidBlock {
    pub fn load(vars: &Vars, config: &UNetConfig) -> Self {
        let last = config.block_out_channels.len() - 1;
        let channels = config.block_out_channels[last];
        Self {
            resnet_in: ResnetBlock::load(&vars.at("resnets.0"), config, channels, channels),
            attention: Transformer2D::load(&vars.at("attentions.0"), config, last),
            resnet_out: ResnetBlock::load(&vars.at("resnets.1"), config, channels, channels),
        }
    }

    pub fn forward(
        &self,
        x: Tensor<4>,
        temb: &Tensor<2>,
        contexts: &mut Iter<'_, LayerContext>,
    ) -> Tensor<4> {
        let x = self.attention.forward(self.resnet_in.forward(x, temb), contexts);
        self.resnet_out.forward(x, temb)
    }

    /// As for down blocks; there is one attention layer.
    pub fn cross_attentions(&self) -> impl Iterator<Item = (usize, &CrossAttention)> {
        numbered(std::slice::from_ref(&self.attention))
    }
}

#[derive(Debug)]
pub(in crate::models) struct UpBlock {
    number: usize,
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2D>,
    upsampler: Option<Conv2d>,
}

impl UpBlock {
    /// Up blocks mirror the down blocks: block 0 works on the lowest resolution.
    pub fn load(vars: &Vars, config: &UNetConfig, block: usize) -> Self {
        let channels = &config.block_out_channels;
        let last = channels.len() - 1;
        let mirror = last - block;
        let output = channels[mirror];
        let previous = channels[(mirror + 1).min(last)];
        let skip_of_last = channels[mirror.saturating_sub(1)];
        let layers = config.layers_per_block + 1;
        let attends = config.up_block_types[block] == "CrossAttnUpBlock2D";
        Self {
            number: block,
            resnets: (0..layers)
                .map(|i| {
                    let skip = if i + 1 == layers { skip_of_last } else { output };
                    let input = if i == 0 { previous } else { output };
                    ResnetBlock::load(&vars.at("resnets").at(i), config, input + skip, output)
                })
                .collect(),
            attentions: (0..if attends { layers } else { 0 })
                .map(|i| Transformer2D::load(&vars.at("attentions").at(i), config, mirror))
                .collect(),
            upsampler: (mirror > 0).then(|| Conv2d::load(&vars.at("upsamplers.0.conv"), output, output, 3)),
        }
    }

    pub fn forward(
        &self,
        mut x: Tensor<4>,
        temb: &Tensor<2>,
        contexts: &mut Iter<'_, LayerContext>,
        skips: &mut Vec<Tensor<4>>,
        freeu: Option<&FreeU>,
    ) -> Tensor<4> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            let mut skip = skips.pop().expect("every up layer mirrors one down layer");
            if let Some(freeu) = freeu {
                (x, skip) = freeu.apply(self.number, x, skip);
            }
            x = resnet.forward(beside(x, skip), temb);
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(x, contexts);
            }
        }
        if let Some(upsampler) = &self.upsampler {
            // The size of the next skip, not twice our own: sizes that are no multiple of four
            // latents were rounded up on the way down.
            let [_, _, height, width] = skips.last().expect("the next block's skips are left").dims();
            x = upsampler.forward(upsample_nearest(x, height, width));
        }
        x
    }

    /// As for down blocks.
    pub fn cross_attentions(&self) -> impl Iterator<Item = (usize, &CrossAttention)> {
        numbered(&self.attentions)
    }
}
