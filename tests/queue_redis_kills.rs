//! Promise 1 with a Redis: whatever is killed at whatever moment, no job is lost, no file is doubled,
//! missing or torn, and a repeated callback is the same.
//!
//! `OURVIDZ_KILLS=10000 cargo test --test main queue_redis_kills::random_kills -- --ignored --nocapture`
//! kills as often as one likes.

use std::thread::sleep;
use std::time::Duration;

use crate::patience::until;
use crate::queue_harness::{Dice, Shop, ids, wanted};
use crate::redis_server::{Server, all_is_well, drain, drained};

/// Every named place that a drain of a Redis passes with jobs that are done, in the supervisor.
const POINTS: &[&str] = &[
    "redis:before-claim",
    "redis:claimed",
    "redis:kept",
    "drain:before-asset",
    "store:before-put",
    "store:after-put",
    "drain:after-asset",
    "drain:before-callback-file",
    "store:before-replace",
    "store:after-replace",
    "drain:after-callback-file",
    "drain:before-settle",
    "redis:before-settle",
    "redis:settled",
    "drain:after-settle",
    "redis:outbox-claimed",
    "deliver:before-post",
    "deliver:after-post",
    "redis:before-outbox-remove",
    "redis:outbox-removed",
];

/// One Redis and its jobs, and a drain killed at each of these passages of a point; then the rest.
fn killed_at(point: &str, passages: &[usize], jobs: usize) {
    let server = Server::start(&[]);
    let shop = Shop::with_receiver();
    server.jobs(0..jobs);
    for passage in passages {
        let mut command = drain(&shop, &server.url(), &[]);
        command.env("OURVIDZ_KILL_AT", format!("{point}:{passage}"));
        let code = shop.ended(&mut shop.spawn(&mut command));
        assert_eq!(code, None, "{point} was passed fewer than {passage} times");
    }
    finish(&shop, &server);
    all_is_well(&shop, &server, &ids(0..jobs), passages.len());
}

/// Drains to the end, and delivers what a killed drain had in its hands.
fn finish(shop: &Shop, server: &Server) {
    assert_eq!(drained(shop, &server.url(), &[]), Some(0));
    until("all callbacks are delivered", 90, || {
        shop.queue(&["deliver", &server.url(), "--now"]).code == Some(0)
    });
}

#[test]
fn promise_1_a_kill_at_any_point_loses_doubles_and_tears_nothing() {
    for point in POINTS {
        killed_at(point, &[1, 5], 20);
    }
}

/// Kills two drains that share a Redis until so many are dead; new jobs keep coming.
fn kill_at_random(kills: usize, seed: u64) {
    let server = Server::start(&[]);
    let shop = Shop::with_receiver();
    let mut dice = Dice::new(seed);
    let (mut killed, mut added) = (0, 0);
    while killed < kills {
        // A drain that finds nothing ends by itself and cannot be killed.
        if server.unfinished() < 4 {
            server.jobs(added..added + 6);
            added += 6;
        }
        let args = ["--max-attempts", "100"];
        let mut drains = [(); 2].map(|()| shop.spawn(&mut drain(&shop, &server.url(), &args)));
        for drain in &mut drains {
            sleep(Duration::from_millis(dice.roll(400)));
            killed += usize::from(shop.killed(drain));
        }
    }
    finish(&shop, &server);
    all_is_well(&shop, &server, &ids(0..added), killed);
    println!("{killed} kills, {added} jobs, seed {seed}: all is well");
}

#[test]
fn promise_1_random_kills_of_two_drains_lose_double_and_tear_nothing() {
    kill_at_random(150, 20_261_126);
}

#[test]
#[ignore = "OURVIDZ_KILLS of them, 300 by default: takes as long as one likes"]
fn random_kills() {
    kill_at_random(
        wanted("OURVIDZ_KILLS", 300),
        wanted("OURVIDZ_SEED", std::process::id() as usize) as u64,
    );
}
