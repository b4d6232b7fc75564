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

/// Trajectories of diffusers 0.42's schedulers. `configs.json` has the class and arguments of each
/// case; the network is replaced by `0.6 x + 0.2 sin(3 x + t / 100)`, latents have the shape
/// `[1, 4, 6, 5]`, noise comes from the generator of seed 2, and `after_NN` is the sample after call NN.
mod schedulers {
    use super::*;
    use burn::tensor::{DType, Device, Tensor, TensorData};
    use ourvidz::nn::noise::TorchGenerator;
    use ourvidz::schedulers::{NAMES, Scheduler, SchedulerConfig, build};
    use serde_json::Value;

    const SHAPE: [usize; 4] = [1, 4, 6, 5];
    const STEPS: [usize; 4] = [4, 15, 25, 50];

    type Cases = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

    fn configs(path: &str) -> Vec<(String, SchedulerConfig)> {
        let text = std::fs::read(data(path)).expect("configurations");
        let all: serde_json::Map<String, Value> = serde_json::from_slice(&text).expect("JSON");
        all.into_iter()
            .map(|(name, case)| {
                let mut fields = case["config"].clone();
                fields["_class_name"] = case["class"].clone();
                let json = fields.to_string();
                (
                    name,
                    SchedulerConfig::from_json(path, json.as_bytes()).expect("a configuration"),
                )
            })
            .collect()
    }

    fn latents(values: &[f64]) -> Tensor<4> {
        let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        Tensor::from_data(TensorData::new(values, SHAPE), (&Device::default(), DType::F32))
    }

    fn values(latents: &Tensor<4>) -> Vec<f64> {
        let data = latents.to_data();
        assert_eq!(data.dtype(), DType::F32, "latents stay in single precision");
        data.iter::<f32>().map(f64::from).collect()
    }

    fn network(input: Tensor<4>, t: f64) -> Tensor<4> {
        input.clone() * 0.6 + (input * 3.0 + t / 100.0).sin() * 0.2
    }

    /// Runs all steps from `initial`; `seen` gets the index and the latents after each.
    fn run(scheduler: &mut dyn Scheduler<4>, initial: Tensor<4>, mut seen: impl FnMut(usize, &Tensor<4>)) {
        let device = Device::default();
        let mut generator = TorchGenerator::new(2);
        let mut sample = initial;
        for (i, t) in scheduler.timesteps().to_vec().into_iter().enumerate() {
            let output = network(scheduler.scale_model_input(sample.clone(), i), t);
            let mut noise = || generator.randn_like_shape(SHAPE, &device);
            sample = scheduler.step(output, i, sample, &mut noise);
            seen(i, &sample);
        }
    }

    /// What a comparison allows, relative to the value or to the largest value.
    struct Tolerance {
        timesteps: f64,
        samples: f64,
    }

    const EXACT: Tolerance = Tolerance {
        timesteps: 0.0,
        samples: 1e-5,
    };

    /// The variants come from a machine whose torch rounds square roots otherwise, which
    /// shifts a fractional timestep by its last bits.
    const LAST_BITS: Tolerance = Tolerance {
        timesteps: 1e-6,
        samples: 1e-5,
    };

    /// Euler's first step down from sigma 4096 leaves rounding errors of 4096 * 2^-24 on either side.
    const FROM_SIGMA_4096: Tolerance = Tolerance {
        timesteps: 0.0,
        samples: 1e-3,
    };

    /// The largest error of sigmas and samples relative to the largest reference value, or what differs.
    fn compare(
        config: &SchedulerConfig,
        cases: &Cases,
        case: &str,
        steps: usize,
        tolerance: &Tolerance,
    ) -> Result<f64, String> {
        let label = format!("{case}, {steps} steps");
        let stored = |key: &str| {
            cases
                .get(&format!("{case}-{steps}/{key}"))
                .map(|(_, v)| v.as_slice())
        };
        let mut scheduler = build::<4>(config, steps).map_err(|e| format!("{label}: {e}"))?;
        let (ours, timesteps) = (scheduler.timesteps(), stored("timesteps").expect("timesteps"));
        let near = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance.timesteps * b.abs();
        if ours.len() != timesteps.len() || !ours.iter().zip(timesteps).all(near) {
            return Err(format!("{label}: timesteps {ours:?}, not {timesteps:?}"));
        }
        let mut errors = vec![(0.0, "")];
        let mut check = |what: &'static str, ours: &[f64], reference: &[f64]| {
            let (error, largest) = difference(ours, reference);
            errors.push((error / largest, what));
        };
        if let Some(sigmas) = stored("sigmas") {
            check("sigmas", scheduler.sigmas(), sigmas);
        }
        let scale = scheduler.init_noise_sigma();
        let drawn = TorchGenerator::new(1).randn(SHAPE.iter().product());
        let mut initial: Vec<f64> = drawn.into_iter().map(|v| f64::from(v) * scale).collect();
        if let Some(reference) = stored("initial") {
            check("initial latents", &initial, reference);
            initial = reference.to_vec();
        }
        let last = scheduler.timesteps().len() - 1;
        run(scheduler.as_mut(), latents(&initial), |i, sample| {
            if let Some(reference) = stored(&format!("after_{i:02}")) {
                check("an early step", &values(sample), reference);
            }
            if i == last {
                check("final", &values(sample), stored("final").expect("final latents"));
            }
        });
        let (worst, what) = errors
            .into_iter()
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .expect("not empty");
        if worst > tolerance.samples {
            return Err(format!("{label}: {what} off by {worst:e}"));
        }
        Ok(worst)
    }

    /// Fails with everything that differs, and prints the errors otherwise.
    fn report(results: impl IntoIterator<Item = (String, Result<f64, String>)>) {
        let mut wrong = Vec::new();
        for (name, result) in results {
            match result {
                Ok(worst) => println!("{name:30} {worst:.1e}"),
                Err(text) => wrong.push(text),
            }
        }
        assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn every_trajectory_of_diffusers_is_followed() {
        let cases = tensors("schedulers/trajectories.safetensors");
        let all = configs("schedulers/configs.json");
        assert_eq!(all.len(), 15);
        report(all.iter().flat_map(|(name, config)| {
            STEPS.map(|steps| {
                (
                    format!("{name} {steps}"),
                    compare(config, &cases, name, steps, &EXACT),
                )
            })
        }));
    }

    /// Further settings at 3 and 20 steps, made by `make_variants.py` beside the file.
    #[test]
    fn every_prediction_spacing_curve_and_order_is_followed() {
        let cases = tensors("schedulers/variants.safetensors");
        let all: BTreeMap<_, _> = configs("schedulers/variants.json").into_iter().collect();
        let finals = cases.keys().filter_map(|key| key.strip_suffix("/final"));
        let finals: Vec<_> = finals.filter_map(|case| case.rsplit_once('-')).collect();
        assert!(
            all.len() > 80 && finals.len() == 2 * all.len(),
            "{} and {}",
            all.len(),
            finals.len()
        );
        report(finals.into_iter().map(|(name, steps)| {
            let steps = steps.parse().expect("a step count");
            let tolerance = match name {
                "euler-zsnr-v-trailing" | "ea-zsnr-v-trailing" => &FROM_SIGMA_4096,
                _ => &LAST_BITS,
            };
            let result = compare(&all[name], &cases, name, steps, tolerance);
            (format!("{name} {steps}"), result)
        }));
    }

    #[test]
    fn a_name_on_the_sdxl_configuration_is_the_reference_configuration() {
        let cases = tensors("schedulers/trajectories.safetensors");
        let sdxl = configs("schedulers/configs.json").swap_remove(0).1;
        let names = NAMES
            .iter()
            .filter(|name| cases.contains_key(&format!("{name}-4/final")));
        let names: Vec<_> = names.collect();
        assert_eq!(names.len(), 11);
        for model in [sdxl, SchedulerConfig::sdxl()] {
            report(names.iter().flat_map(|name| {
                let config = model.with_scheduler(name).expect("fits SDXL");
                STEPS.map(|steps| (name.to_string(), compare(&config, &cases, name, steps, &EXACT)))
            }));
        }
    }

    #[test]
    fn a_name_and_a_shift_on_a_wan_configuration_are_the_reference_configuration() {
        let cases = tensors("schedulers/trajectories.safetensors");
        let all: BTreeMap<_, _> = configs("schedulers/configs.json").into_iter().collect();
        let wan = &all["flow-unipc-shift3"];
        let choices = [
            ("flow-unipc", 3.0, "flow-unipc-shift3"),
            ("flow-unipc", 5.0, "flow-unipc-shift5"),
            ("flow-dpmpp", 5.0, "flow-dpmpp-shift5"),
            ("flow-euler", 3.0, "flow-euler-shift3"),
        ];
        report(choices.map(|(name, shift, case)| {
            let config = wan.with_scheduler(name).and_then(|c| c.with_flow_shift(shift));
            (
                case.to_string(),
                compare(&config.expect("fits WAN"), &cases, case, 25, &EXACT),
            )
        }));
    }

    #[test]
    fn any_step_count_from_1_to_150_runs_without_nan() {
        let sdxl = SchedulerConfig::sdxl();
        let wan = configs("schedulers/configs.json").swap_remove(12).1;
        assert!(wan.is_flow());
        for name in NAMES {
            let model = if name.starts_with("flow-") { &wan } else { &sdxl };
            let config = model.with_scheduler(name).expect("fits");
            for steps in [1, 2, 3, 14, 61, 150] {
                if *name == "lcm" && steps > 50 {
                    assert!(build::<4>(&config, steps).is_err());
                    continue;
                }
                let mut scheduler = build::<4>(&config, steps).expect("built");
                let order = scheduler.order();
                assert_eq!(
                    scheduler.timesteps().len(),
                    order * steps - (order - 1),
                    "{name} {steps}"
                );
                let noise = TorchGenerator::new(1).randn_like_shape(SHAPE, &Device::default());
                let initial = noise * scheduler.init_noise_sigma();
                run(scheduler.as_mut(), initial, |i, sample| {
                    let values = values(sample);
                    assert!(
                        values.iter().all(|v| v.is_finite()),
                        "{name}, {steps} steps, call {i}"
                    );
                });
            }
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
