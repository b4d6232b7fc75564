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
    const TOLERANCE: f64 = 1e-5;
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

    /// The largest error of sigmas and samples, relative to the largest reference value.
    fn compare(label: &str, config: &SchedulerConfig, cases: &Cases, case: &str, steps: usize) -> f64 {
        let stored = |key: &str| {
            cases
                .get(&format!("{case}-{steps}/{key}"))
                .map(|(_, v)| v.as_slice())
        };
        let mut scheduler = build::<4>(config, steps).unwrap_or_else(|e| panic!("{label}: {e}"));
        assert_eq!(
            scheduler.timesteps(),
            stored("timesteps").expect("timesteps"),
            "{label} {steps}"
        );
        let mut worst: f64 = 0.0;
        let mut check = |what: &str, ours: &[f64], reference: &[f64]| {
            let (error, largest) = difference(ours, reference);
            assert!(
                error <= TOLERANCE * largest,
                "{label}, {steps} steps, {what}: off by {:e}",
                error / largest
            );
            worst = worst.max(error / largest);
        };
        if let Some(sigmas) = stored("sigmas") {
            check("sigmas", scheduler.sigmas(), sigmas);
        }
        let initial = stored("initial").expect("initial latents");
        let drawn = TorchGenerator::new(1).randn(initial.len());
        let scale = scheduler.init_noise_sigma();
        let drawn: Vec<f64> = drawn.into_iter().map(|v| f64::from(v) * scale).collect();
        check("initial latents", &drawn, initial);
        let last = scheduler.timesteps().len() - 1;
        run(scheduler.as_mut(), latents(initial), |i, sample| {
            if let Some(reference) = stored(&format!("after_{i:02}")) {
                check(&format!("after {i}"), &values(sample), reference);
            }
            if i == last {
                check("final", &values(sample), stored("final").expect("final latents"));
            }
        });
        worst
    }

    #[test]
    fn every_trajectory_of_diffusers_is_followed() {
        let cases = tensors("schedulers/trajectories.safetensors");
        let all = configs("schedulers/configs.json");
        assert_eq!(all.len(), 15);
        for (name, config) in &all {
            let worst = STEPS.map(|steps| compare(name, config, &cases, name, steps));
            println!("{name:20} {worst:?}");
        }
    }

    #[test]
    fn a_name_on_the_sdxl_configuration_is_the_reference_configuration() {
        let cases = tensors("schedulers/trajectories.safetensors");
        let sdxl = configs("schedulers/configs.json").swap_remove(0).1;
        for name in NAMES
            .iter()
            .filter(|name| cases.contains_key(&format!("{name}-4/final")))
        {
            for steps in STEPS {
                for model in [&sdxl, &SchedulerConfig::sdxl()] {
                    let config = model.with_scheduler(name).expect("fits SDXL");
                    compare(name, &config, &cases, name, steps);
                }
            }
        }
    }

    #[test]
    fn a_name_and_a_shift_on_a_wan_configuration_are_the_reference_configuration() {
        let cases = tensors("schedulers/trajectories.safetensors");
        let all: BTreeMap<_, _> = configs("schedulers/configs.json").into_iter().collect();
        let wan = &all["flow-unipc-shift3"];
        for (name, shift, case) in [
            ("flow-unipc", 3.0, "flow-unipc-shift3"),
            ("flow-unipc", 5.0, "flow-unipc-shift5"),
            ("flow-dpmpp", 5.0, "flow-dpmpp-shift5"),
            ("flow-euler", 3.0, "flow-euler-shift3"),
        ] {
            let config = wan.with_scheduler(name).and_then(|c| c.with_flow_shift(shift));
            compare(name, &config.expect("fits WAN"), &cases, case, 25);
        }
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
