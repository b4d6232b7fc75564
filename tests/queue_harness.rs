//! A queue folder of a test's own, drains of it, a receiver of callbacks, and the invariants that
//! hold whatever happened.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::harness::{Bench, Ran};
use crate::patience::{appended, ended, ran};

/// A bench with a queue folder `q`.
pub struct Shop {
    pub bench: Bench,
    pub receiver: Option<Receiver>,
}

impl Shop {
    pub fn new() -> Self {
        let bench = Bench::new();
        std::fs::create_dir_all(bench.path("q/new")).unwrap();
        Self {
            bench,
            receiver: None,
        }
    }

    /// With a receiver that every drain is told of.
    pub fn with_receiver() -> Self {
        Self {
            receiver: Some(Receiver::start(|_| Answer::status(200))),
            ..Self::new()
        }
    }

    /// Puts a job of the mock model into the queue, as a producer that renames.
    pub fn job(&self, id: &str, prompt: &str) {
        self.spec(id, &json!({"id": id, "prompt": prompt, "config": {"steps": 3}}));
    }

    pub fn spec(&self, id: &str, spec: &Value) {
        self.raw(&format!("{id}.json"), spec.to_string().as_bytes());
    }

    pub fn raw(&self, name: &str, bytes: &[u8]) {
        let part = self.bench.path(&format!("q/.{name}.part"));
        std::fs::write(&part, bytes).unwrap();
        // Old enough to be known to be whole.
        let file = std::fs::File::options().write(true).open(&part).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(10))
            .unwrap();
        std::fs::rename(part, self.bench.path(&format!("q/new/{name}"))).unwrap();
    }

    pub fn jobs(&self, ids: impl Iterator<Item = usize>) {
        ids.for_each(|i| self.job(&format!("j{i}"), &format!("picture {i}")));
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut all = vec!["queue-drain", "q"];
        all.extend(args);
        let url = self.receiver.as_ref().map(|r| r.url.clone());
        if let Some(url) = &url {
            all.extend(["--callback-url", url]);
        }
        let mut command = self.bench.command(&all);
        command.env("OURVIDZ_DATA_DIR", self.bench.path("data"));
        command
    }

    /// Drains to the end.
    pub fn drain(&self, args: &[&str]) -> Ran {
        ran(self.command(args))
    }

    /// Starts a drain that nobody listens to.
    pub fn start(&self, args: &[&str]) -> Child {
        self.spawn(&mut self.command(args))
    }

    /// Starts a command that nobody listens to; what it logs is kept for [`Shop::ended`].
    pub fn spawn(&self, command: &mut Command) -> Child {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(appended(self.log()))
            .spawn()
            .unwrap()
    }

    /// The exit code of a process that was started here; `None` for one that was killed.
    #[track_caller]
    pub fn ended(&self, child: &mut Child) -> Option<i32> {
        ended(child, "a process of a shop", &self.log())
    }

    /// Kills a process that was started here; whether it was still there to be killed.
    #[track_caller]
    pub fn killed(&self, child: &mut Child) -> bool {
        signal(child, "-KILL");
        self.ended(child).is_none()
    }

    fn log(&self) -> PathBuf {
        self.bench.path("processes.log")
    }

    pub fn queue(&self, args: &[&str]) -> Ran {
        let mut all = vec!["queue"];
        all.extend(args);
        let mut command = self.bench.command(&all);
        command.env("OURVIDZ_DATA_DIR", self.bench.path("data"));
        ran(command)
    }

    pub fn names(&self, folder: &str) -> BTreeSet<String> {
        match std::fs::read_dir(self.bench.path(&format!("q/{folder}"))) {
            Ok(entries) => entries
                .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
                .collect(),
            Err(_) => BTreeSet::new(),
        }
    }

    pub fn done(&self, id: &str) -> Value {
        self.bench.json(&format!("q/done/{id}.json"))
    }

    pub fn dead(&self, id: &str) -> Value {
        self.bench.json(&format!("q/dead/{id}.json"))
    }

    /// What must be true once everything is drained: every job is done exactly once, its files are
    /// whole and those that its record and callback name, nothing half-done is left, and a repeated
    /// callback is the same.
    #[track_caller]
    pub fn all_is_well(&self, ids: &BTreeSet<String>, most_repeats: usize) {
        let done: BTreeSet<String> = self
            .names("done")
            .iter()
            .filter_map(|n| {
                n.strip_suffix(".json")
                    .filter(|n| !n.contains('.'))
                    .map(String::from)
            })
            .collect();
        assert_eq!(
            &done,
            ids,
            "dead: {:?}, work: {:?}",
            self.names("dead"),
            self.names("work")
        );
        for folder in ["new", "work", "outbox", "tmp"] {
            assert!(
                self.names(folder).is_empty(),
                "{folder}: {:?}",
                self.names(folder)
            );
        }
        let mut files: BTreeSet<String> = self
            .bench
            .files()
            .into_iter()
            .filter(|f| f.starts_with("q/assets/"))
            .collect();
        for id in ids {
            for asset in self.done(id)["assets"].as_array().unwrap() {
                let file = format!("q/assets/{}", asset["key"].as_str().unwrap());
                let bytes = self.bench.bytes(&file);
                assert_eq!(asset["sha256"], hex(&bytes), "{file}");
                assert_eq!(asset["size"], bytes.len(), "{file}");
                assert!(image::load_from_memory(&bytes).is_ok(), "{file}");
                assert!(files.remove(&file), "{file} belongs to two jobs");
            }
            let callback = format!("q/assets/_/{id}/callback.json");
            assert_eq!(self.bench.json(&callback)["status"], "completed");
            assert!(files.remove(&callback));
        }
        assert_eq!(files, BTreeSet::new(), "files that belong to no job");
        if let Some(receiver) = &self.receiver {
            receiver.each_told_once(ids, most_repeats);
        }
    }
}

pub fn ids(range: std::ops::Range<usize>) -> BTreeSet<String> {
    range.map(|i| format!("j{i}")).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

pub fn signal(child: &Child, name: &str) {
    signal_pid(child.id(), name);
}

pub fn signal_pid(pid: u32, name: &str) {
    // One that has ended in the meantime is no matter.
    let _ = Command::new("kill")
        .args([name, &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// Child processes of a process.
#[cfg(target_os = "linux")]
pub fn children(pid: u32) -> Vec<u32> {
    let path = PathBuf::from(format!("/proc/{pid}/task/{pid}/children"));
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|p| p.parse().ok()).collect()
}

/// A pseudo-random sequence of a test's own, so that a failure can be run again.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// A number from the environment.
pub fn wanted(name: &str, usual: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(usual)
}

/// A callback as it arrived.
#[derive(Debug, Clone)]
pub struct Told {
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Told {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn is_outcome(&self) -> bool {
        self.json()["status"] != "processing"
    }
}

/// What a receiver answers.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub after: Duration,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: String::new(),
            after: Duration::ZERO,
        }
    }
}

/// An HTTP server that keeps what it is told. It ends with the test process.
pub struct Receiver {
    pub url: String,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Receiver {
    pub fn start(answer: impl Fn(&Told) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/callback", listener.local_addr().unwrap());
        let told = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (told.clone(), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, answer) = (kept.clone(), answer.clone());
                thread::spawn(move || serve(stream, &kept, answer.as_ref()));
            }
        });
        Self { url, told }
    }

    pub fn all(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Outcomes by job.
    pub fn outcomes(&self) -> BTreeMap<String, Vec<Told>> {
        let mut outcomes: BTreeMap<String, Vec<Told>> = BTreeMap::new();
        for told in self.all().into_iter().filter(Told::is_outcome) {
            let body = told.json();
            let id = body["job_id"].as_str().or(body["jobId"].as_str());
            outcomes.entry(id.unwrap().into()).or_default().push(told);
        }
        outcomes
    }

    /// Every job's outcome arrived; repeats, in sum at most `most_repeats`, are the same bytes under
    /// the same id.
    #[track_caller]
    pub fn each_told_once(&self, ids: &BTreeSet<String>, most_repeats: usize) {
        let outcomes = self.outcomes();
        assert_eq!(&outcomes.keys().cloned().collect::<BTreeSet<_>>(), ids);
        let mut repeats = 0;
        for (id, told) in outcomes {
            for again in &told[1..] {
                assert_eq!(again.body, told[0].body, "{id}");
                assert_eq!(again.headers["webhook-id"], told[0].headers["webhook-id"], "{id}");
            }
            repeats += told.len() - 1;
        }
        assert!(
            repeats <= most_repeats,
            "{repeats} repeated callbacks, allowed are {most_repeats}"
        );
    }
}

fn serve(stream: TcpStream, kept: &Mutex<Vec<Told>>, answer: &(dyn Fn(&Told) -> Answer + Send + Sync)) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut stream = stream;
    while let Some(told) = request(&mut reader) {
        let answer = answer(&told);
        kept.lock().unwrap().push(told);
        thread::sleep(answer.after);
        let text = format!(
            "HTTP/1.1 {} x\r\ncontent-length: 0\r\n{}\r\n",
            answer.status, answer.headers
        );
        if stream.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

/// A request with its body; `None` when it did not come whole.
fn request(reader: &mut BufReader<TcpStream>) -> Option<Told> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => drop(headers.insert(name.to_lowercase(), value.to_string())),
            None => break,
        }
    }
    let mut body = vec![0; headers.get("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    Some(Told { headers, body })
}
