//! What operators and producers do with a queue in Redis.

use anyhow::Result;
use redis::streams::{StreamPendingCountReply, StreamRangeReply};

use super::RedisQueue;
use super::entry::Entry;
use super::keys::Keys;
use super::scripts::{Script, script_arguments, to_json};
use super::server::GROUP;
use crate::fail;
use crate::files::points::point;
use crate::files::sha256_hex;
use crate::outbox::envelope::OutboxStore;
use crate::queue::contract::{Added, Cancel, Format, Found, NewJob, QueueName, Retry, Snapshot, State};
use crate::queue::record::{Record, Running};

/// A dead job's entry.
struct Dead {
    queue: QueueName,
    place: String,
    name: String,
    record: Record,
}

impl RedisQueue {
    pub async fn add_now(&self, job: &NewJob) -> Result<Added> {
        if job.format != Format::Json {
            fail!(Internal, "job `{}`: a queue in Redis takes JSON", job.id);
        }
        let arguments = script_arguments![
            job.id.as_str(),
            job.id.to_ascii_lowercase(),
            sha256_hex(&job.spec),
            job.spec.as_slice(),
        ];
        let answer: Vec<String> = self.server.run(Script::Add, job.queue, &arguments).await?;
        point("redis:added");
        match &answer[..] {
            [what, id, ..] if what == "other" => {
                fail!(Conflict, "job `{}`: the queue has `{id}` with another spec", job.id; "choose another id");
            }
            [_, _, state, held] => Ok(Added::Same(match (state.as_str(), held.as_str()) {
                ("done", _) => State::Done,
                ("dead", _) => State::Dead,
                (_, "1") => State::Running,
                _ => State::Waiting,
            })),
            _ => Ok(Added::New),
        }
    }

    pub async fn lookup_now(&self, id: &str) -> Result<Option<Found>> {
        for queue in QueueName::ALL {
            let keys = Keys::of(queue);
            let done: Option<String> = self
                .server
                .ask(redis::cmd("HGET").arg(&[&keys.done, id]).to_owned())
                .await?;
            if let Some(record) = done {
                return Ok(Some(Found {
                    state: State::Done,
                    record: serde_json::from_str(&record)?,
                }));
            }
            if let Some(dead) = self.dead(queue, id).await? {
                return Ok(Some(Found {
                    state: State::Dead,
                    record: dead.record,
                }));
            }
            if let Some(record) = self.held_record(queue, id).await? {
                return Ok(Some(Found {
                    state: State::Running,
                    record,
                }));
            }
            let mut waiting = self.all_waiting(queue).await?.into_iter();
            if let Some(entry) = waiting.find(|entry| entry.id == id) {
                return Ok(Some(Found {
                    state: State::Waiting,
                    record: entry.known(),
                }));
            }
        }
        Ok(None)
    }

    async fn dead(&self, queue: QueueName, name: &str) -> Result<Option<Dead>> {
        let keys = Keys::of(queue);
        let place: Option<String> = self
            .server
            .ask(redis::cmd("HGET").arg(&[&keys.dead_at, name]).to_owned())
            .await?;
        let Some(place) = place else {
            return Ok(None);
        };
        let found = self.dead_between(queue, &place, &place).await?;
        Ok(found.into_iter().next())
    }

    async fn dead_between(&self, queue: QueueName, from: &str, to: &str) -> Result<Vec<Dead>> {
        let keys = Keys::of(queue);
        let range = redis::cmd("XRANGE").arg(&[&keys.dead, from, to]).to_owned();
        let found: StreamRangeReply = self.server.ask(range).await?;
        let read = |entry: redis::streams::StreamId| {
            let record: String = entry.get("record")?;
            Some(Dead {
                queue,
                name: entry.get("name")?,
                record: serde_json::from_str(&record).ok()?,
                place: entry.id,
            })
        };
        Ok(found.ids.into_iter().filter_map(read).collect())
    }

    /// The entries that somebody holds, with their holders.
    async fn held(&self, queue: QueueName) -> Result<Vec<(String, String)>> {
        let keys = Keys::of(queue);
        let list = redis::cmd("XPENDING")
            .arg(&[&keys.stream, GROUP, "-", "+", "10000"])
            .to_owned();
        let held: StreamPendingCountReply = self.server.ask(list).await?;
        Ok(held.ids.into_iter().map(|one| (one.id, one.consumer)).collect())
    }

    async fn held_record(&self, queue: QueueName, id: &str) -> Result<Option<Record>> {
        for (entry, _) in self.held(queue).await? {
            if let Some(record) = self.record(queue, &entry).await?
                && record.id == id
            {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    async fn record(&self, queue: QueueName, entry: &str) -> Result<Option<Record>> {
        let keys = Keys::of(queue);
        let record: Option<String> = self
            .server
            .ask(redis::cmd("HGET").arg(&[&keys.records, entry]).to_owned())
            .await?;
        Ok(record.and_then(|record| serde_json::from_str(&record).ok()))
    }

    pub async fn snapshot_now(&self) -> Result<Snapshot> {
        let mut snapshot = Snapshot {
            outbox: self.outbox.counts().await?,
            ..Snapshot::default()
        };
        for queue in QueueName::ALL {
            let keys = Keys::of(queue);
            let waiting = self.all_waiting(queue).await?;
            let free: Vec<_> = waiting.iter().map(|entry| entry.entry.clone()).collect();
            snapshot.waiting.extend(waiting.iter().map(Entry::waiting));
            for (entry, consumer) in self.held(queue).await? {
                // Its holder is not heard of any more: it waits.
                if !free.contains(&entry) {
                    snapshot
                        .running
                        .extend(self.running(queue, &entry, consumer).await?);
                }
            }
            let done: usize = self
                .server
                .ask(redis::cmd("HLEN").arg(&keys.done).to_owned())
                .await?;
            let dead: usize = self
                .server
                .ask(redis::cmd("XLEN").arg(&keys.dead).to_owned())
                .await?;
            snapshot.done += done;
            snapshot.dead += dead;
        }
        snapshot.waiting.sort_by_key(|job| job.queued_at);
        Ok(snapshot)
    }

    /// What is told of a held job; before the first heartbeat only who has it.
    async fn running(&self, queue: QueueName, entry: &str, consumer: String) -> Result<Option<Running>> {
        let keys = Keys::of(queue);
        let told: Option<String> = self
            .server
            .ask(redis::cmd("HGET").arg(&[&keys.running, entry]).to_owned())
            .await?;
        if let Some(running) = told.and_then(|told| serde_json::from_str(&told).ok()) {
            return Ok(Some(running));
        }
        Ok(self.record(queue, entry).await?.map(|record| Running {
            since: record.history.last().map_or(record.queued_at, |event| event.at),
            id: record.id,
            job_type: record.job_type,
            worker: consumer,
            device: String::new(),
            step: 0,
            total: 0,
        }))
    }

    pub async fn recent_now(&self, limit: usize) -> Result<Vec<Record>> {
        let last = limit.saturating_sub(1).to_string();
        let mut records: Vec<Record> = Vec::new();
        for queue in QueueName::ALL {
            let keys = Keys::of(queue);
            let range = redis::cmd("ZREVRANGE")
                .arg(&[keys.done_at(), "0", &last])
                .to_owned();
            let ids: Vec<String> = self.server.ask(range).await?;
            if ids.is_empty() {
                continue;
            }
            let texts: Vec<Option<String>> = self
                .server
                .ask(redis::cmd("HMGET").arg(&keys.done).arg(&ids).to_owned())
                .await?;
            let read = texts.into_iter().flatten();
            records.extend(read.filter_map(|text| serde_json::from_str(&text).ok()));
        }
        records.sort_by_key(|record| std::cmp::Reverse(record.finished_at));
        records.truncate(limit);
        Ok(records)
    }

    pub async fn dead_ids_now(&self) -> Result<Vec<String>> {
        let mut dead = Vec::new();
        for queue in QueueName::ALL {
            dead.extend(self.dead_between(queue, "-", "+").await?);
        }
        // A conflict's second would only be one again.
        dead.retain(|dead| dead.name == dead.record.id);
        dead.sort_by_key(|dead| dead.record.finished_at);
        Ok(dead.into_iter().map(|dead| dead.name).collect())
    }

    pub async fn retry_now(&self, id: &str) -> Result<Retry> {
        for queue in QueueName::ALL {
            if let Some(mut dead) = self.dead(queue, id).await? {
                if dead.name != dead.record.id {
                    return Ok(Retry::Never);
                }
                dead.record.reopen();
                let arguments = script_arguments![
                    id,
                    id.to_ascii_lowercase(),
                    dead.record.spec_sha256.as_deref().unwrap_or("-"),
                    dead.place.as_str(),
                    to_json(&dead.record)?,
                ];
                let _: i64 = self.server.run(Script::Retry, dead.queue, &arguments).await?;
                point("redis:retried");
                return Ok(Retry::Waiting);
            }
        }
        Ok(match self.lookup_now(id).await? {
            Some(found) if found.state == State::Waiting => Retry::Waiting,
            other => Retry::NotDead(other.map(|found| found.state)),
        })
    }

    pub async fn cancel_now(&self, id: &str) -> Result<Cancel> {
        // The second look is for a job that was taken between the first and the mark.
        for _ in 0..2 {
            let Some(found) = self.lookup_now(id).await? else {
                return Ok(Cancel::Unknown);
            };
            match found.state {
                State::Done | State::Dead => return Ok(Cancel::Ended(Box::new(found.record))),
                State::Waiting => {
                    if let Some(claim) = self.claim_waiting(id).await? {
                        return Ok(Cancel::Taken(Box::new(claim)));
                    }
                }
                State::Running => {}
            }
            for queue in QueueName::ALL {
                if self.is_open(queue, id).await? {
                    let arguments = script_arguments![id, id.to_ascii_lowercase()];
                    let marked: i64 = self.server.run(Script::Cancel, queue, &arguments).await?;
                    if marked == 1 {
                        return Ok(Cancel::Asked);
                    }
                }
            }
        }
        Ok(Cancel::Asked)
    }

    async fn claim_waiting(&self, id: &str) -> Result<Option<crate::queue::contract::Claim>> {
        for queue in QueueName::ALL {
            for entry in self.all_waiting(queue).await? {
                if entry.id == id
                    && let Some(claim) = self.take_to_cancel(&entry).await?
                {
                    return Ok(Some(claim));
                }
            }
        }
        Ok(None)
    }

    /// Whether a queue knows of a job with this id that has not ended.
    async fn is_open(&self, queue: QueueName, id: &str) -> Result<bool> {
        let keys = Keys::of(queue);
        let lower = id.to_ascii_lowercase();
        let known: Option<String> = self
            .server
            .ask(redis::cmd("HGET").arg(&[&keys.ids, &lower]).to_owned())
            .await?;
        Ok(known.is_some_and(|known| known.starts_with(&format!("{id} ")) && known.ends_with(" open")))
    }
}
