//! WAN 2.1's causal video autoencoder (Wan Team 2025), as `AutoencoderKLWan` of diffusers: videos
//! of 4n+1 frames to n+1 latent frames of an eighth of the size, and back, a few frames at a time.

use anyhow::Result;
use burn::tensor::Tensor;
use serde::Deserialize;

use crate::fail;
use crate::nn::attention::sdpa;
use crate::nn::causal_conv3d::{CausalConv3d, FrameCache};
use crate::nn::conv::{Conv2d, upsample_nearest};
use crate::nn::linear::Linear;
use crate::nn::rms_norm::ChannelRmsNorm;
use crate::weights::Vars;

const CUBE: [usize; 3] = [3, 3, 3];
const POINT: [usize; 3] = [1, 1, 1];
const TIME: [usize; 3] = [3, 1, 1];

/// `vae/config.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct WanVaeConfig {
    pub base_dim: usize,
    #[serde(default)]
    pub decoder_base_dim: Option<usize>,
    pub z_dim: usize,
    pub dim_mult: Vec<usize>,
    pub num_res_blocks: usize,
    #[serde(default)]
    pub attn_scales: Vec<f64>,
    pub temperal_downsample: Vec<bool>,
    pub latents_mean: Vec<f32>,
    pub latents_std: Vec<f32>,
    #[serde(default)]
    pub is_residual: bool,
    #[serde(default = "three")]
    pub in_channels: usize,
    #[serde(default = "three")]
    pub out_channels: usize,
    #[serde(default)]
    pub patch_size: Option<usize>,
}

fn three() -> usize {
    3
}

impl WanVaeConfig {
    /// The autoencoder of every WAN 2.1 model.
    pub fn wan_2_1() -> Self {
        Self {
            base_dim: 96,
            decoder_base_dim: None,
            z_dim: 16,
            dim_mult: vec![1, 2, 4, 4],
            num_res_blocks: 2,
            attn_scales: Vec::new(),
            temperal_downsample: vec![false, true, true],
            latents_mean: vec![
                -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508, 0.4134, -0.0715, 0.5517,
                -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
            ],
            latents_std: vec![
                2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743, 3.2687, 2.1526, 2.8652,
                1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
            ],
            is_residual: false,
            in_channels: 3,
            out_channels: 3,
            patch_size: None,
        }
    }

    /// # Errors
    /// `BadInput` for values that this autoencoder does not implement.
    pub fn check(&self) -> Result<()> {
        let levels = self.dim_mult.len();
        let widths = [self.base_dim, self.decoder_base_dim.unwrap_or(self.base_dim)];
        let problem = if self.is_residual || self.patch_size.is_some() || !self.attn_scales.is_empty() {
            "is_residual, patch_size and attn_scales belong to other WAN versions; this is for 2.1"
        } else if levels == 0 || self.temperal_downsample.len() + 1 != levels {
            "temperal_downsample must have one value less than dim_mult"
        } else if self.in_channels != 3 || self.out_channels != 3 {
            "in_channels and out_channels must be 3"
        } else if self.z_dim == 0
            || widths.contains(&0)
            || self.dim_mult.contains(&0)
            || self.num_res_blocks == 0
        {
            "z_dim, base_dim, dim_mult and num_res_blocks must be above 0"
        } else if widths
            .iter()
            .any(|w| self.dim_mult[1..].iter().any(|m| w * m % 2 == 1))
        {
            "channels must be even at every level that is enlarged"
        } else if self.latents_mean.len() != self.z_dim || self.latents_std.len() != self.z_dim {
            "latents_mean and latents_std must have one value a latent channel"
        } else {
            return Ok(());
        };
        fail!(BadInput, "vae config: {problem}");
    }

    /// Pixels per latent along each side.
    pub fn scale_factor_spatial(&self) -> usize {
        1 << self.temperal_downsample.len()
    }

    /// Frames per latent frame, behind the first.
    pub fn scale_factor_temporal(&self) -> usize {
        1 << self.temperal_downsample.iter().filter(|&&t| t).count()
    }

    /// Latent frames of a video of `num_frames`.
    pub fn latent_frames(&self, num_frames: usize) -> usize {
        (num_frames.saturating_sub(1)) / self.scale_factor_temporal() + 1
    }
}

/// Both halves.
#[derive(Debug)]
pub struct WanVae {
    encoder: Encoder,
    quant_conv: CausalConv3d,
    post_quant_conv: CausalConv3d,
    decoder: Decoder,
    pub config: WanVaeConfig,
}

impl WanVae {
    /// # Errors
    /// When the configuration is not one of WAN 2.1's kind.
    pub fn load(vars: &Vars, config: WanVaeConfig) -> Result<Self> {
        config.check()?;
        let z = config.z_dim;
        Ok(Self {
            encoder: Encoder::load(&vars.at("encoder"), &config),
            quant_conv: CausalConv3d::load(&vars.at("quant_conv"), 2 * z, 2 * z, POINT),
            post_quant_conv: CausalConv3d::load(&vars.at("post_quant_conv"), z, z, POINT),
            decoder: Decoder::load(&vars.at("decoder"), &config),
            config,
        })
    }

    /// The mean of the latents, unscaled. Activations of at most four frames are alive at once.
    ///
    /// # Shapes
    /// `video: [batch, 3, frames, height, width]` in −1…1, 4n+1 frames, sides multiples of 8 →
    /// `[batch, z_dim, n + 1, height / 8, width / 8]`.
    ///
    /// # Panics
    /// If the number of frames is not 4n+1.
    pub fn encode(&self, video: Tensor<5>) -> Tensor<5> {
        let frames = video.dims()[2];
        let stride = self.config.scale_factor_temporal();
        assert_eq!(frames % stride, 1 % stride, "{frames} frames are not {stride}n+1");
        let mut cache = FrameCache::default();
        let moments = (0..self.config.latent_frames(frames))
            .map(|i| {
                let (start, count) = if i == 0 {
                    (0, 1)
                } else {
                    (1 + stride * (i - 1), stride)
                };
                cache.next_chunk();
                self.encoder
                    .forward(video.clone().narrow(2, start, count), &mut cache)
            })
            .collect();
        let moments = Tensor::cat(moments, 2);
        self.quant_conv
            .forward(moments, &mut FrameCache::default())
            .narrow(1, 0, self.config.z_dim)
    }

    /// The video, one latent frame at a time: `each` gets one frame first, then four a time, in
    /// −1…1. An error from it stops the work.
    ///
    /// # Shapes
    /// `latents: [batch, z_dim, n + 1, h, w]`, unscaled → `[batch, 3, 1 or 4, 8 h, 8 w]` each.
    ///
    /// # Errors
    /// What `each` returns.
    pub fn decode_each(
        &self,
        latents: Tensor<5>,
        each: &mut dyn FnMut(Tensor<5>) -> Result<()>,
    ) -> Result<()> {
        self.decode_chunks(latents, &mut |chunk| each(chunk.clamp(-1.0, 1.0)))
    }

    fn decode_chunks(&self, latents: Tensor<5>, each: &mut dyn FnMut(Tensor<5>) -> Result<()>) -> Result<()> {
        let frames = latents.dims()[2];
        let latents = self.post_quant_conv.forward(latents, &mut FrameCache::default());
        let mut cache = FrameCache::default();
        for i in 0..frames {
            cache.next_chunk();
            each(self.decoder.forward(latents.clone().narrow(2, i, 1), &mut cache))?;
        }
        Ok(())
    }

    /// The whole video at once; see [`WanVae::decode_each`].
    ///
    /// # Shapes
    /// `latents: [batch, z_dim, n + 1, h, w]` → `[batch, 3, 4 n + 1, 8 h, 8 w]`.
    pub fn decode(&self, latents: Tensor<5>) -> Tensor<5> {
        self.decode_unclamped(latents).clamp(-1.0, 1.0)
    }

    pub(super) fn decode_unclamped(&self, latents: Tensor<5>) -> Tensor<5> {
        let mut chunks = Vec::new();
        self.decode_chunks(latents, &mut |chunk| {
            chunks.push(chunk);
            Ok(())
        })
        .expect("collecting does not fail");
        Tensor::cat(chunks, 2)
    }

    /// From the autoencoder's scale to the transformer's.
    ///
    /// # Shapes
    /// `[batch, z_dim, frames, h, w]` → the same.
    pub fn scale(&self, latents: Tensor<5>) -> Tensor<5> {
        let [mean, std] = self.statistics(&latents);
        (latents - mean) / std
    }

    /// From the transformer's scale to the autoencoder's.
    ///
    /// # Shapes
    /// `[batch, z_dim, frames, h, w]` → the same.
    pub fn unscale(&self, latents: Tensor<5>) -> Tensor<5> {
        let [mean, std] = self.statistics(&latents);
        latents * std + mean
    }

    fn statistics(&self, latents: &Tensor<5>) -> [Tensor<5>; 2] {
        let device = latents.device();
        [&self.config.latents_mean, &self.config.latents_std].map(|values| {
            Tensor::<1>::from_floats(values.as_slice(), &device).reshape([1, self.config.z_dim, 1, 1, 1])
        })
    }
}

#[derive(Debug)]
struct Encoder {
    conv_in: CausalConv3d,
    down_blocks: Vec<DownLayer>,
    mid_block: MidBlock,
    norm_out: ChannelRmsNorm,
    conv_out: CausalConv3d,
}

#[derive(Debug)]
enum DownLayer {
    Resnet(Box<ResidualBlock>),
    Downsample(Box<Downsample>),
}

impl Encoder {
    fn load(vars: &Vars, config: &WanVaeConfig) -> Self {
        let base = config.base_dim;
        let mut layers = Vec::new();
        let mut input = base;
        for (level, multiplier) in config.dim_mult.iter().enumerate() {
            let output = base * multiplier;
            for _ in 0..config.num_res_blocks {
                let at = vars.at("down_blocks").at(layers.len());
                let resnet = ResidualBlock::load(&at, input, output);
                layers.push(DownLayer::Resnet(Box::new(resnet)));
                input = output;
            }
            if let Some(&temporal) = config.temperal_downsample.get(level) {
                let at = vars.at("down_blocks").at(layers.len());
                let downsample = Downsample::load(&at, output, temporal);
                layers.push(DownLayer::Downsample(Box::new(downsample)));
            }
        }
        Self {
            conv_in: CausalConv3d::load(&vars.at("conv_in"), config.in_channels, base, CUBE),
            down_blocks: layers,
            mid_block: MidBlock::load(&vars.at("mid_block"), input),
            norm_out: ChannelRmsNorm::load(&vars.at("norm_out"), input),
            conv_out: CausalConv3d::load(&vars.at("conv_out"), input, 2 * config.z_dim, CUBE),
        }
    }

    fn forward(&self, video: Tensor<5>, cache: &mut FrameCache) -> Tensor<5> {
        let mut x = self.conv_in.forward(video, cache);
        for layer in &self.down_blocks {
            x = match layer {
                DownLayer::Resnet(resnet) => resnet.forward(x, cache),
                DownLayer::Downsample(downsample) => downsample.forward(x, cache),
            };
        }
        let x = self.mid_block.forward(x, cache);
        self.conv_out.forward(self.norm_out.forward_silu(x), cache)
    }
}

#[derive(Debug)]
struct Decoder {
    conv_in: CausalConv3d,
    mid_block: MidBlock,
    up_blocks: Vec<UpBlock>,
    norm_out: ChannelRmsNorm,
    conv_out: CausalConv3d,
}

impl Decoder {
    fn load(vars: &Vars, config: &WanVaeConfig) -> Self {
        let base = config.decoder_base_dim.unwrap_or(config.base_dim);
        let widths: Vec<usize> = config.dim_mult.iter().rev().map(|m| base * m).collect();
        let (first, last) = (widths[0], widths[widths.len() - 1]);
        let mut input = first;
        let up_blocks = widths
            .iter()
            .enumerate()
            .map(|(i, &output)| {
                // The decoder undoes the encoder's levels from the last one.
                let temporal = config.temperal_downsample.iter().rev().nth(i).copied();
                let at = vars.at("up_blocks").at(i);
                let block = UpBlock::load(&at, [input, output], config.num_res_blocks + 1, temporal);
                input = output / 2;
                block
            })
            .collect();
        Self {
            conv_in: CausalConv3d::load(&vars.at("conv_in"), config.z_dim, first, CUBE),
            mid_block: MidBlock::load(&vars.at("mid_block"), first),
            up_blocks,
            norm_out: ChannelRmsNorm::load(&vars.at("norm_out"), last),
            conv_out: CausalConv3d::load(&vars.at("conv_out"), last, config.out_channels, CUBE),
        }
    }

    fn forward(&self, latents: Tensor<5>, cache: &mut FrameCache) -> Tensor<5> {
        let mut x = self.conv_in.forward(latents, cache);
        x = self.mid_block.forward(x, cache);
        for block in &self.up_blocks {
            x = block.forward(x, cache);
        }
        self.conv_out.forward(self.norm_out.forward_silu(x), cache)
    }
}

#[derive(Debug)]
struct UpBlock {
    resnets: Vec<ResidualBlock>,
    upsampler: Option<Upsample>,
}

impl UpBlock {
    fn load(
        vars: &Vars,
        [input, output]: [usize; 2],
        resnets: usize,
        upsample_temporal: Option<bool>,
    ) -> Self {
        Self {
            resnets: (0..resnets)
                .map(|i| {
                    let input = if i == 0 { input } else { output };
                    ResidualBlock::load(&vars.at("resnets").at(i), input, output)
                })
                .collect(),
            upsampler: upsample_temporal
                .map(|temporal| Upsample::load(&vars.at("upsamplers.0"), output, temporal)),
        }
    }

    fn forward(&self, mut x: Tensor<5>, cache: &mut FrameCache) -> Tensor<5> {
        for resnet in &self.resnets {
            x = resnet.forward(x, cache);
        }
        match &self.upsampler {
            Some(upsampler) => upsampler.forward(x, cache),
            None => x,
        }
    }
}

/// Halves height and width, and with a time convolution the frames behind the first.
#[derive(Debug)]
struct Downsample {
    resample: Conv2d,
    time_conv: Option<CausalConv3d>,
}

impl Downsample {
    fn load(vars: &Vars, channels: usize, temporal: bool) -> Self {
        Self {
            resample: Conv2d::load(&vars.at("resample.1"), channels, channels, 3)
                .with_stride(2)
                .with_padding(0),
            time_conv: temporal.then(|| CausalConv3d::load(&vars.at("time_conv"), channels, channels, TIME)),
        }
    }

    fn forward(&self, x: Tensor<5>, cache: &mut FrameCache) -> Tensor<5> {
        // One row and column of zeros below and to the right only.
        let x = each_frame(x, |frame| self.resample.forward(frame.pad((0, 1, 0, 1), 0.0)));
        match &self.time_conv {
            Some(conv) => conv.forward_halving(x, cache),
            None => x,
        }
    }
}

/// Doubles height and width, and with a time convolution the frames behind the first.
#[derive(Debug)]
struct Upsample {
    resample: Conv2d,
    time_conv: Option<CausalConv3d>,
}

impl Upsample {
    fn load(vars: &Vars, channels: usize, temporal: bool) -> Self {
        Self {
            resample: Conv2d::load(&vars.at("resample.1"), channels, channels / 2, 3),
            time_conv: temporal
                .then(|| CausalConv3d::load(&vars.at("time_conv"), channels, 2 * channels, TIME)),
        }
    }

    fn forward(&self, x: Tensor<5>, cache: &mut FrameCache) -> Tensor<5> {
        let x = match &self.time_conv {
            Some(conv) if !cache.skips_first_chunk() => doubled_frames(conv.forward(x, cache)),
            _ => x,
        };
        let [_, _, _, height, width] = x.dims();
        each_frame(x, |frame| {
            self.resample
                .forward(upsample_nearest(frame, 2 * height, 2 * width))
        })
    }
}

/// `[batch, 2 · channels, frames, ..]` → `[batch, channels, 2 · frames, ..]`: the halves of the
/// channels take turns.
fn doubled_frames(x: Tensor<5>) -> Tensor<5> {
    let [batch, channels, frames, height, width] = x.dims();
    x.reshape([batch, 2, channels / 2, frames, height, width])
        .permute([0, 2, 3, 1, 4, 5])
        .reshape([batch, channels / 2, 2 * frames, height, width])
}

/// Runs a layer for pictures over the frames of a video.
fn each_frame(x: Tensor<5>, layer: impl FnOnce(Tensor<4>) -> Tensor<4>) -> Tensor<5> {
    let [batch, channels, frames, height, width] = x.dims();
    let pictures = x
        .swap_dims(1, 2)
        .reshape([batch * frames, channels, height, width]);
    let y = layer(pictures);
    let [_, channels, height, width] = y.dims();
    y.reshape([batch, frames, channels, height, width])
        .swap_dims(1, 2)
}

#[derive(Debug)]
struct MidBlock {
    resnet_in: ResidualBlock,
    attention: AttentionBlock,
    resnet_out: ResidualBlock,
}

impl MidBlock {
    fn load(vars: &Vars, channels: usize) -> Self {
        Self {
            resnet_in: ResidualBlock::load(&vars.at("resnets.0"), channels, channels),
            attention: AttentionBlock::load(&vars.at("attentions.0"), channels),
            resnet_out: ResidualBlock::load(&vars.at("resnets.1"), channels, channels),
        }
    }

    fn forward(&self, x: Tensor<5>, cache: &mut FrameCache) -> Tensor<5> {
        let x = self.resnet_in.forward(x, cache);
        let x = self.attention.forward(x);
        self.resnet_out.forward(x, cache)
    }
}

#[derive(Debug)]
struct ResidualBlock {
    norm1: ChannelRmsNorm,
    conv1: CausalConv3d,
    norm2: ChannelRmsNorm,
    conv2: CausalConv3d,
    conv_shortcut: Option<CausalConv3d>,
}

impl ResidualBlock {
    fn load(vars: &Vars, input: usize, output: usize) -> Self {
        Self {
            norm1: ChannelRmsNorm::load(&vars.at("norm1"), input),
            conv1: CausalConv3d::load(&vars.at("conv1"), input, output, CUBE),
            norm2: ChannelRmsNorm::load(&vars.at("norm2"), output),
            conv2: CausalConv3d::load(&vars.at("conv2"), output, output, CUBE),
            conv_shortcut: (input != output)
                .then(|| CausalConv3d::load(&vars.at("conv_shortcut"), input, output, POINT)),
        }
    }

    fn forward(&self, x: Tensor<5>, cache: &mut FrameCache) -> Tensor<5> {
        let shortcut = match &self.conv_shortcut {
            Some(conv) => conv.forward(x.clone(), cache),
            None => x.clone(),
        };
        let y = self.conv1.forward(self.norm1.forward_silu(x), cache);
        let y = self.conv2.forward(self.norm2.forward_silu(y), cache);
        shortcut + y
    }
}

/// One head over the pixels of each frame.
#[derive(Debug)]
struct AttentionBlock {
    norm: ChannelRmsNorm,
    to_qkv: Linear,
    proj: Linear,
}

impl AttentionBlock {
    fn load(vars: &Vars, channels: usize) -> Self {
        let pointwise = |name: &str, output: usize| {
            let at = vars.at(name);
            let weight: Tensor<4> = at.get("weight", [output, channels, 1, 1]);
            Linear {
                weight: weight.flatten(1, 3).into(),
                bias: Some(at.get("bias", [output])),
            }
        };
        Self {
            norm: ChannelRmsNorm::load_for_images(&vars.at("norm"), channels),
            to_qkv: pointwise("to_qkv", 3 * channels),
            proj: pointwise("proj", channels),
        }
    }

    fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let [batch, channels, frames, height, width] = x.dims();
        let y = self.norm.forward(x.clone());
        let y = y
            .permute([0, 2, 3, 4, 1])
            .reshape([batch * frames, 1, height * width, channels]);
        let [q, k, v]: [Tensor<4>; 3] = self
            .to_qkv
            .forward(y)
            .chunk(3, 3)
            .try_into()
            .expect("chunk(3) gives three thirds");
        let y = self.proj.forward(sdpa(q, k, v, false));
        let y = y
            .reshape([batch, frames, height, width, channels])
            .permute([0, 4, 1, 2, 3]);
        x + y
    }
}
