//! WAN 2.1's diffusion transformer (Wan Team 2025) and its VACE variant with a control branch
//! (Jiang et al. 2025), as `WanTransformer3DModel` and `WanVACETransformer3DModel` of diffusers.
//!
//! The residual stream, the modulation and the norms are f32 whatever the weights are: 30 layers
//! of half-precision sums lose more than they save.

use anyhow::Result;
use burn::tensor::{DType, Device, Tensor, activation, module};
use serde::Deserialize;

use crate::fail;
use crate::nn::attention::{merge_heads, sdpa};
use crate::nn::embeddings::timestep_embedding;
use crate::nn::gpu::{self, RowNorm, RowNormPlan};
use crate::nn::linear::Linear;
use crate::nn::norm::LayerNorm;
use crate::nn::rms_norm::RmsNorm;
use crate::nn::rope::Rope3d;
use crate::weights::{Parameters, Vars};

/// `transformer/config.json`.
#[derive(Debug, Clone, Deserialize)]
pub struct WanTransformerConfig {
    #[serde(default = "default_patch")]
    pub patch_size: [usize; 3],
    pub num_attention_heads: usize,
    pub attention_head_dim: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub text_dim: usize,
    pub freq_dim: usize,
    pub ffn_dim: usize,
    pub num_layers: usize,
    #[serde(default = "yes")]
    pub cross_attn_norm: bool,
    #[serde(default = "default_qk_norm")]
    pub qk_norm: Option<String>,
    #[serde(default = "default_eps")]
    pub eps: f64,
    #[serde(default = "default_rope_length")]
    pub rope_max_seq_len: usize,
    #[serde(default)]
    pub image_dim: Option<usize>,
    #[serde(default)]
    pub added_kv_proj_dim: Option<usize>,
    /// The layers that the control branch adds to; only VACE models have them.
    #[serde(default)]
    pub vace_layers: Option<Vec<usize>>,
    #[serde(default = "default_vace_channels")]
    pub vace_in_channels: usize,
}

fn default_patch() -> [usize; 3] {
    [1, 2, 2]
}

fn default_qk_norm() -> Option<String> {
    Some("rms_norm_across_heads".into())
}

fn default_eps() -> f64 {
    1e-6
}

fn default_rope_length() -> usize {
    1024
}

fn default_vace_channels() -> usize {
    96
}

fn yes() -> bool {
    true
}

impl WanTransformerConfig {
    /// Wan2.1-T2V-1.3B, or with `vace` Wan2.1-VACE-1.3B.
    pub fn wan_1_3b(vace: bool) -> Self {
        Self {
            patch_size: default_patch(),
            num_attention_heads: 12,
            attention_head_dim: 128,
            in_channels: 16,
            out_channels: 16,
            text_dim: 4096,
            freq_dim: 256,
            ffn_dim: 8960,
            num_layers: 30,
            cross_attn_norm: true,
            qk_norm: default_qk_norm(),
            eps: default_eps(),
            rope_max_seq_len: default_rope_length(),
            image_dim: None,
            added_kv_proj_dim: None,
            vace_layers: vace.then(|| (0..30).step_by(2).collect()),
            vace_in_channels: default_vace_channels(),
        }
    }

    /// Channels of the residual stream.
    pub fn inner_dim(&self) -> usize {
        self.num_attention_heads * self.attention_head_dim
    }

    /// How many patches latents of so many frames, rows and columns make along each axis.
    ///
    /// # Errors
    /// `InvalidSpec` when the model has fewer positions than that.
    pub fn patches(&self, [frames, height, width]: [usize; 3]) -> Result<[usize; 3]> {
        let [t, h, w] = self.patch_size;
        let patches = [frames / t, height / h, width / w];
        let most = self.rope_max_seq_len;
        if patches.iter().any(|&n| n > most) {
            fail!(
                InvalidSpec,
                "size is {patches:?} patches (frames, rows, columns); this model has {most} positions an axis"
            );
        }
        Ok(patches)
    }

    /// # Errors
    /// `BadInput` for values that this transformer does not implement.
    pub fn check(&self) -> Result<()> {
        let problem = if self.image_dim.is_some() || self.added_kv_proj_dim.is_some() {
            "image_dim and added_kv_proj_dim belong to image-to-video models, which are not supported; use a VACE model"
        } else if self.qk_norm.as_deref() != Some("rms_norm_across_heads") {
            "qk_norm must be rms_norm_across_heads"
        } else if self.patch_size.contains(&0) || self.num_attention_heads == 0 || self.num_layers == 0 {
            "patch_size, num_attention_heads and num_layers must be above 0"
        } else if !self.attention_head_dim.is_multiple_of(2) || !self.freq_dim.is_multiple_of(2) {
            "attention_head_dim and freq_dim must be even"
        } else if self.vace_layers.as_ref().is_some_and(|layers| {
            layers.first() != Some(&0)
                || !layers.is_sorted_by(|a, b| a < b)
                || layers.iter().any(|&l| l >= self.num_layers)
        }) {
            "vace_layers must rise, begin with 0 and stay below num_layers"
        } else {
            return Ok(());
        };
        fail!(BadInput, "transformer config: {problem}");
    }
}

/// Text to video, with a control branch where the checkpoint has one.
#[derive(Debug)]
pub struct WanTransformer {
    patch_embedding: PatchEmbedding,
    condition_embedder: ConditionEmbedder,
    blocks: Vec<Block>,
    /// `[1, 2, inner_dim]`
    scale_shift_table: Tensor<3>,
    proj_out: Linear,
    vace: Option<VaceBranch>,
    /// Its weights by name, for adapters.
    pub parameters: Parameters,
    pub config: WanTransformerConfig,
}

/// Keys and values of every cross-attention for one text: computed once a job.
#[derive(Debug, Clone)]
pub struct TextCache {
    blocks: Vec<KeyValue>,
    vace_blocks: Vec<KeyValue>,
}

/// The control video of one job, embedded, and how strongly each layer follows it.
#[derive(Debug, Clone)]
pub struct Control {
    /// `[batch, patches, inner_dim]`, f32
    hidden_states: Tensor<3>,
    scales: Vec<f64>,
}

impl WanTransformer {
    /// # Errors
    /// When the configuration is not one of WAN 2.1's text-to-video or VACE models.
    pub fn load(vars: &Vars, config: WanTransformerConfig) -> Result<Self> {
        config.check()?;
        let width = config.inner_dim();
        let [t, h, w] = config.patch_size;
        Ok(Self {
            patch_embedding: PatchEmbedding::load(&vars.at("patch_embedding"), config.in_channels, &config),
            condition_embedder: ConditionEmbedder::load(&vars.at("condition_embedder"), &config),
            blocks: (0..config.num_layers)
                .map(|i| Block::load(&vars.at("blocks").at(i), &config))
                .collect(),
            scale_shift_table: vars.in_f32().get("scale_shift_table", [1, 2, width]),
            proj_out: Linear::load(&vars.at("proj_out"), width, config.out_channels * t * h * w),
            vace: config
                .vace_layers
                .is_some()
                .then(|| VaceBranch::load(vars, &config)),
            parameters: vars.parameters(),
            config,
        })
    }

    /// Keys and values for a text.
    ///
    /// # Shapes
    /// `prompt_embeds: [batch, 512, text_dim]`, zeros behind the text.
    pub fn text_cache(&self, prompt_embeds: Tensor<3>, dtype: DType) -> TextCache {
        let text = self.condition_embedder.text(prompt_embeds.cast(dtype));
        let of = |block: &Block| block.attn2.key_value(text.clone());
        TextCache {
            blocks: self.blocks.iter().map(of).collect(),
            vace_blocks: self
                .vace
                .iter()
                .flat_map(|vace| &vace.blocks)
                .map(|b| of(&b.block))
                .collect(),
        }
    }

    /// A control video for [`WanTransformer::forward`], every layer scaled by its own number.
    ///
    /// # Shapes
    /// `control: [batch, vace_in_channels, frames, height, width]`, as many latent frames, rows and
    /// columns as the latents have.
    ///
    /// # Panics
    /// Without a control branch, or if there is not one scale a VACE layer.
    pub fn control(&self, control: Tensor<5>, scales: &[f64], dtype: DType) -> Control {
        let vace = self.vace.as_ref().expect("only VACE models take a control video");
        assert_eq!(
            scales.len(),
            vace.blocks.len(),
            "one conditioning scale a VACE layer"
        );
        Control {
            hidden_states: vace.patch_embedding.forward(control.cast(dtype)),
            scales: scales.to_vec(),
        }
    }

    /// The velocity that flow matching follows.
    ///
    /// # Shapes
    /// `latents: [batch, in_channels, frames, height, width]`, all at the same `timestep` (0 to
    /// 1000) → `[batch, out_channels, frames, height, width]`, f32. Computes in `dtype`.
    ///
    /// # Panics
    /// If the sides are not multiples of the patch, or a VACE model gets no control video.
    pub fn forward(
        &self,
        latents: Tensor<5>,
        timestep: f32,
        rope: &Rope3d,
        text: &TextCache,
        control: Option<&Control>,
        dtype: DType,
    ) -> Tensor<5> {
        let dims = latents.dims();
        assert_eq!(
            control.is_some(),
            self.vace.is_some(),
            "a control video goes with a control branch"
        );
        let device = latents.device();
        let mut hidden_states = self.patch_embedding.forward(latents.cast(dtype));
        let (temb, timestep_proj) = self.condition_embedder.time(timestep, &device);

        let mut branch = self.vace.as_ref().zip(control).map(|(vace, control)| {
            let state = vace.begin(control, hidden_states.clone());
            (vace, control, state)
        });
        for (i, block) in self.blocks.iter().enumerate() {
            hidden_states = block.forward(hidden_states, &timestep_proj, rope, &text.blocks[i], dtype);
            let Some((vace, control, state)) = branch.as_mut() else {
                continue;
            };
            // The branch runs beside the layers that it adds to, so that only one hint is alive.
            if let Some(place) = vace.layers.iter().position(|&layer| layer == i) {
                let kv = &text.vace_blocks[place];
                let hint = vace.blocks[place].forward(state, &timestep_proj, rope, kv, dtype);
                hidden_states = hidden_states + hint * control.scales[place];
            }
        }

        let modulation = self.scale_shift_table.clone() + temb.unsqueeze::<3>();
        let hidden_states = modulated_norm(hidden_states, &modulation, [0, 1], self.config.eps, dtype);
        let patches = self.proj_out.forward(hidden_states);
        unpatchify(patches.cast(DType::F32), dims, &self.config)
    }

    /// The table of positions for latents of that size; see [`WanTransformerConfig::patches`].
    ///
    /// # Errors
    /// `InvalidSpec` when the model has fewer positions than the size needs.
    pub fn rope(&self, latents: [usize; 3], device: &Device) -> Result<Rope3d> {
        let patches = self.config.patches(latents)?;
        Ok(Rope3d::new(self.config.attention_head_dim, patches, device))
    }
}

/// Cuts latents into patches and projects them: a 3-D convolution whose stride is its kernel.
#[derive(Debug)]
struct PatchEmbedding {
    linear: Linear,
    patch_size: [usize; 3],
}

impl PatchEmbedding {
    fn load(vars: &Vars, channels: usize, config: &WanTransformerConfig) -> Self {
        let width = config.inner_dim();
        let [t, h, w] = config.patch_size;
        let stored = [width, channels, t, h, w];
        Self {
            linear: Linear {
                weight: vars.param_as("weight", stored, [width, channels * t * h * w]),
                bias: Some(vars.get("bias", [width])),
            },
            patch_size: config.patch_size,
        }
    }

    /// `[batch, channels, frames, height, width]` → `[batch, patches, inner_dim]`, f32.
    fn forward(&self, x: Tensor<5>) -> Tensor<3> {
        let [batch, channels, frames, height, width] = x.dims();
        let [t, h, w] = self.patch_size;
        assert!(
            frames % t == 0 && height % h == 0 && width % w == 0,
            "latents of {frames}x{height}x{width} in patches of {t}x{h}x{w}"
        );
        let patches = x
            .reshape([batch, channels, frames / t, t, height / h, h, width / w, w])
            .permute([0, 2, 4, 6, 1, 3, 5, 7])
            .reshape([
                batch,
                frames / t * (height / h) * (width / w),
                channels * t * h * w,
            ]);
        self.linear.forward(patches).cast(DType::F32)
    }
}

/// `[batch, patches, t · h · w · out_channels]` → `[batch, out_channels, frames, height, width]`.
fn unpatchify(x: Tensor<3>, dims: [usize; 5], config: &WanTransformerConfig) -> Tensor<5> {
    let [batch, _, frames, height, width] = dims;
    let [t, h, w] = config.patch_size;
    let channels = config.out_channels;
    x.reshape([batch, frames / t, height / h, width / w, t, h, w, channels])
        .permute([0, 7, 1, 4, 2, 5, 3, 6])
        .reshape([batch, channels, frames, height, width])
}

/// Time and text into the transformer's width.
#[derive(Debug)]
struct ConditionEmbedder {
    time_linear_1: Linear,
    time_linear_2: Linear,
    time_proj: Linear,
    text_linear_1: Linear,
    text_linear_2: Linear,
    freq_dim: usize,
    width: usize,
}

impl ConditionEmbedder {
    fn load(vars: &Vars, config: &WanTransformerConfig) -> Self {
        let width = config.inner_dim();
        let (time, text) = (vars.in_f32(), vars.at("text_embedder"));
        let embedder = time.at("time_embedder");
        Self {
            time_linear_1: Linear::load(&embedder.at("linear_1"), config.freq_dim, width),
            time_linear_2: Linear::load(&embedder.at("linear_2"), width, width),
            time_proj: Linear::load(&time.at("time_proj"), width, 6 * width),
            text_linear_1: Linear::load(&text.at("linear_1"), config.text_dim, width),
            text_linear_2: Linear::load(&text.at("linear_2"), width, width),
            freq_dim: config.freq_dim,
            width,
        }
    }

    /// → the embedding `[1, inner_dim]` and its projection `[1, 6, inner_dim]`, in f32.
    fn time(&self, timestep: f32, device: &Device) -> (Tensor<2>, Tensor<3>) {
        let frequencies = timestep_embedding(&[timestep], self.freq_dim, device);
        let hidden = activation::silu(self.time_linear_1.forward(frequencies));
        let temb = self.time_linear_2.forward(hidden);
        let proj = self.time_proj.forward(activation::silu(temb.clone()));
        (temb, proj.reshape([1, 6, self.width]))
    }

    fn text(&self, prompt_embeds: Tensor<3>) -> Tensor<3> {
        let hidden = activation::gelu_approximate(self.text_linear_1.forward(prompt_embeds));
        self.text_linear_2.forward(hidden)
    }
}

/// Self-attention, cross-attention and feed-forward, each on the f32 residual stream.
#[derive(Debug)]
struct Block {
    attn1: Attention,
    attn2: Attention,
    norm2: Option<LayerNorm>,
    ffn_in: Linear,
    ffn_out: Linear,
    /// `[1, 6, inner_dim]`
    scale_shift_table: Tensor<3>,
    eps: f64,
}

impl Block {
    fn load(vars: &Vars, config: &WanTransformerConfig) -> Self {
        let (width, inner) = (config.inner_dim(), config.ffn_dim);
        Self {
            attn1: Attention::load(&vars.at("attn1"), config),
            attn2: Attention::load(&vars.at("attn2"), config),
            norm2: config
                .cross_attn_norm
                .then(|| LayerNorm::load(&vars.in_f32().at("norm2"), width, config.eps)),
            ffn_in: Linear::load(&vars.at("ffn.net.0.proj"), width, inner),
            ffn_out: Linear::load(&vars.at("ffn.net.2"), inner, width),
            scale_shift_table: vars.in_f32().get("scale_shift_table", [1, 6, width]),
            eps: config.eps,
        }
    }

    /// `x: [batch, patches, inner_dim]`, f32 → the same.
    fn forward(
        &self,
        x: Tensor<3>,
        timestep_proj: &Tensor<3>,
        rope: &Rope3d,
        text: &KeyValue,
        dtype: DType,
    ) -> Tensor<3> {
        let modulation = self.scale_shift_table.clone() + timestep_proj.clone();
        let gate = |row| modulation.clone().narrow(1, row, 1);

        let y = modulated_norm(x.clone(), &modulation, [0, 1], self.eps, dtype);
        let x = x + self.attn1.self_attention(y, rope).cast(DType::F32) * gate(2);

        let y = match &self.norm2 {
            Some(norm) => norm.forward_to(x.clone(), dtype),
            None => x.clone().cast(dtype),
        };
        let x = x + self.attn2.cross_attention(y, text).cast(DType::F32);

        let y = modulated_norm(x.clone(), &modulation, [3, 4], self.eps, dtype);
        let y = self
            .ffn_out
            .forward(activation::gelu_approximate(self.ffn_in.forward(y)));
        x + y.cast(DType::F32) * gate(5)
    }
}

/// `norm(x) · (1 + scale) + shift` in `dtype`: a layer norm whose weights depend on the time step.
///
/// # Shapes
/// `x: [batch, patches, channels]`, `table: [1, rows, channels]`; `places`: the rows of shift and scale.
fn modulated_norm(x: Tensor<3>, table: &Tensor<3>, places: [usize; 2], eps: f64, dtype: DType) -> Tensor<3> {
    if gpu::serves(&x.device()) {
        let plan = RowNormPlan {
            rows: [places[1], places[0]],
            one_more: true,
            ..RowNormPlan::new(RowNorm::Layer, eps, dtype)
        };
        return gpu::row_norm(x, table.clone(), Some(table.clone()), plan);
    }
    let [shift, scale] = places.map(|row| table.clone().narrow(1, row, 1).flatten::<1>(0, 2));
    module::layer_norm(x, scale + 1.0, Some(shift), eps).cast(dtype)
}

/// Keys and values, `[batch, heads, length, head_dim]`.
#[derive(Debug, Clone)]
struct KeyValue {
    k: Tensor<4>,
    v: Tensor<4>,
}

#[derive(Debug)]
struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    norm_q: RmsNorm,
    norm_k: RmsNorm,
    heads: usize,
}

impl Attention {
    fn load(vars: &Vars, config: &WanTransformerConfig) -> Self {
        let width = config.inner_dim();
        Self {
            to_q: Linear::load(&vars.at("to_q"), width, width),
            to_k: Linear::load(&vars.at("to_k"), width, width),
            to_v: Linear::load(&vars.at("to_v"), width, width),
            to_out: Linear::load(&vars.at("to_out.0"), width, width),
            norm_q: RmsNorm::load(&vars.at("norm_q"), width, config.eps),
            norm_k: RmsNorm::load(&vars.at("norm_k"), width, config.eps),
            heads: config.num_attention_heads,
        }
    }

    /// `[batch, length, inner_dim]` → `[batch, length, heads, head_dim]`.
    fn heads_last(&self, x: Tensor<3>) -> Tensor<4> {
        let [batch, length, width] = x.dims();
        x.reshape([batch, length, self.heads, width / self.heads])
    }

    /// Projected, normalised and turned by position: `[batch, heads, length, head_dim]`.
    fn turned(&self, projection: &Linear, norm: &RmsNorm, x: Tensor<3>, rope: &Rope3d) -> Tensor<4> {
        let bias = projection.bias.clone().filter(|_| gpu::serves(&x.device()));
        let turned = match bias {
            Some(bias) => {
                let (weight, eps) = norm.weight_and_eps();
                let y = projection.product(x);
                self.heads_last(gpu::turned_norm(y, [bias, weight], rope.tables(), eps))
            }
            None => rope.apply(self.heads_last(norm.forward(projection.forward(x)))),
        };
        turned.swap_dims(1, 2)
    }

    fn self_attention(&self, x: Tensor<3>, rope: &Rope3d) -> Tensor<3> {
        let q = self.turned(&self.to_q, &self.norm_q, x.clone(), rope);
        let k = self.turned(&self.to_k, &self.norm_k, x.clone(), rope);
        let v = self.heads_last(self.to_v.forward(x)).swap_dims(1, 2);
        self.to_out.forward(merge_heads(sdpa(q, k, v, false)))
    }

    fn key_value(&self, text: Tensor<3>) -> KeyValue {
        let k = self.norm_k.forward(self.to_k.forward(text.clone()));
        let v = self.to_v.forward(text);
        let [k, v] = [k, v].map(|t| self.heads_last(t).swap_dims(1, 2));
        KeyValue { k, v }
    }

    fn cross_attention(&self, x: Tensor<3>, text: &KeyValue) -> Tensor<3> {
        let q = self.norm_q.forward(self.to_q.forward(x));
        let q = self.heads_last(q).swap_dims(1, 2);
        let y = sdpa(q, text.k.clone(), text.v.clone(), false);
        self.to_out.forward(merge_heads(y))
    }
}

/// VACE: a second chain of blocks over the control video, whose outputs are added to some layers.
#[derive(Debug)]
struct VaceBranch {
    patch_embedding: PatchEmbedding,
    proj_in: Linear,
    blocks: Vec<VaceBlock>,
    layers: Vec<usize>,
}

impl VaceBranch {
    fn load(vars: &Vars, config: &WanTransformerConfig) -> Self {
        let layers = config.vace_layers.clone().unwrap_or_default();
        let (blocks, width) = (vars.at("vace_blocks"), config.inner_dim());
        Self {
            patch_embedding: PatchEmbedding::load(
                &vars.at("vace_patch_embedding"),
                config.vace_in_channels,
                config,
            ),
            proj_in: Linear::load(&blocks.at("0.proj_in"), width, width),
            blocks: (0..layers.len())
                .map(|i| VaceBlock {
                    block: Block::load(&blocks.at(i), config),
                    proj_out: Linear::load(&blocks.at(i).at("proj_out"), width, width),
                })
                .collect(),
            layers,
        }
    }

    /// The chain's first state: control and latents together.
    fn begin(&self, control: &Control, hidden_states: Tensor<3>) -> Tensor<3> {
        self.proj_in.forward(control.hidden_states.clone()) + hidden_states
    }
}

#[derive(Debug)]
struct VaceBlock {
    block: Block,
    proj_out: Linear,
}

impl VaceBlock {
    /// Advances the chain and returns the hint for the main layer, f32.
    fn forward(
        &self,
        state: &mut Tensor<3>,
        timestep_proj: &Tensor<3>,
        rope: &Rope3d,
        text: &KeyValue,
        dtype: DType,
    ) -> Tensor<3> {
        *state = self
            .block
            .forward(state.clone(), timestep_proj, rope, text, dtype);
        self.proj_out.forward(state.clone().cast(dtype)).cast(DType::F32)
    }
}
