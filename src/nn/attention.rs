//! Scaled dot-product attention: the one place that calls Burn's kernels.

use burn::tensor::ops::AttentionModuleOptions;
use burn::tensor::{DType, Tensor, activation, module};

use crate::device;

/// Softmax(Q Kᵀ / √d) V (Vaswani et al. 2017).
///
/// On CUDA the flash kernel takes only query lengths that are multiples of its tile and anything
/// else silently stores all scores; so queries are padded there and the surplus rows dropped.
///
/// # Shapes
/// `q: [batch, heads, queries, head_dim]`, `k`, `v: [batch, heads, keys, head_dim]` →
/// `[batch, heads, queries, head_dim]`, in the dtype of `q`.
pub fn sdpa(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, is_causal: bool) -> Tensor<4> {
    const TILE: usize = 128;
    let [batch, heads, queries, head_dim] = q.dims();
    let options = AttentionModuleOptions {
        is_causal,
        ..Default::default()
    };
    let surplus = queries.next_multiple_of(TILE) - queries;
    if surplus == 0 || is_causal || device::is_cpu(&q.device()) {
        return module::attention(q, k, v, None, None, options);
    }
    let padding = Tensor::zeros([batch, heads, surplus, head_dim], (&q.device(), q.dtype()));
    let padded = Tensor::cat(vec![q, padding], 2);
    module::attention(padded, k, v, None, None, options).narrow(2, 0, queries)
}

/// Attention whose scores get a bias, such as a mask, before the softmax; for short sequences, since
/// it stores all scores.
///
/// # Shapes
/// As [`sdpa`]; `bias` broadcasts to `[batch, heads, queries, keys]`.
pub fn sdpa_biased(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, bias: Tensor<4>) -> Tensor<4> {
    let (dtype, head_dim) = (q.dtype(), q.dims()[3]);
    let scores = (q * (head_dim as f64).powf(-0.5)).matmul(k.swap_dims(2, 3)) + bias;
    activation::softmax(scores.cast(DType::F32), 3)
        .cast(dtype)
        .matmul(v)
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
