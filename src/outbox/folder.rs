//! Callbacks that wait in a folder: `outbox/` of a queue folder, or of the data folder.
//!
//! One file an envelope, named by its id. Who tries one holds a lock on its file, so that several
//! processes may deliver from one folder, and a killed one holds nothing back.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context, Result};
use async_trait::async_trait;

use super::envelope::{Counts, Envelope, OutboxStore, State, Which};
use crate::files::points::point;
use crate::files::{
    Existing, Lock, read_bounded, remove_if_there, set_time, sweep, sync_folder, write_whole,
};

/// The largest file that is read as an envelope: a body with its answer text and notes is far below.
const LARGEST_BYTES: u64 = 16 << 20;

/// Envelopes in a folder. Clones share their claims.
#[derive(Debug, Clone)]
pub struct FolderOutbox {
    folder: PathBuf,
    /// The claims of this process.
    held: Arc<Mutex<HashMap<String, Lock>>>,
}

impl FolderOutbox {
    /// The folder is made with its first envelope.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            held: Arc::default(),
        }
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// [`OutboxStore::put`] for callers that store other things in the same breath.
    ///
    /// # Errors
    /// `CannotWrite` or `Io`, as for any file.
    pub fn put_now(&self, envelope: &Envelope) -> Result<()> {
        let path = self.path(&envelope.webhook_id);
        if path.is_file() {
            return Ok(());
        }
        point("outbox:before-put");
        match self.write(&path, envelope, Existing::Keep) {
            // Another process told the same outcome a moment earlier.
            Err(_) if path.is_file() => Ok(()),
            other => other,
        }?;
        point("outbox:after-put");
        Ok(())
    }

    /// One envelope; `None` when it is not there, delivered most likely.
    pub fn get(&self, webhook_id: &str) -> Option<Envelope> {
        read(&self.path(webhook_id))
    }

    /// Envelopes that a claim may take now, in no order.
    ///
    /// # Errors
    /// `Io` when the folder cannot be listed.
    pub fn wanted(&self, which: Which) -> Result<Vec<Envelope>> {
        let listed = self.listed()?.into_iter();
        Ok(listed
            .filter(|(_, hint_ms)| !matches!(which, Which::Due(now) if *hint_ms > now))
            .filter_map(|(path, _)| read(&path))
            .filter(|envelope| which.takes(envelope))
            .collect())
    }

    fn path(&self, webhook_id: &str) -> PathBuf {
        self.folder.join(format!("{webhook_id}.json"))
    }

    fn write(&self, path: &Path, envelope: &Envelope, existing: Existing) -> Result<()> {
        let text = serde_json::to_vec_pretty(envelope).context("an envelope is plain JSON")?;
        write_whole(path, &text, existing)?;
        hint_time(path, envelope.next_at_ms);
        Ok(())
    }

    /// Every file that may be an envelope, with the time that [`hint_time`] left.
    fn listed(&self) -> Result<Vec<(PathBuf, u64)>> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e).with_context(|| format!("outbox `{}`", self.folder.display())),
        };
        let listed = entries.flatten().filter_map(|entry| {
            let path = entry.path();
            let metadata = entry.metadata().ok()?;
            let is_one = metadata.is_file() && path.extension().is_some_and(|e| e == "json");
            let time = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            is_one.then_some((path, u64::try_from(time.as_millis()).ok()?))
        });
        Ok(listed.collect())
    }

    fn claim_now(&self, which: Which, limit: usize) -> Result<Vec<Envelope>> {
        sweep(&self.folder);
        let mut wanted = self.wanted(which)?;
        wanted.sort_by_key(|envelope| envelope.next_at_ms);
        let mut claimed = Vec::new();
        for envelope in wanted {
            if claimed.len() == limit {
                break;
            }
            claimed.extend(self.claim_one(&self.path(&envelope.webhook_id), which)?);
        }
        Ok(claimed)
    }

    /// Locks one envelope and reads it again: the one that was read before may have been tried since.
    fn claim_one(&self, path: &Path, which: Which) -> Result<Option<Envelope>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(lock) = Lock::try_take_existing(path)? else {
            return Ok(None);
        };
        let Some(envelope) = read(path).filter(|e| which.takes(e)) else {
            return Ok(None);
        };
        if held.contains_key(&envelope.webhook_id) {
            return Ok(None);
        }
        held.insert(envelope.webhook_id.clone(), lock);
        Ok(Some(envelope))
    }

    fn end_claim(&self, webhook_id: &str) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(webhook_id);
    }

    fn reschedule_now(&self, envelope: &Envelope) -> Result<()> {
        let path = self.path(&envelope.webhook_id);
        point("outbox:before-reschedule");
        let written = match path.is_file() {
            true => self.write(&path, envelope, Existing::Replace),
            false => Ok(()),
        };
        self.end_claim(&envelope.webhook_id);
        written
    }

    fn remove_now(&self, webhook_id: &str) -> Result<()> {
        point("outbox:before-remove");
        let removed = remove_if_there(&self.path(webhook_id));
        self.end_claim(webhook_id);
        removed?;
        point("outbox:after-remove");
        if self.folder.is_dir() {
            sync_folder(&self.folder).with_context(|| format!("outbox `{}`", self.folder.display()))?;
        }
        Ok(())
    }

    fn counts_now(&self) -> Result<Counts> {
        let mut counts = Counts::default();
        for envelope in self.listed()?.iter().filter_map(|(path, _)| read(path)) {
            match envelope.state {
                State::Waiting => {
                    counts.waiting += 1;
                    let first = counts.next_at_ms.unwrap_or(u64::MAX);
                    counts.next_at_ms = Some(first.min(envelope.next_at_ms));
                }
                State::GivenUp => counts.given_up += 1,
                State::Gone => counts.gone += 1,
            }
        }
        Ok(counts)
    }
}

/// An envelope, or `None` for what has gone meanwhile or is none of ours.
fn read(path: &Path) -> Option<Envelope> {
    let envelope: Envelope = serde_json::from_slice(&read_bounded(path, LARGEST_BYTES).ok()?).ok()?;
    let is_named_so = path.file_stem().is_some_and(|stem| *stem == *envelope.webhook_id);
    is_named_so.then_some(envelope)
}

/// Sets the file's time to the next try, so that a search for what is due need not read what is
/// not. No more than a hint: without it the file is read and its content decides.
fn hint_time(path: &Path, next_at_ms: u64) {
    set_time(path, UNIX_EPOCH + Duration::from_millis(next_at_ms));
}

/// Runs what waits for a disk beside the other work of the runtime.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("an outbox's work was broken off")?
}

#[async_trait]
impl OutboxStore for FolderOutbox {
    async fn put(&self, envelope: &Envelope) -> Result<()> {
        let (outbox, envelope) = (self.clone(), envelope.clone());
        beside(move || outbox.put_now(&envelope)).await
    }

    async fn claim(&self, which: Which, limit: usize) -> Result<Vec<Envelope>> {
        let outbox = self.clone();
        beside(move || outbox.claim_now(which, limit)).await
    }

    async fn reschedule(&self, envelope: &Envelope) -> Result<()> {
        let (outbox, envelope) = (self.clone(), envelope.clone());
        beside(move || outbox.reschedule_now(&envelope)).await
    }

    async fn remove(&self, webhook_id: &str) -> Result<()> {
        let (outbox, webhook_id) = (self.clone(), webhook_id.to_owned());
        beside(move || outbox.remove_now(&webhook_id)).await
    }

    async fn release(&self, webhook_id: &str) -> Result<()> {
        self.end_claim(webhook_id);
        Ok(())
    }

    async fn counts(&self) -> Result<Counts> {
        let outbox = self.clone();
        beside(move || outbox.counts_now()).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::envelope::{now_ms, webhook_id};
    use super::*;
    use crate::outcome::Status;

    fn envelope(job_id: &str, next_at_ms: u64) -> Envelope {
        let id = webhook_id(job_id, "0", Status::Completed, 0);
        let body = format!("{{\"job_id\": \"{job_id}\", \"é\": \"\\u0007\"}}\n");
        Envelope::new(id, job_id, "https://example.com/hook", body, next_at_ms)
    }

    fn jobs(envelopes: &[Envelope]) -> Vec<&str> {
        envelopes.iter().map(|e| e.job_id.as_str()).collect()
    }

    #[test]
    fn an_id_is_fixed_by_job_and_outcome() {
        let id = webhook_id("a", "0", Status::Completed, 0);
        assert_eq!(id, webhook_id("a", "0", Status::Completed, 0));
        for other in [
            webhook_id("b", "0", Status::Completed, 0),
            webhook_id("a", "1", Status::Completed, 0),
            webhook_id("a", "0", Status::Failed, 0),
            webhook_id("a", "0", Status::Completed, 1),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn what_is_due_comes_out_oldest_first_and_once() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = FolderOutbox::new(folder.path().join("outbox"));
        assert!(outbox.claim_now(Which::All(u64::MAX), 9).unwrap().is_empty());
        for (job, at) in [("b", 200), ("a", 100), ("later", u64::MAX / 2)] {
            outbox.put_now(&envelope(job, at)).unwrap();
        }
        let first = outbox.claim_now(Which::Due(300), 1).unwrap();
        assert_eq!(jobs(&first), ["a"]);
        assert_eq!(first[0], envelope("a", 100), "the body comes back byte for byte");
        let other_process = FolderOutbox::new(outbox.folder());
        assert_eq!(jobs(&other_process.claim_now(Which::Due(300), 9).unwrap()), ["b"]);
        assert_eq!(
            jobs(&other_process.claim_now(Which::All(u64::MAX), 9).unwrap()),
            ["later"]
        );
        outbox.remove_now(&first[0].webhook_id).unwrap();
        assert_eq!(outbox.counts_now().unwrap().waiting, 2);
    }

    #[test]
    fn a_tried_one_waits_for_its_time_and_a_dead_holder_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = FolderOutbox::new(folder.path());
        outbox.put_now(&envelope("a", 0)).unwrap();
        let mut tried = outbox.claim_now(Which::Due(10), 9).unwrap().remove(0);
        tried.attempt = 1;
        tried.next_at_ms = now_ms() + 60_000;
        outbox.reschedule_now(&tried).unwrap();
        assert!(outbox.claim_now(Which::Due(now_ms()), 9).unwrap().is_empty());
        assert_eq!(
            outbox.claim_now(Which::Due(tried.next_at_ms), 9).unwrap(),
            [tried.clone()]
        );
        let other_process = FolderOutbox::new(folder.path());
        assert!(
            other_process
                .claim_now(Which::All(u64::MAX), 9)
                .unwrap()
                .is_empty()
        );
        drop(outbox);
        assert_eq!(other_process.claim_now(Which::All(u64::MAX), 9).unwrap(), [tried]);
    }

    #[test]
    fn the_same_outcome_is_kept_once_as_it_was_first_told() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = FolderOutbox::new(folder.path());
        outbox.put_now(&envelope("a", 5)).unwrap();
        let mut again = envelope("a", 9);
        again.body.push('!');
        outbox.put_now(&again).unwrap();
        assert_eq!(
            outbox.claim_now(Which::All(u64::MAX), 9).unwrap(),
            [envelope("a", 5)]
        );
    }

    #[test]
    fn those_that_were_given_up_are_counted_and_only_asked_for_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let outbox = FolderOutbox::new(folder.path());
        for (job, state) in [("a", State::Waiting), ("b", State::GivenUp), ("c", State::Gone)] {
            let envelope = Envelope {
                state,
                ..envelope(job, 7)
            };
            outbox.put_now(&envelope).unwrap();
        }
        fs::write(folder.path().join("broken.json"), "{").unwrap();
        let counts = Counts {
            waiting: 1,
            given_up: 1,
            gone: 1,
            next_at_ms: Some(7),
        };
        assert_eq!(outbox.counts_now().unwrap(), counts);
        assert_eq!(jobs(&outbox.claim_now(Which::Due(8), 9).unwrap()), ["a"]);
        assert_eq!(jobs(&outbox.claim_now(Which::All(u64::MAX), 9).unwrap()), ["b"]);
    }
}
