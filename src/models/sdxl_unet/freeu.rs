//! FreeU (Si et al. 2023): stronger backbone, weaker low frequencies in the skips.

use std::cell::RefCell;
use std::collections::HashMap;
use std::f64::consts::TAU;
use std::rc::Rc;

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Factors for the first and the second up block; the filters are made once a size.
#[derive(Debug, Clone)]
pub struct FreeU {
    /// Of the skips' low frequencies.
    skip: [f64; 2],
    /// Of the first half of the backbone's channels.
    backbone: [f64; 2],
    filters: Rc<RefCell<HashMap<[usize; 2], Tensor<2>>>>,
}

impl FreeU {
    pub fn new(skip: [f64; 2], backbone: [f64; 2]) -> Self {
        Self {
            skip,
            backbone,
            filters: Rc::default(),
        }
    }

    /// The hidden states and the skip as up block `block` takes them.
    ///
    /// # Shapes
    /// Both `[batch, channels, height, width]` → the same.
    pub(super) fn apply(&self, block: usize, x: Tensor<4>, skip: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        if block >= self.backbone.len() {
            return (x, skip);
        }
        let channels = x.dims()[1];
        let half = channels / 2;
        let lifted = x.clone().narrow(1, 0, half) * self.backbone[block];
        let x = Tensor::cat(vec![lifted, x.narrow(1, half, channels - half)], 1);
        (x, self.filter(skip, self.skip[block]))
    }

    /// Scales the four lowest frequencies that diffusers' `fourier_filter` covers with threshold 1:
    /// 0 and -1 along each side. Since it keeps the real part, this is x plus (scale - 1) times
    /// its projection on their cosines and sines.
    fn filter(&self, x: Tensor<4>, scale: f64) -> Tensor<4> {
        let (dims, dtype) = (x.dims(), x.dtype());
        let [batch, channels, height, width] = dims;
        let basis = self.basis([height, width], &x.device());
        let flat = x.cast(DType::F32).reshape([batch * channels, height * width]);
        let low = flat.clone().matmul(basis.clone()).matmul(basis.transpose());
        (flat + low * (scale - 1.0)).reshape(dims).cast(dtype)
    }

    /// # Shapes
    /// `[height * width, 8]`
    fn basis(&self, [height, width]: [usize; 2], device: &Device) -> Tensor<2> {
        let make = || {
            let norm = 1.0 / ((height * width) as f64).sqrt();
            let mut values = Vec::with_capacity(8 * height * width);
            for y in 0..height {
                for x in 0..width {
                    for (ky, kx) in [(0.0, 0.0), (0.0, -1.0), (-1.0, 0.0), (-1.0, -1.0)] {
                        let angle = TAU * (ky * y as f64 / height as f64 + kx * x as f64 / width as f64);
                        values.extend([(angle.cos() * norm) as f32, (angle.sin() * norm) as f32]);
                    }
                }
            }
            Tensor::from_data(TensorData::new(values, [height * width, 8]), (device, DType::F32))
        };
        let mut filters = self.filters.borrow_mut();
        filters.entry([height, width]).or_insert_with(make).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(x: Tensor<4>) -> Vec<f32> {
        x.into_data().try_into_vec_as::<f32>().unwrap()
    }

    #[test]
    fn a_flat_skip_is_scaled_as_a_whole_and_the_highest_frequency_stays() {
        let device = Device::flex();
        let freeu = FreeU::new([0.25, 1.0], [2.0, 1.0]);
        let x = Tensor::<4>::ones([1, 2, 4, 6], &device);
        let flat = Tensor::<4>::ones([1, 1, 4, 6], &device);
        let (_, skip) = freeu.apply(0, x.clone(), flat);
        assert!(values(skip).iter().all(|v| (v - 0.25).abs() < 1e-6));
        let board: Vec<f32> = (0..24)
            .map(|i| if (i / 6 + i % 6) % 2 == 0 { 1.0 } else { -1.0 })
            .collect();
        let board = Tensor::<4>::from_data(TensorData::new(board, [1, 1, 4, 6]), &device);
        let (_, skip) = freeu.apply(0, x, board.clone());
        let off = (skip - board).abs().max().into_scalar::<f32>();
        assert!(off < 1e-5, "{off}");
    }

    #[test]
    fn only_half_of_the_channels_and_two_blocks_are_touched() {
        let device = Device::flex();
        let freeu = FreeU::new([1.0, 1.0], [2.0, 3.0]);
        let ones = Tensor::<4>::ones([1, 4, 2, 2], &device);
        let (x, _) = freeu.apply(1, ones.clone(), ones.clone());
        let x = values(x);
        assert!(x[..8].iter().all(|&v| v == 3.0) && x[8..].iter().all(|&v| v == 1.0));
        let (x, _) = freeu.apply(2, ones.clone(), ones);
        assert!(values(x).iter().all(|&v| v == 1.0));
    }
}
