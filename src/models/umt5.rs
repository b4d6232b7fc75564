//! The umT5 text encoder (Chung et al. 2023; Raffel et al. 2020), as `UMT5EncoderModel` of
//! transformers: T5 with gated GELU, whose every layer has its own relative position bias.

use anyhow::Result;
use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation};
use serde::Deserialize;

use crate::fail;
use crate::nn::attention::{merge_heads, split_heads};
use crate::nn::linear::Linear;
use crate::nn::rms_norm::RmsNorm;
use crate::weights::Vars;
use crate::weights::vars::RowTable;

/// `text_encoder/config.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct Umt5Config {
    pub vocab_size: usize,
    pub d_model: usize,
    pub d_kv: usize,
    pub d_ff: usize,
    pub num_layers: usize,
    pub num_heads: usize,
    #[serde(default = "default_buckets")]
    pub relative_attention_num_buckets: usize,
    #[serde(default = "default_distance")]
    pub relative_attention_max_distance: usize,
    #[serde(default = "default_eps")]
    pub layer_norm_epsilon: f64,
    #[serde(default = "default_projection")]
    pub feed_forward_proj: String,
}

fn default_buckets() -> usize {
    32
}

fn default_distance() -> usize {
    128
}

fn default_eps() -> f64 {
    1e-6
}

fn default_projection() -> String {
    "gated-gelu".into()
}

impl Umt5Config {
    /// umT5-XXL, the text encoder of every WAN 2.1 model.
    pub fn xxl() -> Self {
        Self {
            vocab_size: 256_384,
            d_model: 4096,
            d_kv: 64,
            d_ff: 10_240,
            num_layers: 24,
            num_heads: 64,
            relative_attention_num_buckets: default_buckets(),
            relative_attention_max_distance: default_distance(),
            layer_norm_epsilon: default_eps(),
            feed_forward_proj: default_projection(),
        }
    }

    /// # Errors
    /// `BadInput` for values that this encoder does not implement.
    pub fn check(&self) -> Result<()> {
        let buckets = self.relative_attention_num_buckets;
        let problem = if self.feed_forward_proj != "gated-gelu" {
            format!(
                "feed_forward_proj is `{}`; allowed: gated-gelu",
                self.feed_forward_proj
            )
        } else if buckets < 4 || !buckets.is_multiple_of(4) {
            format!("relative_attention_num_buckets is {buckets}; allowed: multiples of 4")
        } else if self.relative_attention_max_distance <= buckets / 4 {
            format!(
                "relative_attention_max_distance is {}; allowed: above {}",
                self.relative_attention_max_distance,
                buckets / 4
            )
        } else if self.num_layers == 0 || self.num_heads == 0 || self.vocab_size == 0 {
            "num_layers, num_heads and vocab_size must be above 0".into()
        } else {
            return Ok(());
        };
        fail!(BadInput, "text encoder config: {problem}");
    }
}

/// The encoder. Its table of embeddings stays in the file.
#[derive(Debug)]
pub struct Umt5Encoder {
    shared: RowTable,
    blocks: Vec<Block>,
    final_layer_norm: RmsNorm,
    pub config: Umt5Config,
}

impl Umt5Encoder {
    /// # Errors
    /// When the configuration is not one of umT5's kind.
    pub fn load(vars: &Vars, config: Umt5Config) -> Result<Self> {
        config.check()?;
        let encoder = vars.at("encoder");
        Ok(Self {
            shared: vars
                .at("shared")
                .rows("weight", [config.vocab_size, config.d_model]),
            blocks: (0..config.num_layers)
                .map(|i| Block::load(&encoder.at("block").at(i), &config))
                .collect(),
            final_layer_norm: RmsNorm::load(
                &encoder.at("final_layer_norm"),
                config.d_model,
                config.layer_norm_epsilon,
            ),
            config,
        })
    }

    /// The last hidden state of one text; computes in `dtype`, with the residual stream in f32.
    ///
    /// Tokens from `attended` on are padding: nothing looks at them. Leaving them out gives the
    /// same values for the others.
    ///
    /// # Shapes
    /// `ids: [length]` → `[1, length, d_model]`, f32.
    ///
    /// # Panics
    /// If `ids` is empty, an id is outside the vocabulary, or `attended` is not in 1..=length.
    pub fn forward(&self, ids: &[u32], attended: usize, device: &Device, dtype: DType) -> Tensor<3> {
        let length = ids.len();
        assert!(
            (1..=length).contains(&attended),
            "{attended} attended of {length} tokens"
        );
        let buckets = self.buckets(length, attended, device);
        let mut hidden_states = self.shared.select(ids, device).unsqueeze::<3>();
        for block in &self.blocks {
            hidden_states = block.forward(hidden_states, attended, &buckets, dtype);
        }
        self.final_layer_norm.forward(hidden_states)
    }

    /// The bucket of every pair of query and key.
    ///
    /// # Shapes
    /// → `[length · attended]`
    fn buckets(&self, length: usize, attended: usize, device: &Device) -> Tensor<1, Int> {
        let indices: Vec<i32> = (0..length as i64)
            .flat_map(|query| (0..attended as i64).map(move |key| key - query))
            .map(|distance| {
                relative_bucket(
                    distance,
                    self.config.relative_attention_num_buckets,
                    self.config.relative_attention_max_distance,
                ) as i32
            })
            .collect();
        Tensor::from_data(TensorData::new(indices, [length * attended]), device)
    }
}

/// T5's buckets of relative positions: half for keys behind the query, half for keys before it;
/// in each half, near positions exactly and far ones on a logarithmic scale, in f32 as there.
fn relative_bucket(distance: i64, buckets: usize, max_distance: usize) -> usize {
    let half = buckets / 2;
    let exact = half / 2;
    let side = if distance > 0 { half } else { 0 };
    let distance = distance.unsigned_abs() as usize;
    if distance < exact {
        return side + distance;
    }
    let span = ((max_distance as f64) / exact as f64).ln() as f32;
    let ratio = (distance as f32 / exact as f32).ln() / span;
    let log_bucket = exact + (ratio * (half - exact) as f32) as usize;
    side + log_bucket.min(half - 1)
}

#[derive(Debug)]
struct Block {
    attention_norm: RmsNorm,
    attention: SelfAttention,
    feed_forward_norm: RmsNorm,
    wi_0: Linear,
    wi_1: Linear,
    wo: Linear,
}

impl Block {
    fn load(vars: &Vars, config: &Umt5Config) -> Self {
        let (width, inner, eps) = (config.d_model, config.d_ff, config.layer_norm_epsilon);
        let (first, second) = (vars.at("layer.0"), vars.at("layer.1"));
        let dense = second.at("DenseReluDense");
        Self {
            attention_norm: RmsNorm::load(&first.at("layer_norm"), width, eps),
            attention: SelfAttention::load(&first.at("SelfAttention"), config),
            feed_forward_norm: RmsNorm::load(&second.at("layer_norm"), width, eps),
            wi_0: Linear::load_no_bias(&dense.at("wi_0"), width, inner),
            wi_1: Linear::load_no_bias(&dense.at("wi_1"), width, inner),
            wo: Linear::load_no_bias(&dense.at("wo"), inner, width),
        }
    }

    fn forward(&self, x: Tensor<3>, attended: usize, buckets: &Tensor<1, Int>, dtype: DType) -> Tensor<3> {
        let y = self.attention_norm.forward(x.clone()).cast(dtype);
        let x = x + self.attention.forward(y, attended, buckets).cast(DType::F32);
        let y = self.feed_forward_norm.forward(x.clone()).cast(dtype);
        let gate = activation::gelu_approximate(self.wi_0.forward(y.clone()));
        x + self.wo.forward(gate * self.wi_1.forward(y)).cast(DType::F32)
    }
}

#[derive(Debug)]
struct SelfAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    o: Linear,
    /// `[buckets, heads]`
    relative_attention_bias: Tensor<2>,
    heads: usize,
}

impl SelfAttention {
    fn load(vars: &Vars, config: &Umt5Config) -> Self {
        let (width, inner) = (config.d_model, config.num_heads * config.d_kv);
        Self {
            q: Linear::load_no_bias(&vars.at("q"), width, inner),
            k: Linear::load_no_bias(&vars.at("k"), width, inner),
            v: Linear::load_no_bias(&vars.at("v"), width, inner),
            o: Linear::load_no_bias(&vars.at("o"), inner, width),
            relative_attention_bias: vars.at("relative_attention_bias").get(
                "weight",
                [config.relative_attention_num_buckets, config.num_heads],
            ),
            heads: config.num_heads,
        }
    }

    /// Plain softmax attention, without T5's absent scale: with a bias and 512 tokens no kernel
    /// saves anything.
    fn forward(&self, x: Tensor<3>, attended: usize, buckets: &Tensor<1, Int>) -> Tensor<3> {
        let (dtype, length) = (x.dtype(), x.dims()[1]);
        let keys = x.clone().narrow(1, 0, attended);
        let q = split_heads(self.q.forward(x), self.heads);
        let k = split_heads(self.k.forward(keys.clone()), self.heads);
        let v = split_heads(self.v.forward(keys), self.heads);
        let bias = self
            .relative_attention_bias
            .clone()
            .cast(DType::F32)
            .select(0, buckets.clone())
            .reshape([length, attended, self.heads])
            .permute([2, 0, 1])
            .unsqueeze::<4>();
        let scores = q.matmul(k.transpose()).cast(DType::F32) + bias;
        let weights = activation::softmax(scores, 3).cast(dtype);
        self.o.forward(merge_heads(weights.matmul(v)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_change_where_torch_changes_them() {
        let changes = |sign: i64| -> Vec<i64> {
            (1..200)
                .filter(|d| relative_bucket(sign * d, 32, 128) != relative_bucket(sign * (d - 1), 32, 128))
                .collect()
        };
        let expected = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];
        assert_eq!(changes(-1), expected);
        assert_eq!(changes(1), expected);
        assert_eq!(relative_bucket(0, 32, 128), 0);
        assert_eq!(relative_bucket(-1000, 32, 128), 15);
        assert_eq!(relative_bucket(1000, 32, 128), 31);
    }
}
