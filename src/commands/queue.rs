//! `queue`: fill, look at and tidy a queue.

use anyhow::{Context, Result};

use crate::cli::{Queue as QueueArgs, QueueCommand};
use crate::progress::Volume;

mod add;
mod change;
mod deliver;
mod status;

/// Runs one of the commands.
///
/// # Errors
/// As each of them.
pub fn run(args: &QueueArgs, volume: Volume) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime of the command")?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        match &args.command {
            QueueCommand::Add(args) => add::run(args, volume).await,
            QueueCommand::Status(args) => status::run(args).await,
            QueueCommand::Retry(args) => change::retry(args).await,
            QueueCommand::Cancel(args) => change::cancel(args, volume).await,
            QueueCommand::Purge(args) => change::purge(args).await,
            QueueCommand::Deliver(args) => deliver::run(args).await,
        }
    })
}
