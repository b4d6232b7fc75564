//! Runs that are cut short. A run with `--json` whose stdout nobody reads stands still once the
//! pipe is full, so it can be met half-way without any waiting built into the program.

use std::io::Read;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::harness::Bench;

/// Far more progress lines than a pipe holds.
fn standing(bench: &Bench) -> Child {
    let jobs: String = (0..60)
        .map(|i| format!("- {{id: j{i}, prompt: x, config: {{steps: 150}}}}\n"))
        .collect();
    bench.write("jobs.yaml", &jobs);
    let child = bench
        .command(&["generate", "jobs.yaml", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It stands still when the first callbacks are there and no more come.
    let mut before = 0;
    for _ in 0..200 {
        sleep(Duration::from_millis(300));
        let now = bench.files().len();
        if now == before && now > 3 {
            break;
        }
        before = now;
    }
    child
}

fn send(child: &Child, signal: &str) {
    let sent = std::process::Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    sleep(Duration::from_millis(300));
}

fn stops_with(signal: &str, code: i32) {
    let bench = Bench::new();
    let mut child = standing(&bench);
    send(&child, signal);
    let mut lines = String::new();
    child.stdout.take().unwrap().read_to_string(&mut lines).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(code));
    let last: serde_json::Value = serde_json::from_str(
        lines
            .lines()
            .rfind(|l| l.contains("\"event\":\"result\""))
            .unwrap(),
    )
    .unwrap();
    assert_eq!(last["status"], "failed");
    assert_eq!(last["metadata"]["error"]["code"], "interrupted");
    let id = last["job_id"].as_str().unwrap();
    let callback = bench.json(&format!("ourvidz-out/{id}/callback.json"));
    assert_eq!(callback["metadata"]["error"]["retryable"], true);
    assert!(!bench.path(&format!("ourvidz-out/{id}/0.png")).exists());
    assert!(
        bench.files().iter().all(|f| !f.ends_with(".part")),
        "{:?}",
        bench.files()
    );
    assert!(!bench.path("ourvidz-out/j59").exists());
}

#[test]
fn ctrl_c_stops_between_steps_and_leaves_no_partial_file() {
    stops_with("-INT", 130);
}

#[test]
fn sigterm_stops_between_steps_and_leaves_no_partial_file() {
    stops_with("-TERM", 143);
}

#[test]
fn a_second_signal_ends_the_run_at_once() {
    let bench = Bench::new();
    let mut child = standing(&bench);
    send(&child, "-INT");
    assert!(
        child.try_wait().unwrap().is_none(),
        "still standing, nobody reads"
    );
    send(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_reader_that_leaves_early_costs_no_picture_and_no_panic() {
    let bench = Bench::new();
    for (args, code) in [
        (&["generate", "x", "-o", "a.png"][..], 0),
        (
            &["generate", "x", "-o", "b.png", "--json", "--callback", "b.json"],
            0,
        ),
        (&["enhance", "a red ring"], 0),
        (&["models", "list"], 0),
        (&["completions", "bash"], 0),
        (&["--help"], 0),
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = bench
            .command(args)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = output.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {stderr}");
        assert!(
            !stderr.contains("panic") && !stderr.contains("error"),
            "{args:?}: {stderr}"
        );
    }
    assert!(bench.path("a.png").exists() && bench.path("b.png").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_behind_stdout_is_an_io_error() {
    let bench = Bench::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = bench
        .command(&["generate", "x", "-o", "a.png"])
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(74));
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard output"));
}

/// A file-size limit fails a write half-way, as a full disk does, and needs no disk of its own.
#[test]
fn a_write_that_fails_half_way_is_cannot_write_and_leaves_no_picture() {
    let bench = Bench::new();
    // 8 blocks of 512 bytes: enough for a callback, not for this picture.
    let output = std::process::Command::new("/bin/sh")
        .args([
            "-c",
            "ulimit -f 8; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_ourvidz"),
        ])
        .args([
            "generate",
            "x",
            "-W",
            "512",
            "-H",
            "512",
            "-b",
            "3",
            "-o",
            "out/a.png",
            "--callback",
            "out/callback.json",
        ])
        .current_dir(bench.path(""))
        .env_clear()
        .env("OURVIDZ_CONFIG_DIR", bench.path("config"))
        .env("OURVIDZ_CACHE_DIR", bench.path("cache"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(73), "{stderr}");
    assert!(stderr.contains("no room left"), "{stderr}");
    assert_eq!(bench.files(), ["out/callback.json"]);
    assert_eq!(
        bench.json("out/callback.json")["metadata"]["error"]["code"],
        "cannot_write"
    );
}
