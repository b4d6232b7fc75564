//! The queue in a folder: claims by rename, one drain at a time by lock.
//!
//! `layout` says what lies where; `scan` looks for what waits, `claim` takes it, `settle` ends it and
//! `recover` puts right what a crash left. The work is plain files, done beside the async runtime.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_trait::async_trait;
use tokio::sync::Mutex as AsyncMutex;

use super::contract::{
    Access, Added, Cancel, Claim, Found, Lease, NewJob, Next, Options, Peek, Queue, Retry, Settled, Snapshot,
    Token, Waiting, Wish,
};

use super::record::{Record, Running};
use crate::fail;
use crate::files::{Lock, make_folder};
use crate::outbox::envelope::{Envelope, OutboxStore};
use crate::outbox::folder::FolderOutbox;
use claim::Desk;
use layout::{Layout, Source, WorkFile};
use watch::Watch;

mod admin;
mod claim;
mod layout;
mod recover;
mod scan;
mod settle;
mod watch;

/// A drain that ends, or an operator's command, may hold the lock for a moment.
const LOCK_TRIES: u32 = 8;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The queue in a folder, as everybody sees it.
pub struct FolderQueue {
    folder: Arc<Folder>,
    watch: AsyncMutex<Option<Watch>>,
}

/// Its files and what this process knows of them.
pub struct Folder {
    layout: Layout,
    peek: Arc<dyn Peek>,
    consumer: String,
    outbox: FolderOutbox,
    lock: Mutex<Option<Lock>>,
    desk: Mutex<Desk>,
    held: Mutex<HashMap<String, Arc<Mutex<Held>>>>,
    serial: AtomicU64,
}

/// A job that this process holds.
struct Held {
    serial: u64,
    source: Source,
    /// As it was saved last.
    record: Record,
    running: Option<Running>,
    written: Instant,
}

impl FolderQueue {
    /// # Errors
    /// As [`super::open`].
    pub async fn open(root: &Path, access: Access, options: Options) -> Result<Self> {
        let layout = Layout {
            root: root.to_path_buf(),
        };
        let folder = Folder {
            outbox: FolderOutbox::new(layout.outbox()),
            layout,
            peek: options.peek,
            consumer: options.consumer,
            lock: Mutex::default(),
            desk: Mutex::default(),
            held: Mutex::default(),
            serial: AtomicU64::new(0),
        };
        let folder = Arc::new(folder);
        let opened = folder.clone();
        beside(move || opened.open(access)).await?;
        Ok(Self {
            folder,
            watch: AsyncMutex::default(),
        })
    }

    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Folder) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let folder = self.folder.clone();
        beside(move || work(&folder)).await
    }
}

/// Runs what waits for a disk beside the other work of the runtime.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .context("a queue's work was broken off")?
}

#[async_trait]
impl Queue for FolderQueue {
    fn shown(&self) -> String {
        self.folder.layout.root.display().to_string()
    }

    async fn claim(&self, wish: &Wish) -> Result<Next> {
        let wish = wish.clone();
        self.with(move |folder| folder.claim(&wish)).await
    }

    async fn plan(&self, wish: &Wish, limit: usize) -> Result<Vec<Waiting>> {
        let wish = wish.clone();
        self.with(move |folder| folder.plan(&wish, limit)).await
    }

    async fn save(&self, claim: &Claim) -> Result<Lease> {
        let claim = claim.clone();
        self.with(move |folder| folder.save(&claim)).await
    }

    async fn heartbeat(&self, claim: &Claim, running: &Running) -> Result<Lease> {
        let (claim, running) = (claim.clone(), running.clone());
        self.with(move |folder| folder.heartbeat(&claim, &running)).await
    }

    async fn settle(&self, claim: &Claim, envelope: Option<&Envelope>) -> Result<Settled> {
        let (claim, envelope) = (claim.clone(), envelope.cloned());
        self.with(move |folder| folder.settle(&claim, envelope.as_ref()))
            .await
    }

    async fn release(&self, claim: &Claim, why: &str) -> Result<Lease> {
        let (claim, why) = (claim.clone(), why.to_string());
        self.with(move |folder| folder.release(&claim, &why)).await
    }

    async fn wait(&self, at_most: Duration) -> Result<()> {
        let mut watch = self.watch.lock().await;
        let watch = watch.get_or_insert_with(|| Watch::of(&self.folder.layout));
        watch.wait(at_most).await;
        Ok(())
    }

    fn outbox(&self) -> Arc<dyn OutboxStore> {
        Arc::new(self.folder.outbox.clone())
    }

    async fn add(&self, job: &NewJob) -> Result<Added> {
        let job = job.clone();
        self.with(move |folder| folder.add(&job)).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        let outbox = self.folder.outbox.counts().await?;
        self.with(move |folder| folder.snapshot(outbox)).await
    }

    async fn recent(&self, limit: usize) -> Result<Vec<Record>> {
        self.with(move |folder| folder.recent(limit)).await
    }

    async fn lookup(&self, id: &str) -> Result<Option<Found>> {
        let id = id.to_string();
        self.with(move |folder| folder.lookup(&id)).await
    }

    async fn dead_ids(&self) -> Result<Vec<String>> {
        self.with(Folder::dead_ids).await
    }

    async fn retry(&self, id: &str) -> Result<Retry> {
        let id = id.to_string();
        self.with(move |folder| folder.retry(&id)).await
    }

    async fn cancel(&self, id: &str) -> Result<Cancel> {
        let id = id.to_string();
        self.with(move |folder| folder.cancel(&id)).await
    }

    async fn purge_done(&self, older_than: Duration) -> Result<usize> {
        self.with(move |folder| folder.purge_done(older_than)).await
    }

    async fn close(&self) -> Result<()> {
        *lock(&self.folder.lock) = None;
        Ok(())
    }
}

impl Folder {
    fn open(&self, access: Access) -> Result<()> {
        let root = &self.layout.root;
        if access != Access::Add && !root.is_dir() {
            fail!(InputMissing, "queue `{}`: there is no such folder", root.display();
                "`ourvidz queue add --queue {} SPEC` makes it", root.display());
        }
        match access {
            Access::Look => return Ok(()),
            Access::Add => self.make_folders()?,
            Access::Drain => {
                self.make_folders()?;
                let mut tries = 0..LOCK_TRIES;
                while !self.lock_now()? {
                    if tries.next().is_none() {
                        fail!(Locked, "queue `{}`: another drain works on it", root.display();
                            "one drain works on a folder; it takes new jobs up by itself");
                    }
                    std::thread::sleep(LOCK_PAUSE);
                }
                recover::recover(&self.layout, &self.outbox, self.peek.as_ref())?;
            }
        }
        Ok(())
    }

    fn make_folders(&self) -> Result<()> {
        self.layout
            .folders()
            .iter()
            .try_for_each(|folder| make_folder(folder))
    }

    /// Takes the lock for this process; `false` while somebody else has it.
    fn lock_now(&self) -> Result<bool> {
        self.make_folders()?;
        let mut held = lock(&self.lock);
        if held.is_none() {
            *held = Lock::try_take(&self.layout.lock())?;
        }
        Ok(held.is_some())
    }

    fn locked(&self) -> bool {
        lock(&self.lock).is_some()
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Arc<Mutex<Held>>>> {
        lock(&self.held)
    }

    fn serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// What a claim stands for, `None` if it has ended.
    fn held_by(&self, claim: &Claim) -> Option<(String, Arc<Mutex<Held>>)> {
        let Token::Folder { name, serial } = &claim.token else {
            return None;
        };
        let held = self.held().get(name)?.clone();
        let ours = lock(&held).serial == *serial;
        ours.then(|| (name.clone(), held))
    }

    /// The record of a job that is held here.
    fn held_record(&self, name: &str) -> Option<Record> {
        let held = self.held().get(name)?.clone();
        let record = lock(&held).record.clone();
        Some(record)
    }
}

impl Held {
    fn new(serial: u64, source: Source, record: Record) -> Self {
        Self {
            serial,
            source,
            record,
            running: None,
            written: Instant::now(),
        }
    }

    fn work_file(&self) -> WorkFile {
        WorkFile {
            record: self.record.clone(),
            running: self.running.clone(),
            settling: None,
        }
    }
}

/// A panic elsewhere leaves files as they are, and they are what counts.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
