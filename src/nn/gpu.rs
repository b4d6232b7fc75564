//! Operations that a GPU does in kernels chosen here: our own where Burn needs several launches, and
//! Burn's called by a rule where it would try out many first.
//!
//! Every caller has a plain form beside it, which the CPU computes and tests compare with. Tensors
//! pass through Burn's queue of delayed operations like any other (`backend_extension`).

use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Device, Shape, Tensor};

mod convolution;
mod flash;
mod gate;
mod group_norm;
mod layout;
mod matmul;
mod row_norm;
mod softmax;
mod turned_norm;

use crate::device;

/// What follows a norm in the same kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Then {
    Nothing,
    Silu,
}

/// How a gated half is bent before it multiplies the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Gate {
    /// `first · gelu(second)`, as GEGLU.
    GeluOfSecond,
    /// `silu(first) · second`, as SwiGLU.
    SiluOfFirst,
}

/// Which division a row norm does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowNorm {
    /// By the deviation, after taking off the mean.
    Layer,
    /// By the root of the mean square.
    RootMeanSquare,
}

/// Everything about a row norm but its tensors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowNormPlan {
    pub kind: RowNorm,
    pub eps: f32,
    pub then: Then,
    /// The result's type.
    pub out: DType,
    /// The rows of the scale and of the shift in their tensors; a missing shift is none.
    pub rows: [usize; 2],
    pub has_shift: bool,
    /// The factor is one more than the scale, as modulations have it.
    pub one_more: bool,
}

impl RowNormPlan {
    /// A norm with weights of its own.
    pub fn new(kind: RowNorm, eps: f64, out: DType) -> Self {
        Self {
            kind,
            eps: eps as f32,
            then: Then::Nothing,
            out,
            rows: [0, 0],
            has_shift: true,
            one_more: false,
        }
    }
}

/// The operations; see the functions of the same names for shapes.
#[backend_extension(Cube, Fusion)]
pub trait GpuOps: Backend {
    #[fusion(dtype = plan.out, shape = x)]
    fn gpu_row_norm(
        x: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        plan: RowNormPlan,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = x)]
    fn gpu_turned_norm(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        eps: f32,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = x)]
    fn gpu_group_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        groups: usize,
        eps: f32,
        then: Then,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = halved(x))]
    fn gpu_gate(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        has_bias: bool,
        gate: Gate,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = projected(x, weight))]
    fn gpu_matmul(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = convolved(x, weight, stride, padding))]
    fn gpu_convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: Vec<usize>,
        padding: Vec<usize>,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = q, shape = q)]
    fn gpu_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        is_causal: bool,
    ) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = x)]
    fn gpu_softmax(x: FloatTensor<Self>) -> FloatTensor<Self>;

    #[fusion(dtype = x, shape = x)]
    fn gpu_channels_last(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

fn halved(x: &Shape) -> Shape {
    let mut shape = x.clone();
    let last = shape.num_dims() - 1;
    shape[last] /= 2;
    shape
}

fn projected(x: &Shape, weight: &Shape) -> Shape {
    let mut shape = x.clone();
    let last = shape.num_dims() - 1;
    shape[last] = weight[weight.num_dims() - 2];
    shape
}

fn convolved(x: &Shape, weight: &Shape, stride: &[usize], padding: &[usize]) -> Shape {
    let mut shape = x.clone();
    shape[1] = weight[0];
    for axis in 0..stride.len() {
        shape[axis + 2] = (x[axis + 2] + 2 * padding[axis] - weight[axis + 2]) / stride[axis] + 1;
    }
    shape
}

/// Whether these operations exist for a device.
pub fn serves(device: &Device) -> bool {
    !device::is_cpu(device)
}

/// Normalises rows, with statistics in f32 inside the kernel.
///
/// # Shapes
/// `x: [.., channels]`, `scale`, `shift: [.., channels]` of one type → `[.., channels]` in `plan.out`.
pub fn row_norm<const D: usize, const S: usize>(
    x: Tensor<D>,
    scale: Tensor<S>,
    shift: Option<Tensor<S>>,
    plan: RowNormPlan,
) -> Tensor<D> {
    let plan = RowNormPlan {
        has_shift: shift.is_some(),
        ..plan
    };
    let shift = shift.unwrap_or_else(|| scale.clone());
    Tensor::from_dispatch(Dispatch::gpu_row_norm(
        x.into_dispatch(),
        scale.into_dispatch(),
        shift.into_dispatch(),
        plan,
    ))
}

/// Adds a bias, divides by the root of the mean square and turns neighbouring pairs by position.
///
/// # Shapes
/// `x: [batch, positions, heads · head_dim]`, `bias`, `weight: [heads · head_dim]`, `turns`: cosines
/// and sines, each `[.., positions, .., head_dim / 2, ..]` in f32 → as `x`.
pub fn turned_norm<const T: usize>(
    x: Tensor<3>,
    [bias, weight]: [Tensor<1>; 2],
    [cos, sin]: [Tensor<T>; 2],
    eps: f64,
) -> Tensor<3> {
    Tensor::from_dispatch(Dispatch::gpu_turned_norm(
        x.into_dispatch(),
        bias.into_dispatch(),
        weight.into_dispatch(),
        cos.into_dispatch(),
        sin.into_dispatch(),
        eps as f32,
    ))
}

/// Group normalisation, its result with channels last in memory, as convolutions read it.
///
/// # Shapes
/// `x: [batch, channels, ..]`, `weight`, `bias: [channels]` → the same.
pub fn group_norm<const D: usize>(
    x: Tensor<D>,
    [weight, bias]: [&Tensor<1>; 2],
    groups: usize,
    eps: f64,
    then: Then,
) -> Tensor<D> {
    let (weight, bias) = (weight.clone().into_dispatch(), bias.clone().into_dispatch());
    let x = x.into_dispatch();
    Tensor::from_dispatch(Dispatch::gpu_group_norm(
        x, weight, bias, groups, eps as f32, then,
    ))
}

/// One half of the channels gates the other, after a bias.
///
/// # Shapes
/// `x: [.., 2 · channels]`, `bias: [2 · channels]` → `[.., channels]`.
pub fn gate<const D: usize>(x: Tensor<D>, bias: Option<Tensor<1>>, gate: Gate) -> Tensor<D> {
    let x = x.into_dispatch();
    let has_bias = bias.is_some();
    let bias = bias.map_or_else(|| x.clone(), Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::gpu_gate(x, bias, has_bias, gate))
}

/// `x Wᵀ`, with one `W` for all or one a batch.
///
/// # Shapes
/// `x: [.., in]`, `weight: [out, in]` or `[.., out, in]` → `[.., out]`.
pub fn matmul<const D: usize, const W: usize>(x: Tensor<D>, weight: Tensor<W>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gpu_matmul(x.into_dispatch(), weight.into_dispatch()))
}

/// A convolution with bias in one kernel.
///
/// # Shapes
/// `x: [batch, in, ..sizes]`, `weight: [out, in, ..kernel]`, `bias: [out]` → `[batch, out, ..sizes]`.
pub fn convolution<const D: usize>(
    x: Tensor<D>,
    weight: Tensor<D>,
    bias: Tensor<1>,
    stride: &[usize],
    padding: &[usize],
) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gpu_convolution(
        x.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        stride.to_vec(),
        padding.to_vec(),
    ))
}

/// Softmax over the last axis.
///
/// # Shapes
/// `[.., n]`, f32 → the same.
pub fn softmax<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gpu_softmax(x.into_dispatch()))
}

/// A copy of the numbers with the second axis last in memory.
pub fn channels_last<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(Dispatch::gpu_channels_last(x.into_dispatch()))
}

pub use flash::{TILE as ATTENTION_TILE, fits as takes_attention};

/// Attention without stored scores, for what [`takes_attention`] says and whole tiles of queries.
///
/// # Shapes
/// `[batch, heads, queries, head_dim]` and two of `[batch, heads, keys, head_dim]` → as the first.
pub fn flash_attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, is_causal: bool) -> Tensor<4> {
    // The kernel takes f16 alone.
    let dtype = q.dtype();
    let [q, k, v] = [q, k, v].map(|t| t.cast(DType::F16).into_dispatch());
    let y: Tensor<4> = Tensor::from_dispatch(Dispatch::gpu_attention(q, k, v, is_causal));
    y.cast(dtype)
}

mod cube {
    use burn_cubecl::CubeBackend;
    use burn_cubecl::tensor::CubeTensor;

    use super::{Gate, GpuOps, RowNormPlan, Then};

    impl GpuOps for CubeBackend {
        fn gpu_row_norm(
            x: CubeTensor,
            scale: CubeTensor,
            shift: CubeTensor,
            plan: RowNormPlan,
        ) -> CubeTensor {
            super::row_norm::row_norm(x, scale, shift, plan)
        }

        fn gpu_turned_norm(
            x: CubeTensor,
            bias: CubeTensor,
            weight: CubeTensor,
            cos: CubeTensor,
            sin: CubeTensor,
            eps: f32,
        ) -> CubeTensor {
            super::turned_norm::turned_norm(x, [bias, weight], [cos, sin], eps)
        }

        fn gpu_group_norm(
            x: CubeTensor,
            weight: CubeTensor,
            bias: CubeTensor,
            groups: usize,
            eps: f32,
            then: Then,
        ) -> CubeTensor {
            super::group_norm::group_norm(x, weight, bias, groups, eps, then)
        }

        fn gpu_gate(x: CubeTensor, bias: CubeTensor, has_bias: bool, gate: Gate) -> CubeTensor {
            super::gate::gate(x, bias, has_bias, gate)
        }

        fn gpu_matmul(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
            super::matmul::matmul(x, weight)
        }

        fn gpu_convolution(
            x: CubeTensor,
            weight: CubeTensor,
            bias: CubeTensor,
            stride: Vec<usize>,
            padding: Vec<usize>,
        ) -> CubeTensor {
            super::convolution::convolution(x, weight, bias, &stride, &padding)
        }

        fn gpu_attention(q: CubeTensor, k: CubeTensor, v: CubeTensor, is_causal: bool) -> CubeTensor {
            super::flash::attention(q, k, v, is_causal)
        }

        fn gpu_softmax(x: CubeTensor) -> CubeTensor {
            super::softmax::softmax(x)
        }

        fn gpu_channels_last(x: CubeTensor) -> CubeTensor {
            super::layout::channels_last(x)
        }
    }
}
