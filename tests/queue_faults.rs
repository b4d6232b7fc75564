//! What goes wrong around jobs: workers that die or hang, signals, full disks, broken receivers.

use std::collections::BTreeSet;
use std::process::{Child, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::patience::{ran, until};
use crate::queue_harness::{Answer, Receiver, Shop, children, ids, signal, signal_pid};

fn running(shop: &Shop, id: &str) -> bool {
    let path = shop.bench.path(&format!("q/work/{id}.json"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.contains("\"running\": {")
}

#[test]
fn promise_5_a_job_that_crashes_its_worker_three_times_is_dead_and_the_others_finish() {
    let shop = Shop::with_receiver();
    shop.jobs(0..19);
    shop.job("poison", "mock-crash");
    shop.drain(&[]).exits(1);
    let record = shop.dead("poison");
    assert_eq!(record["error"]["code"], "worker_crashed", "{record}");
    assert_eq!(record["attempts"], 3);
    let crashes = record["history"].as_array().unwrap().iter();
    assert_eq!(crashes.filter(|e| e["event"] == "worker_crashed").count(), 3);
    assert_eq!(shop.names("done").len(), 38, "19 records and their sources");
    let told = &shop.receiver.as_ref().unwrap().outcomes()["poison"];
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].json()["metadata"]["error"]["code"], "worker_crashed");
    assert!(shop.bench.path("q/dead/poison.spec.json").exists());
}

#[test]
fn three_different_jobs_that_crash_in_a_row_end_the_drain() {
    let shop = Shop::new();
    for id in ["a", "b", "c", "d"] {
        shop.job(id, "mock-crash");
    }
    // With one attempt each, the next job follows the last.
    shop.drain(&["--max-attempts", "1"])
        .exits(69)
        .says(&["three different jobs"]);
    assert_eq!(shop.names("dead").len(), 6);
    assert_eq!(shop.names("new").len(), 1, "the fourth was not touched");
}

#[test]
fn a_worker_that_is_never_ready_ends_the_drain_and_costs_no_job() {
    let shop = Shop::new();
    shop.jobs(0..1);
    let mut command = shop.command(&[]);
    command.env("OURVIDZ_KILL_WORKER_AT", "worker:begun:1");
    ran(command).exits(69).says(&["before it was ready"]);
    shop.drain(&[]).exits(0);
    shop.all_is_well(&ids(0..1), 0);
    assert_eq!(shop.done("j0")["attempts"], 1);
}

#[test]
fn a_device_that_is_not_there_is_said_and_costs_no_job() {
    let shop = Shop::new();
    shop.jobs(0..1);
    let ran = shop.drain(&["--device", "cuda:7"]).exits(69);
    assert!(ran.stderr.contains("--device cpu"), "{ran:?}");
    assert_eq!(shop.names("dead").len(), 0);
    shop.drain(&[]).exits(0);
    shop.all_is_well(&ids(0..1), 0);
}

#[test]
fn a_job_over_its_time_is_ended_with_its_worker_and_not_tried_again() {
    let shop = Shop::with_receiver();
    shop.job("slow", "mock-hang");
    shop.job("good", "x");
    shop.drain(&["--job-timeout", "2"]).exits(1);
    let record = shop.dead("slow");
    assert_eq!(
        (&record["error"]["code"], &record["attempts"]),
        (&json!("timed_out"), &json!(1))
    );
    assert_eq!(shop.done("good")["outcome"], "completed");
    assert!(shop.names("tmp").is_empty());
    shop.queue(&["retry", "q", "slow"]).exits(0);
    shop.drain(&["--job-timeout", "1", "--retry-timeouts", "--max-attempts", "2"])
        .exits(1);
    assert_eq!(shop.dead("slow")["attempts"], 2);
}

#[test]
fn a_panic_is_the_jobs_own_failure() {
    let shop = Shop::new();
    shop.job("bug", "mock-panic");
    shop.job("good", "x");
    shop.drain(&[]).exits(70);
    assert_eq!(shop.dead("bug")["error"]["code"], "internal");
    assert_eq!(shop.done("good")["outcome"], "completed");
}

#[test]
fn promises_14_and_15_no_memory_and_broken_output_fail_their_job_alone() {
    let shop = Shop::with_receiver();
    shop.job("large", "mock-oom");
    shop.job("black", "mock-black");
    shop.job("good", "x");
    shop.drain(&[]).exits(1);
    for (id, code) in [("large", "gpu_oom"), ("black", "bad_output")] {
        assert_eq!(shop.dead(id)["error"]["code"], code);
        assert_eq!(shop.dead(id)["assets"], json!([]));
        assert!(!shop.bench.path(&format!("q/assets/_/{id}/0.png")).exists());
        assert_eq!(
            shop.receiver.as_ref().unwrap().outcomes()[id][0].json()["status"],
            "failed"
        );
    }
    assert_eq!(shop.done("good")["outcome"], "completed");
}

#[test]
fn promise_7_no_reader_ever_sees_a_partial_file() {
    let shop = Shop::with_receiver();
    shop.jobs(0..12);
    let mut drain = shop.start(&[]);
    let mut seen = BTreeSet::new();
    while drain.try_wait().unwrap().is_none() {
        for file in shop.bench.files_that_come_and_go() {
            let hidden = file.rsplit('/').next().unwrap().starts_with('.');
            let Ok(bytes) = std::fs::read(shop.bench.path(&file)) else {
                continue;
            };
            if hidden || !file.starts_with("q/") {
                continue;
            }
            if file.ends_with(".json") {
                assert!(
                    serde_json::from_slice::<serde_json::Value>(&bytes).is_ok(),
                    "{file}"
                );
                seen.insert(file);
            } else if file.ends_with(".png") && file.starts_with("q/assets/") {
                assert!(image::load_from_memory(&bytes).is_ok(), "{file}");
                seen.insert(file);
            }
        }
    }
    assert!(seen.len() > 12, "{seen:?}");
    shop.all_is_well(&ids(0..12), 0);
}

/// Starts a drain and waits until it works on a slow job.
fn at_work(shop: &Shop, prompt: &str) -> Child {
    shop.spec(
        "slow",
        &json!({"id": "slow", "prompt": prompt, "config": {"steps": 100}}),
    );
    shop.job("next", "x");
    let drain = shop.start(&[]);
    until("the slow job runs", 30, || running(shop, "slow"));
    drain
}

#[test]
fn promise_6_sigterm_hands_unfinished_work_back_between_two_steps() {
    let shop = Shop::with_receiver();
    let mut drain = at_work(&shop, "mock-step-200");
    sleep(Duration::from_millis(300));
    let begun = Instant::now();
    signal(&drain, "-TERM");
    assert_eq!(shop.ended(&mut drain), Some(143));
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert!(shop.names("work").is_empty() && shop.names("done").is_empty());
    assert_eq!(shop.names("new").len(), 2, "{:?}", shop.names("new"));
    assert!(shop.receiver.as_ref().unwrap().outcomes().is_empty());
    let seeds = shop.bench.json("q/records/slow.json.json")["seeds"].clone();
    shop.queue(&["cancel", "q", "slow"]).exits(0);
    assert_eq!(shop.dead("slow")["seeds"], seeds, "a drawn seed is kept");
    assert_eq!(shop.dead("slow")["attempts"], 0);
}

#[test]
fn promise_6_a_worker_that_does_not_stop_is_ended_in_time() {
    let shop = Shop::new();
    let mut drain = at_work(&shop, "mock-hang");
    let begun = Instant::now();
    signal(&drain, "-TERM");
    assert_eq!(shop.ended(&mut drain), Some(143));
    assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    assert!(shop.bench.path("q/new/slow.json").exists() && shop.names("tmp").is_empty());
}

#[test]
fn promise_6_a_second_signal_ends_at_once_and_the_next_drain_takes_over() {
    let shop = Shop::with_receiver();
    let mut drain = at_work(&shop, "mock-hang");
    let workers = children(drain.id());
    signal(&drain, "-INT");
    sleep(Duration::from_millis(200));
    let begun = Instant::now();
    signal(&drain, "-INT");
    assert_eq!(shop.ended(&mut drain), Some(130));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    until("the worker ends with it", 5, || {
        workers.iter().all(|w| children_gone(*w))
    });
    shop.drain(&["--job-timeout", "1"]).exits(1);
    assert_eq!(shop.dead("slow")["error"]["code"], "timed_out");
    assert_eq!(shop.done("next")["outcome"], "completed");
}

fn children_gone(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.is_empty() || stat.contains(") Z ")
}

#[test]
fn promise_2_eight_drains_of_one_folder_are_one_that_works_and_seven_that_say_so() {
    let shop = Shop::with_receiver();
    let mut first = at_work(&shop, "mock-step-50");
    for _ in 0..7 {
        let begun = Instant::now();
        shop.drain(&[]).exits(75).says(&["another drain"]);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    }
    assert_eq!(shop.ended(&mut first), Some(0));
    shop.receiver
        .as_ref()
        .unwrap()
        .each_told_once(&BTreeSet::from(["slow".to_string(), "next".into()]), 0);
}

#[test]
fn a_running_job_is_cancelled_between_two_steps_and_a_waiting_one_at_once() {
    let shop = Shop::with_receiver();
    let mut drain = at_work(&shop, "mock-step-100");
    shop.queue(&["cancel", "q", "slow", "next"]).exits(0);
    assert_eq!(shop.ended(&mut drain), Some(1));
    for id in ["slow", "next"] {
        assert_eq!(shop.dead(id)["outcome"], "cancelled", "{}", shop.dead(id));
        assert_eq!(shop.dead(id)["error"]["code"], "cancelled");
        let told = &shop.receiver.as_ref().unwrap().outcomes()[id][0].json();
        assert_eq!(
            (&told["status"], &told["metadata"]["error"]["code"]),
            (&json!("failed"), &json!("cancelled"))
        );
    }
    shop.queue(&["cancel", "q", "slow"])
        .exits(66)
        .says(&["is cancelled"]);
    shop.queue(&["cancel", "q", "nobody"])
        .exits(66)
        .says(&["no job `nobody`"]);
}

#[test]
fn a_job_cancelled_without_a_drain_is_dead_and_told_at_once() {
    let shop = Shop::with_receiver();
    shop.job("a", "x");
    let url = shop.receiver.as_ref().unwrap().url.clone();
    let mut cancel = shop.bench.command(&["queue", "cancel", "q", "a"]);
    cancel.env("OURVIDZ_CALLBACK_URL", url);
    assert_eq!(ran(cancel).exits(0).stdout, "a\n");
    assert_eq!(shop.dead("a")["outcome"], "cancelled");
    assert_eq!(shop.receiver.as_ref().unwrap().outcomes()["a"].len(), 1);
    shop.drain(&[]).exits(0);
}

#[test]
fn promise_9_a_receiver_that_fails_is_told_later_the_same_and_nothing_is_rendered_again() {
    let mut shop = Shop::new();
    shop.receiver = Some(Receiver::start(|_| Answer::status(500)));
    shop.jobs(0..3);
    shop.drain(&[]).exits(0).says(&["3 callbacks wait"]);
    let before = shop.receiver.take().unwrap();
    let first = before.outcomes();
    shop.queue(&["deliver", "q"]).exits(75);
    // The address is kept with the callback: the receiver is mended, not moved.
    let status = shop.queue(&["status", "q", "--json"]).exits(0).lines()[0].clone();
    assert_eq!((&status["undelivered"], &status["done"]), (&json!(3), &json!(3)));
    shop.queue(&["deliver", "q", "--now"]).exits(75);
    let again = before.outcomes();
    for (id, told) in first {
        assert_eq!(again[&id].len(), 2, "{id}");
        assert_eq!(told[0].body, again[&id][1].body);
        assert_eq!(told[0].headers["webhook-id"], again[&id][1].headers["webhook-id"]);
    }
}

#[test]
fn a_receiver_that_is_gone_or_redirects_or_is_not_there() {
    for (status, headers, code) in [
        (410, "", 0),
        (302, "location: http://127.0.0.1:1/\r\n", 75),
        (429, "retry-after: 3600\r\n", 75),
    ] {
        let mut shop = Shop::new();
        shop.receiver = Some(Receiver::start(move |_| Answer {
            headers: headers.into(),
            ..Answer::status(status)
        }));
        shop.jobs(0..1);
        shop.drain(&[]).exits(0);
        shop.queue(&["deliver", "q"]).exits(code);
        assert_eq!(shop.done("j0")["outcome"], "completed");
    }
    let shop = Shop::new();
    shop.jobs(0..1);
    shop.drain(&["--callback-url", "http://127.0.0.1:1/x"])
        .exits(0)
        .says(&["1 callbacks wait"]);
}

#[test]
fn a_slow_receiver_does_not_hold_the_next_job_up() {
    let mut shop = Shop::new();
    shop.receiver = Some(Receiver::start(|_| Answer {
        after: Duration::from_secs(3),
        ..Answer::status(200)
    }));
    shop.jobs(0..4);
    let begun = Instant::now();
    shop.drain(&[]).exits(0);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    shop.all_is_well(&ids(0..4), 0);
}

/// A limit on file sizes fails a write like a full disk and needs none.
#[test]
fn promise_8_a_full_disk_keeps_the_job_claims_nothing_and_ends_with_its_code() {
    let shop = Shop::with_receiver();
    shop.spec(
        "big",
        &json!({"id": "big", "prompt": "x", "config": {"steps": 2, "width": 512, "height": 512}}),
    );
    let url = shop.receiver.as_ref().unwrap().url.clone();
    let output = std::process::Command::new("/bin/sh")
        .args([
            "-c",
            "ulimit -f 8; exec \"$0\" \"$@\"",
            env!("CARGO_BIN_EXE_ourvidz"),
        ])
        .args(["queue-drain", "q", "--callback-url", &url])
        .current_dir(shop.bench.path(""))
        .env_clear()
        .env("OURVIDZ_CONFIG_DIR", shop.bench.path("config"))
        .env("OURVIDZ_CACHE_DIR", shop.bench.path("cache"))
        .env("OURVIDZ_DATA_DIR", shop.bench.path("data"))
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(73), "{stderr}");
    assert!(stderr.contains("no room left"), "{stderr}");
    assert!(shop.receiver.as_ref().unwrap().outcomes().is_empty());
    assert!(shop.names("dead").is_empty() && shop.names("done").is_empty());
    shop.drain(&[]).exits(0);
    shop.all_is_well(&BTreeSet::from(["big".to_string()]), 0);
}

#[test]
fn a_storage_that_cannot_be_written_keeps_the_job() {
    let shop = Shop::new();
    shop.jobs(0..1);
    shop.bench.write("blocked", "a file where a folder should be");
    shop.drain(&["--storage", "blocked/assets"]).exits(73);
    assert!(shop.names("dead").is_empty());
    shop.drain(&[]).exits(0);
    shop.all_is_well(&ids(0..1), 0);
}

#[test]
fn another_file_in_the_way_is_kept_and_the_job_fails_as_a_conflict() {
    let shop = Shop::new();
    shop.bench.write("q/assets/_/j0/0.png", "somebody's");
    shop.jobs(0..2);
    shop.drain(&[]).exits(1);
    assert_eq!(shop.dead("j0")["error"]["code"], "conflict");
    assert_eq!(shop.bench.bytes("q/assets/_/j0/0.png"), b"somebody's");
    assert_eq!(shop.done("j1")["outcome"], "completed");
}

#[test]
fn links_fifos_and_folders_in_a_queue_are_set_aside_and_opened_by_nobody() {
    let shop = Shop::with_receiver();
    let new = |name: &str| shop.bench.path(&format!("q/new/{name}"));
    std::os::unix::fs::symlink("/etc/passwd", new("link.yaml")).unwrap();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(new("fifo.json"))
            .status()
            .unwrap()
            .success()
    );
    std::fs::create_dir(new("folder.yaml")).unwrap();
    shop.job("good", "x");
    shop.drain(&[]).exits(1);
    for id in ["link", "fifo", "folder"] {
        assert_eq!(shop.dead(id)["error"]["code"], "invalid_spec", "{id}");
    }
    assert_eq!(shop.done("good")["outcome"], "completed");
}

#[test]
fn a_reader_that_leaves_early_costs_no_job() {
    let shop = Shop::with_receiver();
    shop.jobs(0..2);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = shop
        .command(&["--json"])
        .stdout(writer)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    shop.all_is_well(&ids(0..2), 0);
}

#[test]
fn promise_16_prompts_are_not_logged_and_cannot_forge_lines() {
    let shop = Shop::new();
    shop.job("a", "canary\u{1b}[31m\nERROR forged");
    let quiet = shop.drain(&[]).exits(0);
    assert!(!quiet.stderr.contains("canary"), "{quiet:?}");
    assert!(
        quiet
            .stderr
            .lines()
            .all(|l| !l.starts_with("ERROR") && !l.contains('\u{1b}'))
    );
}

#[test]
fn a_worker_ends_when_its_supervisor_is_killed() {
    let shop = Shop::new();
    let mut drain = at_work(&shop, "mock-hang");
    let workers = children(drain.id());
    assert!(!workers.is_empty());
    signal_pid(drain.id(), "-KILL");
    drain.wait().unwrap();
    until("the worker ends", 5, || workers.iter().all(|w| children_gone(*w)));
}
