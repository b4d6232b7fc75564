//! Where jobs wait, who works on them, and what became of them.
//!
//! A job is in one state at a time: it waits, one drain holds it, or it has one outcome. Whoever holds
//! a [`Claim`] calls in this order:
//!
//! ```text
//! claim → save (seeds, before work) → heartbeat … → settle, or release
//! ```
//!
//! [`Queue::settle`] stores outcome and callback in one step that no crash divides: afterwards the job
//! is ended and its callback lies in the outbox, or neither. A claim that was lost (its lease ran out
//! and somebody else took over) is refused everything: [`Lease::Lost`], [`Settled::Lost`].
//!
//! The queue knows no job: what a spec says is told by the caller's [`Peek`].

use std::sync::Arc;

use anyhow::Result;

mod contract;
mod folder;
mod order;
mod place;
mod record;
mod redis;
mod times;

#[cfg(test)]
mod testing;

pub use contract::{
    Access, Added, Cancel, Claim, FAIRNESS_WINDOW, Format, Found, Lease, ListEnd, NewJob, Next, Options,
    Peek, Peeked, Queue, QueueName, Retry, SPEC_READ_BYTES, Settled, Snapshot, State, Trouble, Waiting, Wish,
};

pub use folder::FolderQueue;
pub use place::Place;
pub use record::{Event, Record, Running, StoredAsset};
pub use redis::RedisQueue;

/// Opens a queue.
///
/// # Errors
/// `InputMissing` for a folder that is not there (but with [`Access::Add`]), `Locked` when another
/// drain works on it, and those of [`Queue`].
pub async fn open(place: &Place, access: Access, options: Options) -> Result<Arc<dyn Queue>> {
    match place {
        Place::Folder(root) => Ok(Arc::new(FolderQueue::open(root, access, options).await?)),
        Place::Redis(_) => Ok(Arc::new(RedisQueue::open(place, access, options).await?)),
    }
}
