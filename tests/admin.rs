//! `admin_utilities`: what this installation has and holds, and `doctor`'s same numbers.

use serde_json::{Value, json};

use crate::harness::Bench;

fn report(bench: &Bench) -> Value {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/jobs/admin.yaml");
    let ran = bench.run(&["generate", example, "--device", "cpu"]).exits(0);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let metadata = &bench.json("ourvidz-out/admin/callback.json")["metadata"];
    for key in ["memory", "models", "routes", "enhancement_cache", "queues"] {
        assert_eq!(printed[key], metadata[key], "{key}");
    }
    printed
}

#[test]
fn the_example_reports_models_routes_cache_and_queues() {
    let bench = Bench::new();
    bench.run(&["enhance", "red circle"]).exits(0);
    bench.run(&["enhance", "red circle"]).exits(0);
    let report = report(&bench);
    assert_eq!(report["routes"]["enhance"], "micro-qwen");
    assert_eq!(report["routes"]["sdxl_image_fast"], "mock");
    let models = report["models"].as_array().unwrap();
    let micro = models.iter().find(|m| m["name"] == "micro-qwen").unwrap();
    assert_eq!(
        (&micro["family"], &micro["embedded"], &micro["present"]),
        (&json!("qwen"), &json!(true), &json!(true))
    );
    let cache = &report["enhancement_cache"];
    assert_eq!((&cache["entries"], &cache["hits"]), (&json!(1), &json!(1)));
    assert_eq!(report["queues"]["configured"], false);
}

#[cfg(target_os = "linux")]
#[test]
fn memory_is_told_with_what_fits_and_doctor_says_the_same() {
    let bench = Bench::new();
    let report = report(&bench);
    let memory = &report["memory"];
    let number = |key: &str| memory[key].as_u64().unwrap();
    assert!(number("available_bytes") <= number("total_bytes"));
    assert_eq!(number("buffer_bytes"), (2 << 30).min(number("total_bytes") / 20));
    assert!(["low", "medium", "high", "critical"].contains(&memory["pressure"].as_str().unwrap()));
    let models = memory["models"].as_array().unwrap();
    let micro = models.iter().find(|m| m["name"] == "micro-qwen").unwrap();
    assert_eq!(
        (&micro["loaded"], &micro["fits_alone"]),
        (&json!(false), &json!(true))
    );
    let weights = micro["weights_bytes"].as_u64().unwrap();
    assert!((2_000_000..3_000_000).contains(&weights), "{micro}");

    let ran = bench.run(&["doctor", "--json", "--device", "cpu"]).exits(0);
    let doctor = &ran.lines()[0];
    let facts = &doctor["memory"]["facts"];
    for key in ["total_bytes", "buffer_bytes"] {
        assert_eq!(facts[key], memory[key]);
    }
    let names = |of: &Value| {
        let models = of["models"].as_array().unwrap().clone();
        models
            .iter()
            .map(|m| (m["name"].clone(), m["weights_bytes"].clone()))
            .collect::<Vec<_>>()
    };
    assert_eq!(names(facts), names(memory));
    assert_eq!(doctor["enhancement cache"]["facts"], report["enhancement_cache"]);
}

#[test]
fn a_model_that_a_run_has_loaded_is_reported_as_loaded() {
    let bench = Bench::new();
    bench.write(
        "both.yaml",
        "- {id: a, type: chat_conversation, prompt: Hello}\n- {id: b, type: admin_utilities}\n",
    );
    bench.run(&["generate", "both.yaml", "--device", "cpu"]).exits(0);
    let memory = &bench.json("ourvidz-out/b/callback.json")["metadata"]["memory"];
    // A system that does not tell its memory has a problem to report instead.
    if let Some(models) = memory["models"].as_array() {
        let micro = models.iter().find(|m| m["name"] == "micro-qwen").unwrap();
        assert_eq!(micro["loaded"], true, "{memory}");
    } else {
        assert!(memory["problem"].is_string(), "{memory}");
    }
}

#[test]
fn options_that_mean_nothing_to_it_are_refused() {
    let bench = Bench::new();
    for (option, name) in [
        ("prompt: x", "prompt"),
        ("seed: 1", "config.seed"),
        ("model: mock", "model"),
        ("steps: 1", "config.steps"),
        ("temperature: 1", "config.temperature"),
    ] {
        bench.write("a.yaml", &format!("id: a\ntype: admin_utilities\n{option}\n"));
        bench.run(&["generate", "a.yaml"]).exits(65).says(&[
            "job `a`",
            name,
            "does not apply to type `admin_utilities`",
        ]);
    }
}
