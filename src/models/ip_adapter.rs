//! IP-Adapter (Ye et al. 2023): pictures as further tokens that the denoiser's cross-attentions
//! attend to beside the text, in the names of the published files.

use anyhow::Result;
use burn::tensor::{Tensor, activation};

use super::sdxl_unet::{CrossPlace, KeysValues, Part};
use crate::fail;
use crate::nn::attention::{merge_heads, sdpa, split_heads};
use crate::nn::linear::Linear;
use crate::nn::norm::LayerNorm;
use crate::weights::{Checkpoint, Vars};

/// Channels of a head in the plus variant's resampler.
const RESAMPLER_HEAD_DIM: usize = 64;
const EPS: f64 = 1e-5;

/// The measures of an adapter, read from its tensors' shapes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpAdapterShape {
    pub kind: IpAdapterKind,
    /// Width of the denoiser's context.
    pub cross_attention_dim: usize,
    /// Width of what it reads from the image encoder.
    pub input_dim: usize,
    /// Cross-attentions it has projections for.
    pub layers: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IpAdapterKind {
    /// Reads the image embedding, makes so many tokens of it.
    Plain { tokens: usize },
    /// Reads the encoder's last state but one with a resampler (plus, plus-face).
    Plus {
        tokens: usize,
        hidden: usize,
        heads: usize,
        depth: usize,
        inner: usize,
    },
}

impl IpAdapterShape {
    /// # Errors
    /// `BadInput` for files that hold something else; `label` names the file.
    pub fn of(checkpoint: &Checkpoint, label: &str) -> Result<Self> {
        let dims = |name: &str| checkpoint.get(name).map(|entry| entry.shape.clone());
        let side = |name: &str, axis: usize| dims(name).and_then(|d| d.get(axis).copied()).unwrap_or(0);
        let has = |prefix: &str| checkpoint.entries().any(|(name, _)| name.starts_with(prefix));
        if has("image_proj.proj.0.") || has("image_proj.0.") || has("image_proj.perceiver_resampler.") {
            fail!(
                BadInput, "ip_adapter `{label}` is a full-face or FaceID adapter, which this build does not run";
                "use a plain, plus or plus-face IP-Adapter for SDXL"
            );
        }
        let layers = checkpoint
            .entries()
            .filter(|(name, _)| name.starts_with("ip_adapter.") && name.ends_with(".to_k_ip.weight"))
            .count();
        let (kind, cross_attention_dim, input_dim) = if has("image_proj.proj.") {
            let context = side("image_proj.norm.weight", 0);
            let tokens = side("image_proj.proj.weight", 0) / context.max(1);
            let input = side("image_proj.proj.weight", 1);
            (IpAdapterKind::Plain { tokens }, context, input)
        } else if has("image_proj.latents") {
            let depth = (0..)
                .take_while(|i| has(&format!("image_proj.layers.{i}.")))
                .count();
            let kind = IpAdapterKind::Plus {
                tokens: side("image_proj.latents", 1),
                hidden: side("image_proj.latents", 2),
                heads: side("image_proj.layers.0.0.to_q.weight", 0) / RESAMPLER_HEAD_DIM,
                depth,
                inner: side("image_proj.layers.0.1.1.weight", 0),
            };
            let context = side("image_proj.norm_out.weight", 0);
            (kind, context, side("image_proj.proj_in.weight", 1))
        } else {
            fail!(
                BadInput, "ip_adapter `{label}` holds no `image_proj.` tensors, so it is no IP-Adapter";
                "name a file such as ip-adapter_sdxl.safetensors"
            );
        };
        if layers == 0 || cross_attention_dim == 0 || input_dim == 0 {
            fail!(BadInput, "ip_adapter `{label}` is not whole: tensors are missing"; "fetch the file again");
        }
        Ok(Self {
            kind,
            cross_attention_dim,
            input_dim,
            layers,
        })
    }
}

/// A loaded adapter for one denoiser.
#[derive(Debug)]
pub struct IpAdapter {
    projection: Projection,
    /// To keys and values, for the denoiser's cross-attentions in the order of use.
    layers: Vec<[Linear; 2]>,
    heads: Vec<usize>,
    pub shape: IpAdapterShape,
}

#[derive(Debug)]
enum Projection {
    Plain(Box<PlainProjection>),
    Plus(Box<Resampler>),
}

#[derive(Debug)]
struct PlainProjection {
    proj: Linear,
    norm: LayerNorm,
    tokens: usize,
}

impl IpAdapter {
    /// `places` are the denoiser's cross-attentions in the order of use. Files count them in another
    /// one: down, up, middle, by odd numbers.
    pub fn load(vars: &Vars, shape: IpAdapterShape, places: &[CrossPlace]) -> Self {
        let projection = vars.at("image_proj");
        let layers = vars.at("ip_adapter");
        let context = shape.cross_attention_dim;
        let load = |(number, place): (usize, &CrossPlace)| {
            let layer = layers.at(2 * number + 1);
            ["to_k_ip", "to_v_ip"].map(|n| Linear::load_no_bias(&layer.at(n), context, place.channels))
        };
        Self {
            projection: match shape.kind {
                IpAdapterKind::Plain { tokens } => Projection::Plain(Box::new(PlainProjection {
                    proj: Linear::load(&projection.at("proj"), shape.input_dim, tokens * context),
                    norm: LayerNorm::load(&projection.at("norm"), context, EPS),
                    tokens,
                })),
                IpAdapterKind::Plus { .. } => {
                    Projection::Plus(Box::new(Resampler::load(&projection, &shape)))
                }
            },
            layers: numbers_in_file(places)
                .into_iter()
                .zip(places)
                .map(load)
                .collect(),
            heads: places.iter().map(|place| place.heads).collect(),
            shape,
        }
    }

    /// Tokens of pictures.
    ///
    /// # Shapes
    /// `embeds: [pictures, 1, input_dim]` (plain: the image embedding) or `[pictures, patches + 1,
    /// input_dim]` (plus: the last state but one) → `[1, pictures · tokens, cross_attention_dim]`.
    pub fn tokens(&self, embeds: Tensor<3>) -> Tensor<3> {
        let pictures = embeds.dims()[0];
        let tokens = match &self.projection {
            Projection::Plain(plain) => {
                let width = self.shape.cross_attention_dim;
                let rows = plain.proj.forward(embeds);
                plain.norm.forward(rows.reshape([pictures, plain.tokens, width]))
            }
            Projection::Plus(resampler) => resampler.forward(embeds),
        };
        let [_, each, width] = tokens.dims();
        tokens.reshape([1, pictures * each, width])
    }

    /// Keys and values for cross-attention `place` of those given to [`Self::load`].
    ///
    /// # Shapes
    /// `tokens: [rows, tokens, cross_attention_dim]`
    pub fn keys_values(&self, place: usize, tokens: &Tensor<3>) -> KeysValues {
        let [to_k, to_v] = &self.layers[place];
        let split = |linear: &Linear| split_heads(linear.forward(tokens.clone()), self.heads[place]);
        KeysValues {
            k: split(to_k),
            v: split(to_v),
        }
    }
}

/// The position of each place when middle comes last.
fn numbers_in_file(places: &[CrossPlace]) -> Vec<usize> {
    let count = |part: Part| places.iter().filter(|place| place.part == part).count();
    let (mids, ups) = (count(Part::Mid), count(Part::Up));
    let in_order = places.iter().enumerate();
    in_order
        .map(|(i, place)| match place.part {
            Part::Down => i,
            Part::Mid => i + ups,
            Part::Up => i - mids,
        })
        .collect()
}

/// Learned queries that read the encoder's tokens (Perceiver, Jaegle et al. 2021).
#[derive(Debug)]
struct Resampler {
    latents: Tensor<3>,
    proj_in: Linear,
    blocks: Vec<ResamplerBlock>,
    proj_out: Linear,
    norm_out: LayerNorm,
}

#[derive(Debug)]
struct ResamplerBlock {
    norm1: LayerNorm,
    norm2: LayerNorm,
    to_q: Linear,
    to_kv: Linear,
    to_out: Linear,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
    heads: usize,
}

impl Resampler {
    fn load(vars: &Vars, shape: &IpAdapterShape) -> Self {
        let IpAdapterKind::Plus {
            tokens,
            hidden,
            heads,
            depth,
            inner,
        } = shape.kind
        else {
            unreachable!("only plus adapters have a resampler")
        };
        let block = |i: usize| {
            let vars = vars.at("layers").at(i);
            let (attention, ff) = (vars.at(0), vars.at(1));
            let wide = heads * RESAMPLER_HEAD_DIM;
            ResamplerBlock {
                norm1: LayerNorm::load(&attention.at("norm1"), hidden, EPS),
                norm2: LayerNorm::load(&attention.at("norm2"), hidden, EPS),
                to_q: Linear::load_no_bias(&attention.at("to_q"), hidden, wide),
                to_kv: Linear::load_no_bias(&attention.at("to_kv"), hidden, 2 * wide),
                to_out: Linear::load_no_bias(&attention.at("to_out"), wide, hidden),
                norm3: LayerNorm::load(&ff.at(0), hidden, EPS),
                ff_in: Linear::load_no_bias(&ff.at(1), hidden, inner),
                ff_out: Linear::load_no_bias(&ff.at(3), inner, hidden),
                heads,
            }
        };
        Self {
            latents: vars.get("latents", [1, tokens, hidden]),
            proj_in: Linear::load(&vars.at("proj_in"), shape.input_dim, hidden),
            blocks: (0..depth).map(block).collect(),
            proj_out: Linear::load(&vars.at("proj_out"), hidden, shape.cross_attention_dim),
            norm_out: LayerNorm::load(&vars.at("norm_out"), shape.cross_attention_dim, EPS),
        }
    }

    fn forward(&self, states: Tensor<3>) -> Tensor<3> {
        let (pictures, dtype) = (states.dims()[0], states.dtype());
        let states = self.proj_in.forward(states);
        let mut latents = self.latents.clone().cast(dtype).repeat_dim(0, pictures);
        for block in &self.blocks {
            latents = block.forward(&states, latents);
        }
        self.norm_out.forward(self.proj_out.forward(latents))
    }
}

impl ResamplerBlock {
    fn forward(&self, states: &Tensor<3>, latents: Tensor<3>) -> Tensor<3> {
        let states = self.norm1.forward(states.clone());
        let normal = self.norm2.forward(latents.clone());
        let q = split_heads(self.to_q.forward(normal.clone()), self.heads);
        let [k, v]: [Tensor<3>; 2] = self
            .to_kv
            .forward(Tensor::cat(vec![states, normal], 1))
            .chunk(2, 2)
            .try_into()
            .expect("chunk(2) gives two halves");
        let [k, v] = [k, v].map(|t| split_heads(t, self.heads));
        let latents = latents + self.to_out.forward(merge_heads(sdpa(q, k, v, false)));
        let y = activation::gelu(self.ff_in.forward(self.norm3.forward(latents.clone())));
        latents + self.ff_out.forward(y)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_the_middle_last() {
        let place = |part| CrossPlace {
            part,
            block: 0,
            layer: 0,
            channels: 1,
            heads: 1,
        };
        let places = [Part::Down, Part::Down, Part::Mid, Part::Up, Part::Up, Part::Up].map(place);
        assert_eq!(numbers_in_file(&places), [0, 1, 5, 2, 3, 4]);
    }
}
