//! Convolutions as implicit matrix products, channels last, by rule like the products of matmul.rs.

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::ops::ConvOptions;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::conv::{ConvStrategy, conv_forward_nhwc};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubek::convolution::AcceleratedTileKind::{Cmma, Mma};
use cubek::convolution::ConvAlgorithm::{
    SimpleAsyncCyclic, SimpleSyncCyclic, SimpleSyncStrided, SimpleSyncTilewise,
};
use cubek::convolution::{
    AcceleratedTileKind, ConvAlgorithm, ConvolutionArgs, ConvolutionInputs, Strategy, launch_ref,
};
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::std::InputBinding;

use super::layout::{empty_like, from_last, to_last};

/// What to try on tensor cores, best first. The first takes most shapes; the others read memory in
/// other orders, for channel counts that it does not divide.
const CANDIDATES: [(ConvAlgorithm, AcceleratedTileKind); 5] = [
    (SimpleSyncCyclic, Mma),
    (SimpleSyncCyclic, Cmma),
    (SimpleSyncStrided, Mma),
    (SimpleSyncTilewise, Cmma),
    (SimpleAsyncCyclic, Cmma),
];

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
    let (x, weight) = (into_contiguous(to_last(x)), into_contiguous(to_last(weight)));
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
    // Tensor cores have no f32: they would round it to 10 bits.
    let on_tensor_cores = x.dtype != DType::F32;
    let mut refused = String::new();
    for (algorithm, tile_kind) in CANDIDATES.into_iter().filter(|_| on_tensor_cores) {
        let strategy = Strategy::Inferred { algorithm, tile_kind };
        match launch(&strategy, &x, &weight, &bias, stride, padding) {
            Ok(out) => return out,
            Err(e) => refused.push_str(&format!("{strategy}: {e}; ")),
        }
    }
    if on_tensor_cores {
        tracing::debug!(
            "convolution of {:?} by {:?} without tensor cores: {refused}",
            x.shape(),
            weight.shape()
        );
    }
    let options = ConvOptions::new(stride, padding, [1; N], 1);
    conv_forward_nhwc(x, weight, Some(bias), options, ConvStrategy::Direct)
        .unwrap_or_else(|e| panic!("no convolution kernel takes these shapes: {refused}{e:?}"))
}

fn launch<const N: usize>(
    strategy: &Strategy,
    x: &CubeTensor,
    weight: &CubeTensor,
    bias: &CubeTensor,
    stride: [usize; N],
    padding: [usize; N],
) -> Result<CubeTensor, String> {
    let (from, kernel) = (x.shape(), weight.shape());
    let mut shape = vec![from[0]];
    for axis in 0..N {
        shape.push((from[axis + 1] + 2 * padding[axis] - kernel[axis + 1]) / stride[axis] + 1);
    }
    shape.push(kernel[0]);
    let out = empty_like(x, Shape::from(shape), x.dtype);
    let element = dtype_to_storage_type(x.dtype);
    let elems = MatmulGlobalElems {
        lhs: element,
        rhs: element,
        out: element,
    };
    let inputs = ConvolutionInputs::Forward {
        input: InputBinding::new(x.clone().binding(), element),
        weight: InputBinding::new(weight.clone().binding(), element),
        bias: Some(InputBinding::Normal(bias.clone().binding(), element)),
        out: out.clone().binding(),
    };
    let args = ConvolutionArgs {
        stride,
        padding,
        dilation: [1; N],
    };
    let client = x.client.clone();
    launch_ref::<N>(strategy, &client, inputs, args, MatmulElems::from_globals(&elems))
        .map(|()| out)
        .map_err(|e| format!("{e:?}"))
}
