//! CLIP text encoders (Radford et al. 2021; OpenCLIP's bigG for the second one of SDXL).
//!
//! As `CLIPTextModel` and `CLIPTextModelWithProjection` of transformers.

use anyhow::Result;
use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation};
use serde::Deserialize;

use crate::fail;
use crate::nn::attention::{merge_heads, sdpa, sdpa_biased, split_heads};
use crate::nn::embeddings::Embedding;
use crate::nn::linear::Linear;
use crate::nn::norm::LayerNorm;
use crate::weights::{Parameters, Vars};

/// `text_encoder/config.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct ClipTextConfig {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
    pub hidden_act: Activation,
    #[serde(default = "default_eps")]
    pub layer_norm_eps: f64,
    #[serde(default = "default_projection")]
    pub projection_dim: usize,
    #[serde(default = "default_eos")]
    pub eos_token_id: u32,
}

fn default_positions() -> usize {
    77
}

fn default_eps() -> f64 {
    1e-5
}

fn default_projection() -> usize {
    512
}

fn default_eos() -> u32 {
    49407
}

/// The feed-forward non-linearity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// x · sigmoid(1.702 x)
    QuickGelu,
    /// The exact, erf-based one.
    Gelu,
}

/// A text encoder; `with_projection` as in SDXL's second one.
#[derive(Debug)]
pub struct ClipTextModel {
    token_embedding: Embedding,
    position_embedding: Tensor<2>,
    layers: Vec<EncoderLayer>,
    final_layer_norm: LayerNorm,
    text_projection: Option<Linear>,
    /// Its weights by name, for adapters.
    pub parameters: Parameters,
    config: ClipTextConfig,
}

impl ClipTextModel {
    /// Channels of a token's hidden state.
    pub fn hidden_size(&self) -> usize {
        self.config.hidden_size
    }
}

/// What SDXL reads from a text encoder.
#[derive(Debug, Clone)]
pub struct ClipTextOutput {
    /// `hidden_states[-2 - clip_skip]`: `[batch, length, hidden]`, before the last layer and the
    /// final norm.
    pub penultimate: Tensor<3>,
    /// `[batch, projection_dim]` at the end token; only with a projection.
    pub text_embeds: Option<Tensor<2>>,
}

impl ClipTextModel {
    /// # Errors
    /// `BadInput` when heads do not divide the width or there is no layer to skip.
    pub fn load(vars: &Vars, config: ClipTextConfig, with_projection: bool) -> Result<Self> {
        if config.num_hidden_layers < 2
            || !config
                .hidden_size
                .is_multiple_of(config.num_attention_heads.max(1))
        {
            fail!(
                BadInput,
                "text encoder config: {} layers and {} heads for hidden_size {}; needs 2 layers and heads that divide it",
                config.num_hidden_layers,
                config.num_attention_heads,
                config.hidden_size
            );
        }
        let root = vars.at("text_model");
        let embeddings = root.at("embeddings");
        let width = config.hidden_size;
        Ok(Self {
            token_embedding: Embedding::load(&embeddings.at("token_embedding"), config.vocab_size, width),
            position_embedding: embeddings
                .at("position_embedding")
                .get("weight", [config.max_position_embeddings, width]),
            layers: (0..config.num_hidden_layers)
                .map(|i| EncoderLayer::load(&root.at("encoder.layers").at(i), &config.layers()))
                .collect(),
            final_layer_norm: LayerNorm::load(&root.at("final_layer_norm"), width, config.layer_norm_eps),
            text_projection: with_projection
                .then(|| Linear::load_no_bias(&vars.at("text_projection"), width, config.projection_dim)),
            parameters: vars.parameters(),
            config,
        })
    }

    /// # Shapes
    /// `ids: [batch][length]`, all of one length of at most `max_position_embeddings`; computes
    /// in `dtype`. `clip_skip` layers before the last one are left out of the states, too.
    ///
    /// # Panics
    /// If rows differ in length, are too long, or hold an id outside the vocabulary, or if
    /// `clip_skip` exceeds [`Self::most_clip_skip`].
    pub fn forward(
        &self,
        ids: &[Vec<u32>],
        clip_skip: usize,
        device: &Device,
        dtype: DType,
    ) -> ClipTextOutput {
        self.forward_masked(ids, None, clip_skip, device, dtype)
    }

    /// As [`Self::forward`]; where `attended[row][position]` is false, no position looks there.
    ///
    /// # Panics
    /// As [`Self::forward`], and if the mask has another shape than `ids`.
    pub fn forward_masked(
        &self,
        ids: &[Vec<u32>],
        attended: Option<&[Vec<bool>]>,
        clip_skip: usize,
        device: &Device,
        dtype: DType,
    ) -> ClipTextOutput {
        let (batch, length) = (ids.len(), ids[0].len());
        assert!(
            ids.iter().all(|row| row.len() == length),
            "token rows differ in length"
        );
        assert!(
            length <= self.config.max_position_embeddings,
            "{length} tokens are too many for the encoder"
        );
        let flat: Vec<i64> = ids.iter().flatten().map(|&id| i64::from(id)).collect();
        assert!(
            flat.iter().all(|&id| (id as usize) < self.config.vocab_size),
            "token id outside the vocabulary"
        );
        let tokens = Tensor::<1, Int>::from_data(TensorData::new(flat, [batch * length]), device);

        let embedded = self
            .token_embedding
            .forward(tokens)
            .reshape([batch, length, self.config.hidden_size]);
        let positions = self
            .position_embedding
            .clone()
            .narrow(0, 0, length)
            .unsqueeze::<3>();
        let mut hidden_states = embedded.cast(dtype) + positions.cast(dtype);
        let bias = attended.map(|attended| causal_bias(attended, [batch, length], device).cast(dtype));
        let kept = self.most_clip_skip() - clip_skip;
        let mut penultimate = None;
        for (i, layer) in self.layers.iter().enumerate() {
            if i == kept {
                penultimate = Some(hidden_states.clone());
                if self.text_projection.is_none() {
                    break;
                }
            }
            hidden_states = match &bias {
                Some(bias) => layer.forward_biased(hidden_states, Some(bias)),
                None => layer.forward(hidden_states),
            };
        }
        let text_embeds = self.text_projection.as_ref().map(|projection| {
            let last_hidden_state = self.final_layer_norm.forward(hidden_states);
            projection.forward(self.pool(last_hidden_state, ids))
        });
        let penultimate = penultimate.expect("the state before a layer that there is");
        ClipTextOutput {
            penultimate,
            text_embeds,
        }
    }

    /// The largest `clip_skip`: the states are then the token embeddings.
    pub fn most_clip_skip(&self) -> usize {
        self.layers.len() - 1
    }

    /// The state at each row's end token.
    fn pool(&self, last_hidden_state: Tensor<3>, ids: &[Vec<u32>]) -> Tensor<2> {
        let rows = ids.iter().enumerate().map(|(row, ids)| {
            let end = end_position(ids, self.config.eos_token_id);
            last_hidden_state
                .clone()
                .narrow(0, row, 1)
                .narrow(1, end, 1)
                .squeeze_dim::<2>(1)
        });
        Tensor::cat(rows.collect(), 0)
    }
}

/// Scores that keep positions from looking ahead and from looking where `attended` is false.
fn causal_bias(attended: &[Vec<bool>], [batch, length]: [usize; 2], device: &Device) -> Tensor<4> {
    // As far down as half precision goes; the softmax makes it 0.
    const NOT_SEEN: f32 = -65504.0;
    assert!(
        attended.len() == batch && attended.iter().all(|row| row.len() == length),
        "one mask value a token"
    );
    let seen = |row: &Vec<bool>, query: usize, key: usize| key <= query && row[key];
    let mut scores = Vec::with_capacity(batch * length * length);
    for row in attended {
        for query in 0..length {
            let keys = (0..length).map(|key| if seen(row, query, key) { 0.0 } else { NOT_SEEN });
            scores.extend(keys);
        }
    }
    Tensor::from_data(TensorData::new(scores, [batch, 1, length, length]), device)
}

/// Where a row ends: the first end token. Configurations from before transformers 4.29 say
/// `eos_token_id: 2` although the vocabulary's end token is its highest id; there the first
/// highest id counts, as in transformers.
fn end_position(ids: &[u32], eos_token_id: u32) -> usize {
    let wanted = if eos_token_id == 2 {
        ids.iter().copied().max().unwrap_or(0)
    } else {
        eos_token_id
    };
    ids.iter().position(|&id| id == wanted).unwrap_or(0)
}

/// The measures of CLIP's layers, text and vision alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct LayerConfig {
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_attention_heads: usize,
    pub hidden_act: Activation,
    pub layer_norm_eps: f64,
    /// Positions see only those before them.
    pub is_causal: bool,
}

impl ClipTextConfig {
    fn layers(&self) -> LayerConfig {
        LayerConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_attention_heads: self.num_attention_heads,
            hidden_act: self.hidden_act,
            layer_norm_eps: self.layer_norm_eps,
            is_causal: true,
        }
    }
}

/// One layer of a CLIP encoder.
#[derive(Debug)]
pub(super) struct EncoderLayer {
    layer_norm1: LayerNorm,
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    config: LayerConfig,
}

impl EncoderLayer {
    pub fn load(vars: &Vars, config: &LayerConfig) -> Self {
        let (width, inner) = (config.hidden_size, config.intermediate_size);
        let attention = vars.at("self_attn");
        Self {
            layer_norm1: LayerNorm::load(&vars.at("layer_norm1"), width, config.layer_norm_eps),
            q_proj: Linear::load(&attention.at("q_proj"), width, width),
            k_proj: Linear::load(&attention.at("k_proj"), width, width),
            v_proj: Linear::load(&attention.at("v_proj"), width, width),
            out_proj: Linear::load(&attention.at("out_proj"), width, width),
            layer_norm2: LayerNorm::load(&vars.at("layer_norm2"), width, config.layer_norm_eps),
            fc1: Linear::load(&vars.at("mlp.fc1"), width, inner),
            fc2: Linear::load(&vars.at("mlp.fc2"), inner, width),
            config: *config,
        }
    }

    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.forward_biased(x, None)
    }

    /// `bias`: what is added to the scores instead of the causal mask, `[batch, 1, length, length]`.
    fn forward_biased(&self, x: Tensor<3>, bias: Option<&Tensor<4>>) -> Tensor<3> {
        let y = self.layer_norm1.forward(x.clone());
        let (q, k, v) = (
            self.q_proj.forward(y.clone()),
            self.k_proj.forward(y.clone()),
            self.v_proj.forward(y),
        );
        let [q, k, v] = [q, k, v].map(|t| split_heads(t, self.config.num_attention_heads));
        let attended = match bias {
            Some(bias) => sdpa_biased(q, k, v, bias.clone()),
            None => sdpa(q, k, v, self.config.is_causal),
        };
        let x = x + self.out_proj.forward(merge_heads(attended));
        let y = self.fc1.forward(self.layer_norm2.forward(x.clone()));
        let y = match self.config.hidden_act {
            Activation::QuickGelu => y.clone() * activation::sigmoid(y * 1.702),
            Activation::Gelu => activation::gelu(y),
        };
        x + self.fc2.forward(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_ends_at_the_first_end_token() {
        assert_eq!(end_position(&[7, 3, 9, 9, 9], 9), 2);
        assert_eq!(end_position(&[7, 3, 9, 0, 0], 9), 2);
    }

    #[test]
    fn old_configurations_mean_the_highest_id() {
        assert_eq!(end_position(&[5, 49406, 2, 49407, 49407], 2), 3);
    }
}
