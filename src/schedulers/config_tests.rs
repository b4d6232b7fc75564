use super::*;
use crate::error::{hint_of, kind_of};
use crate::schedulers::{NAMES, build};

fn config(fields: &str) -> SchedulerConfig {
    SchedulerConfig::from_json("scheduler/scheduler_config.json", fields.as_bytes()).expect("a configuration")
}

fn error(fields: &str) -> String {
    let error = build::<4>(&config(fields), 10).err().expect("an error");
    assert_eq!(kind_of(&error), ErrorKind::Config);
    assert!(hint_of(&error).is_some_and(|hint| hint.contains("--scheduler")));
    error.to_string()
}

#[test]
fn the_built_in_sdxl_configuration_is_euler() {
    assert_eq!(SchedulerConfig::sdxl().name(), "euler");
    assert!(!SchedulerConfig::sdxl().is_flow());
}

#[test]
fn a_value_that_is_not_built_names_file_field_value_and_choices() {
    let text = error(r#"{"_class_name": "EulerDiscreteScheduler", "prediction_type": "score"}"#);
    assert_eq!(
        text,
        "scheduler/scheduler_config.json: prediction_type is `score`; \
         allowed: epsilon, v_prediction, sample"
    );
    for (class, field, value) in [
        ("EulerDiscreteScheduler", "beta_schedule", r#""exp""#),
        ("EulerDiscreteScheduler", "timestep_spacing", r#""cosine""#),
        ("EulerDiscreteScheduler", "timestep_type", r#""continuous""#),
        ("EulerDiscreteScheduler", "interpolation_type", r#""log_linear""#),
        ("EulerDiscreteScheduler", "final_sigmas_type", r#""half""#),
        ("EulerDiscreteScheduler", "beta_start", r#""low""#),
        ("EulerDiscreteScheduler", "beta_end", "1.5"),
        ("EulerDiscreteScheduler", "num_train_timesteps", "999999999999"),
        ("EulerDiscreteScheduler", "use_karras_sigmas", "1"),
        (
            "EulerAncestralDiscreteScheduler",
            "prediction_type",
            r#""sample""#,
        ),
        ("DDIMScheduler", "thresholding", "true"),
        ("DDIMScheduler", "rescale_betas_zero_snr", "true"),
        ("DDIMScheduler", "steps_offset", "5000"),
        ("DDIMScheduler", "steps_offset", "-5000"),
        ("DEISMultistepScheduler", "use_flow_sigmas", "true"),
        ("PNDMScheduler", "skip_prk_steps", "false"),
        ("KDPM2DiscreteScheduler", "prediction_type", r#""sample""#),
        ("DPMSolverSinglestepScheduler", "thresholding", "true"),
        ("TCDScheduler", "original_inference_steps", "1001"),
        ("DPMSolverMultistepScheduler", "algorithm_type", r#""dpmsolver""#),
        ("DPMSolverMultistepScheduler", "solver_order", "4"),
        ("DPMSolverMultistepScheduler", "solver_type", r#""rk4""#),
        ("DPMSolverMultistepScheduler", "use_flow_sigmas", "true"),
        ("DPMSolverMultistepScheduler", "lambda_min_clipped", "Infinity"),
        ("UniPCMultistepScheduler", "predict_x0", "false"),
        ("UniPCMultistepScheduler", "solver_p", r#"{"a": 1}"#),
        ("UniPCMultistepScheduler", "lower_order_final", "false"),
        ("LCMScheduler", "original_inference_steps", "0"),
        ("FlowMatchEulerDiscreteScheduler", "use_dynamic_shifting", "true"),
        ("FlowMatchEulerDiscreteScheduler", "shift", "-1"),
    ] {
        let text = error(&format!(r#"{{"_class_name": "{class}", "{field}": {value}}}"#));
        let named = field.trim_end_matches("_start").trim_end_matches("_end");
        assert!(text.contains(named) && text.contains("; allowed: "), "{text}");
    }
}

#[test]
fn a_scheduler_that_is_not_built_can_be_replaced() {
    let ipndm = config(r#"{"_class_name": "IPNDMScheduler", "beta_start": 0.00085}"#);
    let error = build::<4>(&ipndm, 10).err().expect("an error");
    assert!(
        error.to_string().contains("_class_name is `IPNDMScheduler`"),
        "{error}"
    );
    assert!(hint_of(&error).is_some_and(|hint| hint.contains("--scheduler euler")));
    let euler = ipndm.with_scheduler("euler").expect("a choice");
    assert_eq!(build::<4>(&euler, 10).expect("built").timesteps().len(), 10);
}

#[test]
fn broken_files_are_named() {
    for json in ["", "[]", "{", r#"{"beta_start": 1}"#, r#"{"_class_name": 3}"#] {
        let error = SchedulerConfig::from_json("x.json", json.as_bytes()).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::Config);
        assert!(error.to_string().starts_with("x.json: "), "{error}");
    }
    assert!(SchedulerConfig::from_json("x.json", &[0xff]).is_err());
}

#[test]
fn the_infinities_that_python_writes_are_read() {
    let json = r#"{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity,
        "note": "a \" -Infinity \\", "x": [NaN, Infinity]}"#;
    let read = config(json);
    assert_eq!(
        read.number("lambda_min_clipped", 0.0).expect("a number"),
        f64::NEG_INFINITY
    );
    assert_eq!(read.stated["note"], r#"a " -Infinity \"#);
    assert!(build::<4>(&read, 10).is_ok());
}

#[test]
fn every_name_survives_a_round_through_its_configuration() {
    let wan = config(
        r#"{"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction",
        "use_flow_sigmas": true, "flow_shift": 3.0}"#,
    );
    for name in NAMES {
        let flow = name.starts_with("flow-");
        let (model, other) = if flow {
            (wan.clone(), SchedulerConfig::sdxl())
        } else {
            (SchedulerConfig::sdxl(), wan.clone())
        };
        assert_eq!(model.with_scheduler(name).expect("fits").name(), *name);
        let fits_other = ["euler", "unipc", "dpmpp-2m"].contains(name);
        assert_eq!(other.with_scheduler(name).is_ok(), fits_other, "{name}");
    }
    assert_eq!(wan.with_scheduler("euler").expect("fits").name(), "flow-euler");
}

#[test]
fn a_name_keeps_what_the_model_says_and_changes_the_rest() {
    let model = config(
        r#"{"_class_name": "EulerDiscreteScheduler", "prediction_type": "v_prediction",
        "timestep_spacing": "trailing", "use_karras_sigmas": true, "rescale_betas_zero_snr": true}"#,
    );
    assert_eq!(model.name(), "euler-karras-trailing");
    let new = model.with_scheduler("dpmpp-2m").expect("fits");
    assert_eq!(new.name(), "dpmpp-2m-trailing");
    assert_eq!(new.stated["prediction_type"], "v_prediction");
    assert_eq!(new.stated["rescale_betas_zero_snr"], true);
    let leading = model.with_scheduler("euler-leading").expect("fits");
    assert_eq!(leading.name(), "euler-leading");
}

#[test]
fn a_flow_shift_needs_a_flow_model() {
    let flow = config(r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}"#);
    let unipc = flow.with_scheduler("flow-unipc").expect("fits");
    let first = |config: &SchedulerConfig| build::<4>(config, 10).expect("built").sigmas()[1];
    let shifted = unipc.with_flow_shift(5.0).expect("a flow model");
    let (three, five) = (first(&unipc), first(&shifted));
    assert!(
        (three - 3.0 * 0.9001 / (1.0 + 2.0 * 0.9001)).abs() < 1e-6,
        "{three}"
    );
    assert!(
        (five - 5.0 * 0.9001 / (1.0 + 4.0 * 0.9001)).abs() < 1e-6,
        "{five}"
    );
    for shift in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(flow.with_flow_shift(shift).is_err());
    }
    assert!(SchedulerConfig::sdxl().with_flow_shift(5.0).is_err());
}

#[test]
fn step_counts_that_do_not_fit_are_refused() {
    let sdxl = SchedulerConfig::sdxl();
    for (name, steps) in [("euler", 0), ("euler", 1001), ("lcm", 51)] {
        let config = sdxl.with_scheduler(name).expect("fits");
        let error = build::<4>(&config, steps).err().expect("an error");
        assert_eq!(kind_of(&error), ErrorKind::InvalidSpec);
        assert!(
            error.to_string().contains(&format!("steps is {steps}; allowed")),
            "{error}"
        );
    }
}

#[test]
fn image_to_image_enters_where_diffusers_does_and_keeps_a_step() {
    let sdxl = SchedulerConfig::sdxl();
    for (name, steps, strength, expected) in [
        ("euler", 6, 0.3, 5),
        ("euler", 6, 0.6, 3),
        ("euler", 6, 1.0, 0),
        ("euler", 6, 0.1, 5),
        ("euler", 6, 0.0, 5),
        ("heun", 6, 0.6, 6),
        ("heun", 6, 0.1, 10),
        ("heun", 6, 1.0, 0),
    ] {
        let config = sdxl.with_scheduler(name).expect("fits");
        let scheduler = build::<4>(&config, steps).expect("built");
        assert_eq!(scheduler.begin_index(strength), expected, "{name} {strength}");
    }
}
