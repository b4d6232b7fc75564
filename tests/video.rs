//! `generate` for videos: files, callbacks, refusals.

use serde_json::json;

use crate::harness::Bench;

#[test]
fn a_video_as_separate_frames_is_one_png_a_frame() {
    let bench = Bench::new();
    let ran = bench
        .run(&[
            "generate",
            "--type",
            "video_fast",
            "--frames",
            "5",
            "-s",
            "7",
            "--format",
            "png-frames",
            "-o",
            "out/",
            "x",
        ])
        .exits(0);
    let listed: Vec<&str> = ran.stdout.lines().collect();
    assert_eq!(listed.len(), 5);
    assert!(listed[4].ends_with("-0-00004.png"), "{listed:?}");
    let callback = bench.json("out/callback.json");
    assert_eq!(callback["assets"], json!(listed));
    assert_eq!(callback["metadata"]["frames"], 5);
    assert_eq!(callback["metadata"]["fps"], 16.0);
    assert_eq!(callback["metadata"]["seed"], 7);
    assert_eq!(callback["metadata"]["worker_used"], "wan");
    // Every frame carries the manifest of the whole video.
    let shown = bench.run(&["models", "inspect", listed[4]]).exits(0);
    let manifest: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(manifest["spec"]["config"]["frames"], 5);
    assert_eq!(manifest["outputs"].as_array().unwrap().len(), 1);
}

#[test]
fn pictures_of_wan_are_one_png_per_seed() {
    let bench = Bench::new();
    bench
        .run(&[
            "generate",
            "--type",
            "image_fast",
            "-b",
            "3",
            "-s",
            "5",
            "-o",
            "a.png",
            "--callback",
            "callback.json",
            "x",
        ])
        .exits(0);
    assert_eq!(bench.files(), ["a-0.png", "a-1.png", "a-2.png", "callback.json"]);
    assert_eq!(bench.json("callback.json")["metadata"]["seeds"], json!([5, 6, 7]));
}

#[test]
fn a_reference_without_a_model_that_takes_one_names_the_fix() {
    let bench = Bench::new();
    bench
        .run(&[
            "generate",
            "--type",
            "video_fast",
            "--first-frame",
            "a.png",
            "-o",
            "a.mp4",
            "--callback",
            "callback.json",
            "x",
        ])
        .exits(65)
        .says(&["config.first_frame", "VACE", "models.toml"]);
    assert_eq!(bench.files(), ["callback.json"]);
    assert_eq!(bench.json("callback.json")["status"], "failed");
}

#[test]
fn the_documented_83_frames_are_noted_in_the_callback() {
    let bench = Bench::new();
    bench
        .run(&[
            "generate",
            "--type",
            "wan_video_fast",
            "--frames",
            "83",
            "--format",
            "png-frames",
            "-o",
            "f/",
            "x",
        ])
        .exits(0)
        .says(&["83", "81"]);
    let callback = bench.json("f/callback.json");
    assert_eq!(callback["metadata"]["job_type"], "wan_video_fast");
    assert_eq!(callback["metadata"]["frames"], 81);
    assert!(callback["metadata"]["notes"][0].as_str().unwrap().contains("83"));
    assert_eq!(callback["assets"].as_array().unwrap().len(), 81);
}

#[test]
fn an_output_that_does_not_end_as_the_job_writes_is_a_usage_error() {
    let bench = Bench::new();
    bench
        .run(&["generate", "--type", "video_fast", "-o", "a.png", "x"])
        .exits(2)
        .says(&[".mp4", "video_fast"]);
}

#[test]
fn a_dry_run_tells_frames_length_and_mode() {
    let bench = Bench::new();
    let ran = bench
        .run(&[
            "generate",
            "--type",
            "video_high",
            "--frames",
            "81",
            "--dry-run",
            "--json",
            "x",
        ])
        .exits(0);
    let record = &ran.lines()[0];
    assert_eq!((&record["frames"], &record["steps"]), (&json!(81), &json!(50)));
    assert_eq!(record["duration_seconds"], 5.0625);
    assert_eq!(record["reference_mode"], "none");
}

#[test]
fn a_job_over_its_time_limit_leaves_only_a_failed_callback() {
    let bench = Bench::new();
    std::fs::remove_file(bench.path("models.toml")).unwrap();
    bench
        .run(&[
            "generate",
            "--type",
            "video_high",
            "--time-limit",
            "1",
            "--steps",
            "150",
            "-o",
            "v/",
            "a red circle moving right",
        ])
        .exits(1)
        .says(&["time limit of 1 s"]);
    assert_eq!(
        bench
            .files()
            .iter()
            .filter(|f| f.starts_with("v/"))
            .collect::<Vec<_>>(),
        ["v/callback.json"]
    );
    assert_eq!(
        bench.json("v/callback.json")["metadata"]["error"]["code"],
        "timed_out"
    );
}

#[test]
fn a_video_is_one_file_whose_callback_tells_what_the_file_holds() {
    for (name, mime, codec_frames) in [
        ("a.mp4", "video/mp4", 5),
        ("a.webm", "video/webm", 5),
        ("a.gif", "image/gif", 5),
    ] {
        let bench = Bench::new();
        bench
            .run(&[
                "generate",
                "--type",
                "video_fast",
                "--frames",
                "5",
                "--fps",
                "8",
                "--callback-format",
                "workspace",
                "-o",
                name,
                "x",
            ])
            .exits(0);
        let asset = &bench.json("callback.json")["results"]["assets"][0];
        assert_eq!(
            (&asset["mimeType"], &asset["tempStoragePath"]),
            (&json!(mime), &json!(name))
        );
        let metadata = bench.json("callback.json")["metadata"].clone();
        assert_eq!(metadata["frames"], codec_frames, "{name}");
        let seconds = asset["durationSeconds"].as_f64().unwrap();
        assert!((seconds - 0.625).abs() < 0.011, "{name}: {seconds}");
        // The manifest inside is the callback's, and leads back to the job.
        let shown = bench.run(&["models", "inspect", name]).exits(0);
        let manifest: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!(manifest["outputs"], metadata["manifest"]["outputs"], "{name}");
        let again = format!("b{}", &name[1..]);
        bench
            .run(&["generate", "--from", name, "-o", &again, "--callback", "b.json"])
            .exits(0);
        let replayed = bench.json("b.json")["metadata"]["manifest"]["outputs"].clone();
        assert_eq!(replayed, manifest["outputs"], "{name}");
    }
}

#[test]
fn a_video_over_its_limit_or_in_an_unwritable_place_leaves_nothing() {
    let bench = Bench::new();
    std::fs::write(bench.path("file"), b"").unwrap();
    bench
        .run(&[
            "generate",
            "--type",
            "video_fast",
            "--frames",
            "5",
            "-o",
            "file/a.mp4",
            "x",
        ])
        .exits(73);
    assert_eq!(bench.files(), ["file"]);
}
