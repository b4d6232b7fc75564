//! The queue in Redis: a stream with a consumer group for each of the three queues, and any number of
//! drains on any number of machines.
//!
//! An entry in the stream waits, or it is in the group's list of pending entries: then somebody holds it.
//! Nobody reads the stream as a group does; a drain looks at what waits, chooses, and claims that entry.
//! So giving back is acknowledging, and the order stays. A claim is known by its consumer and a count that
//! grows with each claim of the entry; every script checks both. A holder that is silent for longer than
//! the lease, or whose process has ended on this machine, is passed over by whoever claims next.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use async_trait::async_trait;
use jiff::Timestamp;

use super::contract::{
    Access, Added, Cancel, Claim, Found, Lease, ListEnd, NewJob, Next, Options, Peek, Queue, QueueName,
    Retry, Settled, Snapshot, Waiting, Wish,
};

use super::place::Place;
use super::record::{Record, Running};
use crate::outbox::envelope::{Envelope, OutboxStore};
use outbox::RedisOutbox;
use scripts::{Script, script_arguments};
use server::Server;

mod admin;
mod alive;
mod claim;
mod entry;
mod keys;
mod outbox;
mod scripts;
mod server;
mod settle;

pub struct RedisQueue {
    server: Arc<Server>,
    peek: Arc<dyn Peek>,
    consumer: String,
    lease: Duration,
    list_end: ListEnd,
    outbox: Arc<RedisOutbox>,
    /// The last entry of each stream when it was looked at.
    tails: Mutex<HashMap<QueueName, String>>,
    /// The connection that waits.
    waiting: tokio::sync::Mutex<Option<redis::aio::MultiplexedConnection>>,
}

impl RedisQueue {
    /// # Errors
    /// As [`super::open`].
    pub async fn open(place: &Place, _access: Access, options: Options) -> Result<Self> {
        let server = Arc::new(Server::new(place, options.patience)?);
        server.prepare(options.force).await?;
        let consumer = alive::named(&options.consumer);
        let outbox = Arc::new(RedisOutbox::new(server.clone(), consumer.clone()));
        Ok(Self {
            server,
            peek: options.peek,
            consumer,
            lease: options.lease,
            list_end: options.list_end,
            outbox,
            tails: Mutex::default(),
            waiting: tokio::sync::Mutex::default(),
        })
    }

    fn lease_ms(&self) -> String {
        self.lease.as_millis().to_string()
    }

    fn tail(&self, queue: QueueName) -> String {
        let tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        tails.get(&queue).cloned().unwrap_or_else(|| "$".into())
    }

    fn set_tail(&self, queue: QueueName, tail: String) {
        let mut tails = self.tails.lock().unwrap_or_else(PoisonError::into_inner);
        tails.insert(queue, tail);
    }
}

#[async_trait]
impl Queue for RedisQueue {
    fn shown(&self) -> String {
        self.server.shown().into()
    }

    async fn claim(&self, wish: &Wish) -> Result<Next> {
        self.claim_next(wish).await
    }

    async fn plan(&self, wish: &Wish, limit: usize) -> Result<Vec<Waiting>> {
        self.plan_all(wish, limit).await
    }

    async fn save(&self, claim: &Claim) -> Result<Lease> {
        self.keep(claim, Some(&claim.record), None).await
    }

    async fn heartbeat(&self, claim: &Claim, running: &Running) -> Result<Lease> {
        self.keep(claim, None, Some(running)).await
    }

    async fn settle(&self, claim: &Claim, envelope: Option<&Envelope>) -> Result<Settled> {
        self.settle_now(claim, envelope).await
    }

    async fn release(&self, claim: &Claim, why: &str) -> Result<Lease> {
        self.release_now(claim, why).await
    }

    async fn wait(&self, at_most: Duration) -> Result<()> {
        self.wait_for_more(at_most).await
    }

    fn outbox(&self) -> Arc<dyn OutboxStore> {
        self.outbox.clone()
    }

    async fn add(&self, job: &NewJob) -> Result<Added> {
        self.add_now(job).await
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        self.snapshot_now().await
    }

    async fn recent(&self, limit: usize) -> Result<Vec<Record>> {
        self.recent_now(limit).await
    }

    async fn lookup(&self, id: &str) -> Result<Option<Found>> {
        self.lookup_now(id).await
    }

    async fn dead_ids(&self) -> Result<Vec<String>> {
        self.dead_ids_now().await
    }

    async fn retry(&self, id: &str) -> Result<Retry> {
        self.retry_now(id).await
    }

    async fn cancel(&self, id: &str) -> Result<Cancel> {
        self.cancel_now(id).await
    }

    async fn purge_done(&self, older_than: Duration) -> Result<usize> {
        let until = Timestamp::now().as_millisecond() - i64::try_from(older_than.as_millis())?;
        let mut purged = 0;
        for queue in QueueName::ALL {
            loop {
                let arguments = script_arguments![until.to_string()];
                let some: usize = self.server.run(Script::Purge, queue, &arguments).await?;
                purged += some;
                if some == 0 {
                    break;
                }
            }
        }
        Ok(purged)
    }

    async fn close(&self) -> Result<()> {
        for queue in QueueName::ALL {
            let arguments = script_arguments![self.consumer.as_str()];
            let _: i64 = self.server.run(Script::Leave, queue, &arguments).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
