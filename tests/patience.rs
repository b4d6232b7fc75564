//! Waiting with an end: what does not come in time is named, and the test stops.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::harness::Ran;

/// The longest that a process of a test may live, on a busy machine too.
const LONGEST_LIFE: Duration = Duration::from_secs(150);

/// Bytes of a log that are shown where something did not end.
const SHOWN: usize = 4000;

/// Waits until something is so.
#[track_caller]
pub fn until(what: &str, seconds: u64, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(seconds);
    while !so() {
        assert!(Instant::now() < end, "not within {seconds} s: {what}");
        sleep(Duration::from_millis(10));
    }
}

/// The exit code of a process that ends by itself or was killed (`None`). One that lives on is ended,
/// and what it logged is shown.
#[track_caller]
pub fn ended(child: &mut Child, what: &str, log: &Path) -> Option<i32> {
    let end = Instant::now() + LONGEST_LIFE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "{what} did not end in {LONGEST_LIFE:?}; it said last:\n{}",
                tail(log)
            );
        }
        sleep(Duration::from_millis(3));
    }
}

/// Runs a command to its end.
#[track_caller]
pub fn ran(mut command: Command) -> Ran {
    let folder = TempDir::new().unwrap();
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap();
    let code = ended(&mut child, &format!("{command:?}"), &err);
    Ran {
        code,
        stdout: String::from_utf8(fs::read(out).unwrap()).unwrap(),
        stderr: String::from_utf8_lossy(&fs::read(err).unwrap()).into_owned(),
    }
}

/// Where several processes log, one after the other or at once.
pub fn appended(log: PathBuf) -> Stdio {
    let file = File::options().append(true).create(true).open(log);
    file.unwrap().into()
}

fn tail(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let from = bytes.len().saturating_sub(SHOWN);
    String::from_utf8_lossy(&bytes[from..]).into_owned()
}
