//! `--from` tells what differs from what it replays; `--strict` makes it an error.

use serde_json::json;

use crate::harness::Bench;
use crate::parity_models::data;
use crate::strangers::forged;

fn replay<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["generate", "--from", "a.png", "-o", "b.png", "--force"], more].concat()
}

#[test]
fn a_faithful_replay_says_nothing_and_is_strict() {
    let bench = Bench::new();
    bench
        .run(&["generate", "a ring", "-s", "1", "-o", "a.png"])
        .exits(0);
    let ran = bench.run(&replay(&["--strict"])).exits(0);
    assert!(!ran.stderr.contains(" then"), "{ran:?}");
    assert_eq!(bench.bytes("a.png"), bench.bytes("b.png"));
}

#[test]
fn other_weights_are_said_and_strictly_refused_before_any_work() {
    let bench = Bench::new();
    forged(&bench, "a.png", |m| m["model"]["hash"] = json!("00"));
    bench
        .run(&replay(&[]))
        .exits(0)
        .says(&["other weights", "00 then"]);
    std::fs::remove_file(bench.path("b.png")).unwrap();
    bench
        .run(&replay(&["--strict"]))
        .exits(78)
        .says(&["other weights", "--strict"]);
    assert!(!bench.path("b.png").exists());
}

#[test]
fn other_pixels_are_said_and_strictly_an_error() {
    let bench = Bench::new();
    forged(&bench, "a.png", |m| {
        m["outputs"][0]["pixels_sha256"] = json!("00")
    });
    bench.run(&replay(&[])).exits(0).says(&["other pixels"]);
    bench.run(&replay(&["--strict"])).exits(1).says(&["other pixels"]);
    // Flags that ask for something else ask for other pixels.
    let ran = bench.run(&replay(&["--steps", "3", "--strict"])).exits(0);
    assert!(!ran.stderr.contains("other pixels"), "{ran:?}");
}

#[test]
fn another_program_device_and_number_type_are_said_and_no_error() {
    let bench = Bench::new();
    forged(&bench, "a.png", |m| {
        m["build"]["version"] = json!("0.0.1");
        m["device"] = json!("cuda:0");
        m["dtype"] = json!("bf16");
    });
    bench.run(&replay(&["--strict"])).exits(0).says(&[
        "another program",
        "0.0.1",
        "cuda:0 then",
        "bf16 then",
    ]);
}

#[test]
fn a_model_given_by_relative_path_is_found_from_the_file_that_it_made() {
    let bench = Bench::new();
    let folder = bench.path("work/models");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(
        data("sdxl/single-file.safetensors"),
        folder.join("tiny.safetensors"),
    )
    .unwrap();
    let config = data("sdxl").display().to_string();
    let made = bench
        .command(&[
            "generate",
            "a ring",
            "-s",
            "1",
            "--steps",
            "1",
            "-W",
            "64",
            "-H",
            "64",
            "-m",
            "models/tiny.safetensors",
            "--config-from",
            &config,
            "-o",
            "out/deep/a.png",
        ])
        .current_dir(bench.path("work"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let from = "work/out/deep/a.png";
    let args = [
        "generate",
        "--from",
        from,
        "--trust-paths",
        "-o",
        "b.png",
        "--dry-run",
    ];
    let ran = bench.run(&args).exits(0);
    assert!(
        ran.stdout.contains("work/models/tiny.safetensors"),
        "{}",
        ran.stdout
    );
    bench
        .run(&["generate", "--from", from, "-o", "b.png"])
        .exits(65)
        .says(&["--trust-paths"]);
}
