//! What operators and producers do, beside a drain or without one.

use std::fs;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use jiff::Timestamp;

use super::claim::waiting;
use super::layout::{self, Source, WorkFile, record_path, source_path};
use super::recover::{finish_retries, recover};
use super::scan::{Entry, Which, read_source};
use super::settle::{free_names, put_back};
use super::state::Folder;
use crate::fail;
use crate::files::points::point;
use crate::files::{Existing, Lock, remove_if_there, set_time, sha256_hex, write_whole};
use crate::outbox::envelope::Counts;
use crate::queue::contract::{Added, Cancel, Format, Found, NewJob, Retry, Snapshot, State, Waiting, Wish};
use crate::queue::record::{Record, Running};
use crate::queue::times::is_older;

/// A file's time is set back by this, so that it is seen to be whole: the clock of files ticks slowly.
const TICK: Duration = Duration::from_millis(10);

impl Folder {
    pub fn add(&self, job: &NewJob) -> Result<Added> {
        if let Some(found) = self.find(|id| id.eq_ignore_ascii_case(&job.id))? {
            let there = &found.record;
            if there.id == job.id && there.spec_sha256 == Some(sha256_hex(&job.spec)) {
                return Ok(Added::Same(found.state));
            }
            fail!(Conflict, "job `{}`: the queue has `{}` with another spec", job.id, there.id;
                "choose another id");
        }
        let source = match job.format {
            Format::Yaml => Source::Yaml,
            Format::Json => Source::Json,
        };
        let written = SystemTime::now() - TICK;
        for file in free_names(&job.id, source) {
            let path = self.layout.waiting().join(&file);
            if path.symlink_metadata().is_ok() {
                continue;
            }
            if path.file_stem() != Some(job.id.as_ref()) {
                let record = Record::new(&job.id, Some(sha256_hex(&job.spec)), Timestamp::now());
                layout::write_json(&self.layout.record_of_waiting(&file), &record)?;
            }
            match write_whole(&path, &job.spec, Existing::Keep) {
                Err(_) if path.symlink_metadata().is_ok() => continue,
                other => other?,
            }
            // Without it the file is taken two seconds later.
            set_time(&path, written);
            point("queue:added");
            break;
        }
        Ok(Added::New)
    }

    pub fn lookup(&self, id: &str) -> Result<Option<Found>> {
        self.find(|other| other == id)
    }

    /// The first job whose id is wanted: held, ended, waiting.
    fn find(&self, wanted: impl Fn(&str) -> bool) -> Result<Option<Found>> {
        for (state, folder) in [
            (State::Running, self.layout.work()),
            (State::Done, self.layout.done()),
            (State::Dead, self.layout.dead()),
        ] {
            for name in layout::records_in(&folder)? {
                if !wanted(&name) {
                    continue;
                }
                if let Some(record) = layout::read_json(&record_path(&folder, &name))? {
                    return Ok(Some(Found { state, record }));
                }
            }
        }
        let waiting = self.waiting()?.into_iter();
        let mut waiting = waiting.filter(|entry| entry.look.id.as_deref().is_some_and(&wanted));
        Ok(waiting.next().map(|entry| Found {
            state: State::Waiting,
            record: known_of(&entry),
        }))
    }

    fn waiting(&self) -> Result<Vec<Entry>> {
        let mut desk = self.desk();
        Ok(desk.scan.run(&self.layout, self.peek.as_ref(), Which::All)?.ready)
    }

    pub fn snapshot(&self, outbox: Counts) -> Result<Snapshot> {
        let mut snapshot = Snapshot {
            waiting: self.waiting()?.iter().map(waiting).collect(),
            done: layout::records_in(&self.layout.done())?.len(),
            dead: layout::records_in(&self.layout.dead())?.len(),
            outbox,
            ..Snapshot::default()
        };
        let at_work = self.somebody_drains();
        for name in layout::records_in(&self.layout.work())? {
            let Some(work) = layout::read_json::<WorkFile>(&record_path(&self.layout.work(), &name))? else {
                continue;
            };
            match at_work {
                true => snapshot.running.push(running(work)),
                // Left by a drain that is no more: the next one takes it up again.
                false => snapshot.waiting.push(self.left(&name, &work.record)),
            }
        }
        snapshot.waiting.sort_by_key(|job| job.queued_at);
        Ok(snapshot)
    }

    fn left(&self, name: &str, record: &Record) -> Waiting {
        let folder = self.layout.work();
        let source = layout::find_source(&folder, name).unwrap_or(Source::NoFile);
        let peeked = read_source(&source_path(&folder, name, source), source, self.peek.as_ref()).peeked;
        Waiting {
            id: record.id.clone(),
            job_type: peeked.job_type,
            queue: peeked.queue,
            affinity: peeked.affinity,
            queued_at: record.queued_at,
        }
    }

    /// Whether a drain, this one included, holds the lock. One that cannot be asked for counts as held.
    fn somebody_drains(&self) -> bool {
        self.locked() || !matches!(Lock::try_take(&self.layout.lock()), Ok(Some(_)))
    }

    pub fn recent(&self, limit: usize) -> Result<Vec<Record>> {
        let folder = self.layout.done();
        let mut ended: Vec<_> = layout::records_in(&folder)?
            .into_iter()
            .map(|name| record_path(&folder, &name))
            .filter_map(|path| Some((fs::metadata(&path).ok()?.modified().ok()?, path)))
            .collect();
        ended.sort();
        let mut records = Vec::new();
        for (_, path) in ended.iter().rev().take(limit) {
            records.extend(layout::read_json(path)?);
        }
        Ok(records)
    }

    pub fn dead_ids(&self) -> Result<Vec<String>> {
        let folder = self.layout.dead();
        let mut dead = Vec::new();
        for name in layout::records_in(&folder)? {
            let source = layout::find_source(&folder, &name);
            if layout::is_conflict(&name) || source.is_none_or(|s| s == Source::NoFile) {
                continue;
            }
            if let Some(record) = layout::read_json::<Record>(&record_path(&folder, &name))? {
                dead.push((record.finished_at, name));
            }
        }
        dead.sort();
        Ok(dead.into_iter().map(|(_, name)| name).collect())
    }

    pub fn retry(&self, id: &str) -> Result<Retry> {
        finish_retries(&self.layout)?;
        let dead = self.layout.dead();
        let record = record_path(&dead, id);
        let Some(mut known) = layout::read_json::<Record>(&record)? else {
            return Ok(match self.lookup(id)? {
                Some(found) if found.state == State::Waiting => Retry::Waiting,
                other => Retry::NotDead(other.map(|found| found.state)),
            });
        };
        let source = match layout::find_source(&dead, id) {
            Some(source) if source != Source::NoFile && !layout::is_conflict(id) => source,
            _ => return Ok(Retry::Never),
        };
        remove_if_there(&self.layout.cancel_mark(id))?;
        known.reopen();
        let free = free_names(id, source).find(|f| self.layout.waiting().join(f).symlink_metadata().is_err());
        if let Some(file) = free {
            layout::write_json(&self.layout.record_of_waiting(&file), &known)?;
            point("queue:retry-recorded");
        }
        // Before the source waits: a drain that takes it must not find that it has ended.
        remove_if_there(&record)?;
        point("queue:retry-reopened");
        put_back(&self.layout, &source_path(&dead, id, source), id, source, &known)?;
        Ok(Retry::Waiting)
    }

    pub fn cancel(&self, id: &str) -> Result<Cancel> {
        match self.lookup(id)? {
            None => return Ok(Cancel::Unknown),
            Some(found) if matches!(found.state, State::Done | State::Dead) => {
                return Ok(Cancel::Ended(Box::new(found.record)));
            }
            Some(_) => {}
        }
        if !self.locked() && self.lock_now()? {
            recover(&self.layout, &self.outbox, self.peek.as_ref())?;
        }
        if self.locked()
            && let Some(claim) = self.take_to_cancel(id)?
        {
            return Ok(Cancel::Taken(Box::new(claim)));
        }
        self.ask_to_cancel(id)
    }

    fn take_to_cancel(&self, id: &str) -> Result<Option<crate::queue::contract::Claim>> {
        let waiting = self.waiting()?.into_iter();
        let mut waiting = waiting.filter(|entry| entry.look.id.as_deref() == Some(id));
        let Some(mut entry) = waiting.next() else {
            return Ok(None);
        };
        entry.cancelled = true;
        let wish = Wish {
            worker: self.consumer.clone(),
            ..Wish::default()
        };
        self.take(&mut self.desk(), &entry, &wish)
    }

    /// Leaves a mark for the drain that has the job or will take it.
    fn ask_to_cancel(&self, id: &str) -> Result<Cancel> {
        let mark = self.layout.cancel_mark(id);
        write_whole(&mark, b"", Existing::Replace)?;
        point("queue:cancel-marked");
        match self.lookup(id)? {
            Some(found) if matches!(found.state, State::Done | State::Dead) => {
                remove_if_there(&mark)?;
                Ok(Cancel::Ended(Box::new(found.record)))
            }
            _ => Ok(Cancel::Asked),
        }
    }

    pub fn purge_done(&self, older_than: Duration) -> Result<usize> {
        let folder = self.layout.done();
        let mut purged = 0;
        for name in layout::records_in(&folder)? {
            let path = record_path(&folder, &name);
            let Some(record) = layout::read_json::<Record>(&path)? else {
                continue;
            };
            let ended = record.finished_at.is_some_and(|time| is_older(time, older_than));
            let written = fs::metadata(&path).and_then(|metadata| metadata.modified());
            let written = written.is_ok_and(|time| time.elapsed().is_ok_and(|age| age >= older_than));
            if !ended && !written {
                continue;
            }
            if let Some(source) = layout::find_source(&folder, &name) {
                remove_if_there(&source_path(&folder, &name, source))?;
            }
            remove_if_there(&path)?;
            purged += 1;
        }
        Ok(purged)
    }
}

fn known_of(entry: &Entry) -> Record {
    let look = &entry.look;
    let mut record = look.record.clone().unwrap_or_else(|| {
        let id = look.id.clone().unwrap_or_default();
        Record::new(id, look.spec_sha256.clone(), entry.queued_at())
    });
    record.job_type.clone_from(&look.peeked.job_type);
    record
}

/// What a held job's file tells; before the first heartbeat only who took it.
fn running(work: WorkFile) -> Running {
    let record = work.record;
    work.running.unwrap_or_else(|| {
        let taken = record.history.iter().rev().find(|event| event.event == "claimed");
        Running {
            worker: taken.and_then(|event| event.worker.clone()).unwrap_or_default(),
            device: String::new(),
            since: taken.map_or(record.queued_at, |event| event.at),
            step: 0,
            total: 0,
            id: record.id,
            job_type: record.job_type,
        }
    })
}
