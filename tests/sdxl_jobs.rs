//! SDXL beyond text to image through the command: specs and flags against diffusers' pictures, what the
//! callback says, refusals, and replays.

use std::path::Path;

use ourvidz::media::frames::Frame;
use ourvidz::media::load::load_reference;
use serde_json::{Value, json};

use crate::harness::Bench;
use crate::parity_models::{Case, data};
use crate::parity_pipeline::psnr_to_reference;
use crate::parity_sdxl_pictures::{PictureCase, cases};

/// A case of the reference as a spec, almost word for word.
fn spec(case: &PictureCase, model: &Path) -> Value {
    const SAME: &[&str] = &[
        "prompt_2",
        "negative_prompt_2",
        "num_inference_steps",
        "guidance_scale",
        "guidance_rescale",
        "clip_skip",
        "eta",
        "timesteps",
        "original_size",
        "target_size",
        "crops_coords_top_left",
        "negative_original_size",
        "negative_target_size",
        "negative_crops_coords_top_left",
        "aesthetic_score",
        "negative_aesthetic_score",
        "guided_steps",
        "freeu",
        "strength",
        "width",
        "height",
    ];
    let fields = &case.fields;
    let file = |name: &Value| case.folder.join(name.as_str().unwrap()).display().to_string();
    let mut config = json!({"auto_negative": false, "seed": fields["seeds"][0]});
    for name in SAME.iter().filter(|name| !fields[**name].is_null()) {
        config[*name] = fields[*name].clone();
    }
    config["num_images"] = fields["seeds"].as_array().unwrap().len().into();
    let scheduler = match fields["scheduler_used"].as_str() {
        Some(used) => used,
        None => fields["scheduler"].as_str().unwrap(),
    };
    match scheduler.strip_suffix("-vpred-zsnr") {
        Some(plain) => {
            config["scheduler"] = plain.into();
            config["timestep_spacing"] = "trailing".into();
            config["prediction_type"] = "v_prediction".into();
            config["rescale_betas_zero_snr"] = true.into();
        }
        None => config["scheduler"] = scheduler.into(),
    }
    if !fields["image"].is_null() {
        config["image"] = file(&fields["image"]).into();
    }
    if !fields["mask_image"].is_null() {
        config["mask_image"] = file(&fields["mask_image"]).into();
        config["no_paste"] = true.into();
    }
    if !fields["control_image"].is_null() {
        let number = |name: &str, default: f64| fields[name].as_f64().unwrap_or(default);
        config["controls"] = json!([{
            "model": case.folder.join("model"),
            "image": file(&fields["control_image"]),
            "scale": number("controlnet_conditioning_scale", 1.0),
            "start": number("control_guidance_start", 0.0),
            "end": number("control_guidance_end", 1.0),
            "guess_mode": fields["guess_mode"].as_bool().unwrap_or(false),
        }]);
    }
    for adapter in fields["adapters"].as_array().into_iter().flatten() {
        let file_name = adapter["file"].as_str().unwrap();
        let entry = json!({
            "file": case.folder.join("sdxl_models").join(file_name),
            "image_encoder": case.folder.join("image_encoder"),
            "image": file(&adapter["image"]),
            "scale": adapter["scale"],
        });
        match config["ip_adapters"].as_array_mut() {
            Some(list) => list.push(entry),
            None => config["ip_adapters"] = json!([entry]),
        }
    }
    if !fields["denoising_end"].is_null() {
        config["refiner"] = json!({"model": file(&fields["refiner"]), "start": fields["denoising_end"]});
    }
    if !fields["tile_sample_min_size"].is_null() {
        config["vae_tiling"] =
            json!({"tile": fields["tile_sample_min_size"], "overlap": fields["tile_overlap_factor"]});
    }
    let mut spec = json!({
        "id": case.name().replace('.', "_"),
        "type": "sdxl_image_fast",
        "model": model,
        "prompt": fields["prompt"],
        "config": config,
    });
    if !fields["negative_prompt"].is_null() {
        spec["negative_prompt"] = fields["negative_prompt"].clone();
    }
    spec
}

fn picture(bench: &Bench, name: &str) -> Frame {
    load_reference(name, &bench.bytes(name)).unwrap()
}

/// How close the pictures in files are to a case's.
fn db(frames: &[Frame], case: &PictureCase) -> f64 {
    let group = case.folder.file_name().unwrap().to_str().unwrap();
    let images = Case::open(&format!("sdxl-complete/{group}/images.safetensors"));
    let reference: Vec<f32> = images.values(case.name()).0.iter().map(|v| v / 255.0).collect();
    psnr_to_reference(frames, &reference)
}

fn check_group(group: &str) {
    let bench = Bench::new();
    let all = cases(group);
    let room = bench.path("models");
    let specs: Vec<Value> = all.iter().map(|case| spec(case, &case.model(&room))).collect();
    bench.write("jobs.json", &Value::from(specs.clone()).to_string());
    bench.run(&["generate", "jobs.json"]).exits(0);
    let files = bench.files();
    let mut failed = Vec::new();
    for (case, spec) in all.iter().zip(&specs) {
        let start = format!("ourvidz-out/{}/", spec["id"].as_str().unwrap());
        let mine = |name: &&String| name.ends_with(".png") && name.starts_with(&start);
        let frames: Vec<Frame> = files
            .iter()
            .filter(mine)
            .map(|name| picture(&bench, name))
            .collect();
        assert!(!frames.is_empty(), "{start}: no file in {files:?}");
        let found = db(&frames, case);
        if found < 50.0 {
            failed.push(format!("{}: {found:.1} dB", case.name()));
        }
    }
    assert!(failed.is_empty(), "{group}, below 50 dB: {failed:?}");
}

#[test]
fn specs_of_image_to_image_and_inpainting_draw_diffusers_pictures() {
    check_group("img2img");
    check_group("inpaint");
}

#[test]
fn specs_with_controlnets_and_ip_adapters_draw_diffusers_pictures() {
    check_group("controlnet");
    check_group("ip-adapter");
}

#[test]
fn specs_of_variants_draw_diffusers_pictures() {
    check_group("variants");
    check_group("extras");
}

fn case(group: &str, name: &str) -> PictureCase {
    cases(group).into_iter().find(|case| case.name() == name).unwrap()
}

/// Runs flags that mean a case, and compares.
fn check_flags(group: &str, name: &str, flags: &[&str]) {
    let (bench, case) = (Bench::new(), case(group, name));
    let model = case.model(&bench.path("models")).display().to_string();
    let (steps, scale) = (
        &case.fields["num_inference_steps"],
        &case.fields["guidance_scale"],
    );
    let (steps, scale) = (steps.to_string(), scale.to_string());
    let mut args = vec![
        "generate",
        case.fields["prompt"].as_str().unwrap(),
        "-m",
        &model,
        "--no-auto-negative",
    ];
    args.extend([
        "-s",
        "42",
        "--steps",
        &steps,
        "--cfg-scale",
        &scale,
        "-o",
        "out.png",
    ]);
    args.extend(flags);
    bench.run(&args).exits(0);
    let found = db(&[picture(&bench, "out.png")], &case);
    assert!(found >= 50.0, "{group}/{name}: {found:.1} dB");
}

fn at(relative: &str) -> String {
    data(&format!("sdxl-complete/{relative}")).display().to_string()
}

#[test]
fn flags_draw_the_same_pictures_as_specs() {
    let (init, wide, mask) = (
        at("img2img/init.png"),
        at("inpaint/wide.png"),
        at("inpaint/wide-mask.png"),
    );
    check_flags(
        "img2img",
        "euler-ancestral-0.8",
        &["-i", &init, "--strength", "0.8", "--scheduler", "euler_a"],
    );
    check_flags(
        "img2img",
        "dpmpp-2m-karras-0.5",
        &[
            "-i",
            &init,
            "--reference-strength",
            "0.5",
            "--scheduler",
            "dpmpp-2m",
            "--schedule",
            "karras",
        ],
    );
    check_flags(
        "inpaint",
        "four-wide",
        &["-i", &wide, "--mask", &mask, "--no-paste", "--strength", "0.6"],
    );
    let (net, control) = (at("controlnet/model"), at("controlnet/control.png"));
    check_flags(
        "controlnet",
        "until-early",
        &[
            "--control",
            &net,
            "--control-image",
            &control,
            "--control-scale",
            "0.7",
            "--control-end",
            "0.2",
            "-W",
            "96",
            "-H",
            "96",
        ],
    );
    let adapter = at("ip-adapter/sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors");
    let (encoder, reference) = (at("ip-adapter/image_encoder"), at("ip-adapter/reference.png"));
    check_flags(
        "ip-adapter",
        "plus-style",
        &[
            "--ip-adapter",
            &adapter,
            "--image-encoder",
            &encoder,
            "-i",
            &reference,
            "--ip-adapter-blocks",
            "style",
            "-W",
            "64",
            "-H",
            "64",
        ],
    );
    let refiner = at("variants/unet-refiner");
    check_flags(
        "variants",
        "refiner-0.8",
        &["--refiner", &refiner, "-W", "64", "-H", "64"],
    );
    check_flags(
        "variants",
        "clip-skip-2",
        &["--clip-skip", "2", "-W", "64", "-H", "64"],
    );
    check_flags(
        "variants",
        "rescaled",
        &["--guidance-rescale", "0.7", "-W", "64", "-H", "64"],
    );
    check_flags(
        "variants",
        "euler-vpred-zsnr",
        &[
            "--scheduler",
            "euler",
            "--schedule",
            "sgm_uniform",
            "--prediction-type",
            "v_prediction",
            "--zero-snr",
            "-W",
            "64",
            "-H",
            "64",
        ],
    );
}

#[test]
fn the_callback_and_the_manifest_say_what_ran_and_a_replay_draws_the_same() {
    let bench = Bench::new();
    let (net, control) = (at("controlnet/model"), at("controlnet/control.png"));
    let init = at("img2img/init.png");
    let model = data("sdxl").display().to_string();
    let spec = json!({"id": "a", "type": "sdxl_image_fast", "model": model, "prompt": "a castle",
        "config": {"seed": 5, "steps": 4, "image": init, "strength": 0.5,
            "controls": [{"model": net, "image": control, "preprocess": "canny"}]}});
    bench.write("job.json", &spec.to_string());
    bench.run(&["generate", "job.json"]).exits(0);
    let callback = bench.json("ourvidz-out/a/callback.json");
    let metadata = &callback["metadata"];
    assert_eq!(metadata["reference_mode"], "image-to-image");
    assert_eq!(
        (&metadata["strength"], &metadata["effective_steps"]),
        (&json!(0.5), &json!(2))
    );
    assert_eq!(
        (&metadata["width"], &metadata["height"]),
        (&json!(96), &json!(96)),
        "the picture's own"
    );
    let manifest = &metadata["manifest"];
    let fields = |list: &str| -> Vec<String> {
        let records = manifest[list].as_array().unwrap().iter();
        records
            .map(|record| record["field"].as_str().unwrap().to_string())
            .collect()
    };
    assert_eq!(fields("references"), ["config.image", "config.controls[0].image"]);
    assert_eq!(fields("weights"), ["config.controls[0].model"]);
    assert!(manifest["weights"][0]["sha256"].as_str().unwrap().len() == 64);

    bench
        .run(&["generate", "--from", "ourvidz-out/a/0.png", "-o", "b.png"])
        .exits(65)
        .says(&["--trust-paths"]);
    bench
        .run(&[
            "generate",
            "--from",
            "ourvidz-out/a/0.png",
            "-o",
            "b.png",
            "--trust-paths",
        ])
        .exits(0);
    assert_eq!(picture(&bench, "b.png"), picture(&bench, "ourvidz-out/a/0.png"));
}

#[test]
fn references_are_followed_with_what_the_models_entry_has() {
    let bench = Bench::new();
    let model = data("sdxl").display().to_string();
    let adapters = format!(
        "ip_adapter = '{}'\nip_adapter_face = '{}'\nimage_encoder = '{}'\n",
        at("ip-adapter/sdxl_models/ip-adapter_sdxl.safetensors"),
        at("ip-adapter/sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors"),
        at("ip-adapter/image_encoder")
    );
    let entry = |name: &str, more: &str| {
        format!("[models.{name}]\nfamily = 'sdxl'\npath = '{model}'\nwidth = 64\nheight = 64\n{more}\n")
    };
    let net = format!("controlnet = '{}'\n", at("controlnet/model"));
    bench.write(
        "models.toml",
        &[
            entry("bare", ""),
            entry("ip", &adapters),
            entry("both", &(adapters.clone() + &net)),
        ]
        .concat(),
    );
    let reference = at("ip-adapter/reference.png");
    let run = |model: &str, kind: &str, strength: f64| -> (String, Value, Vec<u8>) {
        let id = format!("{model}-{kind}-{}", (strength * 10.0) as u32);
        let spec = json!({"id": id, "type": "sdxl_image_fast", "model": model, "prompt": "a castle",
            "config": {"seed": 1, "steps": 10, "auto_negative": false},
            "metadata": {"reference_image_url": reference, "reference_type": kind, "reference_strength": strength}});
        bench.write("job.json", &spec.to_string());
        bench.run(&["generate", "job.json"]).exits(0);
        let metadata = bench.json(&format!("ourvidz-out/{id}/callback.json"))["metadata"].clone();
        let mode = metadata["reference_mode"].as_str().unwrap_or("none").to_string();
        (mode, metadata, bench.bytes(&format!("ourvidz-out/{id}/0.png")))
    };
    let (mode, metadata, _) = run("bare", "style", 0.6);
    assert_eq!(
        (mode.as_str(), &metadata["effective_steps"]),
        ("style: image-to-image", &json!(4))
    );
    let (mode, metadata, _) = run("bare", "composition", 0.6);
    assert_eq!(
        (mode.as_str(), &metadata["effective_steps"]),
        ("composition: image-to-image", &json!(1)),
        "0.8 closely"
    );
    assert_eq!(run("ip", "style", 0.6).0, "style: ip-adapter");
    assert_eq!(run("ip", "character", 0.6).0, "character: ip-adapter");
    assert_eq!(run("ip", "composition", 0.6).0, "composition: ip-adapter");
    assert_eq!(run("both", "composition", 0.6).0, "composition: controlnet");
    let (mode, _, _) = run("bare", "style", 0.0);
    assert_eq!(mode, "none", "0 means ignore");
    let spec = json!({"id": "copy", "type": "sdxl_image_fast", "model": "bare", "prompt": "a castle",
        "config": {"steps": 10, "image": reference}, "metadata": {"exact_copy_mode": true}});
    bench.write("job.json", &spec.to_string());
    bench.run(&["generate", "job.json"]).exits(0);
    let metadata = &bench.json("ourvidz-out/copy/callback.json")["metadata"];
    assert_eq!(
        (&metadata["reference_mode"], &metadata["effective_steps"]),
        (&json!("copy"), &json!(1))
    );
    assert_eq!(
        (&metadata["width"], &metadata["height"]),
        (&json!(144), &json!(96))
    );
}

#[test]
fn the_built_in_model_draws_from_a_picture() {
    let bench = Bench::new();
    bench.write("models.toml", "");
    bench
        .run(&[
            "generate",
            "a red circle on a white background",
            "-s",
            "3",
            "-o",
            "first.png",
        ])
        .exits(0);
    let args = [
        "generate",
        "a blue circle on a white background",
        "-i",
        "first.png",
        "--strength",
        "0.6",
        "-s",
        "3",
    ];
    bench.run(&[&args[..], &["-o", "second.png"]].concat()).exits(0);
    let (first, second) = (picture(&bench, "first.png"), picture(&bench, "second.png"));
    assert_eq!((first.width, first.height), (second.width, second.height));
    assert_ne!(first, second);
}

#[test]
fn what_does_not_apply_is_refused_before_any_work_with_the_fix() {
    let bench = Bench::new();
    let model = data("sdxl").display().to_string();
    let mask = at("inpaint/mask.png");
    let init = at("img2img/init.png");
    let run = |more: &[&str]| {
        let args = [
            &[
                "generate", "a castle", "-m", &model, "--steps", "2", "-W", "64", "-H", "64", "-o", "x.png",
            ],
            more,
        ]
        .concat();
        bench.run(&args)
    };
    run(&["--mask", &mask])
        .exits(65)
        .says(&["mask_image is given without config.image"]);
    run(&["--strength", "0.5"])
        .exits(65)
        .says(&["strength is given without config.image"]);
    run(&["-i", &init, "--strength", "0.5", "--reference-strength", "0.5"])
        .exits(65)
        .says(&["both given"]);
    run(&["--control", "none", "--control-image", &init])
        .exits(66)
        .says(&["controls[0].model is `none`"]);
    run(&["--control", &model])
        .exits(2)
        .says(&["--control-image is given 0 times"]);
    run(&[
        "--control",
        &at("ip-adapter/sdxl_models/ip-adapter_sdxl.safetensors"),
        "--control-image",
        &init,
    ])
    .exits(66)
    .says(&["holds an IP-Adapter", "ControlNet for SDXL"]);
    run(&["-i", &init, "--mask", &mask, "--refiner", &model])
        .exits(65)
        .says(&["refiner is given beside config.mask_image"]);
    run(&["--clip-skip", "30"]).exits(65).says(&["clip_skip is 30"]);
    run(&["--preset", "lightening-4"])
        .exits(65)
        .says(&["lightning-4"]);
    run(&["-i", &init, "--reference-type", "mood"])
        .exits(65)
        .says(&["style, composition, character"]);
    let wan = [
        "generate",
        "a cat",
        "-m",
        "micro-wan",
        "--clip-skip",
        "1",
        "-o",
        "x.mp4",
    ];
    bench
        .run(&wan)
        .exits(65)
        .says(&["config.clip_skip does not apply to type `video_fast`"]);
    assert!(!bench.path("x.png").exists());
}

#[test]
fn every_example_of_sdxl_runs_on_small_models() {
    let bench = Bench::new();
    bench.write("models.toml", "");
    bench
        .run(&["generate", "a red circle", "-s", "1", "-o", "jobs/input.png"])
        .exits(0);
    bench
        .run(&[
            "generate",
            "a white circle on a black background",
            "-s",
            "1",
            "-o",
            "jobs/mask.png",
        ])
        .exits(0);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("jobs");
    let links = [
        ("tiny-sdxl", "sdxl"),
        ("controlnet", "sdxl-complete/controlnet/model"),
        (
            "ip-adapter.safetensors",
            "sdxl-complete/ip-adapter/sdxl_models/ip-adapter_sdxl.safetensors",
        ),
        ("image_encoder", "sdxl-complete/ip-adapter/image_encoder"),
        ("refiner", "sdxl-complete/variants/unet-refiner"),
    ];
    #[cfg(unix)]
    for (name, target) in links {
        std::os::unix::fs::symlink(data(target), bench.path(&format!("jobs/{name}"))).unwrap();
    }
    let mut ran = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if path.is_dir() {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        // Those of weights and LoRAs are run beside the adapters that they need.
        let elsewhere = ["sdxl-lora.yaml", "sdxl-weights.yaml"].contains(&name.as_str());
        if !name.starts_with("sdxl-") || elsewhere || (cfg!(not(unix)) && text.contains("tiny-sdxl")) {
            continue;
        }
        // The examples name a model of full size; here its place is taken by a small one.
        bench.write(
            &format!("jobs/{name}"),
            &text.replace("model: my-sdxl", "model: jobs/tiny-sdxl"),
        );
        bench.run(&["generate", &format!("jobs/{name}")]).exits(0);
        ran += 1;
    }
    assert!(ran >= 8, "{ran} examples");
}
