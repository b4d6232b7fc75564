use crate::harness::Bench;

#[test]
fn a_missing_spec_and_a_missing_replay_are_missing_input() {
    let bench = Bench::new();
    bench
        .run(&["generate", "no.yaml"])
        .exits(66)
        .says(&["no.yaml", "hint:"]);
    bench
        .run(&["generate", "--from", "no.png"])
        .exits(66)
        .says(&["no.png"]);
    bench.run(&["generate", "."]).exits(66).says(&["folder"]);
}

#[test]
fn an_unknown_model_is_missing_and_the_nearest_is_named() {
    let bench = Bench::new();
    bench
        .run(&["generate", "x", "-m", "mok"])
        .exits(66)
        .says(&["`mok`", "`mock`"]);
}

#[test]
fn the_help_names_the_commands_that_people_use() {
    let bench = Bench::new();
    let help = bench.run(&["--help"]).exits(0).stdout;
    assert!(help.contains("queue-drain") && !help.contains("worker"), "{help}");
}

#[test]
fn usage_mistakes_exit_2_and_name_the_allowed_values() {
    let bench = Bench::new();
    for (args, text) in [
        (&["generate"][..], "no job"),
        (&["generate", "a", "red"], "quotes"),
        (&["generate", "x", "--steps", "0"], "1 to 150"),
        (&["generate", "x", "-b", "65"], "1 to 64"),
        (&["generate", "x", "--device", "tpu"], "cuda:N"),
        (&["generate", "x", "--sed", "1"], "--seed"),
        (&["generate", "x", "--quiet", "-v"], "--quiet"),
        (&["generat"], "generate"),
    ] {
        bench.run(args).exits(2).says(&[text]);
    }
}

#[test]
fn a_wrong_value_names_job_field_and_range() {
    let bench = Bench::new();
    bench.write("a.yaml", "id: a\nprompt: x\nconfig: {steps: 151}\n");
    bench
        .run(&["generate", "a.yaml"])
        .exits(65)
        .says(&["a.yaml", "steps", "151", "150"]);
    bench
        .run(&["generate", "x", "-W", "1001"])
        .exits(65)
        .says(&["width", "1001", "8"]);
}

#[test]
fn a_refused_prompt_exits_77_and_says_so_in_the_callback() {
    let bench = Bench::new();
    let ran = bench.run(&["generate", "a nude woman", "-o", "out/"]).exits(77);
    assert!(!ran.stderr.contains("nude"), "{ran:?}");
    let callback = bench.json("out/callback.json");
    assert_eq!(callback["status"], "failed");
    assert_eq!(callback["metadata"]["error"]["code"], "refused");
    assert_eq!(callback["metadata"]["error"]["retryable"], false);
}

#[test]
fn every_invalid_job_is_reported_and_none_runs_unless_told_to_keep_going() {
    let bench = Bench::new();
    bench.write("a.yaml", "id: a\nprompt: x\n");
    bench.write("b.yaml", "id: b\nprompt: x\nconfig: {steps: 0}\n");
    bench.write("c.yaml", "id: c\nprompt: [\n");
    let files = ["generate", "a.yaml", "b.yaml", "c.yaml"];
    bench.run(&files).exits(65).says(&["b.yaml", "c.yaml"]);
    assert!(!bench.path("ourvidz-out/a").exists());
    bench
        .run(&[&files[..], &["--keep-going"]].concat())
        .exits(1)
        .says(&["b.yaml", "c.yaml"]);
    assert!(bench.path("ourvidz-out/a/0.png").exists());
}

#[test]
fn ids_clash_when_specs_differ_and_run_once_when_they_do_not() {
    let bench = Bench::new();
    bench.write("a.yaml", "- {id: a, prompt: x}\n- {id: A, prompt: y}\n");
    bench
        .run(&["generate", "a.yaml"])
        .exits(65)
        .says(&["job `A`", "its own id"]);
    bench.write("b.yaml", "- {id: a, prompt: x}\n- {id: a, prompt: x}\n");
    let ran = bench.run(&["generate", "b.yaml"]).exits(0).says(&["twice"]);
    assert_eq!(ran.stdout.lines().count(), 1);
}

#[test]
fn a_missing_golden_picture_is_known_before_the_work() {
    let bench = Bench::new();
    bench.write(
        "a.yaml",
        "id: a\nprompt: x\nexpect: {image: no.png, min_psnr: 40}\n",
    );
    let ran = bench
        .run(&["generate", "a.yaml", "--json"])
        .exits(66)
        .says(&["job `a`", "no.png"]);
    assert!(ran.lines().iter().all(|l| l["event"] != "step"));
}

#[test]
fn prompts_cannot_command_the_terminal() {
    let bench = Bench::new();
    let ran = bench.run(&["generate", "a\u{1b}[31m\nred", "two"]).exits(2);
    assert!(!ran.stderr.contains('\u{1b}'), "{ran:?}");
    assert_eq!(ran.stderr.lines().count(), 1, "{ran:?}");
}

#[test]
fn words_of_other_programs_lead_to_ours_in_flags_and_in_files() {
    let bench = Bench::new();
    for (flag, ours) in [
        ("--batch-size", "--batch-count"),
        ("--sampler-name", "--scheduler"),
        ("--size", "--width PX --height PX"),
    ] {
        bench
            .run(&["generate", "x", flag, "4"])
            .exits(2)
            .says(&[flag, "hint:", ours]);
    }
    for (field, ours) in [
        ("batch_size", "`num_images`"),
        ("n_iter", "`num_images`"),
        ("size", "`width` and `height`"),
    ] {
        bench.write("job.yaml", &format!("prompt: x\nconfig: {{{field}: 4}}\n"));
        bench
            .run(&["generate", "job.yaml"])
            .exits(65)
            .says(&[field, ours]);
    }
}

#[test]
fn the_schema_names_every_alias_with_its_range() {
    let schema = Bench::new().run(&["schema"]).exits(0).stdout;
    let schema: serde_json::Value = serde_json::from_str(&schema).expect("JSON");
    let config = &schema["$defs"]["job"]["properties"]["config"]["properties"];
    assert_eq!(config["steps"]["maximum"], 150);
    assert_eq!(config["sample_steps"], {
        let mut alias = config["steps"].clone();
        alias["description"] = "The same as `steps`".into();
        alias
    });
}
