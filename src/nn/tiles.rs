//! Work in overlapping tiles whose results pass into each other, for networks that a whole picture
//! does not fit into; as `tiled_encode` and `tiled_decode` of diffusers' autoencoders.

use burn::tensor::Tensor;

/// Sides of the tiles, and distances between their starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    pub tile: usize,
    pub stride: usize,
    /// The distance between two starts in the result.
    pub result_stride: usize,
    /// Over how many rows and columns of the result neighbours are blended.
    pub blend: usize,
}

/// The results of all tiles as one, blended linearly where neighbours overlap. Each tile sees only
/// itself, so that colours may differ slightly from those of the whole.
///
/// # Shapes
/// `x: [.., height, width]` → `work`'s result for the whole of it.
///
/// # Panics
/// If the stride is not above 0.
pub fn tiled<const D: usize>(
    x: Tensor<D>,
    grid: Grid,
    mut work: impl FnMut(Tensor<D>) -> Tensor<D>,
) -> Tensor<D> {
    assert!(grid.stride > 0, "tiles must advance");
    let (rows_axis, columns_axis) = (D - 2, D - 1);
    let [height, width] = [x.dims()[rows_axis], x.dims()[columns_axis]];
    let mut above: Vec<Tensor<D>> = Vec::new();
    let mut rows = Vec::new();
    for top in (0..height).step_by(grid.stride) {
        let mut row: Vec<Tensor<D>> = Vec::new();
        for (column, left) in (0..width).step_by(grid.stride).enumerate() {
            let part = cut(
                cut(x.clone(), rows_axis, top, grid.tile),
                columns_axis,
                left,
                grid.tile,
            );
            let mut done = work(part);
            if let Some(upper) = above.get(column) {
                done = blend(upper, done, rows_axis, grid.blend);
            }
            if let Some(left) = row.last() {
                done = blend(left, done, columns_axis, grid.blend);
            }
            row.push(done);
        }
        let kept = |t: &Tensor<D>| {
            let t = cut(t.clone(), rows_axis, 0, grid.result_stride);
            cut(t, columns_axis, 0, grid.result_stride)
        };
        rows.push(Tensor::cat(row.iter().map(kept).collect(), columns_axis));
        above = row;
    }
    Tensor::cat(rows, rows_axis)
}

/// At most `most` rows (columns) from `start` on.
fn cut<const D: usize>(x: Tensor<D>, axis: usize, start: usize, most: usize) -> Tensor<D> {
    let length = most.min(x.dims()[axis] - start);
    x.narrow(axis, start, length)
}

/// `next` whose first `extent` rows (columns) pass linearly from the last ones of `previous`.
fn blend<const D: usize>(previous: &Tensor<D>, next: Tensor<D>, axis: usize, extent: usize) -> Tensor<D> {
    let (before, size) = (previous.dims()[axis], next.dims()[axis]);
    let extent = extent.min(before).min(size);
    if extent == 0 {
        return next;
    }
    let weights: Vec<f32> = (0..extent).map(|i| i as f32 / extent as f32).collect();
    let mut shape = [1; D];
    shape[axis] = extent;
    let weights = Tensor::<1>::from_floats(weights.as_slice(), &next.device())
        .cast(next.dtype())
        .reshape(shape);
    let old = previous.clone().narrow(axis, before - extent, extent);
    let new = next.clone().narrow(axis, 0, extent);
    let mixed = old * (weights.clone().neg() + 1.0) + new * weights;
    if extent == size {
        return mixed;
    }
    Tensor::cat(vec![mixed, next.narrow(axis, extent, size - extent)], axis)
}
