//! Model answers on disk, keyed by everything that decides them.
//!
//! One file an entry: the SHA-256 of its body, a newline, the body as JSON. Entries appear by
//! rename, so that no reader sees half of one; whoever counts, adds or evicts holds the lock file.
//! An entry that does not match its digest or its key is removed and counts as absent.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::target::{Style, Target};
use crate::config::Settings;
use crate::error::{Error, ErrorKind};
use crate::files::{
    Lock, make_folder, mark_used, read_bounded, remove_if_there, sha256_hex, sweep, write_cached,
};
use crate::pipelines::qwen::Sampling;

/// Raised when an entry's meaning changes; older entries are then never found.
const FORMAT: u32 = 2;

/// Far above what an answer or the counters fill.
const LARGEST_ENTRY_BYTES: u64 = 16 << 20;
const LOCK: &str = ".lock";
/// Others hold the lock for milliseconds; one that is stopped meanwhile must not stop us.
const PATIENCE: Duration = Duration::from_secs(2);
const COUNTERS: &str = "counters.json";

/// Everything that decides a model's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Key {
    pub model_hash: String,
    pub model_dtype: String,
    pub system_prompt: String,
    pub sampling: Sampling,
    pub max_new_tokens: usize,
    pub seed: u64,
    pub prompt: String,
    pub target: Target,
    pub style: Style,
}

impl Key {
    /// SHA-256 of all fields, in hexadecimal: the entry's file name.
    pub fn digest(&self) -> String {
        let json = serde_json::to_vec(&(FORMAT, self)).expect("plain fields have a JSON form");
        sha256_hex(&json)
    }
}

/// What the model said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub text: String,
    /// False when it ended at a limit.
    pub is_complete: bool,
    pub tokens_generated: usize,
    /// What the answer took when it was made, in seconds.
    pub generation_time: f64,
}

#[derive(Serialize, Deserialize)]
struct Body {
    key: String,
    answer: Answer,
}

/// Numbers for `admin_utilities` and `doctor`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    pub entries: usize,
    pub bytes: u64,
    pub max_bytes: u64,
    /// Since the cache was made or cleared, over all processes.
    pub hits: u64,
    pub misses: u64,
    /// Entries that were broken and removed.
    pub dropped: u64,
    /// Entries that had to make room.
    pub evicted: u64,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
struct Counters {
    hits: u64,
    misses: u64,
    dropped: u64,
    evicted: u64,
}

/// A folder of entries.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    max_bytes: u64,
}

impl Cache {
    /// The bound unless the operator sets one: about 60,000 answers.
    pub const DEFAULT_MAX_BYTES: u64 = 64 << 20;

    /// The folder is made at the first answer.
    pub fn new(folder: impl Into<PathBuf>, max_bytes: u64) -> Self {
        Self {
            folder: folder.into(),
            max_bytes,
        }
    }

    /// The operator's: in the cache folder, with the bound that the settings name.
    pub fn of(settings: &Settings) -> Self {
        let max_bytes = settings.enhance.cache_bytes.unwrap_or(Self::DEFAULT_MAX_BYTES);
        Self::new(settings.cache_dir.join("enhance"), max_bytes)
    }

    /// Where the entries are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The stored answer, if there is a whole one. A folder that cannot be read holds none.
    pub fn get(&self, key: &Key) -> Option<Answer> {
        let name = key.digest();
        let path = self.entry_path(&name);
        let Ok(bytes) = read_bounded(&path, LARGEST_ENTRY_BYTES) else {
            self.count(|c| c.misses += 1);
            return None;
        };
        let Some(answer) = parse(&bytes, &name) else {
            // Another process may have removed it already.
            let _ = std::fs::remove_file(&path);
            self.count(|c| {
                c.misses += 1;
                c.dropped += 1;
            });
            return None;
        };
        mark_used(&path);
        self.count(|c| c.hits += 1);
        Some(answer)
    }

    /// Stores an answer and removes the least recently used ones beyond the bound.
    ///
    /// # Errors
    /// `CannotWrite` when the folder or the entry cannot be written.
    pub fn put(&self, key: &Key, answer: &Answer) -> Result<()> {
        let name = key.digest();
        let body = Body {
            key: name.clone(),
            answer: answer.clone(),
        };
        let body = serde_json::to_string(&body).expect("plain fields have a JSON form");
        let file = format!("{}\n{body}", sha256_hex(body.as_bytes()));
        self.write(&name, file.as_bytes()).map_err(|e| {
            Error::new(
                ErrorKind::CannotWrite,
                format!("enhancement cache `{}`: {e:#}", self.folder.display()),
            )
            .hint("check the folder's permissions and space, or use --no-cache")
            .into()
        })
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.entry_path(name);
        let parent = path.parent().expect("entries lie in a subfolder");
        make_folder(&self.folder)?;
        let _lock = self.lock()?;
        write_cached(&path, bytes)?;
        // What a killed writer left.
        sweep(parent);
        let evicted = self.evict()?;
        if evicted > 0 {
            self.add_to_counters(|c| c.evicted += evicted);
        }
        Ok(())
    }

    /// Removes every entry and the counters; returns how many entries there were.
    ///
    /// # Errors
    /// When an entry cannot be removed.
    pub fn clear(&self) -> Result<usize> {
        if !self.folder.exists() {
            return Ok(0);
        }
        let _lock = self.lock()?;
        let entries = self.entries()?;
        for entry in &entries {
            remove_if_there(&entry.path)?;
        }
        remove_if_there(&self.folder.join(COUNTERS))?;
        Ok(entries.len())
    }

    /// # Errors
    /// When the folder cannot be listed.
    pub fn stats(&self) -> Result<Stats> {
        let counters = self.counters();
        let entries = if self.folder.exists() {
            self.entries()?
        } else {
            Vec::new()
        };
        Ok(Stats {
            entries: entries.len(),
            bytes: entries.iter().map(|e| e.bytes).sum(),
            max_bytes: self.max_bytes,
            hits: counters.hits,
            misses: counters.misses,
            dropped: counters.dropped,
            evicted: counters.evicted,
        })
    }

    /// 256 subfolders keep listings short.
    fn entry_path(&self, name: &str) -> PathBuf {
        self.folder.join(&name[..2]).join(format!("{name}.json"))
    }

    fn entries(&self) -> Result<Vec<Entry>> {
        let mut found = Vec::new();
        let listing = std::fs::read_dir(&self.folder)
            .with_context(|| format!("listing `{}`", self.folder.display()))?;
        for folder in listing.flatten().filter(|e| e.path().is_dir()) {
            let files = std::fs::read_dir(folder.path())?.flatten();
            found.extend(
                files
                    .filter_map(|file| Entry::of(file.path()))
                    .filter(|e| e.path.extension().is_some_and(|x| x == "json")),
            );
        }
        Ok(found)
    }

    /// Removes the least recently used entries beyond the bound; the caller holds the lock.
    fn evict(&self) -> Result<u64> {
        let mut entries = self.entries()?;
        let mut bytes: u64 = entries.iter().map(|e| e.bytes).sum();
        if bytes <= self.max_bytes {
            return Ok(0);
        }
        entries.sort_by_key(|e| e.used);
        let mut evicted = 0;
        for entry in entries {
            if bytes <= self.max_bytes {
                break;
            }
            remove_if_there(&entry.path)?;
            bytes -= entry.bytes;
            evicted += 1;
        }
        Ok(evicted)
    }

    fn lock(&self) -> Result<Lock> {
        Lock::take(&self.folder.join(LOCK), PATIENCE)
    }

    fn counters(&self) -> Counters {
        read_bounded(&self.folder.join(COUNTERS), LARGEST_ENTRY_BYTES)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Counting never fails an enhancement: a cache that cannot be written still answers.
    fn count(&self, change: impl FnOnce(&mut Counters)) {
        if self.folder.exists()
            && let Ok(_lock) = self.lock()
        {
            self.add_to_counters(change);
        }
    }

    fn add_to_counters(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters();
        change(&mut counters);
        let json = serde_json::to_vec(&counters).expect("plain numbers have a JSON form");
        // As for `count`.
        let _ = write_cached(&self.folder.join(COUNTERS), &json);
    }
}

struct Entry {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

impl Entry {
    /// `None` when another process removed the file meanwhile.
    fn of(path: PathBuf) -> Option<Self> {
        let metadata = std::fs::metadata(&path).ok()?;
        Some(Self {
            bytes: metadata.len(),
            used: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            path,
        })
    }
}

fn parse(bytes: &[u8], name: &str) -> Option<Answer> {
    let (digest, body) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    if digest != sha256_hex(body.as_bytes()) {
        return None;
    }
    let body: Body = serde_json::from_str(body).ok()?;
    (body.key == name).then_some(body.answer)
}
