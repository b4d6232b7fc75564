//! SDXL's denoiser (Podell et al. 2023), as diffusers' `UNet2DConditionModel` configures it:
//! residual and transformer blocks on three resolutions, conditioned on time, text, pooled text
//! and picture size.

use anyhow::Result;
use burn::tensor::{Device, Tensor, activation};
use serde::Deserialize;

use crate::fail;
use crate::nn::attention::{merge_heads, sdpa, split_heads};
use crate::nn::conv::{Conv2d, upsample_nearest};
use crate::nn::embeddings::timestep_embedding;
use crate::nn::linear::Linear;
use crate::nn::norm::{GroupNorm, LayerNorm};
use crate::weights::Vars;

/// `unet/config.json`; what is not listed must have SDXL's value (see [`UNetConfig::check`]).
#[derive(Debug, Clone, Deserialize)]
pub struct UNetConfig {
    pub sample_size: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: usize,
    pub down_block_types: Vec<String>,
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
    fn at(&self, block: usize) -> usize {
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
            ("time_cond_proj_dim", self.time_cond_proj_dim.is_none(), "null"),
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

    fn time_embed_dim(&self) -> usize {
        4 * self.block_out_channels[0]
    }
}

/// What the denoiser is conditioned on besides the time.
#[derive(Debug, Clone)]
pub struct Conditioning {
    /// `[batch, tokens, cross_attention_dim]`
    pub encoder_hidden_states: Tensor<3>,
    /// `[batch, pooled]`
    pub text_embeds: Tensor<2>,
    /// Six numbers a row: original height and width, crop top and left, target height and width.
    pub time_ids: Vec<[f32; 6]>,
}

/// The denoiser.
#[derive(Debug)]
pub struct UNet {
    time_embedding: TimestepMlp,
    add_embedding: TimestepMlp,
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    pub config: UNetConfig,
}

impl UNet {
    /// # Errors
    /// When the configuration is not one of SDXL's kind.
    pub fn load(vars: &Vars, config: UNetConfig) -> Result<Self> {
        config.check()?;
        let channels = &config.block_out_channels;
        let (first, time) = (channels[0], config.time_embed_dim());
        let last = channels.len() - 1;
        let down_blocks = (0..=last)
            .map(|i| DownBlock::load(&vars.at("down_blocks").at(i), &config, i))
            .collect();
        let up_blocks = (0..=last)
            .map(|i| UpBlock::load(&vars.at("up_blocks").at(i), &config, i))
            .collect();
        Ok(Self {
            time_embedding: TimestepMlp::load(&vars.at("time_embedding"), first, time),
            add_embedding: TimestepMlp::load(
                &vars.at("add_embedding"),
                config.projection_class_embeddings_input_dim,
                time,
            ),
            conv_in: Conv2d::load(&vars.at("conv_in"), config.in_channels, first, 3),
            down_blocks,
            mid_block: MidBlock::load(&vars.at("mid_block"), &config),
            up_blocks,
            conv_norm_out: GroupNorm::load(
                &vars.at("conv_norm_out"),
                config.norm_num_groups,
                first,
                config.norm_eps,
            ),
            conv_out: Conv2d::load(&vars.at("conv_out"), first, config.out_channels, 3),
            config,
        })
    }

    /// Predicts the noise in `sample`.
    ///
    /// # Shapes
    /// `sample: [batch, in_channels, height, width]` (latents), `timesteps: [batch]` →
    /// `[batch, out_channels, height, width]`.
    pub fn forward(&self, sample: Tensor<4>, timesteps: &[f32], conditioning: &Conditioning) -> Tensor<4> {
        let context = &conditioning.encoder_hidden_states;
        let temb = self.embed_time(timesteps, conditioning, &sample);

        let mut hidden_states = self.conv_in.forward(sample);
        let mut skips = vec![hidden_states.clone()];
        for block in &self.down_blocks {
            hidden_states = block.forward(hidden_states, &temb, context, &mut skips);
        }
        hidden_states = self.mid_block.forward(hidden_states, &temb, context);
        for block in &self.up_blocks {
            hidden_states = block.forward(hidden_states, &temb, context, &mut skips);
        }
        self.conv_out
            .forward(activation::silu(self.conv_norm_out.forward(hidden_states)))
    }

    /// Silu of the sum of time and size-and-text embeddings; every residual block starts with it.
    fn embed_time(&self, timesteps: &[f32], conditioning: &Conditioning, sample: &Tensor<4>) -> Tensor<2> {
        let (device, dtype) = (sample.device(), sample.dtype());
        let batch = timesteps.len();
        let embed = |values: &[f32], channels: usize, device: &Device| {
            timestep_embedding(values, channels, device).cast(dtype)
        };
        let time = self
            .time_embedding
            .forward(embed(timesteps, self.config.block_out_channels[0], &device));
        let ids: Vec<f32> = conditioning.time_ids.iter().flatten().copied().collect();
        let channels = self.config.addition_time_embed_dim;
        let size = embed(&ids, channels, &device).reshape([batch, 6 * channels]);
        let added = Tensor::cat(vec![conditioning.text_embeds.clone(), size], 1);
        activation::silu(time + self.add_embedding.forward(added))
    }
}

/// Linear, silu, linear.
#[derive(Debug)]
struct TimestepMlp {
    linear_1: Linear,
    linear_2: Linear,
}

impl TimestepMlp {
    fn load(vars: &Vars, input: usize, output: usize) -> Self {
        Self {
            linear_1: Linear::load(&vars.at("linear_1"), input, output),
            linear_2: Linear::load(&vars.at("linear_2"), output, output),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.linear_2.forward(activation::silu(self.linear_1.forward(x)))
    }
}

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
        let y = self
            .conv1
            .forward(activation::silu(self.norm1.forward(x.clone())));
        let y = y + self
            .time_emb_proj
            .forward(temb.clone())
            .unsqueeze_dims::<4>(&[2, 3]);
        let y = self.conv2.forward(activation::silu(self.norm2.forward(y)));
        let shortcut = match &self.conv_shortcut {
            Some(conv) => conv.forward(x),
            None => x,
        };
        shortcut + y
    }
}

/// Transformer blocks over the pixels of a feature map.
#[derive(Debug)]
struct Transformer2D {
    norm: GroupNorm,
    proj_in: Linear,
    transformer_blocks: Vec<TransformerBlock>,
    proj_out: Linear,
}

impl Transformer2D {
    fn load(vars: &Vars, config: &UNetConfig, block: usize) -> Self {
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

    fn forward(&self, x: Tensor<4>, context: &Tensor<3>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let y = self.norm.forward(x.clone());
        let y = y.reshape([batch, channels, height * width]).swap_dims(1, 2);
        let mut y = self.proj_in.forward(y);
        for block in &self.transformer_blocks {
            y = block.forward(y, context);
        }
        let y = self.proj_out.forward(y).swap_dims(1, 2);
        x + y.reshape([batch, channels, height, width])
    }
}

/// Self-attention, attention to the text, gated feed-forward.
#[derive(Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
}

impl TransformerBlock {
    fn load(vars: &Vars, channels: usize, heads: usize, context: usize) -> Self {
        const EPS: f64 = 1e-5;
        Self {
            norm1: LayerNorm::load(&vars.at("norm1"), channels, EPS),
            attn1: Attention::load(&vars.at("attn1"), channels, channels, heads),
            norm2: LayerNorm::load(&vars.at("norm2"), channels, EPS),
            attn2: Attention::load(&vars.at("attn2"), channels, context, heads),
            norm3: LayerNorm::load(&vars.at("norm3"), channels, EPS),
            ff_in: Linear::load(&vars.at("ff.net.0.proj"), channels, 8 * channels),
            ff_out: Linear::load(&vars.at("ff.net.2"), 4 * channels, channels),
        }
    }

    fn forward(&self, x: Tensor<3>, context: &Tensor<3>) -> Tensor<3> {
        let y = self.norm1.forward(x.clone());
        let x = x + self.attn1.forward(y.clone(), y);
        let x = x.clone() + self.attn2.forward(self.norm2.forward(x), context.clone());
        x.clone() + self.feed_forward(self.norm3.forward(x))
    }

    /// GEGLU (Shazeer 2020).
    fn feed_forward(&self, x: Tensor<3>) -> Tensor<3> {
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
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
}

impl Attention {
    fn load(vars: &Vars, channels: usize, context: usize, heads: usize) -> Self {
        Self {
            to_q: Linear::load_no_bias(&vars.at("to_q"), channels, channels),
            to_k: Linear::load_no_bias(&vars.at("to_k"), context, channels),
            to_v: Linear::load_no_bias(&vars.at("to_v"), context, channels),
            to_out: Linear::load(&vars.at("to_out.0"), channels, channels),
            heads,
        }
    }

    fn forward(&self, x: Tensor<3>, context: Tensor<3>) -> Tensor<3> {
        let (q, k, v) = (
            self.to_q.forward(x),
            self.to_k.forward(context.clone()),
            self.to_v.forward(context),
        );
        let [q, k, v] = [q, k, v].map(|t| split_heads(t, self.heads));
        self.to_out.forward(merge_heads(sdpa(q, k, v, false)))
    }
}

#[derive(Debug)]
struct DownBlock {
    resnets: Vec<ResnetBlock>,
    /// One after each residual block, or none.
    attentions: Vec<Transformer2D>,
    downsampler: Option<Conv2d>,
}

impl DownBlock {
    fn load(vars: &Vars, config: &UNetConfig, block: usize) -> Self {
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

    fn forward(
        &self,
        mut x: Tensor<4>,
        temb: &Tensor<2>,
        context: &Tensor<3>,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            x = resnet.forward(x, temb);
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(x, context);
            }
            skips.push(x.clone());
        }
        if let Some(downsampler) = &self.downsampler {
            x = downsampler.forward(x);
            skips.push(x.clone());
        }
        x
    }
}

#[derive(Debug)]
struct MidBlock {
    resnet_in: ResnetBlock,
    attention: Transformer2D,
    resnet_out: ResnetBlock,
}

impl MidBlock {
    fn load(vars: &Vars, config: &UNetConfig) -> Self {
        let last = config.block_out_channels.len() - 1;
        let channels = config.block_out_channels[last];
        Self {
            resnet_in: ResnetBlock::load(&vars.at("resnets.0"), config, channels, channels),
            attention: Transformer2D::load(&vars.at("attentions.0"), config, last),
            resnet_out: ResnetBlock::load(&vars.at("resnets.1"), config, channels, channels),
        }
    }

    fn forward(&self, x: Tensor<4>, temb: &Tensor<2>, context: &Tensor<3>) -> Tensor<4> {
        let x = self.attention.forward(self.resnet_in.forward(x, temb), context);
        self.resnet_out.forward(x, temb)
    }
}

#[derive(Debug)]
struct UpBlock {
    resnets: Vec<ResnetBlock>,
    attentions: Vec<Transformer2D>,
    upsampler: Option<Conv2d>,
}

impl UpBlock {
    /// Up blocks mirror the down blocks: block 0 works on the lowest resolution.
    fn load(vars: &Vars, config: &UNetConfig, block: usize) -> Self {
        let channels = &config.block_out_channels;
        let last = channels.len() - 1;
        let mirror = last - block;
        let output = channels[mirror];
        let previous = channels[(mirror + 1).min(last)];
        let skip_of_last = channels[mirror.saturating_sub(1)];
        let layers = config.layers_per_block + 1;
        let attends = config.up_block_types[block] == "CrossAttnUpBlock2D";
        Self {
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

    fn forward(
        &self,
        mut x: Tensor<4>,
        temb: &Tensor<2>,
        context: &Tensor<3>,
        skips: &mut Vec<Tensor<4>>,
    ) -> Tensor<4> {
        for (i, resnet) in self.resnets.iter().enumerate() {
            let skip = skips.pop().expect("every up layer mirrors one down layer");
            x = resnet.forward(Tensor::cat(vec![x, skip], 1), temb);
            if let Some(attention) = self.attentions.get(i) {
                x = attention.forward(x, context);
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
}
