//! One worker process: started, spoken to, heard, ended.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child as Process, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::protocol::{Message, Order, line};
use crate::text::escaped;

/// Variables that hold secrets of the supervisor's, which a worker has no use for.
const SECRETS: &[&str] = &[
    "OURVIDZ_WEBHOOK_SECRET",
    "OURVIDZ_CALLBACK_TOKEN",
    "OURVIDZ_QUEUE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

/// How long a worker may take to end when asked.
const GRACE: Duration = Duration::from_secs(2);

/// Lines of stderr that are kept to tell what a dead worker said last.
const LAST_WORDS: usize = 5;

/// How workers are started.
#[derive(Debug, Clone)]
pub struct Launch {
    /// This program.
    pub program: PathBuf,
    /// What every worker is given beside its name and device.
    pub args: Vec<OsString>,
}

/// A worker process.
pub struct Child {
    pub name: String,
    pub pid: u32,
    process: Process,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    last_words: Arc<Mutex<VecDeque<String>>>,
}

impl Launch {
    /// Starts a worker for `device`.
    ///
    /// # Errors
    /// When the system gives no process.
    pub fn start(&self, name: &str, device: &str) -> Result<Child> {
        let mut command = Command::new(&self.program);
        command
            .arg("worker")
            .args(["--name", name, "--device", device])
            .args(&self.args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for secret in SECRETS {
            command.env_remove(secret);
        }
        // Tests kill supervisor and worker at places of their own.
        match std::env::var_os("OURVIDZ_KILL_WORKER_AT") {
            Some(place) => command.env("OURVIDZ_KILL_AT", place),
            None => command.env_remove("OURVIDZ_KILL_AT"),
        };
        // Ctrl-C reaches the supervisor alone, which decides what becomes of the job.
        #[cfg(unix)]
        command.process_group(0);
        let mut process = command
            .spawn()
            .with_context(|| format!("worker `{name}`: cannot be started"))?;
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let last_words = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(stderr) = stderr {
            tokio::spawn(pass_on(
                BufReader::new(stderr).lines(),
                name.into(),
                last_words.clone(),
            ));
        }
        Ok(Child {
            name: name.into(),
            pid: process.id().unwrap_or_default(),
            stdin: stdin.context("a worker has a stdin")?,
            stdout: BufReader::new(stdout.context("a worker has a stdout")?).lines(),
            process,
            last_words,
        })
    }
}

/// A worker's stderr, line by line, under its name.
async fn pass_on(
    mut lines: Lines<BufReader<tokio::process::ChildStderr>>,
    name: String,
    last_words: Arc<Mutex<VecDeque<String>>>,
) {
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::info!(worker = name, "{line}");
        if let Ok(mut words) = last_words.lock() {
            if words.len() == LAST_WORDS {
                words.pop_front();
            }
            words.push_back(line);
        }
    }
}

impl Child {
    /// # Errors
    /// When the worker has closed its end: it is dying, and [`Child::next`] will say so.
    pub async fn send(&mut self, order: &Order) -> Result<()> {
        self.stdin.write_all(line(order).as_bytes()).await?;
        Ok(self.stdin.flush().await?)
    }

    /// The next message; `None` once the worker is gone and everything it said has been heard.
    /// Safe to be dropped while it waits.
    pub async fn next(&mut self) -> Option<Message> {
        while let Ok(Some(line)) = self.stdout.next_line().await {
            match serde_json::from_str(&line) {
                Ok(message) => return Some(message),
                Err(_) => tracing::warn!(worker = self.name, "not understood: {}", shortened(&line)),
            }
        }
        None
    }

    /// Ends the worker at once and tells how it ended.
    pub async fn kill(&mut self) -> String {
        // It may be gone already.
        let _ = self.process.start_kill();
        self.ended().await
    }

    /// Asks the worker to end, and ends it when it does not.
    pub async fn dismiss(mut self) {
        if self.send(&Order::Exit).await.is_ok() && timeout(GRACE, self.process.wait()).await.is_ok() {
            return;
        }
        self.kill().await;
    }

    /// How the worker ended, in words; one that still lives without a stdout is ended first.
    pub async fn ended(&mut self) -> String {
        let status = match timeout(GRACE, self.process.wait()).await {
            Ok(status) => status,
            Err(_) => {
                let _ = self.process.start_kill();
                self.process.wait().await
            }
        };
        let how = status.map_or_else(|e| format!("cannot be waited for ({e})"), in_words);
        let words = self
            .last_words
            .lock()
            .ok()
            .and_then(|words| words.back().cloned());
        match words {
            Some(words) => format!("{how}; its last words: {}", shortened(&words)),
            None => how,
        }
    }
}

#[cfg(unix)]
fn in_words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("ended by signal {signal}"),
        (None, code) => format!("ended with exit code {}", code.unwrap_or_default()),
    }
}

#[cfg(not(unix))]
fn in_words(status: ExitStatus) -> String {
    format!("ended with {status}")
}

/// Enough of a line to recognise it.
fn shortened(line: &str) -> String {
    let mut text: String = line.chars().take(300).collect();
    if text.len() < line.len() {
        text.push('…');
    }
    escaped(&text)
}
