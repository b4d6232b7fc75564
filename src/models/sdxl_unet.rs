//! SDXL's denoiser (Podell et al. 2023), as diffusers' `UNet2DConditionModel` configures it:
//! residual and transformer blocks on three resolutions, conditioned on time, text, pooled text
//! and picture size.

use anyhow::Result;
use burn::tensor::Tensor;

use crate::nn::conv::Conv2d;
use crate::nn::norm::GroupNorm;
use crate::weights::{Parameters, Vars};

mod attention;
pub(super) mod blocks;
mod config;
mod context;
mod freeu;
pub(super) mod trunk;

use attention::CrossAttention;
use blocks::UpBlock;
pub use config::{PerBlock, UNetConfig};
pub use context::{KeysValues, LayerContext, Prepared};
pub use freeu::FreeU;
pub use trunk::Conditioning;
use trunk::Trunk;

/// The denoiser.
#[derive(Debug)]
pub struct UNet {
    trunk: Trunk,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    /// Its weights by name, for adapters.
    pub parameters: Parameters,
    pub config: UNetConfig,
}

/// What a ControlNet adds to the denoiser.
#[derive(Debug, Clone)]
pub struct Residuals {
    /// One a skip, in the order the skips are made.
    pub down: Vec<Tensor<4>>,
    pub mid: Tensor<4>,
}

/// A part of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Down,
    Mid,
    Up,
}

/// Where a cross-attention is, and how wide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossPlace {
    pub part: Part,
    pub block: usize,
    /// The attention layer in its block; several attentions of one layer share it.
    pub layer: usize,
    pub channels: usize,
    pub heads: usize,
}

impl UNet {
    /// # Errors
    /// When the configuration is not one of SDXL's kind.
    pub fn load(vars: &Vars, config: UNetConfig) -> Result<Self> {
        config.check()?;
        let first = config.block_out_channels[0];
        let (groups, eps) = (config.norm_num_groups, config.norm_eps);
        Ok(Self {
            trunk: Trunk::load(vars, &config),
            up_blocks: (0..config.block_out_channels.len())
                .map(|i| UpBlock::load(&vars.at("up_blocks").at(i), &config, i))
                .collect(),
            conv_norm_out: GroupNorm::load(&vars.at("conv_norm_out"), groups, first, eps),
            conv_out: Conv2d::load(&vars.at("conv_out"), first, config.out_channels, 3),
            parameters: vars.parameters(),
            config,
        })
    }

    /// What all steps share, for the rows of `conditioning`.
    pub fn prepare(&self, conditioning: &Conditioning) -> Prepared {
        self.trunk
            .prepare(conditioning, self.up_cross().map(|(_, _, cross)| cross))
    }

    /// Every cross-attention in the order of use, which is that of [`Prepared::add_pictures`].
    pub fn cross_places(&self) -> Vec<CrossPlace> {
        let place = |part, block, layer, cross: &CrossAttention| {
            let [channels, heads] = cross.channels_and_heads();
            CrossPlace {
                part,
                block,
                layer,
                channels,
                heads,
            }
        };
        let down = self
            .trunk
            .down_cross()
            .map(|(b, l, c)| place(Part::Down, b, l, c));
        let mid = self.trunk.mid_cross().map(|(l, c)| place(Part::Mid, 0, l, c));
        let up = self.up_cross().map(|(b, l, c)| place(Part::Up, b, l, c));
        down.chain(mid).chain(up).collect()
    }

    fn up_cross(&self) -> impl Iterator<Item = (usize, usize, &CrossAttention)> {
        let blocks = self.up_blocks.iter().enumerate();
        blocks.flat_map(|(i, block)| {
            block
                .cross_attentions()
                .map(move |(layer, cross)| (i, layer, cross))
        })
    }

    /// Predicts the noise in `sample`.
    ///
    /// # Shapes
    /// `sample: [rows, in_channels, height, width]` (latents), `timesteps`: one for all rows or one
    /// each → `[rows, out_channels, height, width]`.
    ///
    /// # Panics
    /// If `prepared` has neither one row nor as many as `sample`.
    pub fn forward(
        &self,
        sample: Tensor<4>,
        timesteps: &[f32],
        prepared: &Prepared,
        residuals: Option<&Residuals>,
    ) -> Tensor<4> {
        let temb = self.trunk.embed_time(timesteps, prepared);
        let mut contexts = prepared.layers.iter();
        let (mut x, mut skips) = self.trunk.forward(self.trunk.enter(sample), &temb, &mut contexts);
        if let Some(residuals) = residuals {
            x = x + residuals.mid.clone();
            let pairs = skips.into_iter().zip(&residuals.down);
            skips = pairs.map(|(skip, residual)| skip + residual.clone()).collect();
        }
        for block in &self.up_blocks {
            x = block.forward(x, &temb, &mut contexts, &mut skips, prepared.freeu.as_ref());
        }
        self.conv_out.forward(self.conv_norm_out.forward_silu(x))
    }
}
