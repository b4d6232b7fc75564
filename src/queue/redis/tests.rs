use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;
use crate::error::{ErrorKind, kind_of};
use crate::outbox::envelope::{Which, now_ms};
use crate::outcome::Status;
use crate::queue::contract::{Format, State, Trouble};
use crate::queue::testing::*;

/// A server of the test's own, which ends with it.
struct Redis {
    folder: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Redis {
    fn start(options: &[&str]) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        let child = Self::spawn(port, folder.path(), options);
        Self { folder, port, child }
    }

    fn spawn(port: u16, folder: &Path, options: &[&str]) -> Child {
        let mut child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port"])
            .arg(port.to_string())
            .arg("--dir")
            .arg(folder)
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed (.ci/packages does it)");
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(child.try_wait().unwrap().is_none(), "redis-server ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        child
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn open(&self, consumer: &str) -> RedisQueue {
        open(&self.url(), options(consumer)).await.unwrap()
    }

    async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let place = Place::parse(&self.url()).unwrap();
        let server = Server::new(&place, Duration::from_secs(5)).unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        server.ask(command).await.unwrap()
    }

    async fn refusal(&self, url: &str, force: bool) -> anyhow::Error {
        let options = Options {
            force,
            ..options("d")
        };
        open(url, options).await.err().expect("it is refused")
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn open(url: &str, options: Options) -> Result<RedisQueue> {
    RedisQueue::open(&Place::parse(url)?, Access::Drain, options).await
}

fn short_lease(consumer: &str) -> Options {
    Options {
        lease: Duration::from_millis(60),
        ..options(consumer)
    }
}

fn push(id: &str) -> String {
    String::from_utf8(spec(id, "image")).unwrap()
}

const STREAM: &str = "ourvidz:{sdxl_queue}";

#[tokio::test]
async fn a_job_goes_from_the_stream_to_done_with_its_callback() {
    let redis = Redis::start(&[]);
    let queue = redis.open("d").await;
    assert_eq!(queue.add(&new_job("a")).await.unwrap(), Added::New);
    let mut claim = next(&queue).await.unwrap();
    assert_eq!(claim.spec, spec("a", "image"));
    claim.record.seeds = vec![u64::MAX];
    assert_eq!(queue.save(&claim).await.unwrap(), Lease::Held);
    let beat = queue.heartbeat(&claim, &running(&claim, 3)).await.unwrap();
    assert_eq!(beat, Lease::Held);
    let seen = redis.open("look").await.snapshot().await.unwrap();
    assert_eq!((seen.running[0].step, seen.waiting.len()), (3, 0));

    let envelope = end(&mut claim, Status::Completed);
    let settled = queue.settle(&claim, Some(&envelope)).await.unwrap();
    assert_eq!(settled, Settled::Yes);
    let record: String = redis.ask(&["HGET", &format!("{STREAM}:done"), "a"]).await;
    assert_eq!(serde_json::from_str::<Record>(&record).unwrap(), claim.record);
    assert_eq!(redis.ask::<usize>(&["XLEN", STREAM]).await, 0);
    assert_eq!(queue.recent(9).await.unwrap(), [claim.record.clone()]);
    assert_eq!(
        queue.outbox().claim(Which::All(u64::MAX), 9).await.unwrap(),
        std::slice::from_ref(&envelope)
    );
    // The answer may get lost: the same again is the same.
    assert_eq!(queue.settle(&claim, Some(&envelope)).await.unwrap(), Settled::Yes);
    assert_eq!(queue.release(&claim, "x").await.unwrap(), Lease::Lost);
    queue.outbox().remove(&envelope.webhook_id).await.unwrap();
    queue.close().await.unwrap();
    // Nothing is left of it but its record and its id.
    let mut keys: Vec<String> = redis.ask(&["KEYS", "*sdxl*"]).await;
    keys.sort();
    let left = ["", ":done", ":done:at", ":ids"].map(|part| format!("{STREAM}{part}"));
    assert_eq!(keys, left);
}

#[tokio::test]
async fn lists_are_taken_in_from_either_end_whatever_producers_wrap_around_a_job() {
    let redis = Redis::start(&[]);
    for end in [ListEnd::Right, ListEnd::Left] {
        let wrapped = format!("[{}]", serde_json::to_string(&push("b")).unwrap());
        let command = if end == ListEnd::Right { "LPUSH" } else { "RPUSH" };
        let _: usize = redis
            .ask(&[
                command,
                "sdxl_queue",
                &push("a"),
                &wrapped,
                r#"{"type":"image"}"#,
                "rubbish",
            ])
            .await;
        let options = Options {
            list_end: end,
            ..options("d")
        };
        let queue = open(&redis.url(), options).await.unwrap();
        let mut ids = Vec::new();
        while let Some(mut claim) = next(&queue).await {
            ids.push((claim.id().to_string(), claim.peeked.queue.is_some()));
            end_dead(&queue, &mut claim).await;
        }
        // What is no job is refused first; an id is made from the entry's.
        assert_eq!(ids.len(), 4, "{ids:?}");
        assert!(!ids[0].1 && ids[0].0.starts_with("job-"), "{ids:?}");
        assert_eq!((ids[1].0.as_str(), ids[2].0.as_str()), ("a", "b"));
        assert!(ids[3].1 && TestPeek.is_id(&ids[3].0), "{ids:?}");
        assert_eq!(redis.ask::<usize>(&["LLEN", "sdxl_queue"]).await, 0);
        let _: String = redis.ask(&["FLUSHALL"]).await;
    }
}

async fn end_dead(queue: &RedisQueue, claim: &mut Claim) {
    end(claim, Status::Failed);
    assert_eq!(queue.settle(claim, None).await.unwrap(), Settled::Yes);
}

#[tokio::test]
async fn a_stopped_drain_is_refused_everything_after_its_lease() {
    let redis = Redis::start(&[]);
    let stopped = redis.open("stopped").await;
    stopped.add(&new_job("a")).await.unwrap();
    let mut old = next(&stopped).await.unwrap();
    old.record.seeds = vec![7];
    stopped.save(&old).await.unwrap();

    let other = open(&redis.url(), short_lease("other")).await.unwrap();
    let mut new = loop {
        match other.claim(&wish()).await.unwrap() {
            Next::Job(claim) => break claim,
            Next::Soon(_) | Next::Empty => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    assert_eq!((new.id(), &new.record.seeds[..]), ("a", &[7][..]));
    assert_eq!((new.record.attempts, new.record.count("recovered")), (0, 1));

    let envelope = end(&mut old, Status::Completed);
    assert_eq!(
        stopped.heartbeat(&old, &running(&old, 1)).await.unwrap(),
        Lease::Lost
    );
    assert_eq!(stopped.save(&old).await.unwrap(), Lease::Lost);
    assert_eq!(
        stopped.settle(&old, Some(&envelope)).await.unwrap(),
        Settled::Lost
    );
    assert_eq!(stopped.release(&old, "late").await.unwrap(), Lease::Lost);
    assert_eq!(stopped.outbox().counts().await.unwrap().waiting, 0);
    assert_eq!(stopped.lookup("a").await.unwrap().unwrap().state, State::Running);

    let envelope = end(&mut new, Status::Completed);
    assert_eq!(other.settle(&new, Some(&envelope)).await.unwrap(), Settled::Yes);
    assert_eq!(other.outbox().counts().await.unwrap().waiting, 1);
}

#[tokio::test]
async fn an_old_claim_of_the_same_drain_is_refused_too() {
    let redis = Redis::start(&[]);
    let queue = redis.open("d").await;
    queue.add(&new_job("a")).await.unwrap();
    let mut old = next(&queue).await.unwrap();
    queue.release(&old, "a pause").await.unwrap();
    let new = next(&queue).await.unwrap();
    end(&mut old, Status::Completed);
    assert_eq!(queue.settle(&old, None).await.unwrap(), Settled::Lost);
    assert_eq!(queue.save(&old).await.unwrap(), Lease::Lost);
    assert_eq!(queue.save(&new).await.unwrap(), Lease::Held);
    assert_eq!(new.record.count("released"), 1);
}

#[tokio::test]
async fn a_heartbeat_keeps_a_lease() {
    let redis = Redis::start(&[]);
    let queue = redis.open("d").await;
    queue.add(&new_job("a")).await.unwrap();
    let claim = next(&queue).await.unwrap();
    let other = open(&redis.url(), short_lease("other")).await.unwrap();
    // Each look comes straight after a sign of life.
    for step in 0..20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        queue.heartbeat(&claim, &running(&claim, step)).await.unwrap();
        assert!(!matches!(other.claim(&wish()).await.unwrap(), Next::Job(_)));
    }
    assert!(matches!(queue.claim(&wish()).await.unwrap(), Next::Empty));
}

#[tokio::test]
async fn the_same_job_again_is_dropped_and_another_one_under_its_id_is_a_conflict() {
    let redis = Redis::start(&[]);
    let other = String::from_utf8(spec("a", "video")).unwrap();
    for job in [push("a"), push("a"), other.clone(), push("A"), other] {
        let _: String = redis.ask(&["XADD", STREAM, "*", "job", &job]).await;
    }
    let queue = redis.open("d").await;
    let mut first = next(&queue).await.unwrap();
    let conflict = |same_id| {
        Some(Trouble::Conflict {
            with: "a".into(),
            same_id,
        })
    };
    let mut seen = Vec::new();
    while let Some(mut claim) = next(&queue).await {
        seen.push((claim.id().to_string(), claim.trouble.clone()));
        end_dead(&queue, &mut claim).await;
    }
    let (a, big) = (("a".into(), conflict(true)), ("A".into(), conflict(false)));
    assert_eq!(seen, [a.clone(), big, a]);
    end(&mut first, Status::Completed);
    assert_eq!(queue.settle(&first, None).await.unwrap(), Settled::Yes);
    let mut names: Vec<String> = redis.ask(&["HKEYS", &format!("{STREAM}:dead:at")]).await;
    names.sort();
    assert_eq!(names, ["A.conflict-1", "a.conflict-1", "a.conflict-2"]);
    assert!(queue.dead_ids().await.unwrap().is_empty());
    assert_eq!(queue.lookup("a").await.unwrap().unwrap().state, State::Done);
}

#[tokio::test]
async fn adding_again_is_nothing_and_adding_something_else_is_refused() {
    let redis = Redis::start(&[]);
    let queue = redis.open("d").await;
    let job = new_job("a");
    assert_eq!(queue.add(&job).await.unwrap(), Added::New);
    assert_eq!(queue.add(&job).await.unwrap(), Added::Same(State::Waiting));
    let mut claim = next(&queue).await.unwrap();
    assert_eq!(queue.add(&job).await.unwrap(), Added::Same(State::Running));
    end(&mut claim, Status::Completed);
    queue.settle(&claim, None).await.unwrap();
    assert_eq!(queue.add(&job).await.unwrap(), Added::Same(State::Done));
    for id in ["a", "A"] {
        let mut other = new_job(id);
        other.spec = spec(id, "video");
        let refused = queue.add(&other).await.unwrap_err();
        assert_eq!(kind_of(&refused), ErrorKind::Conflict);
    }
    // Forgotten jobs may come again.
    assert_eq!(queue.purge_done(Duration::from_secs(60)).await.unwrap(), 0);
    assert_eq!(queue.purge_done(Duration::ZERO).await.unwrap(), 1);
    assert_eq!(queue.add(&job).await.unwrap(), Added::New);
    let mut yaml = new_job("y");
    yaml.format = Format::Yaml;
    assert!(queue.add(&yaml).await.is_err());
}

#[tokio::test]
async fn a_dead_job_is_tried_again_under_its_id_even_a_made_one() {
    let redis = Redis::start(&[]);
    let queue = redis.open("d").await;
    let _: usize = redis.ask(&["LPUSH", "sdxl_queue", r#"{"type": "image"}"#]).await;
    let mut claim = next(&queue).await.unwrap();
    let id = claim.id().to_string();
    claim.record.seeds = vec![5];
    claim.record.attempts = 3;
    let first = end(&mut claim, Status::Failed);
    queue.settle(&claim, Some(&first)).await.unwrap();
    let dead: Vec<Vec<redis::Value>> = redis.ask(&["XRANGE", &format!("{STREAM}:dead"), "-", "+"]).await;
    assert_eq!(dead.len(), 1);
    assert_eq!(queue.dead_ids().await.unwrap(), std::slice::from_ref(&id));
    assert_eq!(queue.retry(&id).await.unwrap(), Retry::Waiting);
    assert_eq!(queue.retry(&id).await.unwrap(), Retry::Waiting);
    assert_eq!(queue.retry("x").await.unwrap(), Retry::NotDead(None));
    let mut again = next(&queue).await.unwrap();
    assert_eq!(
        (again.id(), again.record.attempts, &again.record.seeds[..]),
        (id.as_str(), 0, &[5][..])
    );
    let second = end(&mut again, Status::Completed);
    queue.settle(&again, Some(&second)).await.unwrap();
    assert_eq!(queue.retry(&id).await.unwrap(), Retry::NotDead(Some(State::Done)));
    assert_eq!(queue.snapshot().await.unwrap().dead, 0);
}

#[tokio::test]
async fn cancelling_takes_a_waiting_job_and_asks_for_a_running_one() {
    let redis = Redis::start(&[]);
    let queue = redis.open("d").await;
    let command = redis.open("command").await;
    for id in ["a", "b"] {
        queue.add(&new_job(id)).await.unwrap();
    }
    let mut claim = next(&queue).await.unwrap();
    assert!(matches!(command.cancel("a").await.unwrap(), Cancel::Asked));
    let beat = queue.heartbeat(&claim, &running(&claim, 1)).await.unwrap();
    assert_eq!(beat, Lease::CancelAsked);
    end(&mut claim, Status::Cancelled);
    queue.settle(&claim, None).await.unwrap();
    let Cancel::Taken(mut claim) = command.cancel("b").await.unwrap() else {
        panic!("it waits");
    };
    assert_eq!(claim.trouble, Some(Trouble::Cancelled));
    end(&mut claim, Status::Cancelled);
    command.settle(&claim, None).await.unwrap();
    assert!(next(&queue).await.is_none());
    assert!(matches!(command.cancel("b").await.unwrap(), Cancel::Ended(_)));
    assert!(matches!(command.cancel("x").await.unwrap(), Cancel::Unknown));
    // What was cancelled and is tried again is not cancelled again.
    assert_eq!(queue.retry("a").await.unwrap(), Retry::Waiting);
    assert_eq!(next(&queue).await.unwrap().trouble, None);
}

#[tokio::test]
async fn nobody_waits_behind_more_than_twenty_younger_ones_among_several_drains() {
    let redis = Redis::start(&[]);
    let queue = redis.open("d").await;
    let model = |n: usize| if n.is_multiple_of(3) { "rare" } else { "usual" };
    for n in 0..60 {
        let text = format!(r#"{{"id": "j{n:02}", "type": "image", "model": "{}"}}"#, model(n));
        let _: String = redis.ask(&["XADD", STREAM, "*", "job", &text]).await;
    }
    let plan = queue.plan(&wish(), 100).await.unwrap();
    assert_eq!(plan.len(), 60);
    let drains = [redis.open("a").await, redis.open("b").await];
    let mut order = Vec::new();
    loop {
        let wish = Wish {
            affinity: Some("usual".into()),
            ..wish()
        };
        let drain = &drains[order.len() % 2];
        let Next::Job(mut claim) = drain.claim(&wish).await.unwrap() else {
            break;
        };
        order.push(claim.id()[1..].parse::<usize>().unwrap());
        end(&mut claim, Status::Completed);
        drain.settle(&claim, None).await.unwrap();
    }
    assert_eq!(order.len(), 60);
    assert_ne!(order[..10], (0..10).collect::<Vec<_>>()[..], "by model first");
    for (place, &job) in order.iter().enumerate() {
        let younger = order[..place].iter().filter(|&&other| other > job).count();
        assert!(younger <= 20, "{job} waited behind {younger}: {order:?}");
    }
}

#[tokio::test]
async fn callbacks_go_to_one_sender_at_a_time() {
    let redis = Redis::start(&[]);
    let (one, two) = (redis.open("one").await, redis.open("two").await);
    let mut envelopes = Vec::new();
    for (id, kind) in [("a", "image"), ("b", "chat")] {
        let mut job = new_job(id);
        job.spec = spec(id, kind);
        job.queue = if kind == "chat" {
            QueueName::Chat
        } else {
            QueueName::Sdxl
        };
        one.add(&job).await.unwrap();
        let mut claim = next(&one).await.unwrap();
        let envelope = end(&mut claim, Status::Completed);
        one.settle(&claim, Some(&envelope)).await.unwrap();
        envelopes.push(envelope);
    }
    let (one, two) = (one.outbox(), two.outbox());
    let mut held = one.claim(Which::Due(now_ms()), 1).await.unwrap();
    assert_eq!(held.len(), 1);
    assert_eq!(
        two.claim(Which::All(u64::MAX), 9).await.unwrap(),
        [envelopes[1].clone()]
    );
    assert!(one.claim(Which::All(u64::MAX), 9).await.unwrap().is_empty());
    two.release(&envelopes[1].webhook_id).await.unwrap();
    assert_eq!(
        one.claim(Which::All(u64::MAX), 9).await.unwrap(),
        [envelopes[1].clone()]
    );

    let mut tried = held.remove(0);
    tried.attempt = 1;
    tried.next_at_ms = now_ms() + 60_000;
    one.reschedule(&tried).await.unwrap();
    assert!(two.claim(Which::Due(now_ms()), 9).await.unwrap().is_empty());
    assert_eq!(two.claim(Which::All(u64::MAX), 9).await.unwrap(), [tried.clone()]);
    for state in [
        crate::outbox::envelope::State::GivenUp,
        crate::outbox::envelope::State::Gone,
    ] {
        tried.state = state;
        two.reschedule(&tried).await.unwrap();
        let wanted = usize::from(state == crate::outbox::envelope::State::GivenUp);
        assert!(two.claim(Which::Due(u64::MAX / 4), 9).await.unwrap().is_empty());
        assert_eq!(two.claim(Which::All(u64::MAX), 9).await.unwrap().len(), wanted);
    }
    one.remove(&envelopes[1].webhook_id).await.unwrap();
    let counts = two.counts().await.unwrap();
    assert_eq!((counts.waiting, counts.given_up, counts.gone), (0, 0, 1));
}

#[tokio::test]
async fn servers_that_cannot_keep_jobs_are_refused_with_the_way_out() {
    let redis = Redis::start(&["--requirepass", "s3cret", "--maxmemory-policy", "allkeys-lru"]);
    let host = format!("127.0.0.1:{}", redis.port);
    let with = |user: &str| format!("redis://{user}@{host}");
    for (url, force, says) in [
        (redis.url(), false, "asks for a password"),
        (with(":wr0ng"), false, "refuses the user or password"),
        (with("wr0ng:s3cret"), false, "refuses the user or password"),
        (with(":s3cret"), false, "maxmemory-policy is `allkeys-lru`"),
    ] {
        let error = redis.refusal(&url, force).await;
        let text = format!("{error:#}");
        assert_eq!(kind_of(&error).exit_code(), 78, "{text}");
        assert!(text.contains(says), "{text}");
        assert!(!text.contains("s3cret") && !text.contains("wr0ng"), "{text}");
    }
    let options = Options {
        force: true,
        ..options("d")
    };
    let queue = open(&with(":s3cret"), options).await.unwrap();
    assert_eq!(queue.shown(), format!("redis://{host}"));
}

#[tokio::test]
async fn keys_of_another_type_are_refused() {
    let redis = Redis::start(&[]);
    for key in ["sdxl_queue", "ourvidz:{wan_queue}", "ourvidz:{chat_queue}:outbox"] {
        let _: String = redis.ask(&["SET", key, "x"]).await;
        let error = redis.refusal(&redis.url(), false).await;
        assert_eq!(kind_of(&error).exit_code(), 78);
        assert!(format!("{error:#}").contains(key), "{error:#}");
        let _: i64 = redis.ask(&["DEL", key]).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let mut redis = Redis::start(&[]);
    redis.kill();
    let options = Options {
        patience: Duration::from_millis(300),
        ..options("d")
    };
    let error = open(&redis.url(), options).await.err().unwrap();
    assert_eq!(kind_of(&error).exit_code(), 69, "{error:#}");
}

#[tokio::test]
async fn a_server_that_comes_back_finds_the_drain_where_it_was() {
    let options = ["--appendonly", "yes", "--appendfsync", "always"];
    let mut redis = Redis::start(&options);
    let queue = redis.open("d").await;
    queue.add(&new_job("a")).await.unwrap();
    let mut claim = next(&queue).await.unwrap();
    redis.kill();
    let envelope = end(&mut claim, Status::Completed);
    let settling = tokio::spawn(async move {
        let settled = queue.settle(&claim, Some(&envelope)).await;
        (queue, settled)
    });
    tokio::time::sleep(Duration::from_millis(150)).await;
    redis.child = Redis::spawn(redis.port, redis.folder.path(), &options);
    let (queue, settled) = settling.await.unwrap();
    assert_eq!(settled.unwrap(), Settled::Yes);
    // And one that lost everything is set up again.
    let _: String = redis.ask(&["FLUSHALL"]).await;
    assert!(next(&queue).await.is_none());
    queue.add(&new_job("b")).await.unwrap();
    assert_eq!(next(&queue).await.unwrap().id(), "b");
}

#[tokio::test]
async fn waiting_ends_with_a_new_entry_or_item() {
    let redis = Redis::start(&[]);
    let queue = Arc::new(redis.open("d").await);
    for words in [
        ["XADD", "ourvidz:{wan_queue}", "*", "job", &push("a")].to_vec(),
        ["LPUSH", "chat_queue", &push("b")].to_vec(),
    ] {
        while next(queue.as_ref()).await.is_some() {}
        let waiting = queue.clone();
        let waited = tokio::spawn(async move { waiting.wait(Duration::from_secs(3600)).await });
        let _: redis::Value = redis.ask(&words).await;
        waited.await.unwrap().unwrap();
    }
}

/// The drain that the tests below start and kill; nothing on its own.
#[test]
fn a_drain_to_be_killed() {
    if let Ok(url) = std::env::var("OURVIDZ_TEST_REDIS_DRAIN") {
        let folder = std::path::PathBuf::from(std::env::var("OURVIDZ_TEST_FOLDER").unwrap());
        block_on(async {
            let queue = open(&url, options("d")).await.unwrap();
            drain(&queue, &folder, &folder.with_extension("log")).await;
            queue.close().await.unwrap();
        });
    }
}

const DRAIN: &str = "queue::redis::tests::a_drain_to_be_killed";

/// A server with twenty jobs in stream and list, one twice and one under an id that is taken.
struct Twenty {
    redis: Redis,
    folder: tempfile::TempDir,
    url: String,
}

impl Twenty {
    fn new() -> Self {
        let redis = Redis::start(&[]);
        let url = redis.url();
        block_on(async {
            for n in 0..20 {
                let job = push(&format!("j{n:02}"));
                let _: redis::Value = match n % 2 {
                    0 => redis.ask(&["XADD", STREAM, "*", "job", &job]).await,
                    _ => redis.ask(&["LPUSH", "sdxl_queue", &job]).await,
                };
            }
            let other = String::from_utf8(spec("j02", "video")).unwrap();
            for job in [push("j01"), other] {
                let _: usize = redis.ask(&["LPUSH", "sdxl_queue", &job]).await;
            }
        });
        Self {
            redis,
            folder: quick_folder(),
            url,
        }
    }

    fn process(&self, more: &[(&str, &str)]) -> Command {
        let folder = self.folder.path().join("assets");
        let mut command = process(DRAIN, more);
        command
            .env("OURVIDZ_TEST_REDIS_DRAIN", &self.url)
            .env("OURVIDZ_TEST_FOLDER", folder);
        command
    }

    fn check(&self, crashes: usize) {
        block_on(async {
            let queue = self.redis.open("check").await;
            let seen = queue.snapshot().await.unwrap();
            assert_eq!((seen.waiting.len(), seen.running.len()), (0, 0));
            assert_eq!((seen.done, seen.dead, seen.outbox.waiting), (20, 1, 0));
            for n in 0..20 {
                let id = format!("j{n:02}");
                let record = queue.lookup(&id).await.unwrap().unwrap().record;
                let asset = self.folder.path().join(format!("assets/{id}.txt"));
                let asset = std::fs::read_to_string(asset).unwrap();
                assert_eq!(record.seeds[0].to_string(), asset, "{id}: drawn once");
                assert_eq!(record.outcome, Some(Status::Completed));
            }
        });
        check_log(&self.folder.path().join("assets.log"), 22, crashes);
    }
}

#[test]
fn a_kill_between_any_two_steps_loses_nothing_and_tells_nothing_twice_over() {
    let sources = [
        include_str!("claim.rs"),
        include_str!("settle.rs"),
        include_str!("outbox.rs"),
        include_str!("admin.rs"),
    ];
    let mut killed = 0;
    for (turn, name) in sources.into_iter().flat_map(points).enumerate() {
        let twenty = Twenty::new();
        let at = format!("{name}:{}", [1, 2, 20][turn % 3]);
        let mut crashes = 0;
        loop {
            let kill = [("OURVIDZ_KILL_AT", at.as_str())];
            let again = if crashes < 2 { &kill[..] } else { &[] };
            if ended(&mut twenty.process(again)) {
                break;
            }
            crashes += 1;
        }
        killed += usize::from(crashes > 0);
        twenty.check(crashes);
    }
    assert!(killed >= 9, "{killed}");
}

#[test]
fn kills_at_any_moment_lose_nothing() {
    let mut left = kills(30);
    while left > 0 {
        let twenty = Twenty::new();
        let crashes = kill_at_random(left, || twenty.process(&[]));
        twenty.check(crashes);
        left -= crashes;
    }
}

#[test]
fn eight_drains_share_the_work_and_do_each_job_once() {
    let twenty = Twenty::new();
    let mut drains: Vec<_> = (0..8).map(|_| twenty.process(&[]).spawn().unwrap()).collect();
    for drain in &mut drains {
        assert!(drain.wait().unwrap().success());
    }
    // Another drain may have retried what this one saw fail, so the last looks after the rest.
    assert!(ended(&mut twenty.process(&[])));
    twenty.check(0);
}
