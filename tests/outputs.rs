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
    bench.run(&["generate", "x", "-s", "2", "-o", "a.png"]).exits(0);
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
        .exits(73)
        .says(&["job `a`", "kept"]);
    assert_eq!(bench.bytes("ourvidz-out/a/0.png"), before);
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
