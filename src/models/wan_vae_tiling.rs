//! WAN's autoencoder in overlapping tiles, for cards that a whole frame does not fit: as
//! `tiled_decode` of diffusers' `AutoencoderKLWan`.

use burn::tensor::Tensor;

use super::wan_vae::WanVae;

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
        let [_, _, _, height, width] = latents.dims();
        let (tile, stride) = (tile_px / scale, stride_px / scale);
        let overlap_px = tile_px - stride_px;
        let cut = |t: Tensor<5>, axis: usize, start: usize, most: usize| {
            let length = most.min(t.dims()[axis] - start);
            t.narrow(axis, start, length)
        };

        let mut above: Vec<Tensor<5>> = Vec::new();
        let mut rows = Vec::new();
        for top in (0..height).step_by(stride) {
            let mut row: Vec<Tensor<5>> = Vec::new();
            for (column, left) in (0..width).step_by(stride).enumerate() {
                let part = cut(cut(latents.clone(), 3, top, tile), 4, left, tile);
                let mut decoded = self.decode_unclamped(part);
                if let Some(upper) = above.get(column) {
                    decoded = blend(upper, decoded, 3, overlap_px);
                }
                if let Some(left) = row.last() {
                    decoded = blend(left, decoded, 4, overlap_px);
                }
                row.push(decoded);
            }
            let inner = row
                .iter()
                .map(|t| cut(cut(t.clone(), 3, 0, stride_px), 4, 0, stride_px))
                .collect();
            rows.push(Tensor::cat(inner, 4));
            above = row;
        }
        let video = Tensor::cat(rows, 3);
        cut(cut(video, 3, 0, height * scale), 4, 0, width * scale).clamp(-1.0, 1.0)
    }
}

/// `next` whose first `extent` rows (columns) pass linearly from the last ones of `previous`.
fn blend(previous: &Tensor<5>, next: Tensor<5>, axis: usize, extent: usize) -> Tensor<5> {
    let (before, size) = (previous.dims()[axis], next.dims()[axis]);
    let extent = extent.min(before).min(size);
    if extent == 0 {
        return next;
    }
    let weights: Vec<f32> = (0..extent).map(|i| i as f32 / extent as f32).collect();
    let mut shape = [1; 5];
    shape[axis] = extent;
    let weights = Tensor::<1>::from_floats(weights.as_slice(), &next.device()).reshape(shape);
    let old = previous.clone().narrow(axis, before - extent, extent);
    let new = next.clone().narrow(axis, 0, extent);
    let mixed = old * (weights.clone().neg() + 1.0) + new * weights;
    if extent == size {
        return mixed;
    }
    Tensor::cat(vec![mixed, next.narrow(axis, extent, size - extent)], axis)
}
