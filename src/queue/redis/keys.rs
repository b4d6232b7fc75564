//! The keys of a queue. All have one hash tag, so that one node of a cluster holds them.

use crate::queue::contract::QueueName;

/// The type of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Stream,
    Hash,
    SortedSet,
    Set,
    List,
}

/// The keys of one queue, in the order of the scripts' prelude.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Jobs that wait or are held: one field `job`.
    pub stream: String,
    /// Id → record of what ended well.
    pub done: String,
    /// The same ids by the time of their end.
    done_at: String,
    /// What ended otherwise: `name`, `job`, `record`.
    pub dead: String,
    /// Name → its entry there.
    pub dead_at: String,
    /// Id → callback.
    pub outbox: String,
    /// Their ids by the time of the next try.
    due: String,
    /// Id → who tries it now, until when.
    pub sending: String,
    /// Entry → record, of jobs that were begun.
    pub records: String,
    /// Entry → how often it was claimed.
    fence: String,
    /// Entry → how many younger ones were claimed before.
    passed: String,
    /// Entry → what its worker does.
    pub running: String,
    /// Lower-case id → id, digest, entry, state.
    pub ids: String,
    /// Ids to be cancelled.
    cancel: String,
    /// Where producers push that know no streams.
    list: String,
}

impl Keys {
    pub fn of(queue: QueueName) -> Self {
        let name = queue.name();
        let key = |part: &str| format!("ourvidz:{{{name}}}{part}");
        Self {
            stream: key(""),
            done: key(":done"),
            done_at: key(":done:at"),
            dead: key(":dead"),
            dead_at: key(":dead:at"),
            outbox: key(":outbox"),
            due: key(":outbox:due"),
            sending: key(":outbox:sending"),
            records: key(":records"),
            fence: key(":fence"),
            passed: key(":passed"),
            running: key(":running"),
            ids: key(":ids"),
            cancel: key(":cancel"),
            list: name.into(),
        }
    }

    /// Each with its type.
    pub fn kinds(&self) -> [(&str, Kind); 15] {
        [
            (&self.stream, Kind::Stream),
            (&self.done, Kind::Hash),
            (&self.done_at, Kind::SortedSet),
            (&self.dead, Kind::Stream),
            (&self.dead_at, Kind::Hash),
            (&self.outbox, Kind::Hash),
            (&self.due, Kind::SortedSet),
            (&self.sending, Kind::Hash),
            (&self.records, Kind::Hash),
            (&self.fence, Kind::Hash),
            (&self.passed, Kind::Hash),
            (&self.running, Kind::Hash),
            (&self.ids, Kind::Hash),
            (&self.cancel, Kind::Set),
            (&self.list, Kind::List),
        ]
    }

    pub fn all(&self) -> [&str; 15] {
        self.kinds().map(|(key, _)| key)
    }

    pub fn done_at(&self) -> &str {
        &self.done_at
    }
}
