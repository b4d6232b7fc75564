use crate::harness::Bench;

#[test]
fn a_template_names_files_by_id_seed_and_index() {
    let bench = Bench::new();
    bench.write("a.yaml", "id: a\nprompt: x\nconfig: {seed: 5, num_images: 3}\n");
    bench
        .run(&["generate", "a.yaml", "-o", "o/{id}/{seed}_{index}.png"])
        .exits(0);
    assert_eq!(
        bench.files(),
        [
            "a.yaml",
            "o/a/5_0.png",
            "o/a/6_1.png",
            "o/a/7_2.png",
            "o/a/callback.json"
        ]
    );
}

#[test]
fn a_named_picture_of_ours_gives_way_and_anything_else_is_kept() {
    let bench = Bench::new();
    bench.run(&["generate", "x", "-s", "1", "-o", "a.png"]).exits(0);
    let before = bench.bytes("a.png");
    assert_eq!(bench.files(), ["a.png"], "nobody asked for a callback");
    let args = [
        "generate",
        "x",
        "-s",
        "2",
        "-o",
        "a.png",
        "--callback",
        "callback.json",
    ];
    bench.run(&args).exits(0);
    assert_ne!(bench.bytes("a.png"), before);
    assert_eq!(bench.json("callback.json")["metadata"]["seed"], 2);

    bench.write("foreign.png", "not ours");
    bench
        .run(&["generate", "x", "-o", "foreign.png"])
        .exits(73)
        .says(&["foreign.png", "--force"]);
    assert_eq!(bench.bytes("foreign.png"), b"not ours");
    bench
        .run(&["generate", "x", "-o", "foreign.png", "--force"])
        .exits(0);
    assert!(bench.bytes("foreign.png").starts_with(b"\x89PNG"));
}

#[test]
fn an_id_run_again_is_fine_when_nothing_changed_and_refused_when_it_did() {
    let bench = Bench::new();
    bench.write("a.yaml", "id: a\nprompt: x\nconfig: {seed: 1}\n");
    bench.run(&["generate", "a.yaml"]).exits(0);
    let before = bench.bytes("ourvidz-out/a/0.png");
    bench.run(&["generate", "a.yaml"]).exits(0);
    bench
        .run(&["generate", "a.yaml", "-s", "2"])
        .exits(65)
        .says(&["job `a`", "kept"]);
    assert_eq!(bench.bytes("ourvidz-out/a/0.png"), before);
    let told = bench.json("ourvidz-out/a/callback.json");
    assert_eq!(
        (&told["status"], &told["metadata"]["seed"]),
        (&"completed".into(), &1.into())
    );
}

/// Everything that a later run may do under the id of a finished job.
#[test]
fn the_callback_of_a_finished_job_is_never_replaced_by_a_refusal() {
    let bench = Bench::new();
    bench.write("a.yaml", "id: a\nprompt: x\n");
    bench.run(&["generate", "a.yaml"]).exits(0);
    let callback = bench.bytes("ourvidz-out/a/callback.json");
    let picture = bench.bytes("ourvidz-out/a/0.png");
    for (spec, flags, code) in [
        // No prompt, a value out of range, a model that does not exist, a prompt that is refused.
        ("id: a\n", &[][..], 65),
        ("id: a\nprompt: x\nsteps: 0\n", &[], 65),
        ("id: a\nprompt: x\nmodel: gone\n", &[], 66),
        ("id: a\nprompt: a nude woman\n", &[], 77),
        // Another spec.
        ("id: a\nprompt: y\n", &[], 65),
        ("id: a\nprompt: x\nuser_id: somebody\n", &[], 65),
        // The same one, stopped on the way.
        ("id: a\nprompt: x\n", &["--time-limit", "1"], 0),
    ] {
        bench.write("again.yaml", spec);
        bench
            .run(&[&["generate", "again.yaml"], flags].concat())
            .exits(code);
        let now = bench.json("ourvidz-out/a/callback.json");
        assert_eq!(now["status"], "completed", "{spec}");
        assert_eq!(bench.bytes("ourvidz-out/a/0.png"), picture, "{spec}");
        if code != 0 {
            assert_eq!(bench.bytes("ourvidz-out/a/callback.json"), callback, "{spec}");
        }
    }
    assert_eq!(
        bench.files(),
        [
            "a.yaml",
            "again.yaml",
            "ourvidz-out/a/0.png",
            "ourvidz-out/a/callback.json"
        ]
    );
}

#[test]
fn a_result_whose_files_are_gone_is_made_again() {
    let bench = Bench::new();
    bench.write("a.yaml", "id: a\nprompt: x\n");
    bench.run(&["generate", "a.yaml"]).exits(0);
    std::fs::remove_file(bench.path("ourvidz-out/a/0.png")).unwrap();
    bench.run(&["generate", "a.yaml", "-s", "2"]).exits(0);
    assert_eq!(bench.json("ourvidz-out/a/callback.json")["metadata"]["seed"], 2);
}

#[test]
fn skip_existing_leaves_out_what_is_done_and_does_the_rest() {
    let bench = Bench::new();
    bench.write("a.yaml", "- {id: a, prompt: x}\n- {id: b, prompt: y}\n");
    let args = ["generate", "a.yaml", "--skip-existing", "--json"];
    bench.run(&args).exits(0);
    let before = bench.bytes("ourvidz-out/a/callback.json");
    std::fs::remove_file(bench.path("ourvidz-out/b/callback.json")).unwrap();
    std::fs::remove_file(bench.path("ourvidz-out/b/0.png")).unwrap();
    let ran = bench.run(&args).exits(0);
    let begun: Vec<_> = ran.lines().into_iter().filter(|l| l["event"] == "job").collect();
    assert_eq!(begun.len(), 1);
    assert_eq!(begun[0]["job_id"], "b");
    assert_eq!(bench.bytes("ourvidz-out/a/callback.json"), before);
    assert!(bench.path("ourvidz-out/b/0.png").exists());
    // A file alone tells as much, also where its seed was drawn.
    bench
        .run(&["generate", "z", "-o", "z.png", "--skip-existing"])
        .exits(0);
    let picture = bench.bytes("z.png");
    let ran = bench
        .run(&["generate", "z", "-o", "z.png", "--skip-existing"])
        .exits(0);
    assert_eq!(
        (ran.stdout.trim(), bench.bytes("z.png")),
        ("z.png", picture.clone())
    );
    bench
        .run(&["generate", "other", "-o", "z.png", "--skip-existing"])
        .exits(0);
    assert_ne!(bench.bytes("z.png"), picture);
}

#[test]
fn two_processes_with_one_output_leave_files_and_callback_of_one_job() {
    let bench = Bench::new();
    for round in 0..4 {
        let start = |seed: &str| {
            bench
                .command(&["generate", "x", "-s", seed, "-o", "a.png", "--callback", "c.json"])
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::null())
                .spawn()
                .unwrap()
        };
        let mut both = [start("1"), start("2")];
        for child in &mut both {
            child.wait().unwrap();
        }
        let callback = bench.json("c.json");
        if callback["status"] == "completed" {
            let digest = ourvidz::files::sha256_hex(&bench.bytes("a.png"));
            assert_eq!(
                callback["metadata"]["outputs"][0]["sha256"],
                digest.as_str(),
                "round {round}"
            );
        } else {
            panic!("round {round}: {callback}");
        }
    }
}

#[test]
fn a_name_that_no_file_can_have_is_found_before_the_work() {
    let bench = Bench::new();
    let long = format!("{}.png", "é".repeat(200));
    let ran = bench
        .run(&["generate", "x", "-o", &long])
        .exits(73)
        .says(&["404 bytes", "longest that fits"]);
    assert!(!ran.stderr.contains("job "), "{ran:?}");
    let fits = ran.stderr.split('`').nth_back(1).unwrap();
    bench.run(&["generate", "x", "-o", fits]).exits(0);
    assert_eq!(bench.files(), [fits]);
}

#[test]
fn what_a_killed_run_left_is_swept_by_the_next() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.path("o/.ourvidz-dead.part")).unwrap();
    bench.write("o/.ourvidz-dead.part/0.png", "half");
    bench.write("o/.ourvidz-file.part", "half");
    bench.run(&["generate", "x", "-o", "o/a.png"]).exits(0);
    assert_eq!(bench.files(), ["o/a.png"]);
}

#[test]
fn another_jobs_callback_is_never_overwritten() {
    let bench = Bench::new();
    bench.write("a.yaml", "id: a\nprompt: x\n");
    bench.write("b.yaml", "id: b\nprompt: y\n");
    bench.run(&["generate", "a.yaml", "-o", "out/"]).exits(0);
    bench.run(&["generate", "b.yaml", "-o", "out/"]).exits(0);
    assert_eq!(bench.json("out/callback.json")["job_id"], "a");
    assert_eq!(bench.json("out/b.callback.json")["job_id"], "b");
}

#[test]
fn jobs_that_share_a_folder_have_a_callback_each() {
    let bench = Bench::new();
    bench.write("a.yaml", "- {id: a, prompt: x}\n- {id: b, prompt: y}\n");
    bench.run(&["generate", "a.yaml", "-o", "out/"]).exits(0);
    assert_eq!(
        bench.files(),
        [
            "a.yaml",
            "out/a-0.png",
            "out/a.callback.json",
            "out/b-0.png",
            "out/b.callback.json"
        ]
    );
}

#[test]
fn two_jobs_never_write_one_file() {
    let bench = Bench::new();
    bench.write("a.yaml", "- {id: a, prompt: x}\n- {id: b, prompt: y}\n");
    for args in [["-o", "x.png"], ["--callback", "c.json"]] {
        bench
            .run(&[&["generate", "a.yaml"], &args[..]].concat())
            .exits(2)
            .says(&["`a` and `b`", "{id}"]);
    }
    assert_eq!(bench.files(), ["a.yaml"]);
}

#[test]
fn impossible_output_names_are_usage_errors() {
    let bench = Bench::new();
    for (output, why) in [
        ("a.jpg", ".png"),
        ("{job}.png", "{id}"),
        ("{id.png", "{id}"),
        ("", "empty"),
    ] {
        bench.run(&["generate", "x", "-o", output]).exits(2).says(&[why]);
    }
    assert!(bench.files().is_empty());
}

#[test]
fn a_place_that_cannot_be_written_is_known_before_the_work() {
    let bench = Bench::new();
    bench.write("file", "");
    let ran = bench
        .run(&["generate", "x", "-o", "file/a.png", "--json"])
        .exits(73)
        .says(&["file", "hint:"]);
    assert!(ran.lines().iter().all(|l| l["event"] != "step"), "{ran:?}");
    assert_eq!(bench.files(), ["file"]);
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_is_cannot_write() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    let folder = bench.path("closed");
    std::fs::create_dir(&folder).unwrap();
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere; there is nothing to refuse then.
    let refused = std::fs::write(folder.join("probe"), "").is_err();
    let ran = bench.run(&["generate", "x", "-o", "closed/a.png"]);
    std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
    ran.exits(if refused { 73 } else { 0 });
}
