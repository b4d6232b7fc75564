//! Drains of a real Redis: work shared and taken over, fences that hold, restarts that lose nothing.
//! They need a `redis-server` on the path (`.ci/packages` installs it) and fail without one.

use std::collections::BTreeSet;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use redis::Commands;
use serde_json::json;

use crate::patience::{ran, until};
use crate::queue_harness::{Shop, children, ids, signal, signal_pid};
use crate::redis_server::{Server, all_is_well, drain, drained};

fn start(shop: &Shop, server: &Server, args: &[&str]) -> Child {
    shop.spawn(&mut drain(shop, &server.url(), args))
}

#[test]
fn lists_of_existing_producers_are_drained_oldest_first() {
    let server = Server::start(&[]);
    let shop = Shop::with_receiver();
    server.jobs(0..3);
    server.push(
        "wan_queue",
        &json!([
            json!({"id": "v", "type": "video_fast", "prompt": "x", "config": {"frames": 5, "steps": 1}})
                .to_string()
        ]),
    );
    let plan = ran(shop.bench.command(&["queue-drain", &server.url(), "--dry-run"])).exits(0);
    assert!(plan.stdout.lines().count() <= 4, "{plan:?}");
    let ran = ran(drain(&shop, &server.url(), &["--json"])).exits(0);
    let claimed: Vec<_> = ran
        .lines()
        .iter()
        .filter(|l| l["event"] == "claimed")
        .map(|l| l["job_id"].as_str().unwrap().to_string())
        .collect();
    assert_eq!(claimed, ["j0", "j1", "j2", "v"]);
    let mut expected = ids(0..3);
    expected.insert("v".into());
    all_is_well(&shop, &server, &expected, 0);
}

#[test]
fn promise_2_eight_drains_share_the_work_and_each_job_is_done_once() {
    let server = Server::start(&[]);
    let shop = Shop::with_receiver();
    server.jobs(0..40);
    let mut drains: Vec<Child> = (0..8).map(|_| start(&shop, &server, &[])).collect();
    for drain in &mut drains {
        assert_eq!(shop.ended(drain), Some(0));
    }
    all_is_well(&shop, &server, &ids(0..40), 0);
    let attempts: u64 = server
        .done()
        .values()
        .map(|r| r["attempts"].as_u64().unwrap())
        .sum();
    assert_eq!(attempts, 40, "none was run twice");
}

fn slow(server: &Server, step_ms: u32) {
    server.push(
        "sdxl_queue",
        &json!({"id": "slow", "prompt": format!("mock-step-{step_ms}"), "config": {"steps": 40}}),
    );
}

fn running(shop: &Shop, server: &Server) -> bool {
    let status = shop.queue(&["status", &server.url(), "--json"]).lines();
    status
        .first()
        .is_some_and(|s| s["running"].as_array().is_some_and(|r| !r.is_empty()))
}

#[test]
fn promise_3_a_drain_stopped_beyond_its_lease_cannot_finish_or_tell_afterwards() {
    let server = Server::start(&[]);
    let shop = Shop::with_receiver();
    slow(&server, 100);
    let mut zombie = start(&shop, &server, &[]);
    until("it runs", 30, || running(&shop, &server));
    sleep(Duration::from_millis(500));
    let workers = children(zombie.id());
    signal(&zombie, "-STOP");
    workers.iter().for_each(|w| signal_pid(*w, "-STOP"));
    // Until its lease is over, nobody else may have the job.
    sleep(Duration::from_millis(3500));
    let mut heir = start(&shop, &server, &[]);
    assert_eq!(shop.ended(&mut heir), Some(0));
    let record = server.done()["slow"].clone();
    signal(&zombie, "-CONT");
    workers.iter().for_each(|w| signal_pid(*w, "-CONT"));
    assert_eq!(shop.ended(&mut zombie), Some(0));
    assert_eq!(server.done()["slow"], record, "the heir's outcome stands");
    all_is_well(&shop, &server, &BTreeSet::from(["slow".to_string()]), 0);
}

#[test]
fn promise_4_the_jobs_of_a_killed_drain_are_taken_over_after_its_lease() {
    let server = Server::start(&[]);
    let shop = Shop::with_receiver();
    slow(&server, 50);
    server.jobs(0..2);
    let mut killed = start(&shop, &server, &[]);
    until("it runs", 30, || running(&shop, &server));
    assert!(shop.killed(&mut killed));
    assert_eq!(drained(&shop, &server.url(), &[]), Some(0));
    let mut expected = ids(0..2);
    expected.insert("slow".into());
    all_is_well(&shop, &server, &expected, 1);
}

#[test]
fn a_server_that_restarts_while_jobs_run_loses_none() {
    let mut server = Server::start(&[]);
    let shop = Shop::with_receiver();
    server.jobs(0..20);
    slow(&server, 60);
    let mut working = start(&shop, &server, &["--lease", "20s"]);
    for _ in 0..3 {
        sleep(Duration::from_millis(700));
        server.restart();
    }
    assert_eq!(shop.ended(&mut working), Some(0));
    // An answer that a restart swallowed leaves its job to the next drain.
    assert_eq!(drained(&shop, &server.url(), &[]), Some(0));
    let mut expected = ids(0..20);
    expected.insert("slow".into());
    all_is_well(&shop, &server, &expected, 3);
}

#[test]
fn sigterm_hands_work_back_and_another_drain_takes_it_at_once() {
    let server = Server::start(&[]);
    let shop = Shop::with_receiver();
    slow(&server, 100);
    let mut first = start(&shop, &server, &["--lease", "60s"]);
    until("it runs", 30, || running(&shop, &server));
    signal(&first, "-TERM");
    assert_eq!(shop.ended(&mut first), Some(143));
    assert_eq!(drained(&shop, &server.url(), &["--lease", "60s"]), Some(0));
    assert_eq!(server.done()["slow"]["attempts"], 1);
    all_is_well(&shop, &server, &BTreeSet::from(["slow".to_string()]), 0);
}

#[test]
fn broken_items_are_dead_and_told_and_the_others_finish() {
    let server = Server::start(&[]);
    let shop = Shop::with_receiver();
    let _: i64 = server.connect().lpush("sdxl_queue", "{\"id\": \"broken").unwrap();
    server.push(
        "sdxl_queue",
        &json!({"id": "steps", "prompt": "x", "config": {"steps": 999}}),
    );
    server.push("sdxl_queue", &json!({"id": "poison", "prompt": "mock-crash"}));
    server.jobs(0..2);
    assert_eq!(drained(&shop, &server.url(), &[]), Some(1));
    assert_eq!(server.done().keys().cloned().collect::<BTreeSet<_>>(), ids(0..2));
    let outcomes = shop.receiver.as_ref().unwrap().outcomes();
    assert_eq!(outcomes.len(), 5);
    let code = |id: &str| outcomes[id][0].json()["metadata"]["error"]["code"].clone();
    assert_eq!(
        (code("steps"), code("poison")),
        (json!("invalid_spec"), json!("worker_crashed"))
    );
    let status = shop.queue(&["status", &server.url(), "--json"]).exits(0).lines()[0].clone();
    assert_eq!(status["dead"], 3);
    let retried = shop.queue(&["retry", &server.url(), "poison"]).exits(0);
    assert_eq!(retried.stdout, "poison\n");
}

#[test]
fn a_server_that_refuses_or_may_evict_is_said_with_its_code() {
    let server = Server::start(&["--requirepass", "canary"]);
    let shop = Shop::with_receiver();
    let refused = ran(drain(&shop, &server.url(), &[])).exits(78);
    assert!(!refused.stderr.contains("canary"));
    let url = format!("redis://:canary@127.0.0.1:{}", server.port);
    let fine = ran(drain(&shop, &url, &["-vv", "--json"])).exits(0);
    assert!(!format!("{fine:?}").contains("canary"), "{fine:?}");
    let evicting = Server::start(&["--maxmemory-policy", "allkeys-lru"]);
    ran(drain(&shop, &evicting.url(), &[]))
        .exits(78)
        .says(&["noeviction"]);
    ran(drain(&shop, &evicting.url(), &["--force"])).exits(0);
    let _: () = evicting.connect().set("wan_queue", "no list").unwrap();
    ran(drain(&shop, &evicting.url(), &["--force"])).exits(78);
}
