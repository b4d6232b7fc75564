//! SDXL's autoencoder (Rombach et al. 2022), as diffusers' `AutoencoderKL`: pictures to latents of
//! an eighth of the size and back.

use anyhow::Result;
use burn::tensor::Tensor;
use serde::Deserialize;

use crate::fail;
use crate::nn::attention::{merge_heads, sdpa, split_heads};
use crate::nn::conv::{Conv2d, upsample_nearest};
use crate::nn::linear::Linear;
use crate::nn::norm::GroupNorm;
use crate::weights::Vars;

const EPS: f64 = 1e-6;

/// `vae/config.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct VaeConfig {
    #[serde(default = "three")]
    pub in_channels: usize,
    #[serde(default = "three")]
    pub out_channels: usize,
    pub latent_channels: usize,
    /// Side of the pictures it was trained on, in pixels.
    #[serde(default = "default_sample_size")]
    pub sample_size: usize,
    pub block_out_channels: Vec<usize>,
    pub layers_per_block: usize,
    #[serde(default = "default_groups")]
    pub norm_num_groups: usize,
    #[serde(default = "default_scaling")]
    pub scaling_factor: f64,
    #[serde(default)]
    pub shift_factor: Option<f64>,
    #[serde(default)]
    pub latents_mean: Option<Vec<f32>>,
    #[serde(default)]
    pub latents_std: Option<Vec<f32>>,
    #[serde(default = "yes")]
    pub use_quant_conv: bool,
    #[serde(default = "yes")]
    pub use_post_quant_conv: bool,
    #[serde(default = "yes")]
    pub mid_block_add_attention: bool,
    #[serde(default)]
    pub act_fn: Option<String>,
}

fn three() -> usize {
    3
}

fn default_sample_size() -> usize {
    512
}

fn default_groups() -> usize {
    32
}

fn default_scaling() -> f64 {
    0.18215
}

fn yes() -> bool {
    true
}

impl VaeConfig {
    /// # Errors
    /// `BadInput` for values that this autoencoder does not implement.
    pub fn check(&self) -> Result<()> {
        let statistics = [&self.latents_mean, &self.latents_std];
        let fits = |t: &&Option<Vec<f32>>| t.as_ref().is_none_or(|v| v.len() == self.latent_channels);
        let problem = if self.act_fn.as_deref().is_some_and(|a| a != "silu") {
            "act_fn must be silu"
        } else if self.block_out_channels.is_empty() || self.latent_channels == 0 {
            "block_out_channels and latent_channels must not be empty"
        } else if self.norm_num_groups == 0
            || self
                .block_out_channels
                .iter()
                .any(|c| !c.is_multiple_of(self.norm_num_groups))
        {
            "norm_num_groups must divide every block's channels"
        } else if !statistics.iter().all(fits) || self.latents_mean.is_some() != self.latents_std.is_some() {
            "latents_mean and latents_std must both have one value a latent channel"
        } else {
            return Ok(());
        };
        fail!(BadInput, "vae config: {problem}");
    }

    /// Pixels per latent along each side.
    pub fn scale_factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

/// Both halves. Decoding is all that text-to-image needs; encoding serves image-to-image.
#[derive(Debug)]
pub struct Vae {
    encoder: Encoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
    pub config: VaeConfig,
}

/// The encoder's answer: a normal distribution a latent.
#[derive(Debug, Clone)]
pub struct LatentDistribution {
    /// `[batch, latent_channels, height / 8, width / 8]`
    pub mean: Tensor<4>,
    /// The same shape, clamped to −30…20.
    pub logvar: Tensor<4>,
}

impl LatentDistribution {
    /// What `noise`, standard normal and of the same shape, draws from it.
    pub fn sample(&self, noise: Tensor<4>) -> Tensor<4> {
        self.mean.clone() + (self.logvar.clone() * 0.5).exp() * noise
    }
}

impl Vae {
    /// # Errors
    /// When the configuration is not one of `AutoencoderKL`'s kind for SDXL.
    pub fn load(vars: &Vars, config: VaeConfig) -> Result<Self> {
        config.check()?;
        let latent = config.latent_channels;
        Ok(Self {
            encoder: Encoder::load(&vars.at("encoder"), &config),
            quant_conv: config
                .use_quant_conv
                .then(|| Conv2d::load(&vars.at("quant_conv"), 2 * latent, 2 * latent, 1)),
            post_quant_conv: config
                .use_post_quant_conv
                .then(|| Conv2d::load(&vars.at("post_quant_conv"), latent, latent, 1)),
            decoder: Decoder::load(&vars.at("decoder"), &config),
            config,
        })
    }

    /// # Shapes
    /// `image: [batch, 3, height, width]` in −1…1, sides multiples of 8.
    pub fn encode(&self, image: Tensor<4>) -> LatentDistribution {
        Self::distribution(self.moments(image))
    }

    /// Mean and logarithm of the variance, one behind the other.
    pub(super) fn moments(&self, image: Tensor<4>) -> Tensor<4> {
        let moments = self.encoder.forward(image);
        match &self.quant_conv {
            Some(conv) => conv.forward(moments),
            None => moments,
        }
    }

    pub(super) fn distribution(moments: Tensor<4>) -> LatentDistribution {
        let [mean, logvar]: [Tensor<4>; 2] =
            moments.chunk(2, 1).try_into().expect("chunk(2) gives two halves");
        LatentDistribution {
            mean,
            logvar: logvar.clamp(-30.0, 20.0),
        }
    }

    /// # Shapes
    /// `latents: [batch, latent_channels, h, w]`, unscaled → `[batch, 3, 8 h, 8 w]`, about −1…1.
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let latents = match &self.post_quant_conv {
            Some(conv) => conv.forward(latents),
            None => latents,
        };
        self.decoder.forward(latents)
    }

    /// From the denoiser's scale to the decoder's.
    ///
    /// # Shapes
    /// `[batch, latent_channels, h, w]` → the same.
    pub fn unscale(&self, latents: Tensor<4>) -> Tensor<4> {
        let latents = match self.statistics(&latents) {
            Some([mean, std]) => latents * std / self.config.scaling_factor + mean,
            None => latents / self.config.scaling_factor,
        };
        latents + self.config.shift_factor.unwrap_or(0.0)
    }

    /// From the encoder's scale to the denoiser's; undoes [`Vae::unscale`].
    ///
    /// # Shapes
    /// `[batch, latent_channels, h, w]` → the same.
    pub fn scale(&self, latents: Tensor<4>) -> Tensor<4> {
        let latents = latents - self.config.shift_factor.unwrap_or(0.0);
        match self.statistics(&latents) {
            Some([mean, std]) => (latents - mean) * self.config.scaling_factor / std,
            None => latents * self.config.scaling_factor,
        }
    }

    /// Mean and deviation of the latents, where the configuration has them.
    fn statistics(&self, latents: &Tensor<4>) -> Option<[Tensor<4>; 2]> {
        let device = latents.device();
        let row = |values: &[f32]| Tensor::<1>::from_floats(values, &device).reshape([1, values.len(), 1, 1]);
        let (mean, std) = (&self.config.latents_mean, &self.config.latents_std);
        Some([row(mean.as_ref()?), row(std.as_ref()?)])
    }
}

#[derive(Debug)]
struct Encoder {
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock>,
    mid_block: MidBlock,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn load(vars: &Vars, config: &VaeConfig) -> Self {
        let channels = &config.block_out_channels;
        let last = *channels.last().expect("checked: not empty");
        Self {
            conv_in: Conv2d::load(&vars.at("conv_in"), config.in_channels, channels[0], 3),
            down_blocks: (0..channels.len())
                .map(|i| DownBlock::load(&vars.at("down_blocks").at(i), config, i))
                .collect(),
            mid_block: MidBlock::load(&vars.at("mid_block"), config, last),
            conv_norm_out: GroupNorm::load(&vars.at("conv_norm_out"), config.norm_num_groups, last, EPS),
            conv_out: Conv2d::load(&vars.at("conv_out"), last, 2 * config.latent_channels, 3),
        }
    }

    fn forward(&self, image: Tensor<4>) -> Tensor<4> {
        let mut x = self.conv_in.forward(image);
        for block in &self.down_blocks {
            x = block.forward(x);
        }
        let x = self.mid_block.forward(x);
        self.conv_out.forward(self.conv_norm_out.forward_silu(x))
    }
}

#[derive(Debug)]
struct DownBlock {
    resnets: Vec<ResnetBlock>,
    downsampler: Option<Conv2d>,
}

impl DownBlock {
    fn load(vars: &Vars, config: &VaeConfig, block: usize) -> Self {
        let channels = &config.block_out_channels;
        let (input, output) = (channels[block.saturating_sub(1)], channels[block]);
        let is_last = block + 1 == channels.len();
        Self {
            resnets: (0..config.layers_per_block)
                .map(|i| {
                    let input = if i == 0 { input } else { output };
                    ResnetBlock::load(&vars.at("resnets").at(i), config, input, output)
                })
                .collect(),
            downsampler: (!is_last).then(|| {
                Conv2d::load(&vars.at("downsamplers.0.conv"), output, output, 3)
                    .with_stride(2)
                    .with_padding(0)
            }),
        }
    }

    fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        for resnet in &self.resnets {
            x = resnet.forward(x);
        }
        match &self.downsampler {
            // One row and column of zeros below and to the right only.
            Some(conv) => conv.forward(x.pad((0, 1, 0, 1), 0.0)),
            None => x,
        }
    }
}

#[derive(Debug)]
struct Decoder {
    conv_in: Conv2d,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn load(vars: &Vars, config: &VaeConfig) -> Self {
        let channels = &config.block_out_channels;
        let last = *channels.last().expect("checked: not empty");
        Self {
            conv_in: Conv2d::load(&vars.at("conv_in"), config.latent_channels, last, 3),
            mid_block: MidBlock::load(&vars.at("mid_block"), config, last),
            up_blocks: (0..channels.len())
                .map(|i| UpBlock::load(&vars.at("up_blocks").at(i), config, i))
                .collect(),
            conv_norm_out: GroupNorm::load(
                &vars.at("conv_norm_out"),
                config.norm_num_groups,
                channels[0],
                EPS,
            ),
            conv_out: Conv2d::load(&vars.at("conv_out"), channels[0], config.out_channels, 3),
        }
    }

    fn forward(&self, latents: Tensor<4>) -> Tensor<4> {
        let mut x = self.mid_block.forward(self.conv_in.forward(latents));
        for block in &self.up_blocks {
            x = block.forward(x);
        }
        self.conv_out.forward(self.conv_norm_out.forward_silu(x))
    }
}

#[derive(Debug)]
struct UpBlock {
    resnets: Vec<ResnetBlock>,
    upsampler: Option<Conv2d>,
}

impl UpBlock {
    /// Block 0 works on the lowest resolution.
    fn load(vars: &Vars, config: &VaeConfig, block: usize) -> Self {
        let channels = &config.block_out_channels;
        let mirror = channels.len() - 1 - block;
        let output = channels[mirror];
        let input = channels[(mirror + 1).min(channels.len() - 1)];
        Self {
            resnets: (0..config.layers_per_block + 1)
                .map(|i| {
                    let input = if i == 0 { input } else { output };
                    ResnetBlock::load(&vars.at("resnets").at(i), config, input, output)
                })
                .collect(),
            upsampler: (mirror > 0).then(|| Conv2d::load(&vars.at("upsamplers.0.conv"), output, output, 3)),
        }
    }

    fn forward(&self, mut x: Tensor<4>) -> Tensor<4> {
        for resnet in &self.resnets {
            x = resnet.forward(x);
        }
        let Some(upsampler) = &self.upsampler else {
            return x;
        };
        let [_, _, height, width] = x.dims();
        upsampler.forward(upsample_nearest(x, 2 * height, 2 * width))
    }
}

#[derive(Debug)]
struct MidBlock {
    resnet_in: ResnetBlock,
    attention: Option<Attention>,
    resnet_out: ResnetBlock,
}

impl MidBlock {
    fn load(vars: &Vars, config: &VaeConfig, channels: usize) -> Self {
        Self {
            resnet_in: ResnetBlock::load(&vars.at("resnets.0"), config, channels, channels),
            attention: config
                .mid_block_add_attention
                .then(|| Attention::load(&vars.at("attentions.0"), config, channels)),
            resnet_out: ResnetBlock::load(&vars.at("resnets.1"), config, channels, channels),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.resnet_in.forward(x);
        let x = match &self.attention {
            Some(attention) => attention.forward(x),
            None => x,
        };
        self.resnet_out.forward(x)
    }
}

/// Residual block without time.
#[derive(Debug)]
struct ResnetBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
}

impl ResnetBlock {
    fn load(vars: &Vars, config: &VaeConfig, input: usize, output: usize) -> Self {
        let groups = config.norm_num_groups;
        Self {
            norm1: GroupNorm::load(&vars.at("norm1"), groups, input, EPS),
            conv1: Conv2d::load(&vars.at("conv1"), input, output, 3),
            norm2: GroupNorm::load(&vars.at("norm2"), groups, output, EPS),
            conv2: Conv2d::load(&vars.at("conv2"), output, output, 3),
            conv_shortcut: (input != output)
                .then(|| Conv2d::load(&vars.at("conv_shortcut"), input, output, 1)),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let y = self.conv1.forward(self.norm1.forward_silu(x.clone()));
        let y = self.conv2.forward(self.norm2.forward_silu(y));
        let shortcut = match &self.conv_shortcut {
            Some(conv) => conv.forward(x),
            None => x,
        };
        shortcut + y
    }
}

/// One head over all pixels.
#[derive(Debug)]
struct Attention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl Attention {
    fn load(vars: &Vars, config: &VaeConfig, channels: usize) -> Self {
        Self {
            group_norm: GroupNorm::load(&vars.at("group_norm"), config.norm_num_groups, channels, EPS),
            to_q: Linear::load(&vars.at("to_q"), channels, channels),
            to_k: Linear::load(&vars.at("to_k"), channels, channels),
            to_v: Linear::load(&vars.at("to_v"), channels, channels),
            to_out: Linear::load(&vars.at("to_out.0"), channels, channels),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let [batch, channels, height, width] = x.dims();
        let y = self.group_norm.forward(x.clone());
        let y = y.permute([0, 2, 3, 1]).reshape([batch, height * width, channels]);
        let (q, k, v) = (
            self.to_q.forward(y.clone()),
            self.to_k.forward(y.clone()),
            self.to_v.forward(y),
        );
        let [q, k, v] = [q, k, v].map(|t| split_heads(t, 1));
        let y = self.to_out.forward(merge_heads(sdpa(q, k, v, false)));
        x + y.reshape([batch, height, width, channels]).permute([0, 3, 1, 2])
    }
}
