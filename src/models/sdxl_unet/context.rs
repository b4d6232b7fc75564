//! What all denoising steps of a job share, computed once: keys and values of text and pictures, and
//! the embeddings that do not depend on the time.

use burn::tensor::Tensor;

use super::freeu::FreeU;

/// Keys and values of one attention, `[rows, heads, tokens, head_dim]` each.
#[derive(Debug, Clone)]
pub struct KeysValues {
    pub k: Tensor<4>,
    pub v: Tensor<4>,
}

/// What one cross-attention attends to.
#[derive(Debug, Clone)]
pub struct LayerContext {
    pub text: KeysValues,
    /// Reference pictures with their scales.
    pub pictures: Vec<(KeysValues, f64)>,
}

/// Made by [`super::UNet::prepare`] for one row a guidance branch; see [`Prepared::for_images`].
#[derive(Debug, Clone)]
pub struct Prepared {
    /// One a cross-attention, in the order of use.
    pub(in crate::models) layers: Vec<LayerContext>,
    /// Embedding of pooled text and sizes, `[rows, time_embed_dim]`.
    pub(in crate::models) added: Tensor<2>,
    /// Projected guidance embedding of distilled models, `[rows, channels]`.
    pub(in crate::models) guidance: Option<Tensor<2>>,
    pub(in crate::models) freeu: Option<FreeU>,
}

impl Prepared {
    /// The embedding of pooled text and sizes, `[rows, time_embed_dim]`.
    pub fn added(&self) -> &Tensor<2> {
        &self.added
    }

    /// Adds an IP-Adapter: keys, values and scale for each cross-attention in the order of use,
    /// `None` where it does nothing.
    ///
    /// # Panics
    /// If there is not one entry a cross-attention.
    pub fn add_pictures(&mut self, pictures: Vec<Option<(KeysValues, f64)>>) {
        assert_eq!(pictures.len(), self.layers.len(), "one entry a cross-attention");
        for (layer, picture) in self.layers.iter_mut().zip(pictures) {
            layer.pictures.extend(picture);
        }
    }

    /// Scales skips and backbone in the up blocks.
    pub fn set_freeu(&mut self, freeu: FreeU) {
        self.freeu = Some(freeu);
    }

    /// The same for `images` pictures: each row repeated so often, branch by branch.
    pub fn for_images(&self, images: usize) -> Self {
        match images {
            1 => self.clone(),
            _ => self.map(&Repeat(images)),
        }
    }

    /// Only the rows from `start` on, `count` of them.
    pub fn rows(&self, start: usize, count: usize) -> Self {
        self.map(&Narrow(start, count))
    }

    fn map(&self, change: &impl Change) -> Self {
        let of = |kv: &KeysValues| KeysValues {
            k: change.apply(kv.k.clone()),
            v: change.apply(kv.v.clone()),
        };
        let layer = |layer: &LayerContext| LayerContext {
            text: of(&layer.text),
            pictures: layer
                .pictures
                .iter()
                .map(|(kv, scale)| (of(kv), *scale))
                .collect(),
        };
        Self {
            layers: self.layers.iter().map(layer).collect(),
            added: change.apply(self.added.clone()),
            guidance: self.guidance.clone().map(|g| change.apply(g)),
            freeu: self.freeu.clone(),
        }
    }
}

/// Something done to the rows of a tensor of any rank.
trait Change {
    fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D>;
}

struct Repeat(usize);

impl Change for Repeat {
    fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let rows = (0..x.dims()[0]).map(|row| x.clone().narrow(0, row, 1).repeat_dim(0, self.0));
        Tensor::cat(rows.collect(), 0)
    }
}

struct Narrow(usize, usize);

impl Change for Narrow {
    fn apply<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        x.narrow(0, self.0, self.1)
    }
}
