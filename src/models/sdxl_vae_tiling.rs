//! SDXL's autoencoder in overlapping tiles, for pictures that a card has no room for as a whole.

use burn::tensor::Tensor;

use super::sdxl_vae::{LatentDistribution, Vae};
use crate::nn::tiles::{Grid, tiled};

/// Size of a tile and distance between two, in latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    pub tile: usize,
    pub stride: usize,
}

impl Tiling {
    /// Tiles of `tile_px` pixels, of which neighbours share `overlap` (0 to below 1); `scale` pixels
    /// a latent. Both sides are at least one latent.
    pub fn new(tile_px: usize, overlap: f64, scale: usize) -> Self {
        let tile = (tile_px / scale).max(1);
        Self {
            tile,
            stride: ((tile as f64 * (1.0 - overlap)) as usize).clamp(1, tile),
        }
    }
}

impl Vae {
    /// [`Vae::encode`] tile by tile; a picture within one tile is encoded whole.
    ///
    /// # Shapes
    /// As [`Vae::encode`].
    pub fn encode_tiled(&self, image: Tensor<4>, Tiling { tile, stride }: Tiling) -> LatentDistribution {
        let scale = self.config.scale_factor();
        let [_, _, height, width] = image.dims();
        if height.max(width) <= tile * scale {
            return self.encode(image);
        }
        let grid = Grid {
            tile: tile * scale,
            stride: stride * scale,
            result_stride: stride,
            blend: tile - stride,
        };
        Self::distribution(tiled(image, grid, |part| self.moments(part)))
    }

    /// [`Vae::decode`] tile by tile; latents within one tile are decoded whole.
    ///
    /// # Shapes
    /// As [`Vae::decode`].
    pub fn decode_tiled(&self, latents: Tensor<4>, Tiling { tile, stride }: Tiling) -> Tensor<4> {
        let scale = self.config.scale_factor();
        let [_, _, height, width] = latents.dims();
        if height.max(width) <= tile {
            return self.decode(latents);
        }
        let grid = Grid {
            tile,
            stride,
            result_stride: stride * scale,
            blend: (tile - stride) * scale,
        };
        tiled(latents, grid, |part| self.decode(part))
    }
}
