use crate::harness::Bench;

const ONCE: [&str; 4] = ["--warmup", "0", "--iterations", "1"];

fn with<'a>(words: &[&'a str]) -> Vec<&'a str> {
    ["bench"]
        .into_iter()
        .chain(words.iter().copied())
        .chain(ONCE)
        .collect()
}

#[test]
fn stages_of_a_picture_are_measured_saved_and_compared() {
    let bench = Bench::new();
    let args = with(&[
        "start",
        "load",
        "micro-sdxl",
        "--size",
        "64x64",
        "--steps",
        "1,2",
        "--save",
        "a.json",
        "--json",
    ]);
    let ran = bench.run(&args).exits(0);
    let report = &ran.lines()[0];
    assert_eq!(*report, bench.json("a.json"));
    let names: Vec<&str> = report["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "start",
            "load micro-sdxl",
            "micro-sdxl 64x64 batch 1 steps 1",
            "micro-sdxl 64x64 batch 1 steps 2"
        ]
    );
    let stages = report["cases"][3]["stages"].as_array().unwrap();
    let denoise = stages
        .iter()
        .find(|s| s["stage"] == "denoise")
        .expect("a denoise stage");
    assert_eq!(denoise["unit"], serde_json::json!(["it", 2.0]));
    assert!(denoise["core_seconds"][0].as_f64().unwrap() > 0.0);
    assert!(report["limits"]["flop_per_second"].as_f64().unwrap() > 0.0);
    // Against itself nothing differs; against a report that claims less time everything is slower.
    let start = with(&["start", "--compare", "a.json", "--threshold", "1000%"]);
    assert!(bench.run(&start).exits(0).stdout.contains("new / old"));
    let mut fast = bench.json("a.json");
    fast["cases"][0]["stages"][0]["seconds"] = serde_json::json!([1e-9]);
    bench.write("fast.json", &fast.to_string());
    bench.run(&with(&["start", "--compare", "fast.json"])).exits(1);
}

#[test]
fn a_language_model_is_timed_by_tokens() {
    let bench = Bench::new();
    let ran = bench.run(&with(&["micro-qwen", "--markdown"])).exits(0);
    assert!(
        ran.stdout.contains("| micro-qwen | prefill |") && ran.stdout.contains("tokens/s"),
        "{ran:?}"
    );
}

#[test]
fn mistakes_are_named_before_anything_is_measured() {
    let bench = Bench::new();
    bench
        .run(&["bench", "--synthetic", "sd15"])
        .exits(2)
        .says(&["sd15", "qwen-7b"]);
    bench
        .run(&["bench", "start", "--compare", "models.toml"])
        .exits(66)
        .says(&["models.toml", "--save"]);
    bench
        .run(&["bench", "nothing-such"])
        .exits(66)
        .says(&["nothing-such"]);
    bench
        .run(&["bench", "start", "--size", "big"])
        .exits(2)
        .says(&["1024x1024"]);
    let starts = with(&["start", "--save", "s.json"]);
    bench.run(&starts).exits(0);
    bench
        .run(&with(&["enhance", "--compare", "s.json"]))
        .exits(2)
        .says(&["no stage in common"]);
}
