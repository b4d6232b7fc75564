//! The random numbers of PyTorch's CPU generator, so that a seed means the same picture here.
//!
//! MT19937 (Matsumoto & Nishimura 1998) and the two Box-Muller variants that `torch.randn` uses in
//! float32: `ATen/core/MT19937RNGEngine.h`, `ATen/core/DistributionsHelper.h` and
//! `ATen/native/cpu/DistributionTemplates.h` of PyTorch 2.x.

use burn::tensor::{DType, Device, Tensor, TensorData};

const STATE: usize = 624;
const SHIFT: usize = 397;
/// From this many values on, torch fills with uniforms first and transforms blocks of 16.
const BLOCK: usize = 16;

/// A generator that draws what `torch.Generator("cpu").manual_seed(seed)` draws.
#[derive(Debug, Clone)]
pub struct TorchGenerator {
    state: [u32; STATE],
    next: usize,
    /// Box-Muller makes two values; the scalar path keeps the second, also across draws.
    cached: Option<f64>,
}

impl TorchGenerator {
    /// Seeds as `manual_seed` does: only the low 32 bits of `seed` matter.
    pub fn new(seed: u64) -> Self {
        let mut state = [0u32; STATE];
        state[0] = seed as u32;
        for i in 1..STATE {
            let previous = state[i - 1];
            state[i] = 1_812_433_253u32
                .wrapping_mul(previous ^ (previous >> 30))
                .wrapping_add(i as u32);
        }
        Self {
            state,
            next: STATE,
            cached: None,
        }
    }

    /// `count` standard normal values, as `torch.randn(count, generator=...)` in float32.
    ///
    /// Within 1e-6 of torch (its vectorised logarithm and sine differ in the last bit between
    /// CPUs), and every draw leaves the generator in the same state.
    pub fn randn(&mut self, count: usize) -> Vec<f32> {
        if count < BLOCK {
            return (0..count).map(|_| self.normal_f64() as f32).collect();
        }
        let mut values: Vec<f32> = (0..count).map(|_| self.uniform_f32()).collect();
        for block in values.chunks_exact_mut(BLOCK) {
            box_muller(block);
        }
        if !count.is_multiple_of(BLOCK) {
            // The tail is drawn afresh and overlaps values that are already done.
            let tail = &mut values[count - BLOCK..];
            tail.fill_with(|| self.uniform_f32());
            box_muller(tail);
        }
        values
    }

    /// Standard normal noise of a shape, drawn in float32 on the CPU in row-major order.
    pub fn randn_like_shape<const D: usize>(&mut self, shape: [usize; D], device: &Device) -> Tensor<D> {
        let values = self.randn(shape.iter().product());
        Tensor::from_data(TensorData::new(values, shape), (device, DType::F32))
    }

    fn normal_f64(&mut self) -> f64 {
        if let Some(value) = self.cached.take() {
            return value;
        }
        let u1 = self.uniform_f64();
        let u2 = self.uniform_f64();
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let theta = 2.0 * std::f64::consts::PI * u1;
        self.cached = Some(radius * theta.sin());
        radius * theta.cos()
    }

    fn uniform_f32(&mut self) -> f32 {
        (self.random() & ((1 << 24) - 1)) as f32 * (1.0 / (1u32 << 24) as f32)
    }

    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.random());
        let low = u64::from(self.random());
        ((high << 32 | low) & ((1 << 53) - 1)) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    fn random(&mut self) -> u32 {
        if self.next == STATE {
            self.twist();
        }
        let mut y = self.state[self.next];
        self.next += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    fn twist(&mut self) {
        for i in 0..STATE {
            let mixed = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % STATE] & 0x7fff_ffff);
            let twisted = (mixed >> 1) ^ if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + SHIFT) % STATE] ^ twisted;
        }
        self.next = 0;
    }
}

/// Turns 16 uniforms into 16 normals: the first eight are radii, the last eight angles.
fn box_muller(block: &mut [f32]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (a, b) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * (1.0 - *a).ln()).sqrt();
        let (sin, cos) = (2.0 * std::f32::consts::PI * *b).sin_cos();
        *a = radius * cos;
        *b = radius * sin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_mt19937() {
        // The reference implementation's first output for its default seed, and its 10,000th.
        let mut generator = TorchGenerator::new(5489);
        assert_eq!(generator.random(), 3_499_211_612);
        for _ in 0..9_998 {
            generator.random();
        }
        assert_eq!(generator.random(), 4_123_659_995);
    }

    #[test]
    fn only_the_low_32_bits_of_a_seed_matter() {
        let low = TorchGenerator::new(1).randn(20);
        assert_eq!(low, TorchGenerator::new((1 << 32) + 1).randn(20));
        assert_ne!(low, TorchGenerator::new(2).randn(20));
    }

    #[test]
    fn a_tensor_holds_the_draw_in_row_major_order() {
        let device = Device::default();
        let tensor = TorchGenerator::new(3).randn_like_shape([2, 3, 4], &device);
        assert_eq!(tensor.dims(), [2, 3, 4]);
        let values: Vec<f32> = tensor.into_data().iter().collect();
        assert_eq!(values, TorchGenerator::new(3).randn(24));
    }
}
