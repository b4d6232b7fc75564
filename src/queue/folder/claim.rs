//! Taking a job out of `new/`.
//!
//! ```text
//! new/F.yaml → work/NAME.yaml    the job is ours
//! work/NAME.json                 and known
//! records/F.yaml.json removed    what was known before is in it
//! ```
//! After a crash anywhere in between, what lies in `work/` goes back (`recover`).

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use anyhow::Result;

use super::desk::Desk;
use super::layout::{self, record_path, source_path};
use super::scan::{Entry, Look, Which, read_source};
use super::state::{Folder, Held};
use crate::files::points::point;
use crate::files::{move_new, move_whole, remove_if_there};
use crate::queue::contract::{Claim, Next, Token, Trouble, Waiting, Wish};
use crate::queue::order;
use crate::queue::record::Record;

/// Under which NAME a job is taken.
enum Naming {
    Free(String),
    /// The same job again: nothing to do.
    Repeat,
    Conflict {
        name: String,
        with: String,
    },
}

impl Folder {
    pub fn claim(&self, wish: &Wish) -> Result<Next> {
        let mut desk = self.desk();
        let scanned = desk.scan.run(&self.layout, self.peek.as_ref(), Which::Whole)?;
        let mut ready = scanned.ready;
        let mut candidates: Vec<_> = ready.iter().map(Entry::candidate).collect();
        while let Some(index) = order::next(&candidates, wish) {
            let entry = ready.remove(index);
            let taken = order::take(&mut candidates, index);
            let Some(claim) = self.take(&mut desk, &entry, wish)? else {
                continue;
            };
            for (older, candidate) in ready[..index].iter().zip(&candidates) {
                if candidate.queue == taken.queue {
                    desk.scan.pass(older);
                }
            }
            return Ok(Next::Job(Box::new(claim)));
        }
        Ok(scanned.soon.map_or(Next::Empty, Next::Soon))
    }

    pub fn plan(&self, wish: &Wish, limit: usize) -> Result<Vec<Waiting>> {
        let mut desk = self.desk();
        let ready = desk.scan.run(&self.layout, self.peek.as_ref(), Which::All)?.ready;
        let order = order::plan(ready.iter().map(Entry::candidate).collect(), wish);
        Ok(order
            .into_iter()
            .take(limit)
            .map(|i| waiting(&ready[i]))
            .collect())
    }

    /// Takes one waiting file; `None` if it was the same job again or is not there any more.
    pub fn take(&self, desk: &mut Desk, entry: &Entry, wish: &Wish) -> Result<Option<Claim>> {
        let id = entry.look.id.clone().unwrap_or_else(made_id);
        let from = self.layout.waiting().join(&entry.file);
        let (name, conflict) = match self.name_for(desk, &id, &entry.look)? {
            Naming::Free(name) => (name, None),
            Naming::Conflict { name, with } => (name, Some(with)),
            Naming::Repeat => {
                self.drop_repeat(&from, entry, &id)?;
                return Ok(None);
            }
        };
        let to = source_path(&self.layout.work(), &name, entry.source);
        match move_whole(&from, &to) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && from.symlink_metadata().is_err() => {
                return Ok(None);
            }
            other => other.map_err(|e| layout::error(&from, e))?,
        }
        point("queue:claim-moved");
        // It may come back as the same file with more known of it.
        desk.scan.forget(entry);
        let look = read_source(&to, entry.source, self.peek.as_ref());
        if (&look.peeked, &look.spec_sha256) != (&entry.look.peeked, &entry.look.spec_sha256) {
            // Its writer changed it in the same moment: it is looked at again.
            move_new(&to, &from).map_err(|e| layout::error(&to, e))?;
            return Ok(None);
        }
        let mut record = entry
            .look
            .record
            .clone()
            .unwrap_or_else(|| Record::new(&id, look.spec_sha256.clone(), entry.queued_at()));
        record.job_type.clone_from(&look.peeked.job_type);
        record.note("claimed", Some(&wish.worker), None);
        let trouble = trouble(&id, entry, &look, conflict);
        self.hold(desk, entry, name, record, look, trouble).map(Some)
    }

    /// Writes down that a job is ours.
    fn hold(
        &self,
        desk: &mut Desk,
        entry: &Entry,
        name: String,
        record: Record,
        look: Look,
        trouble: Option<Trouble>,
    ) -> Result<Claim> {
        let held = Held::new(self.serial(), entry.source, record.clone());
        layout::write_json(&record_path(&self.layout.work(), &name), &held.work_file())?;
        point("queue:claim-recorded");
        remove_if_there(&self.layout.record_of_waiting(&entry.file))?;
        point("queue:claim-cleaned");
        if !layout::is_conflict(&name) {
            desk.remember(&name);
        }
        let token = Token::Folder {
            name: name.clone(),
            serial: held.serial,
        };
        self.held().insert(name, Arc::new(Mutex::new(held)));
        Ok(Claim {
            record,
            spec: look.spec,
            peeked: look.peeked,
            trouble,
            token,
        })
    }

    fn name_for(&self, desk: &mut Desk, id: &str, look: &Look) -> Result<Naming> {
        let Some(with) = desk.taken_by(&self.layout, id)? else {
            return Ok(Naming::Free(id.into()));
        };
        let first = match self.held_record(&with) {
            Some(record) => Some(record),
            None => layout::ended(&self.layout, &with)?.map(|(_, record)| record),
        };
        let Some(first) = first else {
            // It was taken away (`queue retry`, `queue purge`) since it was remembered.
            desk.free(id);
            return Ok(Naming::Free(id.into()));
        };
        if with == id && first.spec_sha256.is_some() && first.spec_sha256 == look.spec_sha256 {
            return Ok(Naming::Repeat);
        }
        Ok(Naming::Conflict {
            name: layout::conflict_name(&self.layout, id),
            with,
        })
    }

    /// Removes a job that is known under its id already, if it is still what was read.
    fn drop_repeat(&self, path: &Path, entry: &Entry, id: &str) -> Result<()> {
        let now = read_source(path, entry.source, self.peek.as_ref());
        if now.spec_sha256 == entry.look.spec_sha256 {
            tracing::info!(job = id, "the same spec was queued again: skipped");
            fs::remove_file(path).map_err(|e| layout::error(path, e))?;
            point("queue:repeat-dropped");
            remove_if_there(&self.layout.record_of_waiting(&entry.file))?;
        }
        Ok(())
    }
}

fn trouble(id: &str, entry: &Entry, look: &Look, conflict: Option<String>) -> Option<Trouble> {
    if let Some(with) = conflict {
        let same_id = with == id;
        return Some(Trouble::Conflict { with, same_id });
    }
    if entry.cancelled {
        return Some(Trouble::Cancelled);
    }
    look.no_file.clone().map(Trouble::NoFile)
}

/// An id for a source that brings none.
fn made_id() -> String {
    format!("job-{}", uuid::Uuid::new_v4().simple())
}

pub fn waiting(entry: &Entry) -> Waiting {
    let peeked = &entry.look.peeked;
    Waiting {
        id: entry
            .look
            .id
            .clone()
            .unwrap_or_else(|| entry.file.to_string_lossy().into_owned()),
        job_type: peeked.job_type.clone(),
        queue: peeked.queue,
        affinity: peeked.affinity.clone(),
        queued_at: entry.queued_at(),
    }
}
