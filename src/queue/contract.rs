//! What every queue promises, and the nouns of its life.

use super::record::{Record, Running};
use crate::outbox::envelope::{Counts, Envelope, OutboxStore};
use anyhow::Result;
use async_trait::async_trait;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Bytes of a spec that are read. One more than a spec may have, so that its parser can say that it
/// is too large.
pub const SPEC_READ_BYTES: u64 = (64 << 10) + 1;

/// A waiting job that was passed by this many younger ones is next.
pub const FAIRNESS_WINDOW: u32 = 20;

/// The three queues, in their order of priority unless the operator says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QueueName {
    Sdxl,
    Chat,
    Wan,
}

impl QueueName {
    pub const ALL: [Self; 3] = [Self::Sdxl, Self::Chat, Self::Wan];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sdxl => "sdxl_queue",
            Self::Chat => "chat_queue",
            Self::Wan => "wan_queue",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|q| q.name() == name)
    }
}

/// What a spec says about itself without being run. Made by the caller, who knows jobs; it must not
/// take long and never fails: what it cannot tell is `None`.
pub trait Peek: Send + Sync {
    /// `spec`: the source's first [`SPEC_READ_BYTES`]. `None` in `queue` (no valid job) is claimed
    /// with any queue, so that it is refused soon.
    fn peek(&self, spec: &[u8]) -> Peeked;

    /// Whether `text` may be the id of a job.
    fn is_id(&self, text: &str) -> bool;
}

/// See [`Peek`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Peeked {
    /// A valid id only.
    pub id: Option<String>,
    pub job_type: Option<String>,
    pub queue: Option<QueueName>,
    /// Equal for jobs that need the same model in memory (model and LoRAs).
    pub affinity: Option<String>,
}

/// What a worker would like next.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// Which queues, the most important first.
    pub queues: Vec<QueueName>,
    /// Affinity of what the worker has in memory.
    pub affinity: Option<String>,
    /// Who asks, for the record's history.
    pub worker: String,
}

/// The answer to a [`Wish`].
#[derive(Debug)]
pub enum Next {
    Job(Box<Claim>),
    /// Nothing may be taken now, but something may be after this time: a file that is perhaps still
    /// being written, or a job whose holder has not been heard of lately. A drain that does not
    /// watch waits for it; the queue gives up on files that stay unfinished for 5 s.
    Soon(Duration),
    /// Nothing waits in these queues. Others may still be at work.
    Empty,
}

/// A job that is ours until it is settled, released or lost.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Ours to change; [`Queue::save`], [`Queue::settle`] and [`Queue::release`] store it.
    pub record: Record,
    /// The source, at most [`SPEC_READ_BYTES`] of it; empty with [`Trouble::NoFile`].
    pub spec: Vec<u8>,
    pub peeked: Peeked,
    /// Why it must not run. The holder settles it as failed or cancelled right away.
    pub trouble: Option<Trouble>,
    pub(super) token: Token,
}

/// Why a claimed job must not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// Its id, or one that differs in case only, is taken by another spec. It is settled beside that
    /// one, as `ID.conflict-N`. Without a callback if `same_id`: that id has an outcome of its own.
    Conflict { with: String, same_id: bool },
    /// A link, FIFO, device or folder, in words.
    NoFile(String),
    /// Somebody cancelled it before it ran.
    Cancelled,
}

/// How Redis knows a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub queue: QueueName,
    pub entry: String,
    pub count: String,
}

/// How a queue knows that a claim is still the one it gave out.
#[derive(Debug, Clone)]
pub(super) enum Token {
    Folder { name: String, serial: u64 },
    Redis(Mark),
}

/// Whether a claim is still ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    Held,
    /// Held, and somebody asked for an end: stop between two steps, settle as cancelled.
    CancelAsked,
    /// Somebody else has it now: stop, say nothing, upload nothing.
    Lost,
}

/// Whether an outcome was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Yes,
    /// The claim was lost before: nothing was stored, no callback will go out.
    Lost,
}

/// A job that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub id: String,
    pub job_type: Option<String>,
    pub queue: Option<QueueName>,
    pub affinity: Option<String>,
    pub queued_at: Timestamp,
}

/// Everything `queue status` tells.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Oldest first.
    pub waiting: Vec<Waiting>,
    pub running: Vec<Running>,
    pub done: usize,
    pub dead: usize,
    pub outbox: Counts,
}

/// A job to be added; its spec is valid and says `id`, or its queue takes the id from the file's name.
#[derive(Debug, Clone)]
pub struct NewJob {
    pub id: String,
    pub queue: QueueName,
    pub spec: Vec<u8>,
    pub format: Format,
}

/// How a source is written. Redis takes JSON only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Yaml,
    Json,
}

/// What became of a [`NewJob`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    New,
    /// The same id with the same bytes is there already: nothing to do.
    Same(State),
}

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Waiting,
    Running,
    Done,
    Dead,
}

/// A job found by its id.
#[derive(Debug, Clone)]
pub struct Found {
    pub state: State,
    /// What is kept of it; a job that nobody has claimed yet has an empty one.
    pub record: Record,
}

/// The answer to [`Queue::cancel`].
#[derive(Debug)]
pub enum Cancel {
    /// It waited and is ours now, with [`Trouble::Cancelled`]: settle it with its callback.
    Taken(Box<Claim>),
    /// A drain has it and will end it between two steps, with callback.
    Asked,
    /// It has ended before; nothing changes.
    Ended(Box<Record>),
    Unknown,
}

/// The answer to [`Queue::retry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    Waiting,
    /// No dead job has this id; where it is instead.
    NotDead(Option<State>),
    /// There is no source to try again: a conflict's second, a link, a FIFO.
    Never,
}

/// Which end of a plain Redis list holds the oldest item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListEnd {
    Left,
    /// As LPUSH leaves it.
    #[default]
    Right,
}

/// What a caller is going to do with a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Claim and run. A folder is locked and what a crash left behind is put right.
    Drain,
    /// Add jobs. A missing folder is made.
    Add,
    /// Everything else.
    Look,
}

/// How a queue is opened.
#[derive(Clone)]
pub struct Options {
    pub peek: Arc<dyn Peek>,
    /// Name of this process in records and for others, unique among all machines.
    pub consumer: String,
    /// A claim without a heartbeat for this long is taken over by others (Redis).
    pub lease: Duration,
    pub list_end: ListEnd,
    /// Take a Redis that may evict keys.
    pub force: bool,
    /// How long an unreachable server is tried at the start.
    pub patience: Duration,
}

/// A queue of jobs. All methods may be called from several tasks at once.
///
/// # Errors
/// `CannotWrite` (read-only, full disk) and `Io` from a folder; `Unavailable` when Redis stays away
/// after some tries, `Config` when it refuses us (password, key type, eviction policy). After an error
/// the claim stands as it was, and the same call may be tried again.
#[async_trait]
pub trait Queue: Send + Sync {
    /// What it is called in messages, without a password.
    fn shown(&self) -> String;

    /// Takes the next job: by the order of the wish's queues, then one of the wish's affinity unless
    /// an older one was passed by [`FAIRNESS_WINDOW`] younger ones already, else the oldest. The
    /// same spec under the id of a job that waits, runs or has ended is dropped on the way.
    async fn claim(&self, wish: &Wish) -> Result<Next>;

    /// What [`Queue::claim`] would take, in order, and changes nothing. `limit`: at most this many.
    async fn plan(&self, wish: &Wish, limit: usize) -> Result<Vec<Waiting>>;

    /// Stores the claim's record as it is now.
    async fn save(&self, claim: &Claim) -> Result<Lease>;

    /// Renews the lease and tells others what the worker does. Cheap enough for every second; the
    /// lease wants it every `lease / 4`.
    async fn heartbeat(&self, claim: &Claim, running: &Running) -> Result<Lease>;

    /// Ends the job with the record's `outcome`: `Completed` goes to done, anything else to dead. The
    /// callback, if any, is stored with it.
    async fn settle(&self, claim: &Claim, envelope: Option<&Envelope>) -> Result<Settled>;

    /// Gives the job back with its record; `why` is noted in the history. It counts no attempt.
    async fn release(&self, claim: &Claim, why: &str) -> Result<Lease>;

    /// Returns when something new may wait, or after `at_most`.
    async fn wait(&self, at_most: Duration) -> Result<()>;

    /// The callbacks that are not delivered yet.
    fn outbox(&self) -> Arc<dyn OutboxStore>;

    /// Adds a job.
    ///
    /// # Errors
    /// `Conflict` when its id, or one that differs in case only, has another spec.
    async fn add(&self, job: &NewJob) -> Result<Added>;

    async fn snapshot(&self) -> Result<Snapshot>;

    /// The records of the jobs that were completed last, newest first, from which times are learned.
    async fn recent(&self, limit: usize) -> Result<Vec<Record>>;

    async fn lookup(&self, id: &str) -> Result<Option<Found>>;

    /// Ids of the dead jobs that can be tried again, oldest first.
    async fn dead_ids(&self) -> Result<Vec<String>>;

    /// Makes a dead job wait again, with its seeds and history and no attempts.
    async fn retry(&self, id: &str) -> Result<Retry>;

    /// Cancels a job that waits or runs.
    async fn cancel(&self, id: &str) -> Result<Cancel>;

    /// Forgets completed jobs that ended longer ago than this; how many.
    async fn purge_done(&self, older_than: Duration) -> Result<usize>;

    /// Leaves the queue; claims that are still held stay held until their lease ends.
    async fn close(&self) -> Result<()>;
}

impl Claim {
    pub fn id(&self) -> &str {
        &self.record.id
    }
}
