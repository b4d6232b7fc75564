//! Our arithmetic against stored reference values.
//!
//! The values were computed with PyTorch 2.15, diffusers 0.42 and transformers 5 on a CPU in
//! float32; each section says which call made its file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};

pub(crate) fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(path)
}

/// Every tensor of a file as its shape and its values.
pub(crate) fn tensors(path: &str) -> BTreeMap<String, (Vec<usize>, Vec<f64>)> {
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
pub(crate) fn difference(ours: &[f64], reference: &[f64]) -> (f64, f64) {
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

/// Ids of transformers 5's `CLIPTokenizer`, for the full vocabulary and a small one, padded with
/// the end mark and (`_2`) with `!`.
mod clip_tokenizer {
    use super::*;
    use ourvidz::tokenizers::clip::{ClipTokenizer, SpecialTokens};
    use serde_json::Value;

    fn cases() -> Vec<Value> {
        let text = std::fs::read(data("clip-tokenizer/cases.json")).expect("cases");
        serde_json::from_slice(&text).expect("JSON")
    }

    fn check(tokenizer: &ClipTokenizer, key: &str) {
        for case in cases() {
            let text = case["text"].as_str().expect("a text");
            let reference = case[key].as_array().expect("ids").iter();
            let reference: Vec<u32> = reference.map(|id| id.as_u64().expect("an id") as u32).collect();
            let (_, inner) = reference.split_first().expect("a begin mark");
            let (_, inner) = inner.split_last().expect("an end mark");
            assert_eq!(tokenizer.encode(text).expect("ids"), inner, "{key}: {text:?}");
            assert_eq!(tokenizer.count(text).expect("a count"), inner.len());

            let mut first = reference.clone();
            if first.len() > 77 {
                first.drain(76..first.len() - 1);
            }
            first.resize(77, tokenizer.pad_id());
            assert_eq!(
                tokenizer.chunks(text, true).expect("chunks"),
                [first],
                "{key}: {text:?}"
            );

            let all = tokenizer.chunks(text, false).expect("chunks");
            assert_eq!(all.len(), inner.len().div_ceil(75).max(1));
            let ids: Vec<u32> = all.iter().flat_map(|chunk| chunk[1..76].to_vec()).collect();
            assert_eq!(&ids[..inner.len()], inner);
        }
    }

    #[test]
    fn the_embedded_vocabulary_gives_the_ids_of_transformers() {
        let tokenizer = ClipTokenizer::embedded(&SpecialTokens::default()).expect("embedded");
        assert_eq!(
            (tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id()),
            (49406, 49407, 49407)
        );
        check(&tokenizer, "real");
        let second = ClipTokenizer::embedded(&SpecialTokens::sdxl_second()).expect("embedded");
        assert_eq!(second.pad_id(), 0);
        check(&second, "real_2");
    }

    #[test]
    fn a_small_vocabulary_from_a_folder_gives_the_ids_of_transformers() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/micro/sdxl/tokenizer");
        let files = |name: &str| Ok(std::fs::read(folder.join(name)).ok().map(Into::into));
        let tokenizer = ClipTokenizer::from_files(&files, SpecialTokens::default()).expect("a tokenizer");
        assert_eq!(
            (tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.max_length()),
            (937, 938, 77)
        );
        check(&tokenizer, "micro");

        let read = |name: &str| std::fs::read(folder.join(name)).expect("a file");
        let replace = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).expect("UTF-8");
            text.replace(r#""pad_token": "<|endoftext|>""#, r#""pad_token": "!""#)
                .into_bytes()
        };
        let config = replace(read("tokenizer_config.json"));
        let map = replace(read("special_tokens_map.json"));
        let special = SpecialTokens::from_json(&config, Some(&map)).expect("special tokens");
        let second = ClipTokenizer::from_vocab_and_merges(&read("vocab.json"), &read("merges.txt"), &special);
        check(&second.expect("a tokenizer"), "micro_2");
    }
}
