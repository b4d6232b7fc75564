//! Look-up tables and the sinusoidal embedding of scalars.

use burn::tensor::{Device, Int, Tensor};

use crate::weights::Vars;

/// A table of vectors, one row a token.
#[derive(Debug, Clone)]
pub struct Embedding {
    weight: Tensor<2>,
}

impl Embedding {
    pub fn load(vars: &Vars, rows: usize, channels: usize) -> Self {
        Self {
            weight: vars.get("weight", [rows, channels]),
        }
    }

    /// # Shapes
    /// `[count]` → `[count, channels]`.
    pub fn forward(&self, ids: Tensor<1, Int>) -> Tensor<2> {
        self.weight.clone().select(0, ids)
    }
}

/// Sinusoidal embedding of scalars, cosines first (`flip_sin_to_cos`), highest period 10,000.
///
/// As diffusers' `get_timestep_embedding` with `downscale_freq_shift = 0`, in f32 throughout.
///
/// # Shapes
/// `values: [count]` → `[count, channels]`, f32; `channels` even.
pub fn timestep_embedding(values: &[f32], channels: usize, device: &Device) -> Tensor<2> {
    let half = channels / 2;
    let mut table = Vec::with_capacity(values.len() * channels);
    for &value in values {
        let angles: Vec<f32> = (0..half)
            .map(|i| value * (-(10000_f64.ln() as f32) * i as f32 / half as f32).exp())
            .collect();
        table.extend(angles.iter().map(|a| a.cos()));
        table.extend(angles.iter().map(|a| a.sin()));
    }
    Tensor::<1>::from_floats(table.as_slice(), device).reshape([values.len(), channels])
}

/// Sinusoidal embedding of `guidance_scale - 1` for models distilled with it, sines first, an odd
/// channel filled with 0; as `get_guidance_scale_embedding` of diffusers' pipelines, in f32.
///
/// # Shapes
/// `values: [count]` → `[count, channels]`, f32; `channels` at least 4.
pub fn guidance_embedding(values: &[f32], channels: usize, device: &Device) -> Tensor<2> {
    let half = channels / 2;
    let step = 10000_f64.ln() / (half as f64 - 1.0);
    let frequencies: Vec<f32> = (0..half).map(|i| (i as f32 * -step as f32).exp()).collect();
    let mut table = Vec::with_capacity(values.len() * channels);
    for &value in values {
        let angles: Vec<f32> = frequencies.iter().map(|f| value * 1000.0 * f).collect();
        table.extend(angles.iter().map(|a| a.sin()));
        table.extend(angles.iter().map(|a| a.cos()));
        table.extend((2 * half < channels).then_some(0.0));
    }
    Tensor::<1>::from_floats(table.as_slice(), device).reshape([values.len(), channels])
}
