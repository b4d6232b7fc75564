//! The end of a claim: an outcome, or back to `new/`.
//!
//! Settling is decided by one write, `work/NAME.json` with the outcome and its callback. The rest is
//! done again after a crash, in the same order, and each step finds what it did before:
//!
//! ```text
//! outbox/ID.json     the callback
//! done|dead/NAME.json
//! work/NAME.yaml → done|dead/NAME.yaml
//! work/NAME.json removed
//! ```
//! Releasing writes `records/F.json`, moves the source back and removes `work/NAME.json`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::layout::{self, Layout, Settling, Source, WorkFile, record_path, source_path};
use super::state::{Folder, Held, lock};
use crate::files::points::point;
use crate::files::{move_new, move_whole, remove_if_there, sync_folder};
use crate::outbox::envelope::Envelope;
use crate::outbox::folder::FolderOutbox;
use crate::outcome::Status;
use crate::queue::contract::{Claim, Lease, Settled};
use crate::queue::record::{Record, Running};

/// Progress is written down no more often than this.
const PROGRESS: Duration = Duration::from_secs(5);

impl Folder {
    pub fn save(&self, claim: &Claim) -> Result<Lease> {
        let Some((name, held)) = self.held_by(claim) else {
            return Ok(Lease::Lost);
        };
        let mut held = lock(&held);
        if held.over {
            return Ok(Lease::Lost);
        }
        held.record = claim.record.clone();
        self.write_work(&name, &mut held)?;
        point("queue:saved");
        Ok(self.lease(claim))
    }

    pub fn heartbeat(&self, claim: &Claim, running: &Running) -> Result<Lease> {
        let Some((name, held)) = self.held_by(claim) else {
            return Ok(Lease::Lost);
        };
        let mut held = lock(&held);
        if held.over {
            return Ok(Lease::Lost);
        }
        let first = held.running.is_none();
        if first || (held.running.as_ref() != Some(running) && held.written.elapsed() >= PROGRESS) {
            held.running = Some(running.clone());
            self.write_work(&name, &mut held)?;
        }
        Ok(self.lease(claim))
    }

    fn lease(&self, claim: &Claim) -> Lease {
        match self.layout.cancel_mark(claim.id()).exists() {
            true => Lease::CancelAsked,
            false => Lease::Held,
        }
    }

    fn write_work(&self, name: &str, held: &mut Held) -> Result<()> {
        layout::write_json(&record_path(&self.layout.work(), name), &held.work_file())?;
        held.written = Instant::now();
        Ok(())
    }

    pub fn settle(&self, claim: &Claim, envelope: Option<&Envelope>) -> Result<Settled> {
        let Some((name, held)) = self.held_by(claim) else {
            return Ok(Settled::Lost);
        };
        let mut held = lock(&held);
        if held.over {
            return Ok(Settled::Lost);
        }
        held.record = claim.record.clone();
        let decided = WorkFile {
            settling: Some(Settling {
                envelope: envelope.cloned(),
            }),
            ..held.work_file()
        };
        layout::write_json(&record_path(&self.layout.work(), &name), &decided)?;
        point("queue:settle-decided");
        finish(&self.layout, &self.outbox, &name, &decided)?;
        held.over = true;
        drop(held);
        self.held().remove(&name);
        Ok(Settled::Yes)
    }

    pub fn release(&self, claim: &Claim, why: &str) -> Result<Lease> {
        let Some((name, held)) = self.held_by(claim) else {
            return Ok(Lease::Lost);
        };
        let mut desk = self.desk();
        let mut held = lock(&held);
        if held.over {
            return Ok(Lease::Lost);
        }
        held.record = claim.record.clone();
        held.record.note("released", Some(&self.consumer), Some(why));
        hand_back(&self.layout, &name, held.source, &held.record)?;
        held.over = true;
        drop(held);
        self.held().remove(&name);
        if !layout::is_conflict(&name) {
            desk.free(&name);
        }
        Ok(Lease::Held)
    }
}

/// Does what is left of a decided job. Every step may have been done before.
pub fn finish(layout: &Layout, outbox: &FolderOutbox, name: &str, decided: &WorkFile) -> Result<()> {
    let folder = match decided.record.outcome {
        Some(Status::Completed) => layout.done(),
        _ => layout.dead(),
    };
    let record = record_path(&folder, name);
    // The record comes after the callback: where it lies, the callback was stored and may be on its
    // way already.
    if layout::read_json::<Record>(&record)?.as_ref() != Some(&decided.record) {
        if let Some(envelope) = decided.settling.as_ref().and_then(|s| s.envelope.as_ref()) {
            outbox.put_now(envelope)?;
            point("queue:settle-told");
        }
        layout::write_json(&record, &decided.record)?;
        point("queue:settle-recorded");
    }
    for source in Source::ALL {
        let (from, to) = (
            source_path(&layout.work(), name, source),
            source_path(&folder, name, source),
        );
        if from.symlink_metadata().is_ok() {
            move_whole(&from, &to).map_err(|e| layout::error(&from, e))?;
            point("queue:settle-moved");
        }
    }
    remove_if_there(&layout.cancel_mark(&decided.record.id))?;
    point("queue:settle-unmarked");
    remove_work(layout, name)?;
    point("queue:settle-cleaned");
    Ok(())
}

/// Puts a held job back into `new/` with its record.
pub fn hand_back(layout: &Layout, name: &str, source: Source, record: &Record) -> Result<()> {
    let mut record = record.clone();
    record.outcome = None;
    record.error = None;
    // Nothing decided remains, should an attempt to settle have failed half-way.
    let undecided = WorkFile {
        record: record.clone(),
        running: None,
        settling: None,
    };
    layout::write_json(&record_path(&layout.work(), name), &undecided)?;
    point("queue:release-undecided");
    let from = source_path(&layout.work(), name, source);
    put_back(layout, &from, name, source, &record)?;
    point("queue:release-moved");
    remove_work(layout, name)?;
    point("queue:release-cleaned");
    Ok(())
}

/// Moves a source to a free name in `new/`, what is known of it first. Where the latter lies.
pub fn put_back(
    layout: &Layout,
    from: &Path,
    name: &str,
    source: Source,
    record: &Record,
) -> Result<PathBuf> {
    for file in free_names(name, source) {
        let to = layout.waiting().join(&file);
        if to.symlink_metadata().is_ok() {
            continue;
        }
        let known = layout.record_of_waiting(&file);
        layout::write_json(&known, record)?;
        point("queue:release-recorded");
        match move_new(from, &to) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => remove_if_there(&known)?,
            Err(e) => return Err(layout::error(from, e).into()),
            Ok(()) => return Ok(known),
        }
    }
    unreachable!("there are more names than files")
}

/// `NAME.yaml`, `NAME.1.yaml`, …
pub fn free_names(name: &str, source: Source) -> impl Iterator<Item = OsString> {
    let ending = source.waiting();
    let numbered = (1u64..).map(move |n| format!("{name}.{n}{ending}"));
    std::iter::once(format!("{name}{ending}"))
        .chain(numbered)
        .map(OsString::from)
}

fn remove_work(layout: &Layout, name: &str) -> Result<()> {
    let path = record_path(&layout.work(), name);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(layout::error(&path, e).into()),
        _ => {}
    }
    sync_folder(&layout.work()).map_err(|e| layout::error(&path, e).into())
}
