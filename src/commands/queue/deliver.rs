//! `queue deliver`: sends callbacks and renders nothing.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::super::common::surroundings;
use super::super::queue_parts::{Known, open, place};
use crate::cli::{Place as ModelPlace, QueueDeliver};
use crate::error::ErrorKind;
use crate::logs;
use crate::outbox::deliver::Deliverer;
use crate::outbox::envelope::{OutboxStore, Which, now_ms};
use crate::outbox::folder::FolderOutbox;
use crate::progress::Volume;
use crate::queue::{Access, Place};
use crate::supervisor::delivery::told_round;
use crate::supervisor::tell::Teller;

/// For all of them; what is not sent by then waits for the next run.
const LONGEST: Duration = Duration::from_secs(600);

/// Delivers what the queue's outbox holds, and that of `generate`.
///
/// # Errors
/// Of the queue or the outbox, and for secrets that cannot be used.
pub async fn run(args: &QueueDeliver) -> Result<u8> {
    logs::start(logs::Level::Info)?;
    let (settings, registry) = surroundings(&ModelPlace::default(), Volume::Quiet)?;
    let own = settings.data_dir.join("outbox");
    let place = place(args.queue.as_deref(), &settings)?;
    let mut outboxes: Vec<Arc<dyn OutboxStore>> = Vec::new();
    let nobody_named_it = args.queue.is_none() && settings.queue.url.is_none();
    match &place {
        // There may never have been a queue, and still callbacks of `generate`.
        Place::Folder(folder) if nobody_named_it && !folder.exists() => {}
        place => {
            let known = Arc::new(Known::new(registry));
            outboxes.push(open(place, Access::Look, &settings, false, known).await?.outbox());
        }
    }
    if own.is_dir() {
        outboxes.push(Arc::new(FolderOutbox::new(own)));
    }
    let teller = Teller::new(args.json);
    let mut left = 0;
    for outbox in outboxes {
        let deliverer = Deliverer::new(outbox.clone(), &settings.callback)?;
        let which = match args.now {
            true => Which::All(now_ms()),
            false => Which::Due(now_ms()),
        };
        let until = Instant::now() + LONGEST;
        told_round(&teller, &deliverer.round(which, until).await?);
        let counts = outbox.counts().await?;
        left += counts.waiting + counts.given_up;
    }
    teller.finish()?;
    if left == 0 {
        return Ok(0);
    }
    tracing::info!("{left} callbacks are not delivered yet");
    Ok(ErrorKind::Locked.exit_code())
}
