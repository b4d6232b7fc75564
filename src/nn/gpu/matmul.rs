//! Which matrix product runs, by rule: tensor cores for half types, plain arithmetic for f32.
//!
//! Burn would compile and time some twenty kernels for each kind of shape. The rule takes one kernel
//! for a kind of shape, and the next one only where the first cannot be set up.

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::ops::{permute, reshape};
use burn_cubecl::tensor::CubeTensor;
use cubek::matmul::definition::{MatmulElems, MatmulGlobalElems};
use cubek::matmul::launch::launch_ref;
use cubek::matmul::multi_level::Strategy;
use cubek::matmul::multi_level::components::tile::TileMatmulKind::{Cmma, Mma};
use cubek::matmul::multi_level::routines::TileSizeSelection;
use cubek::matmul::multi_level::routines::batch::ordered_double_buffering::OrderedSelectionArgs;
use cubek::matmul::multi_level::routines::batch::simple::SimpleArgs;
use cubek::matmul::multi_level::routines::batch::simple_unit::SimpleUnitSelectionArgs;
use cubek::matmul::routine::BlueprintStrategy::Inferred;
use cubek::std::InputBinding;

use super::layout::empty_like;

/// Rows from which two stages of memory hide each other's latency.
const MANY_ROWS: usize = 512;

/// What to try for a product of that many rows, best first; the last one always works.
fn candidates(rows: usize, dtype: DType) -> Vec<Strategy> {
    let simple = |tile_matmul, multi_rows| SimpleArgs {
        multi_rows,
        tile_matmul,
    };
    let mut all = Vec::new();
    if rows == 1 {
        all.push(Strategy::SimpleVecMat(Inferred(().into())));
    }
    if dtype != DType::F32 {
        if rows >= MANY_ROWS {
            all.push(Strategy::OrderedDoubleMma(Inferred(OrderedSelectionArgs {
                partition_k: Some(2),
                row_count: Some(4),
                rows_per_plane: Some(2),
                tile_matmul: Mma,
            })));
        }
        all.push(Strategy::SimpleCyclicMma(Inferred(simple(
            Mma,
            rows >= MANY_ROWS,
        ))));
        all.push(Strategy::SimpleCyclicCmma(Inferred(simple(Cmma, false))));
    }
    let tile_size = TileSizeSelection::MinTileSize;
    all.push(Strategy::SimpleUnit(Inferred(SimpleUnitSelectionArgs {
        tile_size,
    })));
    all.push(Strategy::Naive);
    all
}

/// See [`super::matmul`].
///
/// # Panics
/// When no kernel takes these shapes, which none of ours has.
pub fn matmul(x: CubeTensor, weight: CubeTensor) -> CubeTensor {
    let (input, shape) = (x.shape(), weight.shape());
    let (last, rank) = (input.num_dims() - 1, shape.num_dims());
    let mut wanted = input.clone();
    wanted[last] = shape[rank - 2];
    // One weight for all: batches are more rows.
    let (x, rows) = match rank {
        2 => {
            let rows = input.num_elements() / input[last];
            (reshape(x, Shape::new([rows, input[last]])), rows)
        }
        _ => (x, input[last - 1]),
    };
    let mut result = x.shape();
    let columns = result.num_dims() - 1;
    result[columns] = shape[rank - 2];
    let out = empty_like(&x, result, x.dtype);
    let mut axes: Vec<usize> = (0..rank).collect();
    axes.swap(rank - 1, rank - 2);
    let weight = permute(weight, &axes);
    let storage = dtype_to_storage_type(x.dtype);
    let mut refused = String::new();
    for strategy in candidates(rows, x.dtype) {
        let elems = MatmulGlobalElems {
            lhs: storage,
            rhs: storage,
            out: storage,
        };
        let launched = launch_ref(
            &strategy.clone().into(),
            &x.client,
            InputBinding::new(x.clone().binding(), storage),
            InputBinding::new(weight.clone().binding(), storage),
            out.clone().binding(),
            &mut MatmulElems::from_globals(&elems),
        );
        match launched {
            Ok(()) => return reshape(out, wanted),
            Err(e) => refused.push_str(&format!("{strategy}: {e:?}; ")),
        }
    }
    panic!("no matrix product takes {input:?} by {shape:?}: {refused}");
}
