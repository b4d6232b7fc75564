//! Keeping a claim, ending it, giving it back.

use anyhow::Result;
use jiff::Timestamp;

use super::RedisQueue;
use super::scripts::{Script, script_arguments, to_json};
use crate::files::points::point;
use crate::outbox::envelope::Envelope;
use crate::outcome::Status;
use crate::queue::contract::{Claim, Lease, Settled, Trouble};
use crate::queue::record::{Record, Running};

impl RedisQueue {
    /// Renews the lease and stores what is given.
    pub async fn keep(
        &self,
        claim: &Claim,
        record: Option<&Record>,
        running: Option<&Running>,
    ) -> Result<Lease> {
        let mark = claim.mark()?;
        let arguments = script_arguments![
            mark.entry.as_str(),
            self.consumer.as_str(),
            mark.count.as_str(),
            claim.id(),
            record.map(to_json).transpose()?.unwrap_or_default(),
            running.map(to_json).transpose()?.unwrap_or_default(),
        ];
        let kept: i64 = self.server.run(Script::Keep, mark.queue, &arguments).await?;
        point("redis:kept");
        Ok(match kept {
            0 => Lease::Lost,
            1 => Lease::Held,
            _ => Lease::CancelAsked,
        })
    }

    pub async fn release_now(&self, claim: &Claim, why: &str) -> Result<Lease> {
        let mark = claim.mark()?;
        let mut record = claim.record.clone();
        record.outcome = None;
        record.error = None;
        record.note("released", Some(&self.consumer), Some(why));
        let arguments = script_arguments![
            mark.entry.as_str(),
            self.consumer.as_str(),
            mark.count.as_str(),
            to_json(&record)?,
        ];
        point("redis:before-release");
        let done: i64 = self.server.run(Script::Release, mark.queue, &arguments).await?;
        point("redis:released");
        Ok(if done == 1 { Lease::Held } else { Lease::Lost })
    }

    pub async fn settle_now(&self, claim: &Claim, envelope: Option<&Envelope>) -> Result<Settled> {
        let mark = claim.mark()?;
        let record = &claim.record;
        let kind = match record.outcome {
            Some(Status::Completed) => "done",
            _ => "dead",
        };
        let conflict = matches!(claim.trouble, Some(Trouble::Conflict { .. }));
        let ended = record.finished_at.unwrap_or_else(Timestamp::now);
        let arguments = script_arguments![
            mark.entry.as_str(),
            self.consumer.as_str(),
            mark.count.as_str(),
            kind,
            claim.id(),
            claim.id().to_ascii_lowercase(),
            record.spec_sha256.as_deref().unwrap_or("-"),
            to_json(record)?,
            if conflict { "1" } else { "0" },
            ended.as_millisecond().to_string(),
            envelope.map_or("", |e| &e.webhook_id),
            envelope.map(to_json).transpose()?.unwrap_or_default(),
            envelope.map_or(0, |e| e.next_at_ms).to_string(),
        ];
        point("redis:before-settle");
        let done: i64 = self.server.run(Script::Settle, mark.queue, &arguments).await?;
        point("redis:settled");
        Ok(if done == 1 { Settled::Yes } else { Settled::Lost })
    }
}
