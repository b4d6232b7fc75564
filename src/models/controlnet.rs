//! ControlNet (Zhang et al. 2023) for SDXL, as diffusers' `ControlNetModel`: a copy of the denoiser's
//! first half that reads a control picture and adds to the denoiser's skips.

use anyhow::Result;
use burn::tensor::{Tensor, activation};
use serde::Deserialize;

use super::sdxl_unet::trunk::Trunk;
use super::sdxl_unet::{Conditioning, Prepared, Residuals, UNetConfig};
use crate::fail;
use crate::nn::conv::Conv2d;
use crate::weights::Vars;

/// `config.json` of a ControlNet: the denoiser's fields and its own.
#[derive(Debug, Clone, Deserialize)]
pub struct ControlNetConfig {
    #[serde(flatten)]
    pub unet: UNetConfig,
    #[serde(default = "default_embedding_channels")]
    pub conditioning_embedding_out_channels: Vec<usize>,
    #[serde(default = "three")]
    pub conditioning_channels: usize,
    #[serde(default)]
    pub controlnet_conditioning_channel_order: Option<String>,
    #[serde(default)]
    pub global_pool_conditions: bool,
}

fn default_embedding_channels() -> Vec<usize> {
    vec![16, 32, 96, 256]
}

fn three() -> usize {
    3
}

impl ControlNetConfig {
    /// # Errors
    /// `BadInput` naming the first field whose value this network does not implement.
    pub fn check(&self) -> Result<()> {
        let order = self.controlnet_conditioning_channel_order.as_deref();
        let problem = if self.conditioning_embedding_out_channels.len() < 2 {
            "conditioning_embedding_out_channels needs at least two numbers"
        } else if self.conditioning_channels != 3 {
            "conditioning_channels must be 3"
        } else if order.is_some_and(|order| order != "rgb") {
            "controlnet_conditioning_channel_order must be rgb"
        } else if self.global_pool_conditions {
            "global_pool_conditions must be false"
        } else {
            return self.mirrored().check();
        };
        fail!(BadInput, "controlnet config: {problem}"; "use a ControlNet made for SDXL");
    }

    /// The denoiser that this is the first half of.
    fn mirrored(&self) -> UNetConfig {
        let up = |down: &String| down.replace("Down", "Up");
        UNetConfig {
            up_block_types: self.unet.down_block_types.iter().rev().map(up).collect(),
            ..self.unet.clone()
        }
    }

    /// Pixels of the control picture per latent along each side.
    pub fn scale_factor(&self) -> usize {
        1 << (self.conditioning_embedding_out_channels.len() - 1)
    }
}

/// The network.
#[derive(Debug)]
pub struct ControlNet {
    embedding: ConditioningEmbedding,
    trunk: Trunk,
    /// One a skip.
    down_convs: Vec<Conv2d>,
    mid_conv: Conv2d,
    pub config: ControlNetConfig,
}

impl ControlNet {
    /// # Errors
    /// When the configuration is not one of SDXL's kind.
    pub fn load(vars: &Vars, config: ControlNetConfig) -> Result<Self> {
        config.check()?;
        let unet = config.mirrored();
        let channels = &unet.block_out_channels;
        let last = channels.len() - 1;
        let mut skips = vec![channels[0]];
        for (i, &width) in channels.iter().enumerate() {
            // The down-sampler makes a skip, too; the last block has none.
            let made = unet.layers_per_block + usize::from(i < last);
            skips.extend(std::iter::repeat_n(width, made));
        }
        let zero_conv = |vars: &Vars, width| Conv2d::load(vars, width, width, 1);
        let downs = vars.at("controlnet_down_blocks");
        Ok(Self {
            embedding: ConditioningEmbedding::load(&vars.at("controlnet_cond_embedding"), &config),
            trunk: Trunk::load(vars, &unet),
            down_convs: skips
                .iter()
                .enumerate()
                .map(|(i, &width)| zero_conv(&downs.at(i), width))
                .collect(),
            mid_conv: zero_conv(&vars.at("controlnet_mid_block"), channels[last]),
            config,
        })
    }

    /// What all steps share; the text and the sizes are those of the denoiser.
    pub fn prepare(&self, conditioning: &Conditioning) -> Prepared {
        self.trunk.prepare(conditioning, std::iter::empty())
    }

    /// The control picture as the network adds it to its first layer; the same in every step.
    ///
    /// # Shapes
    /// `[rows, 3, 8 h, 8 w]` in 0…1 → `[rows, channels, h, w]`.
    pub fn embed(&self, picture: Tensor<4>) -> Tensor<4> {
        self.embedding.forward(picture)
    }

    /// # Shapes
    /// `sample: [rows, 4, h, w]`, `control`: from [`Self::embed`], one row or as many;
    /// `timesteps`: one for all rows or one each.
    pub fn forward(
        &self,
        sample: Tensor<4>,
        timesteps: &[f32],
        prepared: &Prepared,
        control: &Tensor<4>,
    ) -> Residuals {
        let temb = self.trunk.embed_time(timesteps, prepared);
        let x = self.trunk.enter(sample) + control.clone();
        let (mid, skips) = self.trunk.forward(x, &temb, &mut prepared.layers.iter());
        let down = skips.into_iter().zip(&self.down_convs);
        Residuals {
            down: down.map(|(skip, conv)| conv.forward(skip)).collect(),
            mid: self.mid_conv.forward(mid),
        }
    }
}

impl Residuals {
    /// Each times the scale; in guess mode the skips from the picture's side inwards get less, from a
    /// tenth of it on.
    pub fn scaled(self, scale: f64, guess_mode: bool) -> Self {
        let last = self.down.len() as f64;
        let factor = |i: usize| match guess_mode {
            true => scale * 10_f64.powf(i as f64 / last - 1.0),
            false => scale,
        };
        let down = self.down.into_iter().enumerate();
        Self {
            down: down.map(|(i, residual)| residual * factor(i)).collect(),
            mid: self.mid * scale,
        }
    }

    /// The same behind as many rows of zeros, which the unconditional branch gets in guess mode.
    pub fn behind_zeros(self) -> Self {
        let behind = |t: Tensor<4>| Tensor::cat(vec![t.zeros_like(), t], 0);
        Self {
            down: self.down.into_iter().map(behind).collect(),
            mid: behind(self.mid),
        }
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        let down = self.down.into_iter().zip(other.down);
        Self {
            down: down.map(|(a, b)| a + b).collect(),
            mid: self.mid + other.mid,
        }
    }
}

/// Shrinks the control picture to the latents' size.
#[derive(Debug)]
struct ConditioningEmbedding {
    conv_in: Conv2d,
    blocks: Vec<Conv2d>,
    conv_out: Conv2d,
}

impl ConditioningEmbedding {
    fn load(vars: &Vars, config: &ControlNetConfig) -> Self {
        let channels = &config.conditioning_embedding_out_channels;
        let blocks = vars.at("blocks");
        let mut convs = Vec::new();
        for (i, pair) in channels.windows(2).enumerate() {
            convs.push(Conv2d::load(&blocks.at(2 * i), pair[0], pair[0], 3));
            convs.push(Conv2d::load(&blocks.at(2 * i + 1), pair[0], pair[1], 3).with_stride(2));
        }
        let last = channels[channels.len() - 1];
        Self {
            conv_in: Conv2d::load(&vars.at("conv_in"), config.conditioning_channels, channels[0], 3),
            blocks: convs,
            conv_out: Conv2d::load(&vars.at("conv_out"), last, config.unet.block_out_channels[0], 3),
        }
    }

    fn forward(&self, picture: Tensor<4>) -> Tensor<4> {
        let mut x = activation::silu(self.conv_in.forward(picture));
        for conv in &self.blocks {
            x = activation::silu(conv.forward(x));
        }
        self.conv_out.forward(x)
    }
}
