//! The Qwen2 and Qwen2.5 decoder (Yang et al. 2024), as `Qwen2ForCausalLM` of transformers.
//!
//! Projections that read the same input are joined at load (`qkv_proj`, `gate_up_proj`), so that
//! decoding one token is a short list of matrix-vector products.

use anyhow::Result;
use burn::tensor::{DType, Int, Tensor, TensorData, activation};
use serde::Deserialize;

use crate::fail;
use crate::nn::attention::{merge_heads, sdpa};
use crate::nn::gpu::{self, Gate};
use crate::nn::linear::Linear;
use crate::nn::rms_norm::RmsNorm;
use crate::nn::rotary::RotaryTable;
use crate::weights::Vars;

/// `config.json`, in the forms of transformers 4 and 5.
#[derive(Debug, Clone, Deserialize)]
pub struct Qwen2Config {
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    #[serde(default)]
    pub head_dim: Option<usize>,
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    #[serde(default)]
    pub tie_word_embeddings: bool,
    #[serde(default)]
    pub rope_theta: Option<f64>,
    /// Older writers: `null` or a scaling rule.
    #[serde(default)]
    pub rope_scaling: Option<RopeParameters>,
    #[serde(default)]
    pub rope_parameters: Option<RopeParameters>,
    #[serde(default)]
    pub use_sliding_window: bool,
    #[serde(default)]
    pub sliding_window: Option<usize>,
    #[serde(default)]
    pub max_window_layers: Option<usize>,
    #[serde(default = "default_activation")]
    pub hidden_act: String,
    #[serde(default)]
    pub eos_token_id: Option<TokenIds>,
}

/// `rope_parameters` of transformers 5, `rope_scaling` of transformers 4.
#[derive(Debug, Clone, Deserialize)]
pub struct RopeParameters {
    #[serde(default)]
    pub rope_theta: Option<f64>,
    #[serde(default, alias = "type")]
    pub rope_type: Option<String>,
}

/// One id or several, as writers like it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum TokenIds {
    One(u32),
    Many(Vec<u32>),
}

impl TokenIds {
    pub fn as_slice(&self) -> &[u32] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

fn default_activation() -> String {
    "silu".into()
}

impl Qwen2Config {
    pub fn head_dim(&self) -> usize {
        self.head_dim
            .unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// Base of the rotary frequencies.
    pub fn rope_theta(&self) -> f64 {
        let nested = self.rope_parameters.as_ref().and_then(|p| p.rope_theta);
        nested.or(self.rope_theta).unwrap_or(10_000.0)
    }

    /// Whether a window hides tokens from some layer: transformers gives one to the layers from
    /// `max_window_layers` on, and it hides nothing where it is as long as the context.
    fn slides(&self) -> bool {
        let shorter = self
            .sliding_window
            .is_some_and(|window| window < self.max_position_embeddings);
        let first = self.max_window_layers.unwrap_or(28);
        self.use_sliding_window && shorter && first < self.num_hidden_layers
    }

    /// Memory of the keys and values of `tokens` tokens, in bytes.
    pub fn cache_bytes(&self, tokens: usize, dtype: DType) -> u64 {
        let values = 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim() * tokens;
        (values * dtype.size()) as u64
    }

    /// # Errors
    /// `BadInput` for a configuration that this decoder does not compute.
    fn check(&self) -> Result<()> {
        let (heads, kv_heads) = (self.num_attention_heads, self.num_key_value_heads);
        if heads == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
            fail!(
                BadInput,
                "config.json: {heads} attention heads for {kv_heads} key-value heads; the first must be a multiple of the second"
            );
        }
        if !self.head_dim().is_multiple_of(2) || self.head_dim() == 0 {
            fail!(
                BadInput,
                "config.json: head_dim is {}; it must be even",
                self.head_dim()
            );
        }
        if self.num_hidden_layers == 0 || self.vocab_size == 0 {
            fail!(BadInput, "config.json: no layers or an empty vocabulary");
        }
        if self.hidden_act != "silu" {
            fail!(
                BadInput,
                "config.json: hidden_act is `{}`; allowed: silu",
                self.hidden_act
            );
        }
        let rules = [&self.rope_parameters, &self.rope_scaling];
        let rule = rules
            .into_iter()
            .flatten()
            .find_map(|p| p.rope_type.as_deref().filter(|t| *t != "default"));
        if let Some(rule) = rule {
            fail!(
                BadInput, "config.json: rope scaling `{rule}` is not supported; allowed: default";
                "remove rope_scaling to use the model with its native context of {} tokens", self.max_position_embeddings
            );
        }
        if self.slides() {
            fail!(
                BadInput, "config.json: use_sliding_window is true, with a window of {} tokens in a context of {}",
                self.sliding_window.unwrap_or_default(), self.max_position_embeddings;
                "set it to false: released Qwen2.5 models are trained with full attention"
            );
        }
        Ok(())
    }
}

/// A decoder with its language-model head.
#[derive(Debug)]
pub struct Qwen2 {
    embed_tokens: Tensor<2>,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    /// `None`: tied to the embeddings.
    lm_head: Option<Tensor<2>>,
    config: Qwen2Config,
}

impl Qwen2 {
    /// # Errors
    /// `BadInput` for a configuration that this decoder does not compute.
    pub fn load(vars: &Vars, config: Qwen2Config) -> Result<Self> {
        config.check()?;
        let root = vars.at("model");
        let table = [config.vocab_size, config.hidden_size];
        // Writers may store a tied head beside the embeddings; it is read then, not left unused.
        let head = vars.at("lm_head");
        let has_head = !config.tie_word_embeddings || head.has("weight");
        Ok(Self {
            embed_tokens: root.at("embed_tokens").get("weight", table),
            layers: (0..config.num_hidden_layers)
                .map(|i| DecoderLayer::load(&root.at("layers").at(i), &config))
                .collect(),
            norm: RmsNorm::load(&root.at("norm"), config.hidden_size, config.rms_norm_eps),
            lm_head: has_head.then(|| head.get("weight", table)),
            config,
        })
    }

    pub fn config(&self) -> &Qwen2Config {
        &self.config
    }

    /// Reserves keys and values for `capacity` tokens; nothing is allocated for them later.
    pub fn new_cache(&self, capacity: usize) -> KvCache {
        let (device, dtype) = (self.embed_tokens.device(), self.embed_tokens.dtype());
        let head_dim = self.config.head_dim();
        let shape = [self.config.num_key_value_heads, capacity, head_dim];
        let empty = || Some(Tensor::zeros(shape, (&device, dtype)));
        KvCache {
            layers: (0..self.config.num_hidden_layers)
                .map(|_| LayerCache {
                    keys: empty(),
                    values: empty(),
                })
                .collect(),
            rotary: RotaryTable::new(capacity, head_dim, self.config.rope_theta(), &device, dtype),
            length: 0,
            capacity,
        }
    }

    /// Reads a prompt into an empty cache, or one more token behind what the cache holds, and
    /// returns the state behind each.
    ///
    /// # Shapes
    /// `[ids]` → `[ids, hidden]`, after the final norm.
    ///
    /// # Panics
    /// If there are no ids, several behind a filled cache, an id is outside the vocabulary or the
    /// cache is too small.
    pub fn forward(&self, ids: &[u32], cache: &mut KvCache) -> Tensor<2> {
        let start = cache.length;
        assert!(
            ids.len() == 1 || (start == 0 && !ids.is_empty()),
            "{} tokens behind {start}",
            ids.len()
        );
        assert!(
            start + ids.len() <= cache.capacity,
            "{start} + {} tokens in a cache of {}",
            ids.len(),
            cache.capacity
        );
        let mut hidden_states = self.embed(ids);
        for (layer, stored) in self.layers.iter().zip(&mut cache.layers) {
            hidden_states = layer.forward(hidden_states, stored, &cache.rotary, start);
        }
        cache.length += ids.len();
        self.norm.forward(hidden_states)
    }

    fn embed(&self, ids: &[u32]) -> Tensor<2> {
        let in_vocabulary = |&id: &u32| {
            assert!(
                (id as usize) < self.config.vocab_size,
                "token {id} is outside the vocabulary"
            );
            id as i32
        };
        let rows: Vec<i32> = ids.iter().map(in_vocabulary).collect();
        let options = (&self.embed_tokens.device(), DType::I32);
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [ids.len()]), options);
        self.embed_tokens.clone().select(0, rows)
    }

    /// Scores of every token of the vocabulary.
    ///
    /// # Shapes
    /// `[rows, hidden]` → `[rows, vocab]`.
    pub fn logits(&self, hidden_states: Tensor<2>) -> Tensor<2> {
        let head = self.lm_head.as_ref().unwrap_or(&self.embed_tokens);
        if gpu::serves(&hidden_states.device()) {
            return gpu::matmul(hidden_states, head.clone());
        }
        hidden_states.matmul(head.clone().transpose())
    }
}

/// Keys and values of the tokens read so far, in buffers of fixed size.
#[derive(Debug)]
pub struct KvCache {
    layers: Vec<LayerCache>,
    rotary: RotaryTable,
    length: usize,
    capacity: usize,
}

impl KvCache {
    /// Tokens held.
    pub fn len(&self) -> usize {
        self.length
    }

    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Tokens that fit.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Forgets every token and keeps the buffers.
    pub fn clear(&mut self) {
        self.length = 0;
    }
}

/// `[kv_heads, capacity, head_dim]` each; empty only while a write is under way.
#[derive(Debug)]
struct LayerCache {
    keys: Option<Tensor<3>>,
    values: Option<Tensor<3>>,
}

/// Writes `new` at `start`. The buffer is moved out and back, so that it has one owner and the
/// backend writes in place instead of copying it.
fn store(buffer: &mut Option<Tensor<3>>, new: Tensor<3>, start: usize) {
    let [heads, length, head_dim] = new.dims();
    let whole = buffer.take().expect("put back by the write before");
    *buffer = Some(whole.slice_assign([0..heads, start..start + length, 0..head_dim], new));
}

/// The first `length` tokens of a buffer, without a copy.
fn held(buffer: &Option<Tensor<3>>, length: usize) -> Tensor<3> {
    let whole = buffer.as_ref().expect("put back by the write before");
    whole.clone().narrow(1, 0, length)
}

#[derive(Debug)]
struct DecoderLayer {
    input_layernorm: RmsNorm,
    qkv_proj: Linear,
    o_proj: Linear,
    post_attention_layernorm: RmsNorm,
    gate_up_proj: Linear,
    down_proj: Linear,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl DecoderLayer {
    fn load(vars: &Vars, config: &Qwen2Config) -> Self {
        let (width, inner, head_dim) = (config.hidden_size, config.intermediate_size, config.head_dim());
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let (attention, mlp) = (vars.at("self_attn"), vars.at("mlp"));
        let norm = |name: &str| RmsNorm::load(&vars.at(name), width, config.rms_norm_eps);
        Self {
            input_layernorm: norm("input_layernorm"),
            qkv_proj: joined([
                Linear::load(&attention.at("q_proj"), width, heads * head_dim),
                Linear::load(&attention.at("k_proj"), width, kv_heads * head_dim),
                Linear::load(&attention.at("v_proj"), width, kv_heads * head_dim),
            ]),
            o_proj: Linear::load_no_bias(&attention.at("o_proj"), heads * head_dim, width),
            post_attention_layernorm: norm("post_attention_layernorm"),
            gate_up_proj: joined([
                Linear::load_no_bias(&mlp.at("gate_proj"), width, inner),
                Linear::load_no_bias(&mlp.at("up_proj"), width, inner),
            ]),
            down_proj: Linear::load_no_bias(&mlp.at("down_proj"), inner, width),
            heads,
            kv_heads,
            head_dim,
        }
    }

    fn forward(&self, x: Tensor<2>, cache: &mut LayerCache, rotary: &RotaryTable, start: usize) -> Tensor<2> {
        let y = self.input_layernorm.forward(x.clone());
        let x = x + self.attend(y, cache, rotary, start);
        let y = self
            .gate_up_proj
            .forward(self.post_attention_layernorm.forward(x.clone()));
        let y = match gpu::serves(&y.device()) {
            true => gpu::gate(y, None, Gate::SiluOfFirst),
            false => {
                let [gate, up] = halves(y);
                activation::silu(gate) * up
            }
        };
        x + self.down_proj.forward(y)
    }

    fn attend(&self, x: Tensor<2>, cache: &mut LayerCache, rotary: &RotaryTable, start: usize) -> Tensor<2> {
        let (heads, kv_heads, head_dim) = (self.heads, self.kv_heads, self.head_dim);
        let length = x.dims()[0];
        let qkv = self
            .qkv_proj
            .forward(x)
            .reshape([length, heads + 2 * kv_heads, head_dim]);
        let turned = rotary.apply(qkv.clone().narrow(1, 0, heads + kv_heads), start);
        let q = turned.clone().narrow(1, 0, heads);
        let k = turned.narrow(1, heads, kv_heads).swap_dims(0, 1);
        let v = qkv.narrow(1, heads + kv_heads, kv_heads).swap_dims(0, 1);
        store(&mut cache.keys, k.clone(), start);
        store(&mut cache.values, v.clone(), start);
        let y = if start == 0 && length > 1 {
            self.attend_to_itself(q, k, v)
        } else {
            let total = start + length;
            self.attend_to_cache(q, held(&cache.keys, total), held(&cache.values, total))
        };
        self.o_proj.forward(y)
    }

    /// Causal attention of a prompt to itself, with the keys and values of a group repeated.
    ///
    /// # Shapes
    /// `q: [length, heads, head_dim]`, `k`, `v: [kv_heads, length, head_dim]` → `[length, heads · head_dim]`.
    fn attend_to_itself(&self, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<2> {
        let (heads, groups) = (self.heads, self.heads / self.kv_heads);
        let [length, _, head_dim] = q.dims();
        let repeat = |t: Tensor<3>| {
            t.unsqueeze_dim::<4>(1)
                .expand([self.kv_heads, groups, length, head_dim])
                .reshape([1, heads, length, head_dim])
        };
        let q = q.swap_dims(0, 1).unsqueeze::<4>();
        merge_heads(sdpa(q, repeat(k), repeat(v), true)).squeeze_dim(0)
    }

    /// Attention of one token to all cached ones; the query heads of a group share one product, so
    /// that no key or value is repeated.
    ///
    /// # Shapes
    /// `q: [1, heads, head_dim]`, `k`, `v: [kv_heads, total, head_dim]` → `[1, heads · head_dim]`.
    fn attend_to_cache(&self, q: Tensor<3>, k: Tensor<3>, v: Tensor<3>) -> Tensor<2> {
        let (kv_heads, head_dim) = (self.kv_heads, self.head_dim);
        let dtype = q.dtype();
        let q = (q * (head_dim as f64).powf(-0.5)).reshape([kv_heads, self.heads / kv_heads, head_dim]);
        let scores = q.matmul(k.swap_dims(1, 2)).cast(DType::F32);
        activation::softmax(scores, 2)
            .cast(dtype)
            .matmul(v)
            .reshape([1, self.heads * head_dim])
    }
}

/// Layers with one input as one layer, outputs side by side.
fn joined<const N: usize>(layers: [Linear; N]) -> Linear {
    let (weights, biases): (Vec<_>, Vec<_>) = layers.into_iter().map(|l| (l.weight.value(), l.bias)).unzip();
    let biases: Option<Vec<_>> = biases.into_iter().collect();
    Linear {
        weight: Tensor::cat(weights, 0).into(),
        bias: biases.map(|b| Tensor::cat(b, 0)),
    }
}

/// The two halves of the last axis.
fn halves(x: Tensor<2>) -> [Tensor<2>; 2] {
    let half = x.dims()[1] / 2;
    [x.clone().narrow(1, 0, half), x.narrow(1, half, half)]
}
