//! A folder is drained: what becomes of jobs, in which order, and what is told on the way.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::patience::{ran, until};
use crate::queue_harness::{Shop, hex, ids};

#[test]
fn jobs_are_done_stored_recorded_and_told() {
    let shop = Shop::with_receiver();
    shop.jobs(0..3);
    shop.drain(&["--json"]).exits(0);
    shop.all_is_well(&ids(0..3), 0);
    let record = shop.done("j0");
    assert_eq!(record["outcome"], "completed");
    assert_eq!(record["attempts"], 1);
    assert_eq!(record["seeds"].as_array().unwrap().len(), 1);
    assert!(record["timings"]["denoise"].is_number(), "{record}");
    let source = shop.bench.bytes("q/done/j0.spec.json");
    assert_eq!(record["spec_sha256"], hex(&source));
    let receiver = shop.receiver.as_ref().unwrap();
    let told = &receiver.outcomes()["j0"][0];
    assert_eq!(told.headers["webhook-id"], record["webhook_id"].as_str().unwrap());
    assert_eq!(told.body, shop.bench.bytes("q/assets/_/j0/callback.json"));
    assert_eq!(told.json()["assets"], json!(["_/j0/0.png"]));
    let output = &told.json()["metadata"]["outputs"][0];
    assert_eq!(output["sha256"], hex(&shop.bench.bytes("q/assets/_/j0/0.png")));
}

#[test]
fn every_event_is_one_json_line_and_in_order() {
    let shop = Shop::with_receiver();
    shop.job("a", "x");
    let ran = shop.drain(&["--json"]).exits(0);
    let events: Vec<String> = ran
        .lines()
        .iter()
        .map(|l| l["event"].as_str().unwrap().to_string())
        .collect();
    let place = |name: &str| {
        let found = events.iter().position(|e| e == name);
        found.unwrap_or_else(|| panic!("no `{name}` in {events:?}"))
    };
    let order = [
        "claimed",
        "worker",
        "job",
        "stage",
        "step",
        "uploaded",
        "result",
        "delivered",
    ]
    .map(place);
    assert!(order.is_sorted(), "{events:?}");
    for line in ran.lines().iter().filter(|l| l["event"] != "worker") {
        assert_eq!(line["job_id"], "a", "{line}");
    }
}

/// The issue's promise: below 0.1 s; the bound here leaves room for a machine that is busy testing.
#[test]
fn an_empty_queue_costs_nothing_and_loads_nothing() {
    let shop = Shop::new();
    shop.drain(&[]).exits(0);
    let begun = Instant::now();
    let ran = shop.drain(&["--json"]).exits(0);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(ran.stdout, "", "no worker was started");
}

#[test]
fn a_missing_folder_is_made_by_add_and_refused_by_a_drain() {
    let shop = Shop::new();
    ran(shop.bench.command(&["queue-drain", "elsewhere"]))
        .exits(66)
        .says(&["elsewhere", "queue add"]);
    shop.bench.write("a.yaml", "{id: a, prompt: x}");
    let added = shop.queue(&["add", "--queue", "elsewhere", "a.yaml"]).exits(0);
    assert_eq!(added.stdout, "a\n");
    ran(shop.bench.command(&["queue-drain", "elsewhere"])).exits(0);
    assert!(shop.bench.path("elsewhere/done/a.json").exists());
}

#[test]
fn without_a_name_the_queue_is_in_the_data_folder_or_where_settings_say() {
    let shop = Shop::new();
    shop.bench.write("a.yaml", "{id: a, prompt: x}");
    shop.queue(&["add", "a.yaml"]).exits(0);
    let mut drain = shop.bench.command(&["queue-drain"]);
    drain.env("OURVIDZ_DATA_DIR", shop.bench.path("data"));
    ran(drain).exits(0);
    assert!(shop.bench.path("data/queue/done/a.json").exists());
    shop.bench.write("config/config.toml", "[queue]\nurl = \"set\"\n");
    shop.queue(&["add", "a.yaml"]).exits(0);
    assert!(shop.bench.path("set/new/a.json").exists());
    let mut drain = shop.bench.command(&["queue-drain"]);
    drain.env("OURVIDZ_QUEUE", "q");
    ran(drain).exits(0);
    assert!(shop.bench.path("set/new/a.json").exists(), "the environment wins");
}

#[test]
fn a_dry_run_lists_the_order_and_touches_nothing() {
    let shop = Shop::new();
    shop.spec("v", &json!({"id": "v", "type": "video_fast", "prompt": "x"}));
    shop.job("a", "x");
    shop.job("b", "x");
    let before = shop.bench.files();
    let ran = shop.drain(&["--dry-run", "--json"]).exits(0);
    let order: Vec<_> = ran.lines().iter().map(|l| l["job_id"].clone()).collect();
    assert_eq!(order, ["a", "b", "v"]);
    assert_eq!(shop.bench.files(), before);
    let ran = shop.drain(&["--dry-run", "--queues", "wan_queue"]).exits(0);
    assert!(ran.stdout.starts_with("v  video_fast  wan_queue"), "{ran:?}");
}

#[test]
fn limits_end_a_drain_and_say_that_work_remains() {
    let shop = Shop::new();
    shop.jobs(0..3);
    shop.drain(&["--max-jobs", "2"]).exits(75).says(&["work remains"]);
    assert_eq!(shop.names("done").len(), 4);
    shop.drain(&["--max-seconds", "0"]).exits(75);
    shop.drain(&["--max-jobs", "1"]).exits(0);
    shop.all_is_well(&ids(0..3), 0);
}

#[test]
fn refused_jobs_are_dead_at_once_and_told_and_the_others_finish() {
    let shop = Shop::with_receiver();
    shop.raw("broken.yaml", b"prompt: [");
    shop.raw("long.yaml", &vec![b'x'; 70_000]);
    shop.raw("nested.yaml", "[".repeat(32_000).as_bytes());
    shop.spec(
        "steps",
        &json!({"id": "steps", "prompt": "x", "config": {"steps": 500}}),
    );
    shop.spec(
        "path",
        &json!({"id": "path", "type": "video_fast", "prompt": "x", "config": {"first_frame": "/etc/passwd"}}),
    );
    shop.spec(
        "two",
        &json!([{"id": "p", "prompt": "x"}, {"id": "q", "prompt": "x"}]),
    );
    shop.raw(
        "file.json",
        br#"{"id": "own", "user_id": "ann", "type": "video_fast", "config": {"frames": -1}}"#,
    );
    shop.job("good", "x");
    shop.drain(&[]).exits(1);
    assert_eq!(
        shop.dead("own")["type"],
        "video_fast",
        "the producer is told under its own id"
    );
    assert!(shop.bench.path("q/assets/ann/own/callback.json").exists());
    for id in ["broken", "long", "nested", "steps", "path", "two"] {
        let record = shop.dead(id);
        assert_eq!(record["outcome"], "failed", "{record}");
        assert_eq!(record["error"]["code"], "invalid_spec", "{record}");
        assert_eq!(record["attempts"], 0, "{record}");
    }
    assert_eq!(shop.done("good")["outcome"], "completed");
    let outcomes = shop.receiver.as_ref().unwrap().outcomes();
    let failed: BTreeSet<_> = outcomes
        .iter()
        .filter(|(_, told)| told[0].json()["status"] == "failed")
        .map(|(id, _)| id.as_str())
        .collect();
    assert_eq!(
        failed,
        BTreeSet::from(["broken", "long", "nested", "own", "path", "steps", "two"])
    );
    assert_eq!(
        outcomes["steps"][0].json()["metadata"]["error"]["code"],
        "invalid_spec"
    );
}

#[test]
fn the_same_job_again_is_nothing_and_another_under_its_id_is_a_conflict() {
    let shop = Shop::with_receiver();
    shop.job("a", "first");
    shop.drain(&[]).exits(0);
    shop.job("a", "first");
    shop.drain(&[]).exits(0);
    assert!(shop.names("new").is_empty());
    shop.job("a", "second");
    shop.drain(&[]).exits(1);
    assert_eq!(shop.dead("a.conflict-1")["error"]["code"], "conflict");
    assert_eq!(shop.done("a")["outcome"], "completed");
    shop.receiver
        .as_ref()
        .unwrap()
        .each_told_once(&BTreeSet::from(["a".to_string()]), 0);
    let callback = shop.bench.json("q/assets/_/a/callback.json");
    assert_eq!(callback["status"], "completed", "the first job's callback stays");
}

#[test]
fn users_have_folders_and_workspace_callbacks_their_own_shape() {
    let shop = Shop::with_receiver();
    shop.spec("a", &json!({"id": "a", "user_id": "ann", "prompt": "x", "config": {"num_images": 3, "seed": 5, "steps": 2}}));
    shop.drain(&["--callback-format", "workspace"]).exits(0);
    let told = shop.receiver.as_ref().unwrap().outcomes()["a"][0].json();
    assert_eq!((&told["jobId"], &told["userId"]), (&json!("a"), &json!("ann")));
    let assets = told["results"]["assets"].as_array().unwrap();
    assert_eq!(assets.len(), 3);
    assert_eq!(assets[2]["tempStoragePath"], "ann/a/2.png");
    assert!(shop.bench.path("q/assets/ann/a/2.png").exists());
    assert_eq!(shop.done("a")["seeds"], json!([5, 6, 7]));
}

#[test]
fn processing_is_told_once_and_never_after_the_outcome() {
    let shop = Shop::with_receiver();
    shop.jobs(0..5);
    shop.drain(&[]).exits(0);
    let all = shop.receiver.as_ref().unwrap().all();
    for id in ids(0..5) {
        let of = |status: &str| {
            all.iter()
                .enumerate()
                .filter(|(_, t)| t.json()["job_id"] == *id && t.json()["status"] == status)
                .map(|(at, _)| at)
                .collect::<Vec<_>>()
        };
        let (processing, completed) = (of("processing"), of("completed"));
        assert!(processing.len() <= 1 && completed.len() == 1);
        assert!(processing.iter().all(|at| *at < completed[0]));
    }
}

#[test]
fn two_workers_share_a_folder() {
    let shop = Shop::with_receiver();
    shop.jobs(0..12);
    let ran = shop.drain(&["--device", "cpu,cpu", "--json"]).exits(0);
    shop.all_is_well(&ids(0..12), 0);
    let workers: BTreeSet<String> = ran
        .lines()
        .iter()
        .filter(|l| l["event"] == "worker" && l["state"] == "ready")
        .map(|l| l["worker"].as_str().unwrap().to_string())
        .collect();
    assert_eq!(workers.len(), 2);
}

#[test]
fn a_watching_drain_takes_up_what_comes_and_leaves_with_a_signal() {
    let shop = Shop::with_receiver();
    let mut drain = shop.start(&["--watch"]);
    until("a lock", 20, || shop.bench.path("q/lock").exists());
    shop.jobs(0..1);
    until("the first job", 30, || shop.bench.path("q/done/j0.json").exists());
    shop.jobs(1..3);
    until("the others", 30, || {
        shop.bench.path("q/done/j2.json").exists() && shop.bench.path("q/done/j1.json").exists()
    });
    until("their callbacks", 20, || {
        shop.receiver.as_ref().unwrap().outcomes().len() == 3
    });
    crate::queue_harness::signal(&drain, "-TERM");
    assert_eq!(shop.ended(&mut drain), Some(143));
    shop.all_is_well(&ids(0..3), 0);
}

#[test]
fn metrics_tell_what_was_done_and_what_waits() {
    let shop = Shop::new();
    shop.jobs(0..3);
    shop.raw("broken.json", b"{");
    shop.drain(&["--max-jobs", "3", "--metrics", "m.prom"]).exits(1);
    let text = String::from_utf8(shop.bench.bytes("m.prom")).unwrap();
    for line in [
        "ourvidz_jobs_total{type=\"sdxl_image_fast\",outcome=\"completed\"} 2",
        "ourvidz_jobs_total{type=\"unknown\",outcome=\"failed\"} 1",
        "ourvidz_queue_depth{queue=\"sdxl_queue\"} 1",
        "ourvidz_dead_jobs 1",
    ] {
        assert!(text.lines().any(|l| l == line), "no `{line}` in:\n{text}");
    }
}

#[test]
fn old_records_are_forgotten_and_young_ones_kept() {
    let shop = Shop::new();
    shop.jobs(0..1);
    shop.drain(&[]).exits(0);
    shop.jobs(1..2);
    shop.drain(&["--keep-done", "0"]).exits(0);
    assert!(shop.names("done").is_empty(), "{:?}", shop.names("done"));
    assert!(shop.bench.path("q/assets/_/j0/0.png").exists(), "assets stay");
}

#[test]
fn promise_13_secrets_and_passwords_show_nowhere() {
    let shop = Shop::with_receiver();
    shop.job("a", "x");
    let mut command = shop.command(&["--json", "-vv"]);
    command
        .env("OURVIDZ_WEBHOOK_SECRET", "canary-secret")
        .env("OURVIDZ_CALLBACK_TOKEN", "canary-token")
        .env("AWS_SECRET_ACCESS_KEY", "canary-aws")
        .env("OURVIDZ_QUEUE", "redis://u:canary-redis@127.0.0.1:1");
    let ran = ran(command).exits(0);
    for file in shop.bench.files() {
        let bytes = shop.bench.bytes(&file);
        assert!(!String::from_utf8_lossy(&bytes).contains("canary"), "{file}");
    }
    assert!(!format!("{ran:?}").contains("canary"));
    let told = &shop.receiver.as_ref().unwrap().outcomes()["a"][0];
    assert_eq!(told.headers["authorization"], "Bearer canary-token");
    assert!(told.headers["webhook-signature"].starts_with("v1,"));
    assert!(!String::from_utf8_lossy(&told.body).contains("canary"));
}

#[test]
fn thumbnails_lie_beside_assets_when_they_are_wanted() {
    let shop = Shop::new();
    shop.spec(
        "a",
        &json!({"id": "a", "prompt": "x", "config": {"num_images": 3, "steps": 1, "width": 512}}),
    );
    shop.spec(
        "v",
        &json!({"id": "v", "type": "video_fast", "prompt": "x", "config": {"frames": 5, "steps": 1}}),
    );
    let mut command = shop.command(&[]);
    command.env("OURVIDZ_STORAGE_THUMBNAILS", "1");
    ran(command).exits(0);
    for file in ["a/0", "a/2", "v/0"] {
        let bytes = shop.bench.bytes(&format!("q/assets/_/{file}.thumb.webp"));
        let picture = image::load_from_memory_with_format(&bytes, image::ImageFormat::WebP).unwrap();
        assert!(picture.width() <= 256 && picture.height() <= 256);
    }
    assert_eq!(
        shop.done("a")["assets"].as_array().unwrap().len(),
        3,
        "they are no assets"
    );
}
