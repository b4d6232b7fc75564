//! Resizing with the numbers of Pillow and of torchvision: separable filters that widen when they
//! shrink, on 8-bit values with fixed-point weights, rounded to 8 bits between the two passes.
//!
//! Pillow: `libImaging/Resample.c`; torch: `UpSampleKernelAVXAntialias.h`, which keeps its weights in
//! 16 bits. Pictures meet an autoencoder or a CLIP model after this, so one grey level matters.

use std::f64::consts::PI;

use super::frames::Frame;

/// The interpolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Windowed sinc over three pixels a side.
    Lanczos,
    /// Keys' cubic with a = -1/2.
    Bicubic,
}

/// Whose rounding of the filter's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// 22 bits behind the point.
    Pillow,
    /// As many bits as leave the largest weight within 16.
    Torch,
}

/// The frame at another size, its aspect as the size says.
///
/// # Panics
/// If a side of the frame or of the wanted size is 0.
pub fn resize(frame: &Frame, width: u32, height: u32, filter: Filter, rounding: Rounding) -> Frame {
    assert!(
        width > 0 && height > 0 && frame.width > 0 && frame.height > 0,
        "sides of at least 1"
    );
    if (frame.width, frame.height) == (width, height) {
        return frame.clone();
    }
    let [w, h] = [frame.width as usize, frame.height as usize];
    let [new_w, new_h] = [width as usize, height as usize];
    let mut rgb = frame.rgb.clone();
    if new_w != w {
        let taps = Taps::new(w, new_w, filter, rounding);
        rgb = taps.apply(&rgb, h, [3 * w, 3], 3);
    }
    if new_h != h {
        // Rows take the place of pixels, all their values move together.
        let taps = Taps::new(h, new_h, filter, rounding);
        rgb = taps.apply(&rgb, 1, [0, 3 * new_w], 3 * new_w);
    }
    Frame::new(width, height, rgb)
}

/// For each new place along one side: the first old place that counts, and the weights from there on.
struct Taps {
    places: Vec<(usize, Vec<i32>)>,
    bits: u32,
}

impl Taps {
    fn new(old: usize, new: usize, filter: Filter, rounding: Rounding) -> Self {
        let scale = old as f64 / new as f64;
        let wide = scale.max(1.0);
        let support = filter.support() * wide;
        let exact: Vec<(usize, Vec<f64>)> = (0..new)
            .map(|i| {
                let center = (i as f64 + 0.5) * scale;
                let first = (center - support + 0.5).max(0.0) as usize;
                let end = ((center + support + 0.5) as usize).min(old);
                let at = |place: usize| filter.value((place as f64 - center + 0.5) / wide);
                let weights: Vec<f64> = (first..end).map(at).collect();
                let sum: f64 = weights.iter().sum();
                (first, weights.iter().map(|w| w / sum).collect())
            })
            .collect();
        let largest = exact.iter().flat_map(|(_, w)| w).copied().fold(0.0, f64::max);
        let bits = rounding.bits(largest);
        let fixed = |w: &f64| (w * f64::from(1_u32 << bits)).round() as i32;
        let places = exact
            .iter()
            .map(|(first, weights)| (*first, weights.iter().map(fixed).collect()))
            .collect();
        Self { places, bits }
    }

    /// `lines` lines of `stride[0]` values, whose places are `stride[1]` apart and `values` wide.
    fn apply(&self, old: &[u8], lines: usize, stride: [usize; 2], values: usize) -> Vec<u8> {
        let mut new = Vec::with_capacity(lines * self.places.len() * values);
        for line in 0..lines {
            for (first, weights) in &self.places {
                for value in 0..values {
                    let mut sum = 1_i64 << (self.bits - 1);
                    let start = line * stride[0] + first * stride[1] + value;
                    for (i, weight) in weights.iter().enumerate() {
                        sum += i64::from(*weight) * i64::from(old[start + i * stride[1]]);
                    }
                    new.push((sum >> self.bits).clamp(0, 255) as u8);
                }
            }
        }
        new
    }
}

impl Rounding {
    fn bits(self, largest: f64) -> u32 {
        match self {
            Self::Pillow => 22,
            Self::Torch => (0..22)
                .find(|bits| (0.5 + largest * f64::from(1_u32 << (bits + 1))) as i64 >= 1 << 15)
                .unwrap_or(22),
        }
    }
}

impl Filter {
    fn support(self) -> f64 {
        match self {
            Self::Lanczos => 3.0,
            Self::Bicubic => 2.0,
        }
    }

    fn value(self, x: f64) -> f64 {
        match self {
            Self::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Self::Lanczos => 0.0,
            Self::Bicubic => {
                let x = x.abs();
                if x < 1.0 {
                    (1.5 * x - 2.5) * x * x + 1.0
                } else if x < 2.0 {
                    ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
                } else {
                    0.0
                }
            }
        }
    }
}

fn sinc(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_pictures_stay_flat_at_any_size() {
        let frame = Frame::new(7, 5, vec![93; 7 * 5 * 3]);
        for filter in [Filter::Lanczos, Filter::Bicubic] {
            for (width, height) in [(3, 11), (16, 2), (1, 1)] {
                let small = resize(&frame, width, height, filter, Rounding::Torch);
                assert_eq!((small.width, small.height), (width, height));
                assert!(small.rgb.iter().all(|&v| v == 93));
            }
        }
    }

    #[test]
    fn channels_and_sides_are_not_mixed_up() {
        // Red grows to the right, green downwards.
        let rgb = (0..8 * 8).flat_map(|i| [(i % 8) * 30, (i / 8) * 30, 7]).collect();
        let small = resize(&Frame::new(8, 8, rgb), 4, 2, Filter::Lanczos, Rounding::Pillow);
        let pixel = |x: usize, y: usize| &small.rgb[(y * 4 + x) * 3..][..3];
        assert!(pixel(3, 0)[0] > pixel(0, 0)[0] + 100 && pixel(0, 1)[1] > pixel(0, 0)[1] + 60);
        assert!(small.rgb.chunks(3).all(|p| p[2] == 7));
    }
}
