//! Names and files of a queue folder.
//!
//! ```text
//! new/F.yaml           waits                        records/F.yaml.json  what is known of it, if it was
//! work/NAME.yaml|json  is held                                           begun before
//! done/NAME.…          ended well                   records/ID.cancel    somebody wants it to end
//! dead/NAME.…          ended otherwise
//! ```
//! NAME is the job's id, or `ID.conflict-N`; an id has no dot.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, kind_of};
use crate::files::{Existing, read_bounded, write_whole};
use crate::outbox::envelope::Envelope;
use crate::queue::contract::State;
use crate::queue::record::{Record, Running};

/// The largest record that is read: history and assets of one job are far below.
const RECORD_BYTES: u64 = 8 << 20;

/// What stands between an id and its number where it is the second of a conflict.
const CONFLICT: &str = ".conflict-";

/// Ending of a mark in `records/`.
pub const CANCEL: &str = ".cancel";

/// The folders of one queue.
#[derive(Debug, Clone)]
pub struct Layout {
    pub root: PathBuf,
}

/// How a source is called in `work/`, `done/` and `dead/`; `NAME.json` is always the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Yaml,
    Yml,
    Json,
    /// A link, FIFO, device or folder, under a name that nothing opens.
    NoFile,
}

impl Source {
    pub const ALL: [Self; 4] = [Self::Yaml, Self::Yml, Self::Json, Self::NoFile];

    /// By the extension of a name in `new/`; `None` for what is no spec.
    pub fn of(name: &OsStr) -> Option<Self> {
        let extension = Path::new(name).extension()?.to_str()?;
        match extension.to_ascii_lowercase().as_str() {
            "yaml" => Some(Self::Yaml),
            "yml" => Some(Self::Yml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Ending beside a record.
    pub fn kept(self) -> &'static str {
        match self {
            Self::Yaml => ".yaml",
            Self::Yml => ".yml",
            Self::Json => ".spec.json",
            Self::NoFile => ".not-a-file",
        }
    }

    /// Ending in `new/`.
    pub fn waiting(self) -> &'static str {
        match self {
            Self::Json => ".json",
            other => other.kept(),
        }
    }
}

/// `NAME.json` in `work/`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WorkFile {
    #[serde(flatten)]
    pub record: Record,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Running>,
    /// Set by the one write that decides an outcome; what follows is repeated after a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settling: Option<Settling>,
}

/// What is left to do for a job whose outcome is decided.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Settling {
    pub envelope: Option<Envelope>,
}

impl Layout {
    pub fn waiting(&self) -> PathBuf {
        self.root.join("new")
    }

    pub fn work(&self) -> PathBuf {
        self.root.join("work")
    }

    pub fn done(&self) -> PathBuf {
        self.root.join("done")
    }

    pub fn dead(&self) -> PathBuf {
        self.root.join("dead")
    }

    pub fn outbox(&self) -> PathBuf {
        self.root.join("outbox")
    }

    pub fn records(&self) -> PathBuf {
        self.root.join("records")
    }

    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// What is known of the waiting file `name`.
    pub fn record_of_waiting(&self, name: &OsStr) -> PathBuf {
        let mut file = name.to_os_string();
        file.push(".json");
        self.records().join(file)
    }

    pub fn cancel_mark(&self, id: &str) -> PathBuf {
        self.records().join(format!("{id}{CANCEL}"))
    }

    /// The folders that a drain needs.
    pub fn folders(&self) -> [PathBuf; 7] {
        [
            self.root.join("tmp"),
            self.waiting(),
            self.work(),
            self.done(),
            self.dead(),
            self.outbox(),
            self.records(),
        ]
    }
}

/// `folder/NAME.json`.
pub fn record_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

pub fn source_path(folder: &Path, name: &str, source: Source) -> PathBuf {
    folder.join(format!("{name}{}", source.kept()))
}

/// The source that lies in `folder` under `name`.
pub fn find_source(folder: &Path, name: &str) -> Option<Source> {
    Source::ALL
        .into_iter()
        .find(|&source| source_path(folder, name, source).symlink_metadata().is_ok())
}

/// The records and sources in `folder`.
pub fn names_in(folder: &Path) -> Result<Vec<Listed>> {
    Ok(list(folder)?
        .iter()
        .filter_map(|file| Listed::of(file.to_str()?))
        .collect())
}

/// A file of `work/`, `done/` or `dead/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    /// `None`: the record.
    pub source: Option<Source>,
}

impl Listed {
    fn of(file: &str) -> Option<Self> {
        if file.starts_with('.') {
            return None;
        }
        let with = |ending: &str, source| {
            let name = file.strip_suffix(ending)?;
            Some(Self {
                name: name.into(),
                source,
            })
        };
        // `.spec.json` before `.json`.
        Source::ALL
            .into_iter()
            .find_map(|source| with(source.kept(), Some(source)))
            .or_else(|| with(".json", None))
    }
}

/// The names of the records in `folder`.
pub fn records_in(folder: &Path) -> Result<Vec<String>> {
    let all = names_in(folder)?.into_iter();
    Ok(all.filter(|l| l.source.is_none()).map(|l| l.name).collect())
}

/// The files of `folder`; none if it is not there.
pub fn list(folder: &Path) -> Result<Vec<OsString>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| Ok(entry?.file_name()))
            .collect::<io::Result<_>>()
            .map_err(|e| error(folder, e).into()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(e) => Err(error(folder, e).into()),
    }
}

/// The id in a NAME.
pub fn id_of(name: &str) -> &str {
    name.split_once(CONFLICT).map_or(name, |(id, _)| id)
}

/// Whether a NAME is that of a conflict's second.
pub fn is_conflict(name: &str) -> bool {
    name.contains(CONFLICT)
}

/// The first free NAME for another spec under `id`.
pub fn conflict_name(layout: &Layout, id: &str) -> String {
    let taken = |name: &String| {
        [layout.work(), layout.dead()]
            .iter()
            .any(|folder| record_path(folder, name).exists() || find_source(folder, name).is_some())
    };
    (1u64..)
        .map(|n| format!("{id}{CONFLICT}{n}"))
        .find(|name| !taken(name))
        .unwrap_or_else(|| format!("{id}{CONFLICT}0"))
}

/// Reads a record or a work file; `None` if it is not there or is none.
///
/// # Errors
/// `Io` when it is there and cannot be read: then nobody knows what it says.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    match read_bounded(path, RECORD_BYTES) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
        Err(_) if path.symlink_metadata().is_err() => Ok(None),
        Err(e) if kind_of(&e) == ErrorKind::BadInput => Ok(None),
        Err(e) => Err(Error::new(ErrorKind::Io, format!("queue: {e:#}")).into()),
    }
}

pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).context("a record is plain JSON")?;
    text.push(b'\n');
    write_whole(path, &text, Existing::Replace)
}

/// The record of an ended job.
pub fn ended(layout: &Layout, name: &str) -> Result<Option<(State, Record)>> {
    for (state, folder) in [(State::Done, layout.done()), (State::Dead, layout.dead())] {
        if let Some(record) = read_json(&record_path(&folder, name))? {
            return Ok(Some((state, record)));
        }
    }
    Ok(None)
}

/// Says in our words why a step in a queue folder failed.
pub fn error(path: &Path, e: io::Error) -> Error {
    use io::ErrorKind::*;
    let shown = path.display();
    match e.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => Error::new(
            ErrorKind::CannotWrite,
            format!("queue `{shown}`: no room left ({e})"),
        )
        .hint("free some space; no job is lost"),
        PermissionDenied | ReadOnlyFilesystem | NotADirectory | IsADirectory | NotFound => Error::new(
            ErrorKind::CannotWrite,
            format!("queue `{shown}`: cannot be written ({e})"),
        )
        .hint("a queue is a folder that ourvidz may write to"),
        _ => Error::new(ErrorKind::Io, format!("queue `{shown}`: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_told_from_a_json_source() {
        let listed = |file: &str| Listed::of(file).map(|l| (l.name, l.source));
        assert_eq!(listed("a.json"), Some(("a".into(), None)));
        assert_eq!(listed("a.spec.json"), Some(("a".into(), Some(Source::Json))));
        assert_eq!(
            listed("a.conflict-2.yml"),
            Some(("a.conflict-2".into(), Some(Source::Yml)))
        );
        assert_eq!(listed(".ourvidz-1.part"), None);
        assert_eq!((id_of("a.conflict-2"), id_of("a")), ("a", "a"));
    }
}
