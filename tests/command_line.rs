//! What makes the command line one to like: conversations, settings, models, manual, completion,
//! names, sheets, and what other programs left.

use serde_json::{Value, json};

use crate::harness::Bench;
use ourvidz::commands::man::pages;

#[test]
fn a_conversation_goes_on_turn_by_turn_and_the_model_sees_the_turns_before() {
    let bench = Bench::new();
    let args = ["chat", "-m", "mock", "--json", "-s", "5"];
    let ran = bench
        .run_with_stdin(&args, "one\n\n  \ntwo\n/reset\nthree\n")
        .exits(0);
    let turns: Vec<Value> = ran
        .lines()
        .into_iter()
        .filter(|line| line["event"] == "result")
        .collect();
    assert_eq!(turns.len(), 3, "{ran:?}");
    let seeds: Vec<&Value> = turns.iter().map(|turn| &turn["seed"]).collect();
    assert_eq!(seeds, [&json!(5), &json!(6), &json!(7)]);
    let tokens: Vec<u64> = turns
        .iter()
        .map(|turn| turn["prompt_tokens"].as_u64().unwrap())
        .collect();
    assert!(
        tokens[1] > tokens[0],
        "the second turn carries the first: {tokens:?}"
    );
    assert_eq!(tokens[2], tokens[0], "and after /reset nothing: {tokens:?}");
    assert!(
        bench.files().iter().all(|name| name.starts_with("cache/")),
        "nothing is kept: {:?}",
        bench.files()
    );
}

#[test]
fn one_turn_is_answered_on_stdout_and_notes_are_on_stderr() {
    let bench = Bench::new();
    let ran = bench
        .run(&["chat", "--once", "red circle", "--temperature", "0"])
        .exits(0);
    assert!(ran.stdout.split_whitespace().count() > 2, "{ran:?}");
    assert_eq!(ran.stderr.matches("built-in model").count(), 1, "{ran:?}");
    let quiet = bench
        .run(&["--quiet", "chat", "--once", "red circle", "--temperature", "0"])
        .exits(0);
    assert_eq!((quiet.stdout, quiet.stderr), (ran.stdout, String::new()));
    let piped = bench
        .run_with_stdin(&["chat", "--once", "-", "-m", "mock"], "a\nb\n")
        .exits(0);
    assert!(
        piped.stdout.contains('a') && piped.stdout.contains('b'),
        "{piped:?}"
    );
}

#[test]
fn a_turn_that_is_refused_or_wrong_ends_no_conversation() {
    let bench = Bench::new();
    let long = "x".repeat(200_000);
    let ran = bench
        .run_with_stdin(&["chat", "-m", "mock"], "a nude woman\nhello\n")
        .exits(1)
        .says(&["refused by the content rules"]);
    assert_eq!(ran.stdout.lines().count(), 1, "{ran:?}");
    bench.run(&["chat", "--once", " "]).exits(65).says(&["is empty"]);
    bench
        .run(&["chat", "--once", "x", "-m", "micro-sdxl"])
        .exits(65)
        .says(&["micro-sdxl"]);
    bench
        .run(&["chat", "--once", "x", "-m", "none"])
        .exits(66)
        .says(&["known models"]);
    bench
        .run(&["chat", "--once", "x", "--system-prompt", "none.txt"])
        .exits(66)
        .says(&["`none.txt` not found"]);
    bench
        .run(&["chat", "--once", "x", "--temperature", "11"])
        .exits(2)
        .says(&["0 to 10"]);
    let ran = bench.run_with_stdin(&["chat", "-m", "mock"], &long);
    assert!(
        ran.code.is_some() && !ran.stderr.contains("panicked"),
        "{:?}",
        ran.code
    );
}

#[test]
fn every_setting_says_where_it_came_from() {
    let bench = Bench::new();
    bench.write(
        "config/config.toml",
        "device = \"cpu\"\n[queue]\nlease = \"2m\"\n",
    );
    let output = bench
        .command(&["config", "show", "--json"])
        .env("OURVIDZ_TIME_LIMIT", "90")
        .output()
        .unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = bench.path("config/config.toml").display().to_string();
    assert_eq!(
        shown["device"],
        json!({"value": "cpu", "from": format!("{file}:1")})
    );
    assert_eq!(
        shown["queue.lease"],
        json!({"value": "120s", "from": format!("{file}:3")})
    );
    assert_eq!(
        shown["time_limit"],
        json!({"value": 90, "from": "OURVIDZ_TIME_LIMIT"})
    );
    assert_eq!(
        shown["policy.content_mode"],
        json!({"value": "sfw", "from": "default"})
    );
    assert_eq!(shown["config_folder"]["from"], "OURVIDZ_CONFIG_DIR");
    assert_eq!(shown["models.toml"]["value"], "models.toml");
    let table = bench.run(&["config"]).exits(0).says(&["-v lists them"]);
    assert!(
        table.stdout.contains("queue.lease") && !table.stdout.contains("queue.metrics"),
        "{table:?}"
    );
    let all = bench.run(&["config", "show", "-v"]).exits(0);
    assert!(all.stdout.contains("queue.metrics"), "{all:?}");
    bench.write("config/config.toml", "devise = \"cpu\"\n");
    bench
        .run(&["config", "show"])
        .exits(78)
        .says(&["did you mean `device`?"]);
    let path = bench.run(&["config", "path"]).exits(0);
    assert_eq!(path.stdout.trim_end(), file, "also of a file with a mistake");
}

#[test]
fn a_file_to_begin_with_is_written_once_and_changes_nothing() {
    let bench = Bench::new();
    bench.run(&["config", "path"]).exits(0).says(&["config init"]);
    let before = bench.run(&["config", "show", "--json"]).exits(0).stdout;
    bench.run(&["config", "init"]).exits(0);
    assert_eq!(bench.run(&["config", "show", "--json"]).exits(0).stdout, before);
    bench
        .run(&["config", "init"])
        .exits(73)
        .says(&["is there already"]);
}

#[test]
fn a_model_gets_its_entry_and_is_used_by_its_name() {
    let bench = Bench::new();
    let micro = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/micro/sdxl");
    let before = String::from_utf8(bench.bytes("models.toml")).unwrap();
    bench.write("models.toml", &format!("# mine\n{before}"));
    let ran = bench
        .run(&["models", "add", "small", micro, "--route", "sdxl_image_high"])
        .exits(0)
        .says(&["family sdxl"]);
    assert_eq!(ran.stdout, "small\n");
    let text = String::from_utf8(bench.bytes("models.toml")).unwrap();
    assert!(
        text.starts_with("# mine\n") && text.contains("[models.small]"),
        "{text}"
    );
    let listed = bench.run(&["models", "list"]).exits(0).stdout;
    let row = listed.lines().find(|row| row.starts_with("small ")).unwrap();
    assert!(
        row.contains("present") && row.contains("sdxl_image_high"),
        "{row}"
    );
    bench.run(&["models", "verify", "small"]).exits(0);
    bench
        .run(&["models", "add", "small", micro])
        .exits(65)
        .says(&["is kept", "--force"]);
    bench
        .run(&["models", "add", "small", micro, "--force", "--quiet"])
        .exits(0);
}

#[test]
fn what_is_no_model_gets_no_entry_and_is_named() {
    let bench = Bench::new();
    let before = bench.bytes("models.toml");
    bench.write("page.safetensors", "<!doctype html><title>Sign in</title>");
    bench.write("empty/readme.txt", "");
    for (path, code, words) in [
        ("page.safetensors", 66, "a web page"),
        ("empty", 66, "no readable model_index.json"),
        ("none", 66, "no such file"),
    ] {
        bench
            .run(&["models", "add", "x", path])
            .exits(code)
            .says(&[words]);
    }
    let micro = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/micro/sdxl");
    bench
        .run(&["models", "add", "a b", micro])
        .exits(2)
        .says(&["cannot be the name"]);
    bench
        .run(&["models", "add", "x", micro, "--route", "video_fast"])
        .exits(78)
        .says(&["family sdxl, this type needs wan"]);
    bench.write("broken.toml", "[models");
    bench
        .run(&["models", "add", "x", micro, "--models", "broken.toml"])
        .exits(78);
    assert_eq!(bench.bytes("models.toml"), before);
}

#[test]
fn every_command_has_its_page_with_every_flag() {
    let all = pages();
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    for wanted in [
        "ourvidz",
        "ourvidz-generate",
        "ourvidz-queue-add",
        "ourvidz-models-add",
        "ourvidz-config-show",
    ] {
        assert!(names.contains(&wanted), "{names:?}");
    }
    assert!(
        !names
            .iter()
            .any(|name| name.contains("worker") || name.contains("help")),
        "{names:?}"
    );
    let (_, page) = all.iter().find(|(name, _)| name == "ourvidz-generate").unwrap();
    for flag in ["cfg\\-scale", "first\\-frame", "preview", "quiet"] {
        assert!(page.contains(flag), "no {flag} in {page}");
    }
    assert!(page.starts_with(".ie") && page.contains(".TH"), "{page}");
    let bench = Bench::new();
    assert_eq!(bench.run(&["man", "generate"]).exits(0).stdout, *page);
    bench
        .run(&["man", "generat"])
        .exits(2)
        .says(&["did you mean `ourvidz generate`?"]);
    let written = bench.run(&["man", "--all", "man1"]).exits(0);
    assert_eq!(written.stdout.lines().count(), all.len());
    assert_eq!(bench.bytes("man1/ourvidz-generate.1"), page.as_bytes());
}

/// What the program offers a shell for the last of these words.
fn offered(bench: &Bench, words: &[&str]) -> Vec<String> {
    let mut args = vec!["--", "ourvidz"];
    args.extend(words);
    let output = bench.command(&args).env("COMPLETE", "fish").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let value = |line: &str| line.split('\t').next().unwrap_or_default().to_string();
    text.lines().map(value).collect()
}

#[test]
fn a_shell_is_offered_what_there_is() {
    let bench = Bench::new();
    let models = offered(&bench, &["generate", "--model", "m"]);
    assert!(
        models.contains(&"mock".into()) && models.contains(&"micro-sdxl".into()),
        "{models:?}"
    );
    let types = offered(&bench, &["generate", "--type", "video"]);
    assert!(
        types.contains(&"video_fast".into()) && !types.contains(&"image_fast".into()),
        "{types:?}"
    );
    assert_eq!(
        offered(&bench, &["generate", "--scheduler", "dpmpp-3m-s"]),
        ["dpmpp-3m-sde"]
    );
    assert_eq!(offered(&bench, &["generate", "--schedule", "kar"]), ["karras"]);
    bench.write("models.toml", "nonsense");
    assert!(offered(&bench, &["generate", "--model", "mo"]).contains(&"models.toml".into()));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = bench.run(&["completions", shell, "--dynamic"]).exits(0);
        assert!(ran.stdout.contains("COMPLETE"), "{shell}: {ran:?}");
    }
}

#[test]
fn names_hold_the_prompt_and_the_day() {
    let bench = Bench::new();
    let ran = bench
        .run(&[
            "generate",
            "../a red, circle",
            "-s",
            "4",
            "-o",
            "{date}/{prompt}-{seed}.png",
        ])
        .exits(0);
    let path = ran.stdout.trim_end();
    let (day, name) = path.split_once('/').unwrap();
    assert_eq!(name, "a-red-circle-4.png");
    assert!(
        day.len() == 10 && day.starts_with("20") && day.matches('-').count() == 2,
        "{day}"
    );
    assert!(
        bench.files().contains(&format!("{day}/callback.json")),
        "{:?}",
        bench.files()
    );
    let long = "a ".repeat(400);
    bench.run(&["generate", &long, "-o", "{prompt}.png"]).exits(0);
    bench
        .run(&["generate", "x", "-o", "{promt}.png"])
        .exits(2)
        .says(&["{prompt} and {date}"]);
}

#[test]
fn a_sheet_shows_all_pictures_of_the_run_and_replaces_no_other_file() {
    let bench = Bench::new();
    let args = [
        "generate",
        "x",
        "-b",
        "5",
        "-s",
        "1",
        "-o",
        "out/",
        "--sheet",
        "sheet.png",
    ];
    bench.run(&args).exits(0).says(&["sheet of 5 pictures"]);
    let sheet = image::open(bench.path("sheet.png")).unwrap();
    assert!(
        sheet.width() > 3 * 64 && sheet.height() > 2 * 64,
        "{}x{}",
        sheet.width(),
        sheet.height()
    );
    bench.run(&args).exits(0);
    bench.write("note.png", "not a sheet");
    bench
        .run(&["generate", "x", "-o", "a.png", "--sheet", "note.png"])
        .exits(73)
        .says(&["is kept"]);
    assert!(!bench.files().contains(&"a.png".into()), "found before any work");
    bench
        .run(&["generate", "x", "--sheet", "sheet.jpg"])
        .exits(2)
        .says(&[".png"]);
    bench
        .run(&["generate", "x", "-o", "b.png", "--preview"])
        .exits(0)
        .says(&["stderr is no terminal"]);
}

const PARAMETERS: &str = "a blue star\nNegative prompt: blurry\nSteps: 7, Sampler: Euler a, CFG scale: 5, Seed: 11, \
Size: 64x64, Model: other, RNG: CPU, Zebra: 3";

#[test]
fn parameters_of_another_program_are_offered_as_a_spec_and_run_by_from() {
    let bench = Bench::new();
    bench.write("theirs.txt", PARAMETERS);
    bench.run(&["generate", "theirs.txt"]).exits(65).says(&[
        "generation parameters of A1111",
        "--from theirs.txt",
        "guidance_scale",
        "Zebra: 3",
    ]);
    bench
        .run(&["generate", "--from", "theirs.txt", "-o", "ours.png"])
        .exits(0)
        .says(&["the model `other`", "left out: Zebra: 3"]);
    let manifest: Value =
        serde_json::from_str(&bench.run(&["models", "inspect", "ours.png"]).exits(0).stdout).unwrap();
    let spec = &manifest["spec"];
    assert_eq!(
        (&spec["prompt"], &spec["negative_prompt"]),
        (&json!("a blue star"), &json!("blurry"))
    );
    assert_eq!(
        (&spec["config"]["seed"], &spec["config"]["steps"]),
        (&json!(11), &json!(7))
    );
    assert_eq!(spec["config"]["scheduler"], "euler-ancestral");
    // Flags win over it, as over a replay.
    let line = bench
        .run(&[
            "generate",
            "--from",
            "theirs.txt",
            "--steps",
            "9",
            "-m",
            "mock",
            "--dry-run",
            "--json",
        ])
        .exits(0);
    assert_eq!(line.lines()[0]["steps"], 9);
    assert!(!line.stderr.contains("the model `other`"), "{line:?}");
}

#[test]
fn pictures_of_other_programs_are_read_and_a_picture_is_no_spec() {
    let bench = Bench::new();
    let with_text = |key: &str, text: &str| {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 1, 1);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.add_text_chunk(key.into(), text.into()).unwrap();
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(&[0]).unwrap();
        writer.finish().unwrap();
        bytes
    };
    std::fs::write(bench.path("webui.png"), with_text("parameters", PARAMETERS)).unwrap();
    let graph = json!({"1": {"class_type": "KSampler", "inputs": {"seed": 3, "steps": 6, "cfg": 4.5, "sampler_name": "euler",
        "scheduler": "karras", "denoise": 1, "positive": ["2", 0], "latent_image": ["4", 0]}},
        "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a green square"}},
        "4": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}}});
    std::fs::write(bench.path("comfy.png"), with_text("prompt", &graph.to_string())).unwrap();
    std::fs::write(bench.path("plain.png"), with_text("Title", "x")).unwrap();
    for (file, prompt) in [("webui.png", "a blue star"), ("comfy.png", "a green square")] {
        let line = bench
            .run(&["generate", "--from", file, "--dry-run", "--json"])
            .exits(0)
            .lines()
            .remove(0);
        assert_eq!(line["prompt"], prompt);
    }
    bench.run(&["generate", "--from", "plain.png"]).exits(66);
    bench
        .run(&["generate", "webui.png"])
        .exits(65)
        .says(&["is a picture or video, no spec", "--from webui.png"]);
    bench.write("graph.json", &graph.to_string());
    bench
        .run(&["generate", "graph.json"])
        .exits(65)
        .says(&["a ComfyUI graph", "--from graph.json"]);
    bench
        .run_with_stdin(&["generate", "-"], &graph.to_string())
        .exits(65)
        .says(&["--from FILE"]);
}

#[test]
fn a_callback_leads_to_its_job_again() {
    let bench = Bench::new();
    bench.write("a.yaml", "{id: a, prompt: x, config: {seed: 3, steps: 2}}");
    bench.run(&["generate", "a.yaml"]).exits(0);
    let before = bench.bytes("ourvidz-out/a/0.png");
    bench
        .run(&["generate", "--from", "ourvidz-out/a/callback.json", "-o", "b.png"])
        .exits(0);
    let pixels = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().to_rgb8();
    assert_eq!(pixels(&before), pixels(&bench.bytes("b.png")));
    bench.write("other.json", "{\"a\": 1}");
    bench
        .run(&["generate", "--from", "other.json"])
        .exits(66)
        .says(&["without a manifest"]);
}

#[test]
fn more_is_said_to_those_who_ask_and_nothing_to_those_who_do_not_want_it() {
    let bench = Bench::new();
    for command in [
        &["models", "list"][..],
        &["bench", "start", "--iterations", "1", "--warmup", "0"],
        &["enhance", "red circle"],
    ] {
        let verbose = [command, &["-v"]].concat();
        bench
            .run(&verbose)
            .exits(0)
            .says(&["settings: ", "models: models.toml"]);
        let quiet = [&["--quiet"], command].concat();
        let ran = bench.run(&quiet).exits(0);
        assert_eq!(ran.stderr, "", "{command:?}");
    }
}
