//! What the tests of both queues share: a reader of small specs, and a drain that may be killed.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::*;
use crate::files::{Existing, sha256_hex, sweep, write_whole};
use crate::outbox::envelope::{Envelope, Which, now_ms, webhook_id};
use crate::outcome::{Failure, Status};

/// Reads `id`, `type` and `model` of a spec; the queue is that of the type's first word.
pub struct TestPeek;

impl Peek for TestPeek {
    fn peek(&self, spec: &[u8]) -> Peeked {
        let Ok(value) = serde_yaml::from_slice::<serde_json::Value>(spec) else {
            return Peeked::default();
        };
        let text = |key: &str| value[key].as_str().map(String::from);
        Peeked {
            id: text("id").filter(|id| self.is_id(id)),
            queue: match value["type"].as_str() {
                Some("image") => Some(QueueName::Sdxl),
                Some("chat") => Some(QueueName::Chat),
                Some("video") => Some(QueueName::Wan),
                _ => None,
            },
            job_type: text("type"),
            affinity: text("model"),
        }
    }

    fn is_id(&self, text: &str) -> bool {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !text.is_empty() && text.bytes().all(plain)
    }
}

pub fn options(consumer: &str) -> Options {
    Options {
        peek: Arc::new(TestPeek),
        consumer: consumer.into(),
        lease: Duration::from_secs(60),
        list_end: ListEnd::default(),
        force: false,
        patience: Duration::from_secs(5),
    }
}

pub fn wish() -> Wish {
    Wish {
        queues: QueueName::ALL.to_vec(),
        affinity: None,
        worker: "w0".into(),
    }
}

pub fn spec(id: &str, kind: &str) -> Vec<u8> {
    format!(r#"{{"id": "{id}", "type": "{kind}", "model": "m"}}"#).into_bytes()
}

pub fn new_job(id: &str) -> NewJob {
    NewJob {
        id: id.into(),
        queue: QueueName::Sdxl,
        spec: spec(id, "image"),
        format: Format::Json,
    }
}

pub fn running(claim: &Claim, step: u64) -> Running {
    Running {
        id: claim.id().into(),
        job_type: claim.record.job_type.clone(),
        worker: "w0".into(),
        device: "cpu".into(),
        since: Timestamp::now(),
        step,
        total: 4,
    }
}

/// The next job, waiting for it if it is only late.
pub async fn next(queue: &dyn Queue) -> Option<Claim> {
    loop {
        match queue.claim(&wish()).await.unwrap() {
            Next::Job(claim) => return Some(*claim),
            Next::Soon(after) => tokio::time::sleep(after).await,
            Next::Empty => return None,
        }
    }
}

/// Gives a claim its outcome and makes the callback that tells it. The body is another one each time,
/// so that a test sees whether one that was sent before is sent again.
pub fn end(claim: &mut Claim, outcome: Status) -> Envelope {
    let record = &mut claim.record;
    record.outcome = Some(outcome);
    record.finished_at = Some(Timestamp::now());
    record.error = (outcome != Status::Completed).then(|| Failure {
        code: "bad_output".into(),
        message: "black".into(),
        retryable: false,
        suggested_action: None,
    });
    let round = record.count("retried") as u32;
    let sha256 = record.spec_sha256.clone().unwrap_or_default();
    let id = webhook_id(&record.id, &sha256, outcome, round);
    record.webhook_id = Some(id.clone());
    let body = format!("{} {}", record.id, uuid::Uuid::new_v4());
    Envelope::new(id, &record.id, "http://localhost/", body, now_ms())
}

/// A drain in small: every job draws a seed, makes a file from it, and ends; ids that end in 7 fail
/// the first time and are retried; the job `j03` is handed back once. What is delivered is a line in
/// `log`.
pub async fn drain(queue: &dyn Queue, assets: &Path, log: &Path) {
    sweep(assets);
    loop {
        while let Some(claim) = next(queue).await {
            run(queue, claim, assets).await;
            deliver(queue, log).await;
        }
        deliver(queue, log).await;
        let mut again = false;
        for id in queue.dead_ids().await.unwrap() {
            again |= queue.retry(&id).await.unwrap() == Retry::Waiting;
        }
        if !again {
            return;
        }
    }
}

async fn run(queue: &dyn Queue, mut claim: Claim, assets: &Path) {
    if let Some(trouble) = claim.trouble.clone() {
        let envelope = end(&mut claim, Status::Failed);
        let told = !matches!(trouble, Trouble::Conflict { same_id: true, .. });
        queue.settle(&claim, told.then_some(&envelope)).await.unwrap();
        return;
    }
    if claim.id() == "j03" && claim.record.count("released") == 0 {
        queue.release(&claim, "a test wants it").await.unwrap();
        return;
    }
    if claim.record.seeds.is_empty() {
        claim.record.seeds = vec![u64::from_be_bytes(
            uuid::Uuid::new_v4().as_bytes()[..8].try_into().unwrap(),
        )];
        if queue.save(&claim).await.unwrap() == Lease::Lost {
            return;
        }
    }
    let fails = claim.id().ends_with('7') && claim.record.count("retried") == 0;
    let outcome = if fails { Status::Failed } else { Status::Completed };
    if !fails {
        let asset = assets.join(format!("{}.txt", claim.id()));
        let made = format!("{}", claim.record.seeds[0]);
        write_whole(&asset, made.as_bytes(), Existing::Keep).unwrap();
    }
    let envelope = end(&mut claim, outcome);
    queue.settle(&claim, Some(&envelope)).await.unwrap();
}

async fn deliver(queue: &dyn Queue, log: &Path) {
    let outbox = queue.outbox();
    for envelope in outbox.claim(Which::All(u64::MAX), 100).await.unwrap() {
        let mut log = OpenOptions::new().create(true).append(true).open(log).unwrap();
        let line = format!(
            "{} {}\n",
            envelope.webhook_id,
            sha256_hex(envelope.body.as_bytes())
        );
        log.write_all(line.as_bytes()).unwrap();
        outbox.remove(&envelope.webhook_id).await.unwrap();
    }
}

/// Runs a process that may be killed at a point; whether it came to its end.
pub fn ended(process: &mut std::process::Command) -> bool {
    let status = process.status().unwrap();
    let killed = std::os::unix::process::ExitStatusExt::signal(&status) == Some(9);
    assert!(status.success() || killed, "{process:?}: {status}");
    status.success()
}

/// One of this binary's tests as a process of its own.
pub fn process(test: &str, variables: &[(&str, &str)]) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .envs(variables.iter().copied())
        .stdout(std::process::Stdio::null());
    command
}

/// A folder in memory if there is such a place: kills are the same there, and no disk is waited for.
pub fn quick_folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// Kills drains at any moment until one comes to its end or `wanted` have died; how many died. `start`
/// begins one.
pub fn kill_at_random(wanted: usize, mut start: impl FnMut() -> std::process::Command) -> usize {
    let mut drain = start().spawn().unwrap();
    let mut crashes = 0;
    loop {
        let random = u64::from(uuid::Uuid::new_v4().as_bytes()[0]);
        std::thread::sleep(Duration::from_micros(2_000 + random * 200));
        if let Some(status) = drain.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return crashes;
        }
        if crashes < wanted {
            drain.kill().unwrap();
            drain.wait().unwrap();
            crashes += 1;
            drain = start().spawn().unwrap();
        }
    }
}

/// How many kills are wanted: `OURVIDZ_TEST_KILLS`, or the usual number.
pub fn kills(usual: usize) -> usize {
    let wanted = std::env::var("OURVIDZ_TEST_KILLS").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(usual)
}

/// The names of the kill points in a source text.
pub fn points(source: &str) -> impl Iterator<Item = &str> {
    source
        .split("point(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
}

/// What was delivered: every callback at least once, in one body, and no more often again than there
/// were crashes.
pub fn check_log(log: &Path, callbacks: usize, crashes: usize) {
    let text = std::fs::read_to_string(log).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    let sent = lines.len();
    lines.sort_unstable();
    lines.dedup();
    let mut ids: Vec<_> = lines.iter().map(|line| line.split(' ').next()).collect();
    ids.dedup();
    assert_eq!(ids.len(), lines.len(), "one callback was sent in two bodies");
    assert_eq!(ids.len(), callbacks, "callbacks told");
    assert!(
        sent - callbacks <= crashes,
        "{sent} sent of {callbacks}, {crashes} crashes"
    );
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}
