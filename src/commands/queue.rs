//! `queue`: fill, look at and tidy a queue.

use anyhow::{Context, Result};

use crate::cli::{Queue as QueueArgs, QueueCommand};

mod add;
mod change;
mod deliver;
mod status;

/// Runs one of the commands.
///
/// # Errors
/// As each of them.
pub fn run(args: &QueueArgs) -> Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime of the command")?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        match &args.command {
            QueueCommand::Add(args) => add::run(args).await,
            QueueCommand::Status(args) => status::run(args).await,
            QueueCommand::Retry(args) => change::retry(args).await,
            QueueCommand::Cancel(args) => change::cancel(args).await,
            QueueCommand::Purge(args) => change::purge(args).await,
            QueueCommand::Deliver(args) => deliver::run(args).await,
        }
    })
}
