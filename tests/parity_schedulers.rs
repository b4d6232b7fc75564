//! Trajectories of diffusers 0.42's schedulers, and of k-diffusion's where diffusers has none.
//!
//! The network is replaced by `0.6 x + 0.2 sin(3 x + t / 100)`, latents have the shape `[1, 4, 6, 5]`, and
//! `after_NN` is the sample after call NN. Each `.json` beside a file of tensors has the class and
//! arguments of each case.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor, TensorData};
use ourvidz::nn::noise::TorchGenerator;
use ourvidz::schedulers::{NAMES, Part, SamplerChoice, Scheduler, SchedulerConfig, build};

use super::parity::{data, difference, tensors};
use serde_json::Value;

const SHAPE: [usize; 4] = [1, 4, 6, 5];
const STEPS: [usize; 4] = [4, 15, 25, 50];

type Cases = BTreeMap<String, (Vec<usize>, Vec<f64>)>;

/// Seeds of the first noise and of the sampler's own.
#[derive(Clone, Copy)]
struct Seeds {
    initial: u64,
    sampler: u64,
}

const SEEDS: Seeds = Seeds {
    initial: 1,
    sampler: 2,
};

/// One entry of a `.json`: the configuration with what is chosen, and the tail that runs.
#[derive(Clone)]
struct Case {
    config: SchedulerConfig,
    strength: Option<f64>,
}

fn cases(path: &str) -> Vec<(String, Case)> {
    let text = std::fs::read(data(path)).expect("configurations");
    let all: serde_json::Map<String, Value> = serde_json::from_slice(&text).expect("JSON");
    all.into_iter()
        .map(|(name, case)| {
            let mut fields = case["config"].clone();
            fields["_class_name"] = case["class"].clone();
            let config = SchedulerConfig::from_json(path, fields.to_string().as_bytes());
            let chosen = if case["choice"].is_object() {
                &case["choice"]
            } else {
                &case["step"]
            };
            let config = choice(chosen)
                .apply(&config.expect("a configuration"))
                .unwrap_or_else(|e| panic!("{name}: {e}"));
            let strength = case["strength"].as_f64();
            (name, Case { config, strength })
        })
        .collect()
}

fn choice(fields: &Value) -> SamplerChoice {
    let list = |field: &str| {
        let list = fields[field].as_array()?;
        Some(list.iter().map(|v| v.as_f64().expect("a number")).collect())
    };
    SamplerChoice {
        name: fields["name"].as_str().map(String::from),
        eta: fields["eta"].as_f64(),
        timesteps: list("timesteps"),
        sigmas: list("sigmas"),
        ..SamplerChoice::default()
    }
}

fn configs(path: &str) -> Vec<(String, SchedulerConfig)> {
    let all = cases(path).into_iter();
    all.map(|(name, case)| (name, case.config)).collect()
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

fn draw(seed: u64) -> Tensor<4> {
    TorchGenerator::new(seed).randn_like_shape(SHAPE, &Device::default())
}

/// Runs the calls from `begin` on; `seen` gets the index and the latents after each.
fn run(
    scheduler: &mut dyn Scheduler<4>,
    begin: usize,
    initial: Tensor<4>,
    sampler_seed: u64,
    mut seen: impl FnMut(usize, &Tensor<4>),
) {
    let device = Device::default();
    let mut generator = TorchGenerator::new(sampler_seed);
    let mut sample = initial;
    for (i, t) in scheduler.timesteps().to_vec().into_iter().enumerate().skip(begin) {
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

/// The middle of an ancestral step follows from the difference of nearly equal squares, in which the
/// last bit of torch's square root, another on each machine, grows tenfold and more.
const CANCELLED_BITS: Tolerance = Tolerance {
    timesteps: 1e-5,
    samples: 3e-5,
};

/// Euler's first step down from sigma 4096 leaves rounding errors of 4096 * 2^-24 on either side.
const FROM_SIGMA_4096: Tolerance = Tolerance {
    timesteps: 0.0,
    samples: 1e-3,
};

/// The largest error of sigmas and samples relative to the largest reference value, or what differs.
fn compare(
    settings: &Case,
    cases: &Cases,
    case: &str,
    steps: usize,
    seeds: Seeds,
    tolerance: &Tolerance,
) -> Result<f64, String> {
    let label = format!("{case}, {steps} steps");
    let stored = |key: &str| {
        cases
            .get(&format!("{case}-{steps}/{key}"))
            .map(|(_, v)| v.as_slice())
    };
    let mut scheduler = build::<4>(&settings.config, steps).map_err(|e| format!("{label}: {e}"))?;
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
        // The classes of dpm2 append zeros that no step reads.
        let (used, rest) = sigmas.split_at(scheduler.sigmas().len().min(sigmas.len()));
        assert!(
            rest.iter().all(|s| *s == 0.0) || scheduler.sigmas().is_empty(),
            "{label}: {rest:?}"
        );
        check("sigmas", scheduler.sigmas(), used);
    }
    let mut initial = draw(seeds.initial) * scheduler.init_noise_sigma();
    if let Some(reference) = stored("initial") {
        check("initial latents", &values(&initial), reference);
        initial = latents(reference);
    }
    let mut begin = 0;
    if let Some(strength) = settings.strength {
        begin = scheduler.begin_index(strength);
        initial = scheduler.add_noise(draw(3), draw(seeds.initial), begin);
    }
    let last = scheduler.timesteps().len() - 1;
    run(scheduler.as_mut(), begin, initial, seeds.sampler, |i, sample| {
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
    let references = tensors("schedulers/trajectories.safetensors");
    let all = cases("schedulers/configs.json");
    assert_eq!(all.len(), 15);
    report(all.iter().flat_map(|(name, case)| {
        STEPS.map(|steps| {
            let result = compare(case, &references, name, steps, SEEDS, &EXACT);
            (format!("{name} {steps}"), result)
        })
    }));
}

/// Every case with a final sample in a file, by its name and step count.
fn stored_cases(references: &Cases) -> Vec<(String, usize)> {
    let finals = references.keys().filter_map(|key| key.strip_suffix("/final"));
    finals
        .filter_map(|case| case.rsplit_once('-'))
        .map(|(name, steps)| (name.to_string(), steps.parse().expect("a step count")))
        .collect()
}

/// Further settings at 3 and 20 steps, made by `make_variants.py` beside the file.
#[test]
fn every_prediction_spacing_curve_and_order_is_followed() {
    let references = tensors("schedulers/variants.safetensors");
    let all: BTreeMap<_, _> = cases("schedulers/variants.json").into_iter().collect();
    let stored = stored_cases(&references);
    assert!(
        all.len() > 80 && stored.len() == 2 * all.len(),
        "{} and {}",
        all.len(),
        stored.len()
    );
    report(stored.into_iter().map(|(name, steps)| {
        let tolerance = match name.as_str() {
            "euler-zsnr-v-trailing" | "ea-zsnr-v-trailing" => &FROM_SIGMA_4096,
            _ => &LAST_BITS,
        };
        let result = compare(&all[&name], &references, &name, steps, SEEDS, tolerance);
        (format!("{name} {steps}"), result)
    }));
}

/// The samplers and spacings of SDXL at 4, 7 and 20 steps, packed by `pack_complete.py`.
#[test]
fn every_sampler_that_sdxl_takes_follows_diffusers() {
    const COMPLETE: Seeds = Seeds {
        initial: 1100,
        sampler: 1101,
    };
    let references = tensors("schedulers/complete.safetensors");
    let mut all: BTreeMap<_, _> = cases("schedulers/complete.json").into_iter().collect();
    // The class's own default, which the pipelines do not use.
    let gamma = SamplerChoice {
        eta: Some(0.3),
        ..SamplerChoice::default()
    };
    let tcd = all.get_mut("tcd").expect("a case");
    tcd.config = gamma.apply(&tcd.config).expect("tcd takes eta");
    let stored = stored_cases(&references);
    assert!(
        all.len() == 39 && stored.len() == 3 * all.len(),
        "{} and {}",
        all.len(),
        stored.len()
    );
    report(stored.into_iter().map(|(name, steps)| {
        let tolerance = match name.as_str() {
            "euler-vpred-zsnr" | "euler-ancestral-vpred-zsnr" => &FROM_SIGMA_4096,
            name if name.starts_with("dpm2-ancestral") => &CANCELLED_BITS,
            _ => &LAST_BITS,
        };
        let result = compare(&all[&name], &references, &name, steps, COMPLETE, tolerance);
        (format!("{name} {steps}"), result)
    }));
}

/// Orders, predictions, lists, tails, and what diffusers lacks; made by `make_extra.py`.
#[test]
fn every_further_setting_list_and_tail_is_followed() {
    let references = tensors("schedulers/extra.safetensors");
    let all: BTreeMap<_, _> = cases("schedulers/extra.json").into_iter().collect();
    let stored = stored_cases(&references);
    assert!(
        all.len() == 124 && stored.len() > all.len(),
        "{} and {}",
        all.len(),
        stored.len()
    );
    report(stored.into_iter().map(|(name, steps)| {
        let ancestral = name.starts_with("dpm2a") || name.starts_with("2sa");
        let tolerance = if ancestral { &CANCELLED_BITS } else { &LAST_BITS };
        let result = compare(&all[&name], &references, &name, steps, SEEDS, tolerance);
        (format!("{name} {steps}"), result)
    }));
}

#[test]
fn a_name_on_the_sdxl_configuration_is_the_reference_configuration() {
    let references = tensors("schedulers/trajectories.safetensors");
    let sdxl = configs("schedulers/configs.json").swap_remove(0).1;
    let names = NAMES
        .iter()
        .filter(|name| references.contains_key(&format!("{name}-4/final")));
    let names: Vec<_> = names.collect();
    assert_eq!(names.len(), 11);
    for model in [sdxl, SchedulerConfig::sdxl()] {
        report(names.iter().flat_map(|name| {
            let case = Case {
                config: model.with_scheduler(name).expect("fits SDXL"),
                strength: None,
            };
            STEPS.map(|steps| {
                let result = compare(&case, &references, name, steps, SEEDS, &EXACT);
                (name.to_string(), result)
            })
        }));
    }
}

#[test]
fn a_name_and_a_shift_on_a_wan_configuration_are_the_reference_configuration() {
    let references = tensors("schedulers/trajectories.safetensors");
    let all: BTreeMap<_, _> = configs("schedulers/configs.json").into_iter().collect();
    let wan = &all["flow-unipc-shift3"];
    let choices = [
        ("flow-unipc", 3.0, "flow-unipc-shift3"),
        ("flow-unipc", 5.0, "flow-unipc-shift5"),
        ("flow-dpmpp", 5.0, "flow-dpmpp-shift5"),
        ("flow-euler", 3.0, "flow-euler-shift3"),
    ];
    report(choices.map(|(name, shift, stored)| {
        let config = wan.with_scheduler(name).and_then(|c| c.with_flow_shift(shift));
        let case = Case {
            config: config.expect("fits WAN"),
            strength: None,
        };
        let result = compare(&case, &references, stored, 25, SEEDS, &EXACT);
        (stored.to_string(), result)
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
            if ["lcm", "tcd"].contains(name) && steps > 50 {
                assert!(build::<4>(&config, steps).is_err());
                continue;
            }
            let mut scheduler = build::<4>(&config, steps).expect("built");
            let (order, calls) = (scheduler.order(), scheduler.timesteps().len());
            let extra = usize::from(*name == "pndm" && steps > 1);
            assert_eq!(calls, order * steps - (order - 1) + extra, "{name} {steps}");
            let whole = config.window(&*scheduler, &Part::default()).expect("a window");
            assert_eq!(
                (whole.calls.len(), whole.steps()),
                (calls, steps),
                "{name} {steps}"
            );
            let initial = draw(1) * scheduler.init_noise_sigma();
            run(scheduler.as_mut(), 0, initial, 2, |i, sample| {
                let values = values(sample);
                assert!(
                    values.iter().all(|v| v.is_finite()),
                    "{name}, {steps} steps, call {i}"
                );
            });
        }
    }
}
