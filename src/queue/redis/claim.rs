//! Looking at what waits, choosing, and taking it: somebody else may be faster, then it is looked again.

use std::time::Duration;

use anyhow::{Context, Result};
use redis::Value;

use super::entry::{Entry, JOB_READ_BYTES};
use super::keys::Keys;
use super::scripts::{Script, script_arguments};
use super::server::GROUP;
use super::{RedisQueue, alive};
use crate::files::points::point;
use crate::queue::contract::Mark;
use crate::queue::contract::{
    Claim, FAIRNESS_WINDOW, Lease, ListEnd, Next, QueueName, Token, Trouble, Waiting, Wish,
};
use crate::queue::order;

/// How many waiting entries are chosen from.
const WINDOW: usize = 40;

/// With eight drains after one job, each loses the race a few times.
const RACES: usize = 100;

/// Where nothing can be waited for, it is looked this often.
const LOOK: Duration = Duration::from_secs(1);

/// What a look at one queue found.
pub struct Looked {
    pub entries: Vec<Entry>,
    /// When the lease of the quietest holder may end, if it has been quiet for some time.
    soon: Option<Duration>,
}

/// The answer to an attempt to take an entry.
enum Taken {
    Claim(Box<Claim>),
    /// It is not there any more, or another one is due.
    Again,
}

impl RedisQueue {
    pub async fn claim_next(&self, wish: &Wish) -> Result<Next> {
        let mut soon: Option<Duration> = None;
        for &queue in &wish.queues {
            for _ in 0..RACES {
                let looked = self.look(queue, "-", WINDOW).await?;
                soon = [soon, looked.soon].into_iter().flatten().min();
                let candidates: Vec<_> = looked.entries.iter().map(Entry::candidate).collect();
                let Some(index) = order::next(&candidates, wish) else {
                    break;
                };
                let fair = match candidates[index].queue {
                    Some(_) => FAIRNESS_WINDOW,
                    None => 0,
                };
                if let Taken::Claim(claim) = self.take(&looked.entries[index], fair, &wish.worker).await? {
                    return Ok(Next::Job(claim));
                }
            }
        }
        Ok(soon.map_or(Next::Empty, Next::Soon))
    }

    /// Takes one entry, to cancel it.
    pub async fn take_to_cancel(&self, entry: &Entry) -> Result<Option<Claim>> {
        match self.take(entry, 0, &self.consumer).await? {
            Taken::Claim(mut claim) => {
                claim.trouble.get_or_insert(Trouble::Cancelled);
                Ok(Some(*claim))
            }
            Taken::Again => Ok(None),
        }
    }

    async fn take(&self, entry: &Entry, fair: u32, worker: &str) -> Result<Taken> {
        let mut arguments = script_arguments![
            entry.entry.as_str(),
            self.consumer.as_str(),
            self.lease_ms(),
            entry.id.as_str(),
            entry.id.to_ascii_lowercase(),
            entry.digest(),
            fair.to_string(),
        ];
        arguments.extend(self.gone(entry.queue).await?);
        point("redis:before-claim");
        let answer: Vec<String> = self.server.run(Script::Claim, entry.queue, &arguments).await?;
        point("redis:claimed");
        let [what, count, record, with, cancelled, before] = &answer[..] else {
            if answer.first().is_some_and(|what| what == "repeat") {
                tracing::info!(job = entry.id, "the same spec was queued again: skipped");
            }
            return Ok(Taken::Again);
        };
        debug_assert_eq!(what, "job");
        let mut claim = self.claimed(entry, count, record);
        claim.trouble = match (with.as_str(), cancelled.as_str()) {
            ("", "0") => None,
            ("", _) => Some(Trouble::Cancelled),
            (with, _) => Some(Trouble::Conflict {
                with: with.into(),
                same_id: with == claim.record.id,
            }),
        };
        if !before.is_empty() {
            let detail = format!("{before} was not heard of any more");
            claim.record.note("recovered", None, Some(&detail));
        }
        claim.record.note("claimed", Some(worker), None);
        let kept = self.keep(&claim, Some(&claim.record), None).await?;
        Ok(match kept {
            Lease::Lost => Taken::Again,
            Lease::Held | Lease::CancelAsked => Taken::Claim(Box::new(claim)),
        })
    }

    fn claimed(&self, entry: &Entry, count: &str, record: &str) -> Claim {
        let mut known = entry.known();
        // Somebody may have had it since we looked.
        if let Ok(newer) = serde_json::from_str(record) {
            known = newer;
        }
        Claim {
            record: known,
            spec: entry.spec.clone(),
            peeked: entry.peeked.clone(),
            trouble: None,
            token: Token::Redis(Mark {
                queue: entry.queue,
                entry: entry.entry.clone(),
                count: count.into(),
            }),
        }
    }

    /// Moves list items into the stream and reads at most `most` waiting entries after `from`.
    pub async fn look(&self, queue: QueueName, from: &str, most: usize) -> Result<Looked> {
        let end = match self.list_end {
            ListEnd::Left => "left",
            ListEnd::Right => "right",
        };
        let mut arguments = script_arguments![
            end,
            self.lease_ms(),
            most.to_string(),
            JOB_READ_BYTES.to_string(),
            from
        ];
        arguments.extend(self.gone(queue).await?);
        let answer: Vec<Vec<u8>> = self.server.run(Script::Look, queue, &arguments).await?;
        let [last, quietest, entries @ ..] = &answer[..] else {
            anyhow::bail!("queue `{}`: an answer without its beginning", self.server.shown());
        };
        self.set_tail(queue, String::from_utf8_lossy(last).into_owned());
        let quiet_ms: i64 = std::str::from_utf8(quietest)?.parse()?;
        let entries = entries.chunks_exact(4).map(|fields| {
            let [entry, job, passed, record] = fields else {
                unreachable!("chunks of four");
            };
            Entry::read(queue, entry, job, passed, record, self.peek.as_ref())
        });
        Ok(Looked {
            entries: entries.collect(),
            soon: self.lease_end(quiet_ms),
        })
    }

    /// When a lease may end whose holder has been quiet for so long; `None` while that is no longer than
    /// between two of its signs of life.
    fn lease_end(&self, quiet_ms: i64) -> Option<Duration> {
        let quiet = Duration::from_millis(u64::try_from(quiet_ms).ok()?);
        (quiet * 2 > self.lease).then(|| self.lease.saturating_sub(quiet) + Duration::from_millis(5))
    }

    /// All waiting entries of a queue, oldest first.
    pub async fn all_waiting(&self, queue: QueueName) -> Result<Vec<Entry>> {
        const PAGE: usize = 200;
        let mut all: Vec<Entry> = Vec::new();
        loop {
            let from = all.last().map_or("-".into(), |last| format!("({}", last.entry));
            let page = self.look(queue, &from, PAGE).await?.entries;
            let last = page.len() < PAGE;
            all.extend(page);
            if last {
                return Ok(all);
            }
        }
    }

    pub async fn plan_all(&self, wish: &Wish, limit: usize) -> Result<Vec<Waiting>> {
        let mut plan = Vec::new();
        let mut wish = wish.clone();
        for queue in wish.queues.clone() {
            let entries = self.all_waiting(queue).await?;
            let order = order::plan(entries.iter().map(Entry::candidate).collect(), &wish);
            for index in order {
                plan.push(entries[index].waiting());
                wish.affinity = entries[index].peeked.affinity.clone().or(wish.affinity);
            }
        }
        plan.truncate(limit);
        Ok(plan)
    }

    /// The consumers of a queue whose processes have ended on this machine.
    async fn gone(&self, queue: QueueName) -> Result<impl Iterator<Item = Vec<u8>> + use<>> {
        let keys = Keys::of(queue);
        let list = redis::cmd("XINFO")
            .arg(&["CONSUMERS", &keys.stream, GROUP])
            .to_owned();
        let consumers: Vec<Vec<Value>> = self.server.ask(list).await?;
        let names = consumers.into_iter().filter_map(|fields| {
            let mut fields = fields.into_iter();
            while let (Some(field), Some(value)) = (fields.next(), fields.next()) {
                if redis::from_redis_value::<String>(field).is_ok_and(|field| field == "name") {
                    return redis::from_redis_value::<String>(value).ok();
                }
            }
            None
        });
        let gone: Vec<_> = names.filter(|name| alive::is_gone(name)).collect();
        Ok(gone.into_iter().map(String::into_bytes))
    }

    /// Waits for a new entry in any stream, or an item in any list, which cannot be waited for together.
    pub async fn wait_for_more(&self, at_most: Duration) -> Result<()> {
        let until = tokio::time::Instant::now() + at_most;
        loop {
            let left = until.saturating_duration_since(tokio::time::Instant::now());
            if self.something_new(left.min(LOOK)).await || left <= LOOK {
                return Ok(());
            }
            for queue in QueueName::ALL {
                let items: usize = self
                    .server
                    .ask(redis::cmd("LLEN").arg(queue.name()).to_owned())
                    .await?;
                if items > 0 {
                    return Ok(());
                }
            }
        }
    }

    async fn something_new(&self, at_most: Duration) -> bool {
        let block_ms = at_most.as_millis().max(1).to_string();
        let mut command = redis::cmd("XREAD");
        command.arg(&["COUNT", "1", "BLOCK", &block_ms, "STREAMS"]);
        for queue in QueueName::ALL {
            command.arg(Keys::of(queue).stream);
        }
        for queue in QueueName::ALL {
            command.arg(self.tail(queue));
        }
        let mut held = self.waiting.lock().await;
        let begun = tokio::time::Instant::now();
        let answer = async {
            let mut connection = match held.take() {
                Some(connection) => connection,
                None => self.server.connect(None).await?,
            };
            let answer: Value = command.query_async(&mut connection).await?;
            *held = Some(connection);
            redis::RedisResult::Ok(answer)
        };
        match answer.await {
            Ok(answer) => answer != Value::Nil,
            Err(error) => {
                // A server that cannot wait, or is away: the next claim says so.
                tracing::debug!("redis: {error}");
                tokio::time::sleep(at_most.saturating_sub(begun.elapsed())).await;
                false
            }
        }
    }
}

impl Claim {
    /// Where a claim on Redis stands.
    pub(super) fn mark(&self) -> Result<&Mark> {
        match &self.token {
            Token::Redis(mark) => Ok(mark),
            Token::Folder { .. } => None.context("a claim of another queue"),
        }
    }
}
