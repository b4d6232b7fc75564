//! Attention by CubeK's flash kernel, with the tile chosen here.

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::ops::permute;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::ir::{AddressType, ElemType, FloatKind};
use cubek::attention::forward::definition::{
    AccumulatorPrecision, AttentionBlueprint, AttentionDims, AttentionGlobalTypes, AttentionOptions,
    AttentionPartitionSize, AttentionProblem, AttentionStageSize, AttentionTileSize, AttentionTilingScheme,
    HypercubeBlueprint,
};
use cubek::attention::forward::launch::{BlueprintStrategy, Strategy, launch_ref};
use cubek::attention::forward::routines::DeviceSettings;
use cubek::std::cube_count::CubeCountStrategy;

use super::layout::empty_like;
use crate::device;

/// Rows of the kernel's smallest step through the queries.
pub const TILE: usize = 64;
/// Widest head whose partial results stay in registers.
const WIDEST: usize = 160;

/// Whether the kernel computes these without losing precision: it multiplies in f16, which is finer
/// than bf16, whole tiles of 16 channels.
pub fn fits(q: &Tensor<4>, v: &Tensor<4>) -> bool {
    let (head_dim, values) = (q.dims()[3], v.dims()[3]);
    device::has_tensor_cores(&q.device())
        && matches!(q.dtype(), DType::F16 | DType::BF16)
        && head_dim.is_multiple_of(16)
        && head_dim <= WIDEST
        && values == head_dim
}

/// See [`super::flash_attention`]. The result lies position by position, heads beside each other, as
/// the projection behind it reads it.
///
/// # Panics
/// For shapes that [`fits`] refuses, and queries that are no multiple of [`TILE`].
pub fn attention(q: CubeTensor, k: CubeTensor, v: CubeTensor, is_causal: bool) -> CubeTensor {
    let [batch, heads, queries, head_dim] = q.shape().dims();
    let out = empty_like(&q, Shape::new([batch, queries, heads, head_dim]), q.dtype);
    let out = permute(out, &[0, 2, 1, 3]);
    let element = dtype_to_storage_type(q.dtype);
    let types = AttentionGlobalTypes {
        query: element,
        key: element,
        value: element,
        mask: dtype_to_storage_type(DType::U8),
        out: element,
    };
    let options = AttentionOptions {
        causal: is_causal,
        accumulator_precision: AccumulatorPrecision::Strict(ElemType::Float(FloatKind::F32)),
    };
    let client = q.client.clone();
    let problem = AttentionProblem {
        dims: AttentionDims {
            batch,
            num_heads: heads,
            seq_q: queries,
            head_dim,
            seq_kv: k.shape()[2],
            val_dim: head_dim,
        },
        masked: false,
        global_dtypes: types.clone(),
        options: options.clone(),
        address_type: AddressType::default(),
    };
    launch_ref(
        Strategy::BlackboxAccelerated(BlueprintStrategy::Forced(blueprint(&problem, &client))),
        &client,
        q.binding(),
        k.binding(),
        v.binding(),
        None,
        out.clone().binding(),
        &types,
        options,
    )
    .unwrap_or_else(|e| panic!("the attention kernel refuses {:?}: {e:?}", problem.dims));
    out
}

/// Square tiles. Left to itself the kernel takes flat ones where there are many more queries than
/// keys, such as a picture's and a text's, and then finds none for its second product.
fn blueprint(problem: &AttentionProblem, client: &Client) -> AttentionBlueprint {
    const SIDE: u32 = 16;
    let parts = problem.dims.head_dim as u32 / SIDE;
    let device = DeviceSettings::new(client, problem);
    let tiling_scheme = AttentionTilingScheme {
        tile_size: AttentionTileSize {
            seq_q: SIDE,
            head_dim: SIDE,
            seq_kv: SIDE,
            val_dim: SIDE,
        },
        partition_size: AttentionPartitionSize {
            seq_q: 1,
            head_dim: parts,
            seq_kv: 1,
            val_dim: parts,
        },
        stage_size: AttentionStageSize {
            seq_q: TILE as u32 / SIDE,
        },
    };
    AttentionBlueprint {
        hypercube_blueprint: HypercubeBlueprint::builder()
            .cube_count_strategy(CubeCountStrategy::Spread)
            .build(),
        plane_dim: device.plane_dim,
        two_rows_in_array_tile: false,
        vector_sizes: device.vector_sizes,
        masked: false,
        causal: problem.options.causal,
        tiling_scheme,
        check_bounds: tiling_scheme.check_bounds(&problem.dims),
    }
}
