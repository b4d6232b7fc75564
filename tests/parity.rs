//! Our arithmetic against stored reference values.
//!
//! The values were computed with PyTorch 2.15, diffusers 0.42 and transformers 5 on a CPU in
//! float32; each section says which call made its file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(path)
}

/// Every tensor of a file as its shape and its values.
fn tensors(path: &str) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
    let bytes = std::fs::read(data(path)).expect("reference file");
    let file = SafeTensors::deserialize(&bytes).expect("safetensors");
    let values = |dtype: Dtype, raw: &[u8]| -> Vec<f64> {
        match dtype {
            Dtype::F32 => raw
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes")).into())
                .collect(),
            Dtype::F64 => raw
                .chunks_exact(8)
                .map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes")))
                .collect(),
            other => panic!("{path}: no reader for {other:?}"),
        }
    };
    file.iter()
        .map(|(name, view)| {
            (
                name.to_string(),
                (view.shape().to_vec(), values(view.dtype(), view.data())),
            )
        })
        .collect()
}

/// Largest absolute difference, and largest magnitude of the reference.
fn difference(ours: &[f64], reference: &[f64]) -> (f64, f64) {
    assert_eq!(ours.len(), reference.len(), "lengths differ");
    assert!(ours.iter().all(|v| v.is_finite()), "not finite: {ours:?}");
    let worst = ours.iter().zip(reference).map(|(a, b)| (a - b).abs());
    let largest = reference.iter().map(|v| v.abs());
    (worst.fold(0.0, f64::max), largest.fold(0.0, f64::max))
}

/// `torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))`.
mod noise {
    use super::*;
    use ourvidz::nn::noise::TorchGenerator;

    const TOLERANCE: f64 = 1e-6;

    #[test]
    fn every_seed_and_shape_gives_the_numbers_of_torch() {
        let mut worst: f64 = 0.0;
        let mut count = 0;
        for (name, (_, reference)) in tensors("rng/randn.safetensors") {
            let (seed, _shape) = name.split_once('/').expect("SEED/SHAPE");
            let Ok(seed) = seed.parse() else { continue };
            let ours = TorchGenerator::new(seed).randn(reference.len());
            let ours: Vec<f64> = ours.into_iter().map(f64::from).collect();
            let (error, _) = difference(&ours, &reference);
            assert!(error <= TOLERANCE, "{name}: off by {error:e}");
            worst = worst.max(error);
            count += 1;
        }
        println!("{count} draws, largest error {worst:e}");
        assert_eq!(count, 81);
    }

    #[test]
    fn draws_in_a_row_from_one_generator_agree() {
        let reference = tensors("rng/randn.safetensors");
        let mut generator = TorchGenerator::new(7);
        for (i, count) in [5, 16, 7, 40, 3].into_iter().enumerate() {
            let ours: Vec<f64> = generator.randn(count).into_iter().map(f64::from).collect();
            let (error, _) = difference(&ours, &reference[&format!("sequence/{i}")].1);
            assert!(error <= TOLERANCE, "draw {i}: off by {error:e}");
        }
    }
}
