//! The queue in a folder: claims by rename, one drain at a time by lock.
//!
//! `layout` says what lies where; `scan` looks for what waits, `claim` takes it, `settle` ends it and
//! `recover` puts right what a crash left. The work is plain files, done beside the async runtime.

use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, Result};
use async_trait::async_trait;
use tokio::sync::Mutex as AsyncMutex;

use super::contract::{
    Access, Added, Cancel, Claim, Found, Lease, NewJob, Next, Options, Queue, Retry, Settled, Snapshot,
    Waiting, Wish,
};

use super::record::{Record, Running};
use crate::fail;
use crate::files::{Lock, make_folder};
use crate::outbox::envelope::{Envelope, OutboxStore};
use crate::outbox::folder::FolderOutbox;
use layout::Layout;
use state::{Folder, lock};
use watch::Watch;

mod admin;
mod claim;
mod desk;
mod layout;
mod recover;
mod scan;
mod settle;
mod state;
mod watch;

/// A drain that ends, or an operator's command, may hold the lock for a moment.
const LOCK_TRIES: u32 = 8;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The queue in a folder, as everybody sees it.
pub struct FolderQueue {
    folder: Arc<Folder>,
    watch: AsyncMutex<Option<Watch>>,
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
}

#[cfg(test)]
mod tests;
