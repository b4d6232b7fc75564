//! Promise 1: whatever is killed at whatever moment, no job is lost, no file is doubled, missing or
//! torn, and a repeated callback is the same.
//!
//! `OURVIDZ_KILLS=10000 cargo test --test main queue_kills::random_kills -- --ignored --nocapture`
//! kills as often as one likes; `queue_kills::every_point` with `--ignored` has 20 jobs a point. For Redis
//! the same stands in `queue_redis`.

use std::collections::BTreeSet;
use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use crate::queue_harness::{Shop, children, ids, signal, signal_pid};

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

/// Drains once with a kill at the `nth` passage of a point, then to the end. True when it was killed.
fn killed_at(variable: &str, point: &str, nth: usize, jobs: usize) -> bool {
    let shop = Shop::with_receiver();
    shop.jobs(0..jobs);
    // A worker that dies at every third file takes the same job with it several times.
    let mut command = shop.command(&["--quiet", "--max-attempts", "20"]);
    command.env(variable, format!("{point}:{nth}"));
    let code = command.output().unwrap().status.code();
    let killed = match variable {
        "OURVIDZ_KILL_AT" => code.is_none(),
        // A worker's death is not the drain's.
        _ => shop.names("done").iter().any(|n| {
            n.ends_with(".json")
                && shop
                    .bench
                    .bytes(&format!("q/done/{n}"))
                    .windows(14)
                    .any(|w| w == b"worker_crashed")
        }),
    };
    if code != Some(0) {
        shop.drain(&[]).exits(0);
    }
    shop.all_is_well(&ids(0..jobs), 1);
    killed
}

fn matrix(jobs: usize, passages: &[usize]) {
    for point in POINTS {
        let killed = passages
            .iter()
            .filter(|n| killed_at("OURVIDZ_KILL_AT", point, **n, jobs))
            .count();
        assert!(killed > 0, "{point} was never passed");
    }
}

#[test]
fn promise_1_a_kill_at_any_point_loses_doubles_and_tears_nothing() {
    matrix(2, &[1]);
}

#[test]
#[ignore = "takes minutes: every point at several passages, 20 jobs each"]
fn every_point_with_twenty_jobs() {
    matrix(20, &[1, 7, 20]);
}

/// A worker that is killed again and again takes its job with it, so each is killed once a process at
/// a passage that the next process does not reach.
#[test]
fn promise_1_a_worker_killed_at_any_point_costs_an_attempt_at_most() {
    for point in WORKER_POINTS {
        assert!(
            killed_at("OURVIDZ_KILL_WORKER_AT", point, 3, 4),
            "{point} was never passed"
        );
    }
}

/// A pseudo-random sequence of its own, so that a failure can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// Kills drains, and now and then only their workers, until so many are dead; new jobs keep coming.
fn kill_at_random(kills: usize, seed: u64) {
    let shop = Shop::with_receiver();
    let mut dice = Dice(seed | 1);
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
        signal(&drain, "-KILL");
        killed += usize::from(drain.wait().unwrap().code().is_none());
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
    kill_at_random(25, 20_251_125);
}

#[test]
#[ignore = "OURVIDZ_KILLS of them, 300 by default: takes as long as one likes"]
fn random_kills() {
    let wanted = |name: &str, usual| {
        std::env::var(name)
            .ok()
            .and_then(|v| v.parse().ok())
            .unwrap_or(usual)
    };
    let seed = wanted("OURVIDZ_SEED", u64::from(std::process::id()));
    kill_at_random(wanted("OURVIDZ_KILLS", 300) as usize, seed);
}
