//! A UNet's configuration, as diffusers writes it.

use anyhow::Result;
use serde::Deserialize;

use crate::fail;

/// `unet/config.json`; what is not listed must have SDXL's value (see [`UNetConfig::check`]).
#[derive(Debug, Clone, Deserialize)]
pub struct UNetConfig {
    #[serde(default = "default_sample_size")]
    pub sample_size: usize,
    #[serde(default = "four")]
    pub in_channels: usize,
    #[serde(default = "four")]
    pub out_channels: usize,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: usize,
    pub down_block_types: Vec<String>,
    #[serde(default)]
    pub up_block_types: Vec<String>,
    /// In spite of its name the number of heads (diffusers keeps the name for old checkpoints).
    pub attention_head_dim: PerBlock,
    #[serde(default = "one")]
    pub transformer_layers_per_block: PerBlock,
    pub cross_attention_dim: usize,
    pub addition_time_embed_dim: usize,
    pub projection_class_embeddings_input_dim: usize,
    #[serde(default = "default_groups")]
    pub norm_num_groups: usize,
    #[serde(default = "default_eps")]
    pub norm_eps: f64,
    #[serde(default)]
    pub use_linear_projection: bool,
    pub addition_embed_type: Option<String>,
    pub act_fn: Option<String>,
    pub flip_sin_to_cos: Option<bool>,
    pub freq_shift: Option<f64>,
    pub resnet_time_scale_shift: Option<String>,
    /// Channels of the guidance embedding of distilled models (LCM).
    pub time_cond_proj_dim: Option<usize>,
    pub class_embed_type: Option<String>,
    pub encoder_hid_dim_type: Option<String>,
}

/// One number for all blocks, or one each.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum PerBlock {
    All(usize),
    Each(Vec<usize>),
}

fn default_sample_size() -> usize {
    128
}

fn four() -> usize {
    4
}

fn one() -> PerBlock {
    PerBlock::All(1)
}

fn default_groups() -> usize {
    32
}

fn default_eps() -> f64 {
    1e-5
}

impl PerBlock {
    pub(super) fn at(&self, block: usize) -> usize {
        match self {
            Self::All(n) => *n,
            Self::Each(each) => each[block],
        }
    }

    fn fits(&self, blocks: usize) -> bool {
        match self {
            Self::All(n) => *n > 0,
            Self::Each(each) => each.len() == blocks && each.iter().all(|&n| n > 0),
        }
    }
}

impl UNetConfig {
    /// # Errors
    /// `BadInput` naming the first field whose value this network does not implement.
    pub fn check(&self) -> Result<()> {
        let blocks = self.block_out_channels.len();
        let is = |value: &Option<String>, wanted: &str| value.as_deref().is_none_or(|v| v == wanted);
        let known = |types: &[String], plain: &str, cross: &str| {
            types.len() == blocks && types.iter().all(|t| t == plain || t == cross)
        };
        let checks = [
            (
                "addition_embed_type",
                self.addition_embed_type.as_deref() == Some("text_time"),
                "text_time",
            ),
            ("use_linear_projection", self.use_linear_projection, "true"),
            ("act_fn", is(&self.act_fn, "silu"), "silu"),
            ("flip_sin_to_cos", self.flip_sin_to_cos != Some(false), "true"),
            ("freq_shift", self.freq_shift.unwrap_or(0.0) == 0.0, "0"),
            (
                "resnet_time_scale_shift",
                is(&self.resnet_time_scale_shift, "default"),
                "default",
            ),
            (
                "time_cond_proj_dim",
                self.time_cond_proj_dim.is_none_or(|n| n > 3),
                "null, or at least 4",
            ),
            ("class_embed_type", self.class_embed_type.is_none(), "null"),
            (
                "encoder_hid_dim_type",
                self.encoder_hid_dim_type.is_none(),
                "null",
            ),
            ("block_out_channels", blocks > 0, "at least one block"),
            (
                "down_block_types",
                known(&self.down_block_types, "DownBlock2D", "CrossAttnDownBlock2D"),
                "DownBlock2D or CrossAttnDownBlock2D for each block",
            ),
            (
                "up_block_types",
                known(&self.up_block_types, "UpBlock2D", "CrossAttnUpBlock2D"),
                "UpBlock2D or CrossAttnUpBlock2D for each block",
            ),
            (
                "attention_head_dim",
                self.attention_head_dim.fits(blocks),
                "one number, or one for each block",
            ),
            (
                "transformer_layers_per_block",
                self.transformer_layers_per_block.fits(blocks),
                "one number, or one for each block",
            ),
            (
                "norm_num_groups",
                self.norm_num_groups > 0
                    && self
                        .block_out_channels
                        .iter()
                        .all(|c| c.is_multiple_of(self.norm_num_groups)),
                "a divisor of every block's channels",
            ),
        ];
        match checks.iter().find(|(_, ok, _)| !ok) {
            None => Ok(()),
            Some((field, _, wanted)) => fail!(
                BadInput, "unet config: `{field}` has a value that SDXL's network does not have; expected {wanted}";
                "only SDXL-type UNets are built"
            ),
        }
    }

    pub(super) fn time_embed_dim(&self) -> usize {
        4 * self.block_out_channels[0]
    }
}
