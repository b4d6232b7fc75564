//! What lies in `new/`, and which of it is whole.
//!
//! A file that its writer renames in is whole at once: its inode was changed after its last write. One
//! that is written in place shows the same time for both, and is left alone until it stands still.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use jiff::Timestamp;

use super::layout::{self, Layout, Source};
use crate::files::{open_regular, sha256_hex};
use crate::queue::contract::{Peek, Peeked, SPEC_READ_BYTES};
use crate::queue::order::Candidate;
use crate::queue::record::Record;

/// Unchanged for this long is finished.
const STILL: Duration = Duration::from_secs(2);

/// A drain that does not watch waits no longer than this for a file that is being written.
const PATIENCE: Duration = Duration::from_secs(5);

/// A waiting file that may be taken.
#[derive(Debug, Clone)]
pub struct Entry {
    /// In `new/`.
    pub file: OsString,
    pub source: Source,
    pub print: Print,
    pub look: Arc<Look>,
    pub passed: u32,
    /// Somebody wants it to end before it runs.
    pub cancelled: bool,
}

/// What changes with a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Print {
    size: u64,
    modified: SystemTime,
    inode: u64,
}

/// What a waiting file says.
#[derive(Debug, Clone, Default)]
pub struct Look {
    pub peeked: Peeked,
    /// The job's id: that of its record, of its spec, of its name; `None`: one is to be made.
    pub id: Option<String>,
    /// What is known from an earlier claim.
    pub record: Option<Record>,
    /// Not kept while it waits.
    pub spec: Vec<u8>,
    pub spec_sha256: Option<String>,
    /// Why there is no spec to read.
    pub no_file: Option<String>,
}

/// Which files a scan gives out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// Those that may be taken.
    Whole,
    /// Those that are perhaps still being written, too.
    All,
}

/// The files seen so far.
#[derive(Default)]
pub struct Scan {
    seen: HashMap<OsString, Seen>,
}

struct Seen {
    print: Print,
    first: Instant,
    still_since: Instant,
    passed: u32,
    look: Option<Arc<Look>>,
}

/// The answer to [`Scan::run`].
#[derive(Default)]
pub struct Scanned {
    /// Oldest first.
    pub ready: Vec<Entry>,
    /// When the first of the others may be ready.
    pub soon: Option<Duration>,
}

impl Scan {
    /// Lists `new/`. Files that stand still are read once, the others not at all.
    ///
    /// # Errors
    /// `CannotWrite` or `Io` when the folder cannot be listed.
    pub fn run(&mut self, layout: &Layout, peek: &dyn Peek, which: Which) -> Result<Scanned> {
        let folder = layout.waiting();
        let cancelled = cancelled(layout)?;
        let mut scanned = Scanned::default();
        let mut seen = HashMap::new();
        for file in layout::list(&folder)? {
            let path = folder.join(&file);
            // What vanished meanwhile is somebody else's.
            let Some((source, metadata)) = fs::symlink_metadata(&path)
                .ok()
                .and_then(|metadata| Some((kind_of(&file, &metadata)?, metadata)))
            else {
                continue;
            };
            let mut was = self.see(&file, print(&metadata));
            match wait_for(&was, &metadata).filter(|_| which == Which::Whole) {
                Some(wait) if was.first.elapsed() < PATIENCE => {
                    scanned.soon = Some(scanned.soon.map_or(wait, |soon| soon.min(wait)));
                }
                Some(_) => {}
                None => {
                    let look = was.look.take();
                    let look = match look {
                        Some(look) => look,
                        None => Arc::new(look_at(layout, &file, source, peek)?),
                    };
                    was.look = Some(look.clone());
                    let cancelled = look.id.as_ref().is_some_and(|id| cancelled.contains(id));
                    scanned.ready.push(Entry {
                        file: file.clone(),
                        source,
                        print: was.print,
                        look,
                        passed: was.passed,
                        cancelled,
                    });
                }
            }
            seen.insert(file, was);
        }
        self.seen = seen;
        scanned
            .ready
            .sort_by(|a, b| (a.print.modified, &a.file).cmp(&(b.print.modified, &b.file)));
        Ok(scanned)
    }

    /// Counts a younger job that was taken first.
    pub fn pass(&mut self, entry: &Entry) {
        if let Some(seen) = self.seen.get_mut(&entry.file) {
            seen.passed += 1;
        }
    }

    /// Forgets what was read of a file.
    pub fn forget(&mut self, entry: &Entry) {
        self.seen.remove(&entry.file);
    }

    fn see(&mut self, file: &OsString, print: Print) -> Seen {
        let now = Instant::now();
        match self.seen.remove(file) {
            Some(seen) if seen.print == print => seen,
            before => Seen {
                print,
                first: before.as_ref().map_or(now, |seen| seen.first),
                still_since: now,
                passed: before.map_or(0, |seen| seen.passed),
                look: None,
            },
        }
    }
}

impl Entry {
    pub fn candidate(&self) -> Candidate {
        let broken = self.cancelled || self.look.no_file.is_some();
        Candidate {
            queue: self.look.peeked.queue.filter(|_| !broken),
            affinity: self.look.peeked.affinity.clone(),
            passed: self.passed,
        }
    }

    /// When the job was queued.
    pub fn queued_at(&self) -> Timestamp {
        queued_at(self.print.modified)
    }
}

/// When a job was queued: when its file was written last.
pub fn queued_at(modified: SystemTime) -> Timestamp {
    let now = Timestamp::now();
    Timestamp::try_from(modified).map_or(now, |time| time.min(now))
}

/// The ids that somebody wants to end.
fn cancelled(layout: &Layout) -> Result<HashSet<String>> {
    let marks = layout::list(&layout.records())?.into_iter();
    Ok(marks
        .filter_map(|mark| Some(mark.to_str()?.strip_suffix(layout::CANCEL)?.to_string()))
        .collect())
}

/// What a name in `new/` stands for; `None`: nothing of ours.
fn kind_of(file: &OsString, metadata: &Metadata) -> Option<Source> {
    if file.as_encoded_bytes().starts_with(b".") {
        return None;
    }
    let by_name = Source::of(file);
    match (metadata.is_file(), metadata.is_dir()) {
        (true, _) => by_name,
        (_, true) => by_name.map(|_| Source::NoFile),
        // Links, FIFOs, sockets and devices have no business here whatever they are called.
        _ => Some(Source::NoFile),
    }
}

/// How long to wait before a file may be taken; `None`: it may be now.
fn wait_for(seen: &Seen, metadata: &Metadata) -> Option<Duration> {
    if !metadata.is_file() || was_moved_in(metadata) {
        return None;
    }
    // A time in the future (another machine's clock) says nothing.
    let age = seen.print.modified.elapsed().unwrap_or_default();
    let still = seen.still_since.elapsed().max(age);
    STILL.checked_sub(still).filter(|wait| !wait.is_zero())
}

#[cfg(unix)]
fn was_moved_in(metadata: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (metadata.ctime(), metadata.ctime_nsec()) > (metadata.mtime(), metadata.mtime_nsec())
}

#[cfg(not(unix))]
fn was_moved_in(_metadata: &Metadata) -> bool {
    false
}

fn print(metadata: &Metadata) -> Print {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0;
    Print {
        size: metadata.len(),
        modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        inode,
    }
}

fn look_at(layout: &Layout, file: &OsString, source: Source, peek: &dyn Peek) -> Result<Look> {
    let path = layout.waiting().join(file);
    let mut look = read_source(&path, source, peek);
    look.spec = Vec::new();
    let known: Option<Record> = layout::read_json(&layout.record_of_waiting(file))?;
    look.record = known.filter(|record| record.spec_sha256 == look.spec_sha256);
    let stem = || {
        let stem = Path::new(file).file_stem()?.to_str()?;
        peek.is_id(stem).then(|| stem.to_string())
    };
    look.id = match &look.record {
        Some(record) => Some(record.id.clone()),
        None => look.peeked.id.clone().or_else(stem),
    };
    Ok(look)
}

/// Reads what a source says, wherever it lies.
pub fn read_source(path: &Path, source: Source, peek: &dyn Peek) -> Look {
    let mut look = Look::default();
    if source == Source::NoFile {
        look.no_file = Some(special(path));
        return look;
    }
    let mut spec = Vec::new();
    let read = open_regular(path).and_then(|file| {
        let size = file.metadata()?.len();
        file.take(SPEC_READ_BYTES).read_to_end(&mut spec)?;
        Ok(size)
    });
    match read {
        Ok(size) => {
            look.peeked = peek.peek(&spec);
            // Of more than may be read no digest is known.
            let whole = size <= spec.len() as u64 && (spec.len() as u64) < SPEC_READ_BYTES;
            look.spec_sha256 = whole.then(|| sha256_hex(&spec));
            look.spec = spec;
        }
        Err(error) => look.no_file = Some(format!("{error:#}")),
    }
    look
}

/// What kind of thing lies there instead of a file.
fn special(path: &Path) -> String {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return "nothing is there any more".into();
    };
    let kind = metadata.file_type();
    let what = match (kind.is_symlink(), kind.is_dir()) {
        (true, _) => "a symbolic link",
        (_, true) => "a folder",
        _ => "a FIFO, socket or device",
    };
    format!("it is {what}, no regular file")
}
