//! Convolutions over video that see only the past, and so can run frame by frame.

use burn::tensor::ops::ConvOptions;
use burn::tensor::{Tensor, module};

use super::conv::channels_last;
use super::gpu;
use crate::weights::Vars;

/// What the convolutions of one network remember between two chunks of a video.
///
/// Layers take their slots in the order of their calls, so that one cache serves one network and
/// one video; [`FrameCache::next_chunk`] goes back to the first slot.
#[derive(Debug, Default)]
pub struct FrameCache {
    slots: Vec<Slot>,
    next: usize,
}

#[derive(Debug, Default, Clone)]
struct Slot {
    calls: usize,
    frames: Option<Tensor<5>>,
}

impl FrameCache {
    /// Goes back to the first layer.
    pub fn next_chunk(&mut self) {
        self.next = 0;
    }

    /// True while the first chunk passes the layer whose turn it is; takes the layer's turn then.
    ///
    /// For layers that leave the first chunk alone.
    pub fn skips_first_chunk(&mut self) -> bool {
        let slot = self.slot();
        slot.calls += 1;
        let first = slot.calls == 1;
        if first {
            self.next += 1;
        }
        first
    }

    /// `x` behind the last `frames` frames of earlier chunks, zeros where there were none; takes
    /// the layer's turn.
    fn behind_past(&mut self, x: Tensor<5>, frames: usize) -> Tensor<5> {
        let [batch, channels, _, height, width] = x.dims();
        let past = self.slot().frames.take().unwrap_or_else(|| {
            Tensor::zeros([batch, channels, frames, height, width], (&x.device(), x.dtype()))
        });
        let joined = behind(past, x);
        self.remember(&joined, frames);
        joined
    }

    /// Keeps the last frames of `x` for the layer whose turn it is, and takes its turn.
    fn remember(&mut self, x: &Tensor<5>, frames: usize) {
        // A copy: a view would keep all of `x` in memory, three times what is remembered.
        let kept = x.clone().narrow(2, x.dims()[2] - frames, frames);
        self.slot().frames = Some(owned(kept));
        self.next += 1;
    }

    fn slot(&mut self) -> &mut Slot {
        if self.slots.len() <= self.next {
            self.slots.resize(self.next + 1, Slot::default());
        }
        &mut self.slots[self.next]
    }
}

/// The same numbers in memory of their own.
fn owned(x: Tensor<5>) -> Tensor<5> {
    match gpu::serves(&x.device()) {
        true => gpu::channels_last(x),
        false => {
            let (device, dtype) = (x.device(), x.dtype());
            Tensor::from_data(x.into_data(), (&device, dtype))
        }
    }
}

/// The frames of `x` after those of `past`.
fn behind(past: Tensor<5>, x: Tensor<5>) -> Tensor<5> {
    if !gpu::serves(&x.device()) {
        return Tensor::cat(vec![past, x], 2);
    }
    // Joined where they lie: a GPU keeps channels last.
    let last = |x: Tensor<5>| x.permute([0, 2, 3, 4, 1]);
    Tensor::cat(vec![last(past), last(x)], 1).permute([0, 4, 1, 2, 3])
}

/// A 3-D convolution with bias whose output frame depends on its input frame and earlier ones.
///
/// As `WanCausalConv3d` of diffusers.
#[derive(Debug, Clone)]
pub struct CausalConv3d {
    weight: Tensor<5>,
    bias: Tensor<1>,
    kernel: [usize; 3],
}

impl CausalConv3d {
    pub(super) fn of(weight: Tensor<5>, bias: Tensor<1>, kernel: [usize; 3]) -> Self {
        Self { weight, bias, kernel }
    }

    /// Reads a convolution of stride 1 that keeps the size; `kernel` is frames, height, width.
    pub fn load(vars: &Vars, input: usize, output: usize, kernel: [usize; 3]) -> Self {
        let [frames, height, width] = kernel;
        Self {
            weight: channels_last(vars.get("weight", [output, input, frames, height, width])),
            bias: vars.get("bias", [output]),
            kernel,
        }
    }

    /// One chunk of a video, after the chunks that `cache` has seen.
    ///
    /// # Shapes
    /// `[batch, in, frames, height, width]` → `[batch, out, frames, height, width]`.
    pub fn forward(&self, x: Tensor<5>, cache: &mut FrameCache) -> Tensor<5> {
        let past = self.kernel[0] - 1;
        let x = if past == 0 { x } else { cache.behind_past(x, past) };
        self.convolve(x, 1)
    }

    /// Halves the frames: the first chunk passes unchanged, later ones are convolved with stride
    /// 2 behind the last frame before them.
    ///
    /// # Shapes
    /// `[batch, in, frames, height, width]` → `[batch, out, frames / 2, height, width]`.
    pub fn forward_halving(&self, x: Tensor<5>, cache: &mut FrameCache) -> Tensor<5> {
        match cache.slot().frames.take() {
            None => {
                cache.remember(&x, 1);
                x
            }
            Some(past) => {
                let joined = behind(past, x);
                cache.remember(&joined, 1);
                self.convolve(joined, 2)
            }
        }
    }

    fn convolve(&self, x: Tensor<5>, stride: usize) -> Tensor<5> {
        let dtype = x.dtype();
        let [_, height, width] = self.kernel;
        if gpu::serves(&x.device()) {
            let (weight, bias) = (self.weight.clone().cast(dtype), self.bias.clone().cast(dtype));
            return gpu::convolution(x, weight, bias, &[stride, 1, 1], &[0, height / 2, width / 2]);
        }
        let options = ConvOptions::new([stride, 1, 1], [0, height / 2, width / 2], [1; 3], 1);
        module::conv3d(
            x,
            self.weight.clone().cast(dtype),
            Some(self.bias.clone().cast(dtype)),
            options,
        )
    }
}
