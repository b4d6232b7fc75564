//! The command against diffusers: what comes out of the binary, from files on disk to files on disk.

use std::path::Path;

use ourvidz::media::frames::Frame;
use ourvidz::media::load::{load_reference, read_reference};

use crate::harness::Bench;
use crate::parity_models::data;
use crate::parity_wan::{psnr_to_reference, reference, vace_folder};

fn picture(path: &std::path::Path) -> anyhow::Result<Frame> {
    load_reference("picture", &read_reference("picture", path)?)
}

/// The frames in a folder of numbered pictures, in order.
fn frames(bench: &Bench, folder: &str) -> Vec<Frame> {
    let names = bench.files();
    let pictures = names
        .iter()
        .filter(|n| n.starts_with(folder) && n.ends_with(".png"));
    pictures.map(|name| picture(&bench.path(name)).unwrap()).collect()
}

fn generate(bench: &Bench, model: &Path, more: &[&str]) -> Vec<Frame> {
    let model = model.display().to_string();
    let mut args = vec![
        "generate",
        "a red circle moving right",
        "-m",
        &model,
        "--frames",
        "9",
        "-W",
        "64",
        "-H",
        "96",
        "--steps",
        "5",
        "--cfg-scale",
        "6.5",
        "-s",
        "42",
        "--no-auto-negative",
        "--format",
        "png-frames",
        "-o",
        "out/",
    ];
    args.extend(more);
    bench.run(&args).exits(0);
    frames(bench, "out/")
}

#[test]
fn a_video_through_the_command_equals_diffusers() {
    for (case, more) in [
        ("video", &[][..]),
        ("negative", &["-n", "blurry low quality"]),
        (
            "dpmpp-shift5",
            &["--scheduler", "flow-dpmpp", "--flow-shift", "5"],
        ),
    ] {
        let bench = Bench::new();
        let found = psnr_to_reference(&generate(&bench, &data("wan"), more), &reference(case));
        assert!(found >= 50.0, "{case}: {found:.1} dB");
    }
}

#[test]
fn first_and_last_frame_from_files_equal_diffusers_on_a_vace_model() {
    let folder = vace_folder();
    std::fs::copy(
        data("wan/model_index.json"),
        folder.path().join("model_index.json"),
    )
    .unwrap();
    let first = data("wan/pipeline/first.png").display().to_string();
    let last = data("wan/pipeline/last.png").display().to_string();
    for (case, more, mode) in [
        (
            "both",
            vec!["--first-frame", &first, "--last-frame", &last],
            "both",
        ),
        ("subject", vec!["-i", &last], "single"),
        (
            "first-weak",
            vec!["--first-frame", &first, "--reference-strength", "0.4"],
            "start",
        ),
    ] {
        let bench = Bench::new();
        let found = psnr_to_reference(&generate(&bench, folder.path(), &more), &reference(case));
        assert!(found >= 50.0, "{case}: {found:.1} dB");
        assert_eq!(
            bench.json("out/callback.json")["metadata"]["reference_mode"],
            mode
        );
    }
}

#[test]
fn broken_references_are_named_before_any_work() {
    let folder = vace_folder();
    std::fs::copy(
        data("wan/model_index.json"),
        folder.path().join("model_index.json"),
    )
    .unwrap();
    let model = folder.path().display().to_string();
    let bench = Bench::new();
    bench.write("page.png", "<html>not a picture</html>");
    bench.write("cut.jpg", "no jpeg");
    for (picture, code, words) in [
        ("gone.png", 66, ["config.first_frame", "gone.png"]),
        ("page.png", 66, ["config.first_frame", "HTML"]),
        ("cut.jpg", 66, ["config.first_frame", "cut.jpg"]),
        (
            // A host that nobody has (RFC 6761).
            "https://nowhere.invalid/a.png",
            66,
            ["config.first_frame", "nowhere.invalid"],
        ),
    ] {
        bench
            .run(&[
                "generate",
                "x",
                "-m",
                &model,
                "-W",
                "64",
                "-H",
                "96",
                "--first-frame",
                picture,
                "-o",
                "v.mp4",
            ])
            .exits(code)
            .says(&words);
        assert!(!bench.path("v.mp4").exists());
    }
}

#[test]
fn the_original_release_is_known_by_its_folder() {
    let bench = Bench::new();
    let folder = data("wan-original").display().to_string();
    // Without its tokenizer.json and configurations the tiny copy cannot run; it is known as WAN all the same.
    bench
        .run(&["generate", "x", "-m", &folder, "--dry-run", "--json"])
        .exits(66)
        .says(&["tokenizer.json"]);
}

#[test]
fn pictures_of_a_spec_lie_beside_it_and_those_of_flags_and_replays_here() {
    let folder = vace_folder();
    std::fs::copy(
        data("wan/model_index.json"),
        folder.path().join("model_index.json"),
    )
    .unwrap();
    let bench = Bench::new();
    bench.write("specs/a.yaml", &format!(
        "{{prompt: x, model: '{}', config: {{first_frame: ff.png, frames: 5, width: 64, height: 96, steps: 1, seed: 1}}}}",
        folder.path().display()
    ));
    for place in ["specs/ff.png", "here.png"] {
        std::fs::copy(data("wan/pipeline/first.png"), bench.path(place)).unwrap();
    }
    bench
        .run(&["generate", "specs/a.yaml", "-o", "a.mp4", "--callback", "a.json"])
        .exits(0);
    bench
        .run(&[
            "generate",
            "--from",
            "a.mp4",
            "--trust-paths",
            "-o",
            "b.gif",
            "--callback",
            "b.json",
        ])
        .exits(0);
    bench
        .run(&[
            "generate",
            "specs/a.yaml",
            "--first-frame",
            "here.png",
            "-o",
            "c.mp4",
            "--callback",
            "c.json",
        ])
        .exits(0);
    let digest = |name: &str| bench.json(name)["metadata"]["manifest"]["outputs"].clone();
    assert_eq!(digest("a.json"), digest("b.json"));
    assert_eq!(digest("a.json"), digest("c.json"));
}
