//! Adapters and weighted prompts through the command: pictures, records, replays and refusals.

use ourvidz::media::frames::Frame;
use ourvidz::media::load::{load_reference, read_reference};
use serde_json::Value;

use crate::harness::{Bench, Ran};
use crate::parity_models::{Case, data};
use crate::parity_pipeline::psnr_to_reference;

const SPEC: &str = "type: sdxl_image_fast\nconfig: {steps: 6, guidance_scale: 6, width: 64, height: 64, seed: 42, \
scheduler: euler, auto_negative: false}\n";

fn file(name: &str) -> String {
    data("lora").join(name).display().to_string()
}

/// Runs a spec on the tiny model and gives its picture.
fn draw(bench: &Bench, spec: &str, more: &[&str]) -> Frame {
    let model = data("sdxl").display().to_string();
    bench.write("job.yaml", &format!("{SPEC}{spec}"));
    let args = ["generate", "job.yaml", "-m", &model, "-o", "a.png", "--force"];
    bench.run(&[&args, more].concat()).exits(0);
    picture(bench)
}

fn picture(bench: &Bench) -> Frame {
    let path = bench.path("a.png");
    load_reference("picture", &read_reference("picture", &path).unwrap()).unwrap()
}

fn manifest(bench: &Bench) -> Value {
    let ran = bench.run(&["models", "inspect", "a.png"]).exits(0);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[track_caller]
fn agrees(frame: &Frame, images: &str, case: &str) {
    let reference = Case::open(images).values(case).0;
    let found = psnr_to_reference(std::slice::from_ref(frame), &reference);
    assert!(found >= 50.0, "{case}: {found:.1} dB");
}

#[test]
fn adapters_by_flag_by_spec_and_by_name_in_the_prompt_draw_what_diffusers_draws() {
    let bench = Bench::new();
    let (kohya, diffusers) = (file("kohya.safetensors"), file("diffusers.safetensors"));
    let prompt = "prompt: a castle on a hill\n";
    let spec = format!("{prompt}loras: [{{file: {kohya}, scale: 0.7}}, '{diffusers}:0.4']\n");
    agrees(&draw(&bench, &spec, &[]), "lora/images.safetensors", "two");
    let manifest_of_two = manifest(&bench);
    let records = &manifest_of_two["weights"];
    assert_eq!(records[0]["field"], "config.loras[0].file");
    assert_eq!(records[0]["source"], kohya.as_str());
    assert_eq!(manifest_of_two["spec"]["config"]["loras"][0]["scale"], 0.7);
    assert_eq!(records[1]["sha256"].as_str().unwrap().len(), 64);

    let flag = format!("{kohya}:-0.5");
    let frame = draw(&bench, prompt, &["--lora", &flag]);
    agrees(&frame, "lora/images.safetensors", "negative-scale");

    std::fs::create_dir_all(bench.path("config/loras")).unwrap();
    std::fs::copy(
        file("loha.safetensors"),
        bench.path("config/loras/loha.safetensors"),
    )
    .unwrap();
    let frame = draw(&bench, "prompt: a castle on a hill <lora:loha:0.8>\n", &[]);
    agrees(&frame, "lora/images.safetensors", "loha-0.8");
    assert_eq!(manifest(&bench)["prompt_tokens"][0][0], 5);
}

#[test]
fn a_picture_with_adapters_replays_exactly_and_names_its_paths_only_if_trusted() {
    let bench = Bench::new();
    let spec = format!(
        "prompt: a castle on a hill\nloras: [{}]\n",
        file("dora-in.safetensors")
    );
    let first = draw(&bench, &spec, &[]);
    let model = data("sdxl").display().to_string();
    let replay = |more: &[&str]| -> Ran {
        bench.run(
            &[
                &["generate", "--from", "a.png", "-o", "b.png", "-m", &model],
                more,
            ]
            .concat(),
        )
    };
    replay(&[]).exits(65).says(&["lora", "--trust-paths"]);
    replay(&["--trust-paths"]).exits(0);
    std::fs::copy(bench.path("b.png"), bench.path("a.png")).unwrap();
    assert_eq!(picture(&bench), first);
}

#[test]
fn jobs_of_one_run_do_not_keep_the_adapters_of_earlier_ones() {
    let bench = Bench::new();
    let model = data("sdxl").display().to_string();
    let job = |id: &str, more: &str| format!("id: {id}\nprompt: a castle on a hill\n{SPEC}{more}");
    let lora = format!("loras: ['{}:0.8']\n", file("lokr.safetensors"));
    let jobs = [job("a", ""), job("b", &lora), job("c", "")].join("---\n");
    bench.write("jobs.yaml", &jobs);
    bench
        .run(&["generate", "jobs.yaml", "-m", &model, "-o", "out/"])
        .exits(0);
    let pixels = |name: &str| {
        let path = bench.path(&format!("out/{name}-0.png"));
        load_reference("picture", &read_reference("picture", &path).unwrap()).unwrap()
    };
    assert_eq!(pixels("a"), pixels("c"));
    agrees(&pixels("a"), "lora/images.safetensors", "plain");
    agrees(&pixels("b"), "lora/images.safetensors", "lokr-0.8");
}

#[test]
fn adapters_that_are_missing_broken_or_of_other_models_are_refused_with_the_way_out() {
    let bench = Bench::new();
    let model = data("sdxl").display().to_string();
    let run = |lora: &str| bench.run(&["generate", "x", "-m", &model, "-o", "a.png", "--lora", lora]);
    std::fs::create_dir_all(bench.path("config/loras")).unwrap();
    bench.write("config/loras/film-grain.safetensors", "no weights");
    run("film-grian")
        .exits(66)
        .says(&["lora `film-grian`", "did you mean `film-grain`?"]);
    run("gone.safetensors:0.5").exits(66).says(&["lora_dir"]);
    run("film-grain").exits(66).says(&["film-grain.safetensors"]);
    run("a:1000").exits(2).says(&["from -100 to 100"]);
    let wan = data("wan").display().to_string();
    let kohya = file("kohya.safetensors");
    let args = [
        "generate", "x", "-m", &wan, "-o", "a.mp4", "--frames", "5", "-W", "64", "-H", "64", "--steps", "1",
    ];
    bench
        .run(&[&args[..], &["--lora", &kohya]].concat())
        .exits(66)
        .says(&["kohya.safetensors` is for SDXL; this model is WAN"]);
}

#[test]
fn weights_in_prompts_are_read_as_the_notation_says() {
    let bench = Bench::new();
    let negative = "negative_prompt: blurry, low quality\n";
    let comfy = format!("prompt: 'a (castle:1.6) on a hill, (sea:0.3)'\n{negative}");
    let frame = draw(&bench, &comfy, &["--prompt-syntax", "comfy"]);
    agrees(&frame, "weighting/images.safetensors", "comfyui-up");
    // The default.
    agrees(
        &draw(&bench, &comfy, &[]),
        "weighting/images.safetensors",
        "a1111-up",
    );
    assert_eq!(manifest(&bench)["spec"]["config"]["prompt_syntax"], "a1111");
    let compel = format!("prompt: 'a (castle)1.6 on a hill, (sea)0.3'\nprompt_syntax: compel\n{negative}");
    agrees(
        &draw(&bench, &compel, &[]),
        "weighting/images.safetensors",
        "compel-up",
    );
    let error = "prompt: '(\"a\", \"b\").blend(1)'\nprompt_syntax: compel\n";
    bench.write("job.yaml", &format!("{SPEC}{error}"));
    bench
        .run(&["generate", "job.yaml"])
        .exits(65)
        .says(&["2 prompts and 1 weights"]);
    bench
        .run(&["generate", "x", "--prompt-syntax", "invoke"])
        .exits(65)
        .says(&["a1111, comfy, compel, plain"]);
}

#[test]
fn producers_get_compel_with_their_own_notation_and_are_told_what_was_done() {
    let bench = Bench::new();
    let theirs = "prompt: 'a (castle:1.6) on a hill'\ncompel_enabled: true\ncompel_weights: '(sea:0.3), (sea:0.3)'\n\
negative_prompt: blurry, low quality\n";
    draw(&bench, theirs, &["--callback", "c.json"]);
    let metadata = &bench.json("c.json")["metadata"];
    assert_eq!(metadata["enhancement_strategy"], "compel");
    assert_eq!(metadata["compel_enabled"], true);
    assert_eq!(metadata["compel_weights"], "(sea:0.3), (sea:0.3)");
    assert_eq!(metadata["prompt_syntax"], "compel");
    let weighted = picture(&bench);
    let compel = "prompt: 'a (castle)1.6 on a hill, (sea)0.3'\nprompt_syntax: compel\nnegative_prompt: blurry, low quality\n";
    assert_eq!(draw(&bench, compel, &[]), weighted);

    let broken = "prompt: '(\"a\", \"b\").blend(1)'\ncompel_enabled: true\n";
    draw(&bench, broken, &["--callback", "c.json"]);
    let metadata = &bench.json("c.json")["metadata"];
    assert_eq!(metadata["enhancement_strategy"], "fallback");
    assert!(metadata["notes"][0].as_str().unwrap().contains("without weights"));
    draw(&bench, "prompt: a castle\n", &["--callback", "c.json"]);
    assert_eq!(bench.json("c.json")["metadata"]["enhancement_strategy"], "none");
}

#[test]
fn notation_hides_no_word_from_the_content_rules() {
    let bench = Bench::new();
    for prompt in [r"a n\ude figure", "a nu<lora:x:1>de figure", "a (nu)[de] figure"] {
        bench
            .run(&["generate", prompt])
            .exits(77)
            .says(&["refused by the content rules"]);
    }
}

#[test]
fn the_examples_run() {
    let example = |name: &str| format!("{}/jobs/{name}.yaml", env!("CARGO_MANIFEST_DIR"));
    let bench = Bench::new();
    let models = format!("{}/models.toml", env!("CARGO_MANIFEST_DIR"));
    let weights = example("sdxl-weights");
    bench
        .run(&[
            "generate", &weights, "--models", &models, "--steps", "1", "-o", "out/",
        ])
        .exits(0);
    let made = bench
        .files()
        .iter()
        .filter(|f| f.starts_with("out/weights") && f.ends_with(".png"))
        .count();
    assert_eq!(made, 3);

    let model = data("sdxl").display().to_string();
    std::fs::create_dir_all(bench.path("config/loras")).unwrap();
    for (name, copy) in [("loha", "film-grain"), ("kohya", "watercolour")] {
        let to = bench.path(&format!("config/loras/{copy}.safetensors"));
        std::fs::copy(file(&format!("{name}.safetensors")), to).unwrap();
    }
    let lora = example("sdxl-lora");
    let args = [
        "generate", &lora, "-m", &model, "--steps", "1", "-W", "64", "-H", "64", "-o", "a.png",
    ];
    bench.run(&args).exits(0);
    assert_eq!(manifest(&bench)["weights"].as_array().unwrap().len(), 2);
}
