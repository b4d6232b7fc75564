//! Rotary position embeddings on half-split channels, as Llama and Qwen use them.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Cosines and sines for the positions `0..capacity` (Su et al. 2021).
///
/// Channel `i` turns together with channel `i + head_dim / 2` by the angle
/// `position · theta^(-2i / head_dim)`.
#[derive(Debug, Clone)]
pub struct RotaryTable {
    /// `[capacity, 1, head_dim]`, both halves alike.
    cos: Tensor<3>,
    /// `[capacity, 1, head_dim]`, the first half negated: what the swapped halves are multiplied by.
    sin: Tensor<3>,
}

impl RotaryTable {
    /// Angles are computed in f32, as transformers does, and stored in `dtype`.
    ///
    /// # Panics
    /// If `head_dim` is odd.
    pub fn new(capacity: usize, head_dim: usize, theta: f64, device: &Device, dtype: DType) -> Self {
        assert!(head_dim.is_multiple_of(2), "head_dim {head_dim} is odd");
        let half = head_dim / 2;
        let frequencies: Vec<f32> = (0..half)
            .map(|i| (1.0 / theta.powf(2.0 * i as f64 / head_dim as f64)) as f32)
            .collect();
        let mut cos = Vec::with_capacity(capacity * head_dim);
        let mut sin = Vec::with_capacity(capacity * head_dim);
        for position in 0..capacity {
            let angles: Vec<f32> = frequencies.iter().map(|f| f * position as f32).collect();
            for sign in [-1.0, 1.0] {
                cos.extend(angles.iter().map(|a| a.cos()));
                sin.extend(angles.iter().map(|a| sign * a.sin()));
            }
        }
        let table = |values: Vec<f32>| {
            let data = TensorData::new(values, [capacity, 1, head_dim]);
            Tensor::<3>::from_data(data, (device, DType::F32)).cast(dtype)
        };
        Self {
            cos: table(cos),
            sin: table(sin),
        }
    }

    /// Turns `x`, whose first row stands at position `start`.
    ///
    /// # Shapes
    /// `[length, heads, head_dim]` → the same.
    pub fn apply(&self, x: Tensor<3>, start: usize) -> Tensor<3> {
        let [length, _, head_dim] = x.dims();
        let half = head_dim / 2;
        let swapped = Tensor::cat(
            vec![x.clone().narrow(2, half, half), x.clone().narrow(2, 0, half)],
            2,
        );
        let rows = |table: &Tensor<3>| table.clone().narrow(0, start, length);
        x * rows(&self.cos) + swapped * rows(&self.sin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_turn_moves_the_first_half_into_the_second() {
        // head_dim 2: one pair, frequency 1; at position 1 the vector (1, 0) becomes (cos 1, sin 1).
        let device = Device::flex();
        let table = RotaryTable::new(4, 2, 10_000.0, &device, DType::F32);
        let x = Tensor::<3>::from_data(TensorData::new(vec![1.0_f32, 0.0], [1, 1, 2]), &device);
        let y: Vec<f32> = table.apply(x, 1).into_data().try_to_vec().unwrap();
        assert!(
            (y[0] - 1_f32.cos()).abs() < 1e-6 && (y[1] - 1_f32.sin()).abs() < 1e-6,
            "{y:?}"
        );
    }
}
