//! `queue add`, `status`, `retry`, `purge` and `deliver` from the outside.

use std::process::{Command, Stdio};

use serde_json::json;

use crate::harness::Ran;
use crate::patience::until;
use crate::queue_harness::{Answer, Receiver, Shop, ids};

#[test]
fn add_checks_as_generate_does_and_prints_one_id_a_line() {
    let shop = Shop::new();
    shop.bench.write(
        "two.yaml",
        "- {id: a, prompt: x}\n- {id: b, type: video_fast, prompt: y}\n",
    );
    let added = shop.queue(&["add", "--queue", "q", "two.yaml"]).exits(0);
    assert_eq!(added.stdout, "a\nb\n");
    shop.queue(&["add", "--queue", "q", "two.yaml"])
        .exits(0)
        .says(&["there already"]);
    shop.bench.write("other.yaml", "{id: a, prompt: another}");
    shop.queue(&["add", "--queue", "q", "other.yaml"])
        .exits(65)
        .says(&["another spec"]);
    for (spec, words) in [
        ("{id: c, prompt: x, config: {steps: 999}}", "steps"),
        ("{id: c, promt: x}", "prompt"),
        ("{id: ../c, prompt: x}", "id is"),
        ("{id: c, prompt: x, type: nothing}", "type"),
        ("", "empty"),
    ] {
        shop.bench.write("wrong.yaml", spec);
        shop.bench.write("right.yaml", "{id: d, prompt: x}");
        shop.queue(&["add", "--queue", "q", "right.yaml", "wrong.yaml"])
            .exits(65)
            .says(&[words]);
    }
    assert_eq!(
        shop.names("new").len(),
        2,
        "nothing of a command with a mistake is added"
    );
    shop.queue(&["add", "--queue", "q", "nowhere.yaml"]).exits(66);
    shop.drain(&[]).exits(0);
    assert!(shop.bench.path("q/done/a.json").exists() && shop.bench.path("q/done/b.json").exists());
}

#[test]
fn add_reads_stdin_and_makes_ids_and_keeps_references_for_later() {
    let shop = Shop::new();
    let mut command: Command = shop.bench.command(&["queue", "add", "--queue", "q", "-"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"prompt: x").unwrap();
    let output = child.wait_with_output().unwrap();
    let id = String::from_utf8(output.stdout).unwrap().trim().to_string();
    assert!(output.status.success() && id.len() == 36, "{id}");
    shop.drain(&[]).exits(0);
    assert!(shop.bench.path(&format!("q/done/{id}.json")).exists());
}

fn status(shop: &Shop) -> serde_json::Value {
    shop.queue(&["status", "q", "--json"]).exits(0).lines()[0].clone()
}

#[test]
fn status_tells_what_waits_runs_failed_and_how_long_it_takes() {
    let shop = Shop::new();
    shop.jobs(0..2);
    let waiting = status(&shop);
    assert_eq!(waiting["queues"]["sdxl_queue"]["depth"], 2);
    assert!(waiting["queues"]["sdxl_queue"]["oldest_s"].is_number());
    assert_eq!(
        waiting["queues"]["wan_queue"],
        json!({"depth": 0, "oldest_s": null})
    );
    assert_eq!(
        waiting["etaEstimates"]["sdxl_queue"],
        json!(null),
        "nothing was measured yet"
    );
    assert_eq!(waiting["etaEstimates"]["chat_queue"], "immediate");
    assert_eq!(waiting["workers"], json!({"chat": [], "sdxl": [], "wan": []}));
    shop.drain(&[]).exits(0);
    shop.raw("bad.json", b"{");
    shop.drain(&[]).exits(1);
    shop.jobs(2..3);
    let after = status(&shop);
    assert_eq!(
        (&after["done"], &after["dead"], &after["undelivered"]),
        (&json!(2), &json!(1), &json!(0))
    );
    assert_eq!(after["etaEstimates"]["sdxl_queue"], "< 1 min");
    assert!(after["timestamp"].as_str().unwrap().ends_with('Z'));
    let people = shop.queue(&["status", "q"]).exits(0);
    assert!(
        people.stdout.contains("sdxl_queue  1") && people.stdout.contains("1 dead"),
        "{people:?}"
    );
}

#[test]
fn status_tells_who_works_on_what() {
    let shop = Shop::new();
    shop.spec(
        "slow",
        &json!({"id": "slow", "prompt": "mock-step-100", "config": {"steps": 150}}),
    );
    let mut drain = shop.start(&[]);
    until("it runs", 30, || {
        !status(&shop)["running"].as_array().unwrap().is_empty()
    });
    until("its steps are told", 20, || {
        status(&shop)["running"][0]["total"] == 150
    });
    let running = status(&shop)["running"][0].clone();
    assert_eq!(
        (&running["id"], &running["type"]),
        (&json!("slow"), &json!("sdxl_image_fast"))
    );
    assert_eq!(running["device"], "cpu");
    assert!(running["since"].is_string() && running["worker"].is_string());
    assert_eq!(status(&shop)["workers"]["sdxl"][0]["job_id"], "slow");
    crate::queue_harness::signal(&drain, "-TERM");
    shop.ended(&mut drain);
}

#[test]
fn dead_jobs_come_back_one_by_one_or_all() {
    let shop = Shop::with_receiver();
    for id in ["a", "b"] {
        shop.spec(id, &json!({"id": id, "prompt": "mock-panic"}));
    }
    shop.drain(&[]).exits(70);
    let first = shop.dead("a");
    let retried: Ran = shop.queue(&["retry", "q", "a"]).exits(0);
    assert_eq!(retried.stdout, "a\n");
    shop.queue(&["retry", "q", "a"]).exits(0);
    shop.queue(&["retry", "q", "nobody"])
        .exits(66)
        .says(&["no job `nobody`"]);
    shop.drain(&[]).exits(70);
    let second = shop.dead("a");
    assert_eq!(first["seeds"], second["seeds"]);
    assert_ne!(
        first["webhook_id"], second["webhook_id"],
        "another outcome has another id"
    );
    let all = shop.queue(&["retry", "q", "--all-dead"]).exits(0);
    assert_eq!(all.stdout.lines().count(), 2);
    shop.queue(&["retry", "q"]).exits(2).says(&["no job is named"]);
}

#[test]
fn purge_forgets_old_records_only() {
    let shop = Shop::new();
    shop.jobs(0..2);
    shop.drain(&[]).exits(0);
    assert_eq!(
        shop.queue(&["purge", "q", "--done", "--older-than", "7d"])
            .exits(0)
            .stdout,
        "0\n"
    );
    assert_eq!(
        shop.queue(&["purge", "q", "--done", "--older-than", "0"])
            .exits(0)
            .stdout,
        "2\n"
    );
    shop.queue(&["purge", "q", "--done", "--older-than", "soon"])
        .exits(2);
    shop.queue(&["purge", "q"]).exits(2);
}

#[test]
fn deliver_sends_what_is_due_and_renders_nothing() {
    let mut shop = Shop::new();
    let failing = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let fails = failing.clone();
    shop.receiver = Some(Receiver::start(move |_| {
        Answer::status(if fails.load(std::sync::atomic::Ordering::SeqCst) {
            503
        } else {
            200
        })
    }));
    shop.jobs(0..2);
    shop.drain(&[]).exits(0);
    failing.store(false, std::sync::atomic::Ordering::SeqCst);
    let sent = shop.queue(&["deliver", "q", "--now", "--json"]).exits(0);
    assert_eq!(
        sent.lines().iter().filter(|l| l["event"] == "delivered").count(),
        2
    );
    shop.queue(&["deliver", "q"]).exits(0);
    shop.all_is_well(&ids(0..2), 2);
}
