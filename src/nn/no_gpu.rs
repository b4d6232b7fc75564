//! The same names as gpu.rs in builds without a GPU, where nothing serves and nobody may call.

use burn::tensor::{DType, Device, Tensor};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    Nothing,
    Silu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    GeluOfSecond,
    SiluOfFirst,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowNorm {
    Layer,
    RootMeanSquare,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowNormPlan {
    pub then: Then,
    pub rows: [usize; 2],
    pub one_more: bool,
}

impl RowNormPlan {
    pub fn new(_: RowNorm, _: f64, _: DType) -> Self {
        nobody()
    }
}

/// Never: the CPU computes the plain forms.
pub fn serves(_: &Device) -> bool {
    false
}

fn nobody() -> ! {
    unreachable!("this build has no GPU, and no device that it serves")
}

pub fn row_norm<const D: usize, const S: usize>(
    _: Tensor<D>,
    _: Tensor<S>,
    _: Option<Tensor<S>>,
    _: RowNormPlan,
) -> Tensor<D> {
    nobody()
}

pub fn turned_norm<const T: usize>(_: Tensor<3>, _: [Tensor<1>; 2], _: [Tensor<T>; 2], _: f64) -> Tensor<3> {
    nobody()
}

pub fn group_norm<const D: usize>(_: Tensor<D>, _: [&Tensor<1>; 2], _: usize, _: f64, _: Then) -> Tensor<D> {
    nobody()
}

pub fn gate<const D: usize>(_: Tensor<D>, _: Option<Tensor<1>>, _: Gate) -> Tensor<D> {
    nobody()
}

pub fn matmul<const D: usize, const W: usize>(_: Tensor<D>, _: Tensor<W>) -> Tensor<D> {
    nobody()
}

pub fn convolution<const D: usize>(
    _: Tensor<D>,
    _: Tensor<D>,
    _: Tensor<1>,
    _: &[usize],
    _: &[usize],
) -> Tensor<D> {
    nobody()
}

pub fn softmax<const D: usize>(_: Tensor<D>) -> Tensor<D> {
    nobody()
}

pub fn channels_last<const D: usize>(_: Tensor<D>) -> Tensor<D> {
    nobody()
}

/// Rows that the kernel takes at once.
pub const ATTENTION_TILE: usize = 64;

pub fn takes_attention(_: &Tensor<4>, _: &Tensor<4>) -> bool {
    false
}

pub fn flash_attention(_: Tensor<4>, _: Tensor<4>, _: Tensor<4>, _: bool) -> Tensor<4> {
    nobody()
}
