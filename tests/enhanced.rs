//! Jobs that enhance their prompt before they draw, and the job whose result is a better prompt.

use serde_json::{Value, json};

use crate::harness::Bench;

fn example(name: &str) -> String {
    format!("{}/jobs/{name}.yaml", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_example_picture_holds_both_prompts() {
    let bench = Bench::new();
    bench
        .run(&[
            "generate",
            &example("image-enhanced"),
            "-o",
            "a.png",
            "--callback",
            "callback.json",
        ])
        .exits(0)
        .says(&["micro-wan"]);
    let metadata = &bench.json("callback.json")["metadata"];
    assert_eq!(
        (&metadata["original_prompt"], &metadata["enhancement_source"]),
        (&json!("red circle"), &json!("model"))
    );
    let enhanced = metadata["enhanced_prompt"].as_str().unwrap();
    assert!(
        enhanced.contains("red circle") && enhanced.len() > 20,
        "{enhanced}"
    );
    // The enhancement's own facts do not hide the job's.
    assert_eq!(
        (&metadata["model"], &metadata["enhancement_model"]),
        (&json!("micro-wan"), &json!("micro-qwen"))
    );
    assert_eq!(
        (&metadata["seed"], &metadata["job_type"]),
        (&json!(7), &json!("image7b_fast_enhanced"))
    );
    assert!(metadata["quality_criteria"].is_object() && metadata["enhancement_time"].is_f64());
    assert!(metadata["timings"]["enhance"].is_f64());
    let notes = metadata["notes"].to_string();
    assert!(
        notes.contains("`micro-qwen`") && notes.contains("`micro-wan`"),
        "{notes}"
    );
    let spec = &metadata["manifest"]["spec"];
    assert_eq!(
        (&spec["prompt"], spec["enhanced_prompt"].as_str()),
        (&json!("red circle"), Some(enhanced))
    );
    let shown = bench.run(&["models", "inspect", "a.png"]).exits(0);
    let manifest: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(manifest["spec"], *spec);
}

#[test]
fn the_example_video_is_drawn_from_the_better_prompt() {
    let bench = Bench::new();
    let ran = bench
        .run(&[
            "generate",
            &example("video-enhanced"),
            "-o",
            "out/",
            "--format",
            "png-frames",
        ])
        .exits(0);
    assert_eq!(ran.stdout.lines().count(), 5);
    let metadata = &bench.json("out/callback.json")["metadata"];
    assert_eq!(metadata["enhancement_type"], "cinematic");
    assert!(
        metadata["enhanced_prompt"]
            .as_str()
            .unwrap()
            .contains("moving right")
    );
}

/// The picture types drawn by the mock, enhanced by this model.
fn mocked(enhance: &str) -> Bench {
    let bench = Bench::new();
    let models = String::from_utf8(bench.bytes("models.toml")).unwrap();
    let gone = "[models.gone]\nfamily = \"qwen\"\npath = \"gone\"\n";
    bench.write(
        "models.toml",
        &format!("{gone}{models}\nimage7b_fast_enhanced = \"mock\"\nenhance = \"{enhance}\"\n"),
    );
    bench
}

#[test]
fn a_replay_draws_the_same_picture_and_asks_no_language_model() {
    let bench = mocked("micro-qwen");
    let args = [
        "generate",
        "red circle",
        "--type",
        "image7b_fast_enhanced",
        "-s",
        "3",
    ];
    bench
        .run(&[&args[..], &["-o", "a.png", "--callback", "callback.json"]].concat())
        .exits(0);
    let first = bench.json("callback.json");
    // The same job again, the better prompt not yet known, may take its own place.
    bench
        .run(&[&args[..], &["-o", "out-{seed}.png"]].concat())
        .exits(0);
    bench
        .run(&[&args[..], &["-o", "out-{seed}.png"]].concat())
        .exits(0);
    // Neither the model nor its answers are left.
    let models = String::from_utf8(bench.bytes("models.toml")).unwrap();
    bench.write(
        "models.toml",
        &models.replace("enhance = \"micro-qwen\"", "enhance = \"gone\""),
    );
    bench.run(&["enhance", "--clear-cache"]).exits(0);
    bench
        .run(&[
            "generate",
            "--from",
            "a.png",
            "-o",
            "b.png",
            "--callback",
            "b.json",
        ])
        .exits(0);
    let again = bench.json("b.json");
    assert_eq!(
        again["metadata"]["manifest"]["outputs"],
        first["metadata"]["manifest"]["outputs"]
    );
    assert_eq!(
        again["metadata"]["enhanced_prompt"],
        first["metadata"]["enhanced_prompt"]
    );
    assert_eq!(again["metadata"]["enhancement_source"], "given");
    // Another prompt is not drawn as the old one's better one.
    bench
        .run(&[
            "generate",
            "--from",
            "a.png",
            "-p",
            "blue star",
            "-o",
            "c.png",
            "--callback",
            "c.json",
        ])
        .exits(0);
    let other = &bench.json("c.json")["metadata"];
    assert_eq!(
        (&other["original_prompt"], &other["enhancement_source"]),
        (&json!("blue star"), &json!("rules"))
    );
    assert!(
        other["enhanced_prompt"]
            .as_str()
            .unwrap()
            .starts_with("blue star, ")
    );
    assert!(other["notes"].to_string().contains("gone"), "{other}");
}

#[test]
fn both_prompts_are_judged() {
    let bench = mocked("mock");
    for prompt in ["a nude woman", "rot13: n ahqr jbzna"] {
        let ran = bench
            .run(&[
                "generate",
                prompt,
                "--type",
                "image7b_fast_enhanced",
                "-o",
                "out/",
            ])
            .exits(77)
            .says(&["adult_content"]);
        assert!(!ran.stderr.contains("woman"), "{ran:?}");
        assert!(bench.files().iter().all(|f| !f.ends_with(".png")));
    }
    bench.write(
        "given.yaml",
        "type: image7b_fast_enhanced\nprompt: a castle\nenhanced_prompt: a nude woman\n",
    );
    bench
        .run(&["generate", "given.yaml", "-o", "out/"])
        .exits(77)
        .says(&["adult_content"]);
}

#[test]
fn seeds_of_pictures_do_not_ask_again_unless_they_are_given() {
    let bench = mocked("micro-qwen");
    let cached = |seed: &[&str]| {
        let args = [
            "generate",
            "red circle",
            "--type",
            "image7b_fast_enhanced",
            "-o",
            "a.png",
            "--callback",
            "callback.json",
        ];
        bench.run(&[&args[..], seed].concat()).exits(0);
        bench.json("callback.json")["metadata"]["enhancement_cached"].clone()
    };
    assert_eq!(
        [
            cached(&[]),
            cached(&[]),
            cached(&["-s", "5"]),
            cached(&["-s", "5"])
        ],
        [json!(false), json!(true), json!(false), json!(true)]
    );
}

#[test]
fn chat_enhance_answers_in_the_callback_and_on_stdout() {
    let bench = Bench::new();
    let ran = bench.run(&["generate", &example("chat-enhance")]).exits(0);
    let callback = bench.json("ourvidz-out/chat-enhance/callback.json");
    let metadata = &callback["metadata"];
    assert_eq!(metadata["enhanced_prompt"], ran.stdout.trim_end());
    assert_eq!(metadata["response"], metadata["enhanced_prompt"]);
    assert_eq!(
        (&metadata["original_prompt"], &metadata["enhancement_source"]),
        (&json!("red circle"), &json!("model"))
    );
    assert!(metadata["quality_score"].is_f64() && metadata["tokens_generated"].is_u64());
    assert_eq!(
        (&metadata["worker_used"], &metadata["enhancement_model_embedded"]),
        (&json!("chat"), &json!(true))
    );
    assert!(metadata["notes"].to_string().contains("`micro-qwen`"));
    // The same as the command's, from the same cache.
    let command = bench
        .run(&["enhance", "red circle", "--for", "video_high", "--json"])
        .exits(0);
    assert_eq!(command.lines()[0]["cached"], true);
}

#[test]
fn chat_enhance_takes_older_names_and_falls_back_to_rules() {
    let bench = Bench::new();
    let run = |fields: &str| {
        bench.write("e.yaml", &format!("id: e\ntype: chat_enhance\n{fields}\n"));
        bench.run(&["generate", "e.yaml", "--force"]).exits(0);
        bench.json("ourvidz-out/e/callback.json")["metadata"].clone()
    };
    assert_eq!(
        run("prompt: red circle\nlegacy_names: true")["enhancement_source"],
        "edge_function"
    );
    let models = "[models.gone]\nfamily = \"qwen\"\npath = \"gone\"\n[routes]\nchat_enhance = \"gone\"\n";
    bench.write("models.toml", models);
    let metadata = run("prompt: red circle");
    assert_eq!(metadata["enhancement_source"], "rules");
    assert!(metadata["notes"].to_string().contains("gone"), "{metadata}");
}

#[test]
fn wrong_fields_of_enhancement_name_their_choices() {
    let bench = Bench::new();
    for (fields, texts) in [
        (
            "type: chat_enhance\nprompt: x\nenhance_for: video_hihg",
            &["config.enhance_for is `video_hihg`", "did you mean `video_high`"][..],
        ),
        (
            "type: chat_enhance\nprompt: x\nmetadata: {enhancement_type: epic}",
            &["metadata.enhancement_type is `epic`", "manual, cinematic, custom"],
        ),
        ("type: chat_enhance\nprompt: ' '", &["prompt is empty"]),
        ("type: chat_enhance", &["prompt is missing"]),
        (
            "type: image7b_fast_enhanced\nprompt: x\nenhance_for: video_high",
            &["config.enhance_for does not apply"],
        ),
        (
            "type: image_fast\nprompt: x\nenhanced_prompt: y",
            &["enhanced_prompt does not apply to type `image_fast`"],
        ),
    ] {
        bench.write("e.yaml", &format!("id: e\n{fields}\n"));
        bench.run(&["generate", "e.yaml"]).exits(65).says(texts);
    }
}
