//! Promise 1: whatever is killed at whatever moment, no job is lost, no file is doubled, missing or
//! torn, and a repeated callback is the same.
//!
//! `OURVIDZ_KILLS=10000 cargo test --test main queue_kills::random_kills -- --ignored --nocapture`
//! kills as often as one likes. For Redis the same stands in `queue_redis_kills`.

use std::collections::BTreeSet;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use crate::queue_harness::{Dice, Shop, children, ids, signal_pid, wanted};

/// Every named place that a drain of a folder passes with jobs that are done, in the supervisor.
const POINTS: &[&str] = &[
    "write:created",
    "write:synced",
    "write:placed",
    "write:folder-synced",
    "move:renamed",
    "queue:claim-moved",
    "queue:claim-recorded",
    "queue:claim-cleaned",
    "queue:saved",
    "drain:before-asset",
    "store:before-put",
    "store:after-put",
    "drain:after-asset",
    "drain:before-callback-file",
    "store:before-replace",
    "store:after-replace",
    "drain:after-callback-file",
    "drain:before-settle",
    "queue:settle-decided",
    "outbox:before-put",
    "outbox:after-put",
    "queue:settle-told",
    "queue:settle-recorded",
    "queue:settle-moved",
    "queue:settle-unmarked",
    "queue:settle-cleaned",
    "drain:after-settle",
    "deliver:before-post",
    "deliver:after-post",
    "outbox:before-remove",
    "outbox:after-remove",
];

/// The same in a worker.
const WORKER_POINTS: &[&str] = &[
    "worker:before-run",
    "worker:after-run",
    "write:created",
    "write:synced",
    "write:placed",
];

/// A queue and its jobs, and a drain killed at each of these passages of a point; then the rest.
fn killed_at(point: &str, passages: &[usize], jobs: usize) {
    let shop = Shop::with_receiver();
    shop.jobs(0..jobs);
    for passage in passages {
        let mut command = shop.command(&["--quiet"]);
        command.env("OURVIDZ_KILL_AT", format!("{point}:{passage}"));
        let code = shop.ended(&mut shop.spawn(&mut command));
        assert_eq!(code, None, "{point} was passed fewer than {passage} times");
    }
    shop.drain(&["--quiet"]).exits(0);
    shop.all_is_well(&ids(0..jobs), passages.len());
}

/// Drains with a kill at the `nth` passage of a point in each worker.
fn worker_killed_at(point: &str, nth: usize, jobs: usize) {
    let shop = Shop::with_receiver();
    shop.jobs(0..jobs);
    // A worker that dies at every third file takes the same job with it several times.
    let mut command = shop.command(&["--quiet", "--max-attempts", "20"]);
    command.env("OURVIDZ_KILL_WORKER_AT", format!("{point}:{nth}"));
    if shop.ended(&mut shop.spawn(&mut command)) != Some(0) {
        shop.drain(&[]).exits(0);
    }
    shop.all_is_well(&ids(0..jobs), 1);
    let killed = ids(0..jobs)
        .iter()
        .any(|id| shop.done(id)["history"].to_string().contains("worker_crashed"));
    assert!(killed, "{point} was never passed");
}

#[test]
fn promise_1_a_kill_at_any_point_loses_doubles_and_tears_nothing() {
    for point in POINTS {
        killed_at(point, &[1, 5], 20);
    }
}

/// A worker that is killed again and again takes its job with it, so each is killed once a process at
/// a passage that the next process does not reach.
#[test]
fn promise_1_a_worker_killed_at_any_point_costs_an_attempt_at_most() {
    for point in WORKER_POINTS {
        worker_killed_at(point, 3, 4);
    }
}

/// Kills drains, and now and then only their workers, until so many are dead; new jobs keep coming.
fn kill_at_random(kills: usize, seed: u64) {
    let shop = Shop::with_receiver();
    let mut dice = Dice::new(seed);
    let (mut added, mut killed) = (0, 0);
    while killed < kills {
        if shop.names("new").len() < 3 {
            shop.jobs(added..added + 4);
            added += 4;
        }
        // Many deaths of its worker make no job dead here: it would be told twice, and rightly so.
        let mut drain = shop.start(&["--quiet", "--max-attempts", "100"]);
        sleep(Duration::from_millis(dice.roll(400)));
        if dice.roll(5) == 0 {
            kill_worker(&drain);
            sleep(Duration::from_millis(dice.roll(200)));
        }
        killed += usize::from(shop.killed(&mut drain));
    }
    shop.drain(&["--quiet", "--max-attempts", "100"]).exits(0);
    let all: BTreeSet<String> = ids(0..added);
    shop.all_is_well(&all, kills);
    println!("{killed} kills, {added} jobs, seed {seed}: all is well");
}

fn kill_worker(drain: &Child) {
    for worker in children(drain.id()) {
        signal_pid(worker, "-KILL");
    }
}

#[test]
fn promise_1_random_kills_lose_double_and_tear_nothing() {
    kill_at_random(150, 20_251_125);
}

#[test]
#[ignore = "OURVIDZ_KILLS of them, 300 by default: takes as long as one likes"]
fn random_kills() {
    kill_at_random(
        wanted("OURVIDZ_KILLS", 300),
        wanted("OURVIDZ_SEED", std::process::id() as usize) as u64,
    );
}
