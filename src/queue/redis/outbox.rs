//! Callbacks in Redis, beside the queue whose jobs they tell of.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use async_trait::async_trait;

use super::alive;
use super::keys::Keys;
use super::scripts::{Script, script_arguments, to_json};
use super::server::Server;
use crate::files::points::point;
use crate::outbox::envelope::{CLAIM_MS, Counts, Envelope, OutboxStore, State, Which, now_ms};
use crate::queue::contract::QueueName;

/// The outboxes of the three queues as one.
pub struct RedisOutbox {
    server: Arc<Server>,
    consumer: String,
    /// Where a claimed envelope lies.
    homes: Mutex<HashMap<String, QueueName>>,
}

impl RedisOutbox {
    pub fn new(server: Arc<Server>, consumer: String) -> Self {
        Self {
            server,
            consumer,
            homes: Mutex::default(),
        }
    }

    /// A claimed envelope's queue; one that nobody claimed goes with pictures.
    fn home(&self, webhook_id: &str) -> QueueName {
        let homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        homes.get(webhook_id).copied().unwrap_or(QueueName::Sdxl)
    }

    fn keep_home(&self, webhook_id: &str, home: Option<QueueName>) {
        let mut homes = self.homes.lock().unwrap_or_else(PoisonError::into_inner);
        match home {
            Some(home) => homes.insert(webhook_id.into(), home),
            None => homes.remove(webhook_id),
        };
    }

    async fn tell(&self, queue: QueueName, arguments: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        self.server.run(Script::Outbox, queue, &arguments).await
    }

    /// Senders whose processes have ended on this machine.
    async fn gone(&self, queue: QueueName) -> Result<Vec<Vec<u8>>> {
        let keys = Keys::of(queue);
        let senders: Vec<String> = self
            .server
            .ask(redis::cmd("HVALS").arg(&keys.sending).to_owned())
            .await?;
        let mut names: Vec<_> = senders
            .iter()
            .filter_map(|sender| Some(sender.rsplit_once(' ')?.0))
            .collect();
        names.sort_unstable();
        names.dedup();
        let gone = names.into_iter().filter(|name| alive::is_gone(name));
        Ok(gone.map(Vec::from).collect())
    }
}

/// The time of the next try as scripts take it: none for a callback that is never tried again.
fn due(envelope: &Envelope) -> String {
    match envelope.state {
        State::Waiting => envelope.next_at_ms.to_string(),
        // Only for who asks for all.
        State::GivenUp => "+inf".into(),
        State::Gone => String::new(),
    }
}

#[async_trait]
impl OutboxStore for RedisOutbox {
    async fn put(&self, envelope: &Envelope) -> Result<()> {
        let id = envelope.webhook_id.as_str();
        let arguments = script_arguments!["put", id, to_json(envelope)?, due(envelope)];
        self.tell(self.home(id), arguments).await.map(|_| ())
    }

    async fn claim(&self, which: Which, limit: usize) -> Result<Vec<Envelope>> {
        let mut claimed: Vec<Envelope> = Vec::new();
        for queue in QueueName::ALL {
            let now = now_ms();
            let until = match which {
                Which::Due(now) => now.to_string(),
                Which::All(now) => format!("all {now}"),
            };
            let mut arguments = script_arguments![
                "claim",
                until,
                (limit - claimed.len()).to_string(),
                self.consumer.as_str(),
                now.to_string(),
                (now + CLAIM_MS).to_string(),
            ];
            arguments.extend(self.gone(queue).await?);
            for text in self.tell(queue, arguments).await? {
                let envelope: Envelope = serde_json::from_slice(&text)?;
                self.keep_home(&envelope.webhook_id, Some(queue));
                claimed.push(envelope);
            }
        }
        claimed.sort_by_key(|envelope| envelope.next_at_ms);
        point("redis:outbox-claimed");
        Ok(claimed)
    }

    async fn reschedule(&self, envelope: &Envelope) -> Result<()> {
        let id = envelope.webhook_id.as_str();
        let arguments = script_arguments![
            "reschedule",
            id,
            to_json(envelope)?,
            due(envelope),
            self.consumer.as_str()
        ];
        self.tell(self.home(id), arguments).await?;
        self.keep_home(id, None);
        point("redis:outbox-rescheduled");
        Ok(())
    }

    async fn remove(&self, webhook_id: &str) -> Result<()> {
        let arguments = script_arguments!["remove", webhook_id];
        point("redis:before-outbox-remove");
        self.tell(self.home(webhook_id), arguments).await?;
        self.keep_home(webhook_id, None);
        point("redis:outbox-removed");
        Ok(())
    }

    async fn release(&self, webhook_id: &str) -> Result<()> {
        let arguments = script_arguments!["release", webhook_id, self.consumer.as_str()];
        self.tell(self.home(webhook_id), arguments).await?;
        self.keep_home(webhook_id, None);
        Ok(())
    }

    async fn counts(&self) -> Result<Counts> {
        let mut counts = Counts::default();
        for queue in QueueName::ALL {
            let keys = Keys::of(queue);
            let texts: Vec<Vec<u8>> = self
                .server
                .ask(redis::cmd("HVALS").arg(&keys.outbox).to_owned())
                .await?;
            for text in texts {
                let envelope: Envelope = serde_json::from_slice(&text)?;
                match envelope.state {
                    State::Waiting => {
                        counts.waiting += 1;
                        let first = counts.next_at_ms.unwrap_or(u64::MAX);
                        counts.next_at_ms = Some(first.min(envelope.next_at_ms));
                    }
                    State::GivenUp => counts.given_up += 1,
                    State::Gone => counts.gone += 1,
                }
            }
        }
        Ok(counts)
    }
}
