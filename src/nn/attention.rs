//! Scaled dot-product attention: the one place that calls Burn's kernels.

use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{DType, Int, Tensor, activation, module};

use super::gpu;

/// Most bytes of scores held at once where they are stored.
const SCORE_BYTES: usize = 512 << 20;

/// Softmax(Q Kᵀ / √d) V (Vaswani et al. 2017).
///
/// On a GPU the flash kernel computes what it can without losing precision (see
/// [`gpu::takes_attention`]), with queries padded to its tiles and the surplus rows dropped; the rest,
/// such as an autoencoder's wide heads and everything in f32, goes by [`sdpa_in_slices`].
///
/// # Shapes
/// `q: [batch, heads, queries, head_dim]`, `k`, `v: [batch, heads, keys, head_dim]` →
/// `[batch, heads, queries, head_dim]`, in the dtype of `q`. `is_causal`: as many keys as queries.
pub fn sdpa(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, is_causal: bool) -> Tensor<4> {
    let device = q.device();
    if !gpu::serves(&device) {
        let options = AttentionModuleOptions {
            is_causal,
            ..Default::default()
        };
        return module::attention(q, k, v, None, None, options);
    }
    if !gpu::takes_attention(&q, &v) {
        note(Kernel::Slices);
        return sdpa_in_slices(q, k, v, is_causal);
    }
    note(Kernel::Flash);
    let [batch, heads, queries, head_dim] = q.dims();
    let surplus = queries.next_multiple_of(gpu::ATTENTION_TILE) - queries;
    if surplus == 0 {
        return gpu::flash_attention(q, k, v, is_causal);
    }
    let padding = Tensor::zeros([batch, heads, surplus, head_dim], (&device, q.dtype()));
    let padded = Tensor::cat(vec![q, padding], 2);
    gpu::flash_attention(padded, k, v, is_causal).narrow(2, 0, queries)
}

/// The same with a few queries at a time and all their scores, in f32 throughout.
///
/// # Shapes
/// As [`sdpa`].
pub fn sdpa_in_slices(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, is_causal: bool) -> Tensor<4> {
    let (dtype, [batch, heads, queries, head_dim]) = (q.dtype(), q.dims());
    let keys = k.dims()[2];
    let at_once = (SCORE_BYTES / (4 * batch * heads * keys)).clamp(1, queries);
    let (q, k, v) = (q.cast(DType::F32), k.cast(DType::F32), v.cast(DType::F32));
    let q = q * (head_dim as f64).powf(-0.5);
    let v = v.swap_dims(2, 3);
    let slices = (0..queries).step_by(at_once).map(|start| {
        let rows = at_once.min(queries - start);
        let scores = product(q.clone().narrow(2, start, rows), k.clone());
        let scores = if is_causal {
            hide_future(scores, start)
        } else {
            scores
        };
        product(softmax(scores), v.clone())
    });
    Tensor::cat(slices.collect(), 2).cast(dtype)
}

/// Over the last axis, in f32.
fn softmax(scores: Tensor<4>) -> Tensor<4> {
    match gpu::serves(&scores.device()) {
        true => gpu::softmax(scores),
        false => activation::softmax(scores, 3),
    }
}

/// `a bᵀ`.
fn product(a: Tensor<4>, b: Tensor<4>) -> Tensor<4> {
    match gpu::serves(&a.device()) {
        true => gpu::matmul(a, b),
        false => a.matmul(b.swap_dims(2, 3)),
    }
}

/// Scores of the queries from `start` on, those of later keys at minus infinity.
fn hide_future(scores: Tensor<4>, start: usize) -> Tensor<4> {
    let [_, _, queries, keys] = scores.dims();
    let device = scores.device();
    let line = |from: usize, count: usize| {
        let range = from as i64..(from + count) as i64;
        Tensor::<1, Int>::arange(range, &device)
    };
    let rows = line(start, queries).reshape([1, 1, queries, 1]);
    let columns: Tensor<4, Int> = line(0, keys).reshape([1, 1, 1, keys]);
    let later = columns
        .expand([1, 1, queries, keys])
        .greater(rows.expand([1, 1, queries, keys]));
    let later = later.expand(scores.dims());
    scores.mask_fill(later, f32::NEG_INFINITY)
}

/// How attention was computed on a GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Flash,
    Slices,
}

static FLASH: AtomicBool = AtomicBool::new(false);
static SLICES: AtomicBool = AtomicBool::new(false);

fn note(kernel: Kernel) {
    match kernel {
        Kernel::Flash => FLASH.store(true, Ordering::Relaxed),
        Kernel::Slices => SLICES.store(true, Ordering::Relaxed),
    }
}

/// Which ways attention took since the last call, for the record of a job; nothing on the CPU.
pub fn kernels_used() -> Vec<&'static str> {
    let used = [(&FLASH, "flash"), (&SLICES, "slices-f32")];
    let taken = used
        .iter()
        .filter(|(flag, _)| flag.swap(false, Ordering::Relaxed));
    taken.map(|(_, name)| *name).collect()
}

/// Attention whose scores get a bias, such as a mask, before the softmax; for short sequences, since
/// it stores all scores.
///
/// # Shapes
/// As [`sdpa`]; `bias` broadcasts to `[batch, heads, queries, keys]`.
pub fn sdpa_biased(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, bias: Tensor<4>) -> Tensor<4> {
    let (dtype, head_dim) = (q.dtype(), q.dims()[3]);
    let scores = (q * (head_dim as f64).powf(-0.5)).matmul(k.swap_dims(2, 3)) + bias;
    softmax(scores.cast(DType::F32)).cast(dtype).matmul(v)
}

/// `[batch, length, heads · head_dim]` → `[batch, heads, length, head_dim]`.
pub fn split_heads(x: Tensor<3>, heads: usize) -> Tensor<4> {
    let [batch, length, channels] = x.dims();
    x.reshape([batch, length, heads, channels / heads])
        .swap_dims(1, 2)
}

/// `[batch, heads, length, head_dim]` → `[batch, length, heads · head_dim]`.
pub fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, length, head_dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch, length, heads * head_dim])
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    #[test]
    fn slices_give_what_the_whole_gives() {
        let device = Device::flex();
        let random = |rows| Tensor::<4>::random([2, 3, rows, 16], Distribution::Normal(0.0, 1.0), &device);
        let (q, k, v) = (random(40), random(40), random(40));
        for is_causal in [false, true] {
            let whole = sdpa(q.clone(), k.clone(), v.clone(), is_causal);
            let sliced = sdpa_in_slices(q.clone(), k.clone(), v.clone(), is_causal);
            let off = (whole - sliced).abs().max().into_scalar::<f32>();
            assert!(off < 1e-5, "causal {is_causal}: {off}");
        }
    }
}
