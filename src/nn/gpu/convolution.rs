//! Convolutions as implicit matrix products, channels last.

use burn::backend::TensorMetadata;
use burn::backend::ops::ConvOptions;
use burn_cubecl::kernel::conv::{ConvStrategy, conv_forward_nhwc};
use burn_cubecl::tensor::CubeTensor;

use super::layout::{from_last, to_last};

/// See [`super::convolution`].
///
/// # Panics
/// When no kernel takes these shapes, which none of ours has.
pub fn convolution(
    x: CubeTensor,
    weight: CubeTensor,
    bias: CubeTensor,
    stride: &[usize],
    padding: &[usize],
) -> CubeTensor {
    let (x, weight) = (to_last(x), to_last(weight));
    from_last(match (stride, padding) {
        (&[a, b], &[c, d]) => convolve(x, weight, bias, [a, b], [c, d]),
        (&[a, b, c], &[d, e, f]) => convolve(x, weight, bias, [a, b, c], [d, e, f]),
        _ => unreachable!("convolutions have two axes or three"),
    })
}

fn convolve<const N: usize>(
    x: CubeTensor,
    weight: CubeTensor,
    bias: CubeTensor,
    stride: [usize; N],
    padding: [usize; N],
) -> CubeTensor {
    let options = || ConvOptions::new(stride, padding, [1; N], 1);
    let by = |strategy| conv_forward_nhwc(x.clone(), weight.clone(), Some(bias.clone()), options(), strategy);
    by(ConvStrategy::ImplicitGemm)
        .or_else(|_| by(ConvStrategy::Direct))
        .unwrap_or_else(|e| {
            panic!(
                "no convolution takes {:?} by {:?}: {e:?}",
                x.shape(),
                weight.shape()
            )
        })
}
