//! The files of a queue, and what this process knows of them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::desk::Desk;
use super::layout::{Layout, Source, WorkFile};
use crate::files::Lock;
use crate::outbox::folder::FolderOutbox;
use crate::queue::contract::{Claim, Peek, Token};
use crate::queue::record::{Record, Running};

/// Its files and what this process knows of them.
pub struct Folder {
    pub layout: Layout,
    pub peek: Arc<dyn Peek>,
    pub consumer: String,
    pub outbox: FolderOutbox,
    pub lock: Mutex<Option<Lock>>,
    pub desk: Mutex<Desk>,
    pub held: Mutex<HashMap<String, Arc<Mutex<Held>>>>,
    pub serial: AtomicU64,
}

/// A job that this process holds.
pub struct Held {
    pub serial: u64,
    pub source: Source,
    /// As it was saved last.
    pub record: Record,
    pub running: Option<Running>,
    pub written: Instant,
    /// It has ended; who waited for it meanwhile writes nothing any more.
    pub over: bool,
}

impl Folder {
    pub fn locked(&self) -> bool {
        lock(&self.lock).is_some()
    }

    pub fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }

    pub fn held(&self) -> MutexGuard<'_, HashMap<String, Arc<Mutex<Held>>>> {
        lock(&self.held)
    }

    pub fn serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// What a claim stands for, `None` if it has ended.
    pub fn held_by(&self, claim: &Claim) -> Option<(String, Arc<Mutex<Held>>)> {
        let Token::Folder { name, serial } = &claim.token else {
            return None;
        };
        let held = self.held().get(name)?.clone();
        let ours = lock(&held).serial == *serial;
        ours.then(|| (name.clone(), held))
    }

    /// The record of a job that is held here.
    pub fn held_record(&self, name: &str) -> Option<Record> {
        let held = self.held().get(name)?.clone();
        let record = lock(&held).record.clone();
        Some(record)
    }
}

impl Held {
    pub fn new(serial: u64, source: Source, record: Record) -> Self {
        Self {
            serial,
            source,
            record,
            running: None,
            written: Instant::now(),
            over: false,
        }
    }

    pub fn work_file(&self) -> WorkFile {
        WorkFile {
            record: self.record.clone(),
            running: self.running.clone(),
            settling: None,
        }
    }
}

/// A panic elsewhere leaves files as they are, and they are what counts.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
