//! CLIP's vision encoder (Radford et al. 2021), as `CLIPVisionModelWithProjection` of transformers,
//! with the preprocessing of its `CLIPImageProcessor`.

use anyhow::Result;
use burn::tensor::{Device, Tensor, TensorData};
use serde::Deserialize;

use super::clip::{Activation, EncoderLayer, LayerConfig};
use crate::fail;
use crate::nn::conv::patches;
use crate::nn::linear::Linear;
use crate::nn::norm::LayerNorm;
use crate::weights::Vars;

/// Mean and deviation of the colours of CLIP's training pictures.
const MEAN: [f32; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];
const STD: [f32; 3] = [0.268_629_54, 0.261_302_6, 0.275_777_1];

/// `image_encoder/config.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct ClipVisionConfig {
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub image_size: usize,
    pub patch_size: usize,
    #[serde(default = "three")]
    pub num_channels: usize,
    #[serde(default = "quick_gelu")]
    pub hidden_act: Activation,
    #[serde(default = "default_eps")]
    pub layer_norm_eps: f64,
    #[serde(default = "default_projection")]
    pub projection_dim: usize,
}

fn three() -> usize {
    3
}

fn quick_gelu() -> Activation {
    Activation::QuickGelu
}

fn default_eps() -> f64 {
    1e-5
}

fn default_projection() -> usize {
    512
}

impl ClipVisionConfig {
    /// # Errors
    /// `BadInput` for measures that do not fit together.
    pub fn check(&self) -> Result<()> {
        let problem = if self.num_hidden_layers < 2 {
            "num_hidden_layers must be at least 2"
        } else if !self.hidden_size.is_multiple_of(self.num_attention_heads.max(1)) {
            "num_attention_heads must divide hidden_size"
        } else if self.patch_size == 0 || !self.image_size.is_multiple_of(self.patch_size) {
            "patch_size must divide image_size"
        } else if self.num_channels != 3 {
            "num_channels must be 3"
        } else {
            return Ok(());
        };
        fail!(BadInput, "image encoder config: {problem}");
    }

    fn layers(&self) -> LayerConfig {
        LayerConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_attention_heads: self.num_attention_heads,
            hidden_act: self.hidden_act,
            layer_norm_eps: self.layer_norm_eps,
            is_causal: false,
        }
    }

    fn patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }
}

/// The encoder.
#[derive(Debug)]
pub struct ClipVisionModel {
    class_embedding: Tensor<1>,
    patch_embedding: Tensor<4>,
    position_embedding: Tensor<2>,
    pre_layernorm: LayerNorm,
    layers: Vec<EncoderLayer>,
    post_layernorm: LayerNorm,
    visual_projection: Linear,
    pub config: ClipVisionConfig,
}

/// What IP-Adapters read.
#[derive(Debug, Clone)]
pub struct ClipVisionOutput {
    /// `[batch, projection_dim]`
    pub image_embeds: Tensor<2>,
    /// `hidden_states[-2]`: `[batch, patches + 1, hidden_size]`
    pub penultimate: Tensor<3>,
}

impl ClipVisionModel {
    /// # Errors
    /// `BadInput` for a configuration that does not fit together.
    pub fn load(vars: &Vars, config: ClipVisionConfig) -> Result<Self> {
        config.check()?;
        let root = vars.at("vision_model");
        let embeddings = root.at("embeddings");
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        let patch = config.patch_size;
        Ok(Self {
            class_embedding: embeddings.get("class_embedding", [width]),
            patch_embedding: embeddings
                .at("patch_embedding")
                .get("weight", [width, config.num_channels, patch, patch]),
            position_embedding: embeddings
                .at("position_embedding")
                .get("weight", [config.patches() + 1, width]),
            // The misspelling is the checkpoints'.
            pre_layernorm: LayerNorm::load(&root.at("pre_layrnorm"), width, eps),
            layers: (0..config.num_hidden_layers)
                .map(|i| EncoderLayer::load(&root.at("encoder.layers").at(i), &config.layers()))
                .collect(),
            post_layernorm: LayerNorm::load(&root.at("post_layernorm"), width, eps),
            visual_projection: Linear::load_no_bias(
                &vars.at("visual_projection"),
                width,
                config.projection_dim,
            ),
            config,
        })
    }

    /// # Shapes
    /// `pixels: [batch, 3, image_size, image_size]`, normalised by [`normalised`].
    pub fn forward(&self, pixels: Tensor<4>) -> ClipVisionOutput {
        let (batch, dtype) = (pixels.dims()[0], pixels.dtype());
        let width = self.config.hidden_size;
        let patches = patches(pixels, self.patch_embedding.clone().cast(dtype));
        let class = self.class_embedding.clone().cast(dtype).reshape([1, 1, width]);
        let class = class.repeat_dim(0, batch);
        let positions = self.position_embedding.clone().cast(dtype).unsqueeze::<3>();
        let embedded = Tensor::cat(vec![class, patches], 1) + positions;
        let mut hidden_states = self.pre_layernorm.forward(embedded);
        let (last, others) = self.layers.split_last().expect("checked: at least two");
        for layer in others {
            hidden_states = layer.forward(hidden_states);
        }
        let penultimate = hidden_states.clone();
        let class = last.forward(hidden_states).narrow(1, 0, 1).squeeze_dim::<2>(1);
        ClipVisionOutput {
            image_embeds: self.visual_projection.forward(self.post_layernorm.forward(class)),
            penultimate,
        }
    }
}

/// Colours as CLIP was trained on them.
///
/// # Shapes
/// `rgb`: rows of `side` pixels of three bytes → `[1, 3, side, side]`, f32.
pub fn normalised(rgb: &[u8], side: usize, device: &Device) -> Tensor<4> {
    let mut values = Vec::with_capacity(3 * side * side);
    for channel in 0..3 {
        let of = |pixel: &[u8]| (f32::from(pixel[channel]) / 255.0 - MEAN[channel]) / STD[channel];
        values.extend(rgb.chunks_exact(3).map(of));
    }
    Tensor::from_data(TensorData::new(values, [1, 3, side, side]), device)
}

/// What is scaled to, and what is cut out of it: the shorter side becomes `side` (the longer one is
/// rounded down), then the middle.
///
/// Returns width and height of the scaled picture, and left and top of the square.
pub fn scaled_and_cropped(width: u32, height: u32, side: u32) -> ([u32; 2], [u32; 2]) {
    let short = width.min(height);
    let longer = |long: u32| (u64::from(side) * u64::from(long) / u64::from(short)) as u32;
    let scaled = [longer(width), longer(height)];
    (scaled, scaled.map(|length| (length - side) / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_square_of_the_scaled_picture_is_taken() {
        assert_eq!(scaled_and_cropped(150, 96, 56), ([87, 56], [15, 0]));
        assert_eq!(scaled_and_cropped(61, 140, 56), ([56, 128], [0, 36]));
        assert_eq!(scaled_and_cropped(40, 48, 56), ([56, 67], [0, 5]));
        assert_eq!(scaled_and_cropped(56, 56, 56), ([56, 56], [0, 0]));
    }
}
