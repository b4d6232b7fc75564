//! What a crash left behind is put right, by the one who holds the lock and before any claim.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::layout::{self, Layout, Source, WorkFile, record_path, source_path};
use super::scan::{queued_at, read_source};
use super::settle::{finish, hand_back, put_back};
use crate::files::points::point;
use crate::files::{remove_if_there, sweep};
use crate::outbox::folder::FolderOutbox;
use crate::queue::contract::Peek;
use crate::queue::record::Record;

/// A record without its job may belong to a `queue retry` that is under way.
const UNDER_WAY: Duration = Duration::from_secs(60);

/// Finishes what is decided, gives back what is not, and sweeps parts. Being interrupted is no attempt
/// of a job's.
///
/// # Errors
/// `CannotWrite` or `Io`; the rest is done the next time.
pub fn recover(layout: &Layout, outbox: &FolderOutbox, peek: &dyn Peek) -> Result<()> {
    for folder in layout.folders() {
        sweep(&folder);
    }
    for name in layout::records_in(&layout.work())? {
        let path = record_path(&layout.work(), &name);
        match (
            layout::read_json::<WorkFile>(&path)?,
            layout::find_source(&layout.work(), &name),
        ) {
            (Some(work), _) if work.settling.is_some() => finish(layout, outbox, &name, &work)?,
            (Some(work), Some(source)) => {
                let mut record = work.record;
                record.note("recovered", None, Some("the drain that had it ended"));
                hand_back(layout, &name, source, &record)?;
            }
            // Given back already: its record lies in `records/`.
            (_, None) => remove_if_there(&path)?,
            // No record that we can read: as if it had not been written.
            (None, Some(_)) => remove_if_there(&path)?,
        }
        point("queue:recovered-one");
    }
    for left in layout::names_in(&layout.work())? {
        if let Some(source) = left.source {
            give_back_unknown(layout, &left.name, source, peek)?;
        }
    }
    finish_retries(layout)?;
    forget_strays(layout)
}

/// A source whose claim ended before its record was written.
fn give_back_unknown(layout: &Layout, name: &str, source: Source, peek: &dyn Peek) -> Result<()> {
    let from = source_path(&layout.work(), name, source);
    let look = read_source(&from, source, peek);
    let before = known(layout, layout::id_of(name), |record| {
        record.spec_sha256 == look.spec_sha256
    })?;
    let record = match &before {
        Some((_, record)) => record.clone(),
        None => Record::new(layout::id_of(name), look.spec_sha256, modified(&from)),
    };
    move_known(layout, &from, name, source, before.map(|(path, _)| path), &record)?;
    point("queue:recovered-unknown");
    Ok(())
}

/// Puts a source back, and what was known of it under its new name.
fn move_known(
    layout: &Layout,
    from: &Path,
    name: &str,
    source: Source,
    before: Option<PathBuf>,
    record: &Record,
) -> Result<()> {
    let now = put_back(layout, from, name, source, record)?;
    match before {
        Some(path) if path != now => remove_if_there(&path),
        _ => Ok(()),
    }
}

/// What is known of a waiting job with this id, and where.
fn known(layout: &Layout, id: &str, wanted: impl Fn(&Record) -> bool) -> Result<Option<(PathBuf, Record)>> {
    for file in layout::list(&layout.records())? {
        let path = layout.records().join(file);
        if let Some(record) = layout::read_json::<Record>(&path)?
            && record.id == id
            && wanted(&record)
        {
            return Ok(Some((path, record)));
        }
    }
    Ok(None)
}

fn modified(path: &Path) -> Timestamp {
    let time = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    time.map_or_else(|_| Timestamp::now(), queued_at)
}

/// Sources in `dead/` whose record has gone back to the waiting ones follow it.
pub fn finish_retries(layout: &Layout) -> Result<()> {
    for left in layout::names_in(&layout.dead())? {
        let Some(source) = left.source else { continue };
        if record_path(&layout.dead(), &left.name).exists() {
            continue;
        }
        if let Some((path, record)) = known(layout, &left.name, |_| true)? {
            let from = source_path(&layout.dead(), &left.name, source);
            move_known(layout, &from, &left.name, source, Some(path), &record)?;
            point("queue:recovered-retry");
        }
    }
    Ok(())
}

/// Records of waiting jobs that somebody took away.
fn forget_strays(layout: &Layout) -> Result<()> {
    for file in layout::list(&layout.records())? {
        let path = layout.records().join(&file);
        let Some(waiting) = file.to_str().and_then(|f| f.strip_suffix(".json")) else {
            continue;
        };
        let old = fs::metadata(&path)
            .and_then(|metadata| metadata.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age > UNDER_WAY));
        if old && layout.waiting().join(waiting).symlink_metadata().is_err() {
            remove_if_there(&path)?;
        }
    }
    Ok(())
}
