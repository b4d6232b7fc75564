//! A Redis of a test's own, drains of it, and the invariants that hold whatever happened.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use redis::Commands;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::patience::until;
use crate::queue_harness::Shop;

/// A server on a port of its own, with its data in a folder of its own.
pub struct Server {
    folder: TempDir,
    pub port: u16,
    process: Child,
    more: Vec<String>,
}

impl Server {
    /// Fails where there is no Redis to be started: a test that tests nothing must not pass.
    pub fn start(more: &[&str]) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let folder = TempDir::new().unwrap();
        let more: Vec<String> = more.iter().map(|m| (*m).to_string()).collect();
        let process = spawn(&folder, port, &more);
        let server = Self {
            folder,
            port,
            process,
            more,
        };
        server.wait();
        server
    }

    fn wait(&self) {
        until("Redis answers", 20, || self.try_connect().is_some());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn try_connect(&self) -> Option<redis::Connection> {
        let mut connection = redis::Client::open(self.url()).unwrap().get_connection().ok()?;
        // One that wants a password lives, too.
        let pong = redis::cmd("PING").query::<String>(&mut connection);
        let lives = pong.map_or_else(|e| e.to_string().contains("NOAUTH"), |_| true);
        lives.then_some(connection)
    }

    pub fn connect(&self) -> redis::Connection {
        self.try_connect().unwrap()
    }

    pub fn push(&self, list: &str, spec: &Value) {
        let _: i64 = self.connect().lpush(list, spec.to_string()).unwrap();
    }

    pub fn jobs(&self, range: std::ops::Range<usize>) {
        for i in range {
            self.push(
                "sdxl_queue",
                &json!({"id": format!("j{i}"), "prompt": "x", "config": {"steps": 3}}),
            );
        }
    }

    /// Records by job, from the hash beside the streams.
    pub fn done(&self) -> BTreeMap<String, Value> {
        let mut records = BTreeMap::new();
        for queue in ["sdxl_queue", "chat_queue", "wan_queue"] {
            let hash: HashMap<String, String> = self
                .connect()
                .hgetall(format!("ourvidz:{{{queue}}}:done"))
                .unwrap();
            records.extend(
                hash.into_iter()
                    .map(|(id, text)| (id, serde_json::from_str(&text).unwrap())),
            );
        }
        records
    }

    /// How many jobs wait or run.
    pub fn unfinished(&self) -> usize {
        let mut connection = self.connect();
        let lengths = ["sdxl_queue", "chat_queue", "wan_queue"].map(|queue| {
            let pushed: usize = connection.llen(queue).unwrap();
            let taken_in: usize = connection.xlen(format!("ourvidz:{{{queue}}}")).unwrap();
            pushed + taken_in
        });
        lengths.iter().sum()
    }

    /// Kills it and starts it again with what its log holds.
    pub fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = spawn(&self.folder, self.port, &self.more);
        self.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &TempDir, port: u16, more: &[String]) -> Child {
    Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args([
            "--appendonly",
            "yes",
            "--appendfsync",
            "always",
            "--maxmemory-policy",
            "noeviction",
        ])
        .args(["--dir", &folder.path().display().to_string()])
        .args(more)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed (.ci/packages does it)")
}

/// A drain of the server with storage in the bench.
pub fn drain(shop: &Shop, url: &str, args: &[&str]) -> Command {
    let receiver = shop.receiver.as_ref().unwrap().url.clone();
    let mut all = vec![
        "queue-drain",
        url,
        "--callback-url",
        &receiver,
        "--storage",
        "assets",
    ];
    if !args.contains(&"--lease") {
        all.extend(["--lease", "3s"]);
    }
    all.extend(args);
    let mut command = shop.bench.command(&all);
    command.env("OURVIDZ_DATA_DIR", shop.bench.path("data"));
    command
}

/// Drains to the end.
#[track_caller]
pub fn drained(shop: &Shop, url: &str, args: &[&str]) -> Option<i32> {
    shop.ended(&mut shop.spawn(&mut drain(shop, url, args)))
}

/// What must be true once everything is drained: every job is done exactly once, its file is whole,
/// nothing runs, and a repeated callback is the same.
#[track_caller]
pub fn all_is_well(shop: &Shop, server: &Server, ids: &BTreeSet<String>, most_repeats: usize) {
    let done = server.done();
    assert_eq!(&done.keys().cloned().collect::<BTreeSet<_>>(), ids);
    for (id, record) in done {
        assert_eq!(record["outcome"], "completed", "{record}");
        let asset = &record["assets"][0];
        let bytes = shop
            .bench
            .bytes(&format!("assets/{}", asset["key"].as_str().unwrap()));
        assert_eq!(asset["sha256"], crate::queue_harness::hex(&bytes), "{id}");
    }
    shop.receiver.as_ref().unwrap().each_told_once(ids, most_repeats);
    let status = shop.queue(&["status", &server.url(), "--json"]).exits(0).lines()[0].clone();
    assert_eq!(
        (&status["queues"]["sdxl_queue"]["depth"], &status["running"]),
        (&json!(0), &json!([]))
    );
}
