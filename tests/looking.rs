use crate::harness::Bench;

#[test]
fn inspect_prints_the_manifest_and_notices_a_changed_picture() {
    let bench = Bench::new();
    bench
        .run(&[
            "generate",
            "a ring",
            "-s",
            "4",
            "-b",
            "3",
            "-o",
            "a.png",
            "--callback",
            "callback.json",
        ])
        .exits(0);
    let ran = bench
        .run(&["models", "inspect", "a-2.png"])
        .exits(0)
        .says(&["image 2 of 3"]);
    let manifest: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(manifest["seeds"], serde_json::json!([4, 5, 6]));
    assert_eq!(manifest["spec"]["prompt"], "a ring");
    assert_eq!(manifest, bench.json("callback.json")["metadata"]["manifest"]);
}

#[test]
fn inspect_names_what_is_wrong_with_a_file() {
    let bench = Bench::new();
    bench.run(&["generate", "a ring", "-o", "a.png"]).exits(0);
    let whole = bench.bytes("a.png");
    std::fs::write(bench.path("cut.png"), &whole[..whole.len() / 2]).unwrap();
    bench.write("page.png", "<html>");
    bench
        .run(&["models", "inspect", "no.png"])
        .exits(66)
        .says(&["no.png"]);
    bench
        .run(&["models", "inspect", "cut.png"])
        .exits(66)
        .says(&["cut.png", "PNG"]);
    bench
        .run(&["models", "inspect", "page.png"])
        .exits(66)
        .says(&["page.png", "PNG"]);
    let frame = ourvidz::media::frames::Frame::new(2, 2, vec![9; 12]);
    std::fs::write(
        bench.path("bare.png"),
        ourvidz::media::png::encode_plain(&frame).unwrap(),
    )
    .unwrap();
    bench
        .run(&["models", "inspect", "bare.png"])
        .exits(66)
        .says(&["bare.png", "no ourvidz manifest"]);
}

#[test]
fn list_shows_models_and_their_routes() {
    let bench = Bench::new();
    let ran = bench.run(&["models", "list"]).exits(0);
    let row = ran.stdout.lines().find(|l| l.starts_with("mock ")).unwrap();
    assert!(row.contains("sdxl_image_fast, sdxl_image_high"), "{row}");
    let ran = bench.run(&["models", "list", "--json"]).exits(0);
    let all = &ran.lines()[0];
    assert!(all.as_array().unwrap().iter().any(|m| m["name"] == "micro-sdxl"));
}

#[test]
fn verify_knows_the_mock_and_refuses_unknown_names() {
    let bench = Bench::new();
    bench.run(&["models", "verify", "mock"]).exits(0);
    bench
        .run(&["models", "verify", "mok"])
        .exits(66)
        .says(&["`mock`"]);
}

#[test]
fn doctor_reports_machine_and_configuration_as_table_and_json() {
    let bench = Bench::new();
    let ran = bench.run(&["doctor"]).exits(0);
    assert!(
        ran.stdout.contains("processor") && ran.stdout.contains("config.toml"),
        "{ran:?}"
    );
    let ran = bench.run(&["doctor", "--json"]).exits(0);
    let report = &ran.lines()[0];
    assert!(report["processor"]["facts"]["cores"].as_u64().unwrap() >= 1);
    bench.write("config/config.toml", "devise = 1\n");
    let ran = bench.run(&["doctor"]).exits(78);
    assert!(
        ran.stdout.contains("problem") && ran.stdout.contains("devise"),
        "{ran:?}"
    );
}
