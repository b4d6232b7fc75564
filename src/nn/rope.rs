//! Rotary position embedding (Su et al. 2021) over the three axes of a video.

use burn::tensor::{DType, Device, Tensor, TensorData};

const THETA: f64 = 10_000.0;

/// Cosines and sines for every position of a video, frame by frame and row by row.
#[derive(Debug, Clone)]
pub struct Rope3d {
    /// `[1, positions, 1, head_dim / 2, 1]`
    cos: Tensor<5>,
    sin: Tensor<5>,
}

impl Rope3d {
    /// The table for `frames × height × width` patches, computed in f64 and stored in f32, as
    /// diffusers' `WanRotaryPosEmbed`: a third of each head (rounded down to even) turns with the
    /// row, a third with the column, the rest with the frame.
    ///
    /// # Panics
    /// If `head_dim` is odd.
    pub fn new(head_dim: usize, [frames, height, width]: [usize; 3], device: &Device) -> Self {
        assert_eq!(head_dim % 2, 0, "head dimension {head_dim} must be even");
        let spatial = 2 * (head_dim / 6);
        let axes = [
            (head_dim - 2 * spatial, frames),
            (spatial, height),
            (spatial, width),
        ];
        let tables = axes.map(|(channels, length)| angles(channels, length));
        let positions = frames * height * width;
        let mut cos = Vec::with_capacity(positions * head_dim / 2);
        let mut sin = Vec::with_capacity(positions * head_dim / 2);
        for position in 0..positions {
            let place = [
                position / (height * width),
                position / width % height,
                position % width,
            ];
            for (table, index) in tables.iter().zip(place) {
                cos.extend(table[index].iter().map(|a| a.cos() as f32));
                sin.extend(table[index].iter().map(|a| a.sin() as f32));
            }
        }
        let tensor = |values: Vec<f32>| {
            let data = TensorData::new(values, [1, positions, 1, head_dim / 2, 1]);
            Tensor::<5>::from_data(data, (device, DType::F32))
        };
        Self {
            cos: tensor(cos),
            sin: tensor(sin),
        }
    }

    /// Cosines and sines, `[1, positions, 1, head_dim / 2, 1]`.
    pub fn tables(&self) -> [Tensor<5>; 2] {
        [self.cos.clone(), self.sin.clone()]
    }

    /// Turns neighbouring pairs of channels, in f32.
    ///
    /// # Shapes
    /// `[batch, positions, heads, head_dim]` → the same, in the input's dtype.
    pub fn apply(&self, x: Tensor<4>) -> Tensor<4> {
        let (dtype, dims) = (x.dtype(), x.dims());
        let [batch, positions, heads, head_dim] = dims;
        let pairs = x
            .cast(DType::F32)
            .reshape([batch, positions, heads, head_dim / 2, 2]);
        let (even, odd) = (pairs.clone().narrow(4, 0, 1), pairs.narrow(4, 1, 1));
        let (cos, sin) = (self.cos.clone(), self.sin.clone());
        let turned = vec![
            even.clone() * cos.clone() - odd.clone() * sin.clone(),
            even * sin + odd * cos,
        ];
        Tensor::cat(turned, 4).reshape(dims).cast(dtype)
    }
}

/// `position · θ^(−2i / channels)` for each position and each `i` below `channels / 2`.
fn angles(channels: usize, length: usize) -> Vec<Vec<f64>> {
    (0..length)
        .map(|position| {
            (0..channels / 2)
                .map(|i| position as f64 / THETA.powf(2.0 * i as f64 / channels as f64))
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turning_keeps_lengths_and_leaves_the_first_position_alone() {
        let device = Device::flex();
        let rope = Rope3d::new(12, [2, 2, 3], &device);
        let x = Tensor::<1>::from_floats(
            (0..12 * 2 * 12)
                .map(|i| (i as f32).sin())
                .collect::<Vec<f32>>()
                .as_slice(),
            &device,
        )
        .reshape([1, 12, 2, 12]);
        let y = rope.apply(x.clone());
        let length = |t: &Tensor<4>| {
            t.clone()
                .square()
                .sum_dim(3)
                .into_data()
                .try_into_vec_as::<f32>()
                .unwrap()
        };
        for (a, b) in length(&x).iter().zip(length(&y)) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
        let first = (y.clone() - x.clone())
            .narrow(1, 0, 1)
            .abs()
            .max()
            .into_scalar::<f32>();
        let last = (y - x).narrow(1, 11, 1).abs().max().into_scalar::<f32>();
        assert_eq!(first, 0.0);
        assert!(last > 0.1);
    }
}
