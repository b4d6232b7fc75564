use serde_json::{Value, json};

use crate::harness::Bench;

#[test]
fn a_prompt_becomes_a_picture_whose_path_is_all_of_stdout() {
    let bench = Bench::new();
    let ran = bench.run(&["generate", "a red circle"]).exits(0);
    let path = ran.stdout.trim_end();
    assert_eq!(ran.stdout.lines().count(), 1);
    assert!(
        path.starts_with("ourvidz-out/") && path.ends_with("/0.png"),
        "{path}"
    );
    assert!(bench.bytes(path).starts_with(b"\x89PNG"));
    let callback = bench.json(&path.replace("0.png", "callback.json"));
    assert_eq!(callback["status"], "completed");
    assert_eq!(callback["assets"], json!([path]));
}

#[test]
fn a_prompt_may_come_as_a_flag_or_through_stdin() {
    let bench = Bench::new();
    bench
        .run(&["generate", "-p", "a star", "-s", "3", "-o", "a.png"])
        .exits(0);
    bench
        .run_with_stdin(&["generate", "-p", "-", "-s", "3", "-o", "b.png"], "a star\n")
        .exits(0);
    assert_eq!(bench.bytes("a.png"), bench.bytes("b.png"));
}

#[test]
fn a_spec_with_aliases_comes_through_stdin() {
    let bench = Bench::new();
    let spec = r#"{"jobId": "j1", "jobType": "sdxl_image_high", "userId": "u1", "prompt": "a ring",
        "metadata": {"num_images": 3, "session_id": "s1"},
        "config": {"seed": 5, "num_inference_steps": 4, "guidance_scale": 2}}"#;
    bench
        .run_with_stdin(&["generate", "-", "-o", "out/"], spec)
        .exits(0);
    assert_eq!(
        bench.files(),
        [
            "out/callback.json",
            "out/j1-0.png",
            "out/j1-1.png",
            "out/j1-2.png"
        ]
    );
    let metadata = &bench.json("out/callback.json")["metadata"];
    assert_eq!(metadata["seeds"], json!([5, 6, 7]));
    assert_eq!(metadata["steps"], 4);
    assert_eq!(metadata["job_type"], "sdxl_image_high");
    assert_eq!(metadata["session_id"], "s1");
    assert_eq!(metadata["worker_used"], "sdxl");
    assert_eq!(metadata["num_images"], 3);
}

#[test]
fn flags_win_over_the_specs_they_stand_beside() {
    let bench = Bench::new();
    bench.write("a.yaml", "id: a\nprompt: a ring\nconfig: {seed: 5, steps: 4}\n");
    bench
        .run(&[
            "generate",
            "a.yaml",
            "--steps",
            "9",
            "-o",
            "a.png",
            "--callback",
            "callback.json",
        ])
        .exits(0);
    let metadata = &bench.json("callback.json")["metadata"];
    assert_eq!((&metadata["steps"], &metadata["seed"]), (&json!(9), &json!(5)));
}

#[test]
fn machine_mode_prints_one_object_a_line_and_the_result_last() {
    let bench = Bench::new();
    let ran = bench
        .run(&[
            "generate",
            "a ring",
            "--json",
            "--steps",
            "3",
            "-o",
            "a.png",
            "--callback",
            "callback.json",
        ])
        .exits(0);
    let lines = ran.lines();
    let steps: Vec<&Value> = lines.iter().filter(|l| l["event"] == "step").collect();
    assert_eq!(steps.len(), 3);
    assert_eq!((&steps[2]["done"], &steps[2]["total"]), (&json!(3), &json!(3)));
    let result = lines.last().unwrap();
    assert_eq!(result["event"], "result");
    assert_eq!(result["assets"], json!(["a.png"]));
    assert_eq!(result["metadata"], bench.json("callback.json")["metadata"]);
}

#[test]
fn quiet_says_nothing_but_errors() {
    let bench = Bench::new();
    let ran = bench
        .run(&["generate", "a ring", "--quiet", "-o", "a.png"])
        .exits(0);
    assert_eq!(ran.stderr, "");
    let ran = bench.run(&["generate", "a.yaml", "--quiet"]).exits(66);
    assert!(ran.stderr.starts_with("error: "), "{ran:?}");
}

#[test]
fn the_workspace_callback_has_its_own_shape() {
    let bench = Bench::new();
    bench.write("a.yaml", "id: a\nuser_id: u\nprompt: a ring\n");
    bench
        .run(&[
            "generate",
            "a.yaml",
            "-o",
            "a.png",
            "--callback-format",
            "workspace",
            "--callback",
            "c/{id}.json",
        ])
        .exits(0);
    let body = bench.json("c/a.json");
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        ["jobId", "userId", "status", "results", "errorMessage", "metadata"]
    );
    assert_eq!((&body["jobId"], &body["userId"]), (&json!("a"), &json!("u")));
    let asset = &body["results"]["assets"][0];
    assert_eq!(asset["mimeType"], "image/png");
    assert_eq!(asset["fileSizeBytes"], bench.bytes("a.png").len());
    assert_eq!(bench.files(), ["a.png", "a.yaml", "c/a.json"]);
}

#[test]
fn the_callback_digest_is_that_of_the_file() {
    let bench = Bench::new();
    bench
        .run(&["generate", "a ring", "-o", "a.png", "--callback", "callback.json"])
        .exits(0);
    let outputs = &bench.json("callback.json")["metadata"]["outputs"][0];
    let digest = ourvidz::files::sha256_hex(&bench.bytes("a.png"));
    assert_eq!(outputs["sha256"], digest);
}

#[test]
fn the_same_job_gives_the_same_bytes_under_any_drawn_id() {
    let bench = Bench::new();
    for name in ["a.png", "b.png"] {
        bench.run(&["generate", "a ring", "-s", "1", "-o", name]).exits(0);
    }
    assert_eq!(bench.bytes("a.png"), bench.bytes("b.png"));
    bench
        .run(&["generate", "a ring", "-s", "2", "-o", "c.png"])
        .exits(0);
    assert_ne!(bench.bytes("a.png"), bench.bytes("c.png"));
}

#[test]
fn a_picture_replays_into_an_identical_one_and_flags_change_the_replay() {
    let bench = Bench::new();
    let args = [
        "generate", "a ring", "-b", "3", "-n", "", "--steps", "4", "-W", "72", "-o", "a.png",
    ];
    bench.run(&args).exits(0);
    bench
        .run(&["generate", "--from", "a-1.png", "-o", "b.png"])
        .exits(0);
    for i in 0..3 {
        assert_eq!(
            bench.bytes(&format!("a-{i}.png")),
            bench.bytes(&format!("b-{i}.png"))
        );
    }
    bench
        .run(&[
            "generate",
            "--from",
            "a-1.png",
            "-b",
            "1",
            "-W",
            "64",
            "-o",
            "c.png",
            "--callback",
            "c.json",
        ])
        .exits(0);
    let metadata = &bench.json("c.json")["metadata"];
    assert_eq!((&metadata["width"], &metadata["steps"]), (&json!(64), &json!(4)));
    assert_eq!(metadata["manifest"]["spec"]["negative_prompt"], "");
}

#[test]
fn a_dry_run_shows_every_value_and_touches_nothing() {
    let bench = Bench::new();
    let args = [
        "generate",
        "a red ring",
        "-s",
        "9",
        "--scheduler",
        "heun",
        "--dry-run",
    ];
    let ran = bench.run(&args).exits(0);
    assert!(ran.stdout.contains("ourvidz-out/"), "{ran:?}");
    let ran = bench.run(&[&args[..], &["--json"]].concat()).exits(0);
    let line = &ran.lines()[0];
    assert_eq!(line["seeds"], json!([9]));
    assert_eq!(
        (&line["steps"], &line["effective_steps"]),
        (&json!(15), &json!(29))
    );
    assert_eq!(line["tokens_per_chunk"], json!([3]));
    assert_eq!((&line["width"], &line["model"]), (&json!(64), &json!("mock")));
    assert!(bench.files().is_empty(), "{:?}", bench.files());
}

#[test]
fn a_callback_address_that_is_not_allowed_is_told_to_be_ignored() {
    let bench = Bench::new();
    bench.write(
        "a.yaml",
        "id: a\nprompt: a ring\ncallback_url: https://example.org/c4n4ry\n",
    );
    let ran = bench
        .run(&["generate", "a.yaml", "-o", "a.png", "--callback", "callback.json"])
        .exits(0)
        .says(&["callback_url is ignored"]);
    assert!(!ran.stderr.contains("c4n4ry"));
    assert!(
        bench.json("callback.json")["metadata"]["notes"][0]
            .as_str()
            .unwrap()
            .contains("callback_url")
    );
}

#[test]
fn jobs_of_one_file_run_in_order_and_load_their_model_once() {
    let bench = Bench::new();
    bench.write(
        "a.yaml",
        "- {id: a, prompt: x}\n- {id: b, prompt: y}\n- {id: c, prompt: z, model: other-mock}\n",
    );
    let ran = bench.run(&["generate", "a.yaml", "--json"]).exits(0);
    let lines = ran.lines();
    let ids: Vec<&Value> = lines
        .iter()
        .filter(|l| l["event"] == "result")
        .map(|l| &l["job_id"])
        .collect();
    assert_eq!(ids, ["a", "b", "c"]);
    let loads = lines.iter().filter(|l| l["stage"] == "load").count();
    assert_eq!(loads, 2);
}

#[test]
fn a_golden_test_passes_on_the_picture_itself_and_fails_on_another() {
    let bench = Bench::new();
    bench
        .run(&["generate", "a ring", "-s", "1", "-o", "specs/golden/a.png"])
        .exits(0);
    let spec = "id: a\nprompt: a ring\nconfig: {seed: 1}\nexpect: {image: golden/a.png, min_psnr: 60}\n";
    bench.write("specs/a.yaml", spec);
    bench.run(&["generate", "specs/a.yaml"]).exits(0);
    bench.write(
        "specs/a.yaml",
        &spec.replace("seed: 1", "seed: 2").replace("id: a", "id: b"),
    );
    bench.run(&["generate", "specs/a.yaml"]).exits(1).says(&[
        "job `b`",
        "dB",
        "ourvidz-out/b/0.difference.png",
    ]);
    assert!(!bench.path("ourvidz-out/b/0.png").exists());
    let callback = bench.json("ourvidz-out/b/callback.json");
    assert_eq!(callback["metadata"]["error"]["code"], "golden_mismatch");
    assert!(
        bench
            .bytes("ourvidz-out/b/0.difference.png")
            .starts_with(b"\x89PNG")
    );
}
