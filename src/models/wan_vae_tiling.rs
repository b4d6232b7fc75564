//! WAN's autoencoder in overlapping tiles, for cards that a whole frame does not fit: as
//! `tiled_decode` of diffusers' `AutoencoderKLWan`.

use burn::tensor::Tensor;

use super::wan_vae::WanVae;
use crate::nn::tiles::{Grid, tiled};

/// Size of a tile and distance between two, in pixels of the decoded video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    pub tile_px: usize,
    pub stride_px: usize,
}

impl Default for Tiling {
    fn default() -> Self {
        Self {
            tile_px: 256,
            stride_px: 192,
        }
    }
}

impl WanVae {
    /// The whole video, decoded tile by tile, neighbours blended where they overlap.
    ///
    /// Needs the activations of one tile at a time, and all decoded tiles. Colours may differ
    /// slightly from [`WanVae::decode`], since a tile does not see the rest of its frame.
    ///
    /// # Shapes
    /// `latents: [batch, z_dim, n + 1, h, w]`, unscaled → `[batch, 3, 4 n + 1, 8 h, 8 w]`, −1…1.
    ///
    /// # Panics
    /// If the stride is not above 0, not at most the tile, or either is no multiple of 8.
    pub fn decode_tiled(&self, latents: Tensor<5>, tiling: Tiling) -> Tensor<5> {
        let scale = self.config.scale_factor_spatial();
        let Tiling { tile_px, stride_px } = tiling;
        assert!(
            stride_px > 0
                && stride_px <= tile_px
                && tile_px.is_multiple_of(scale)
                && stride_px.is_multiple_of(scale),
            "tiles of {tile_px} px every {stride_px} px"
        );
        let grid = Grid {
            tile: tile_px / scale,
            stride: stride_px / scale,
            result_stride: stride_px,
            blend: tile_px - stride_px,
        };
        tiled(latents, grid, |part| self.decode_unclamped(part)).clamp(-1.0, 1.0)
    }
}
