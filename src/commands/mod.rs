//! One module per command; this file picks one and turns its outcome into an exit code.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::Result;
use clap::Parser;

use crate::cli::{Cli, Command};
use crate::error::{ErrorKind, kind_of};
use crate::progress::{Volume, error_line};
use crate::runner::panics;
use crate::text::stderr_line;

pub mod bench;
pub mod chat;
mod common;
pub mod completions;
pub mod config;
pub mod doctor;
pub mod enhance;
pub mod generate;
pub mod man;
mod mistakes;
pub mod models;
pub mod queue;
pub mod queue_drain;
mod queue_parts;
pub mod schema;
pub mod signals;
pub mod worker;

/// Runs one command line; whatever happens becomes a message and an exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    panics::install_hook();
    signals::outlive_file_size_limit();
    let args = args.into_iter().collect::<Vec<_>>();
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        if completions::answered(&args)? {
            return Ok(0);
        }
        match Cli::try_parse_from(&args) {
            Ok(cli) => run(&cli.command, cli.loudness.volume()),
            Err(error) => parse_failure(&error, &args),
        }
    }))
    .unwrap_or_else(|_| Err(panics::error().into()));
    match outcome {
        Ok(code) => code,
        Err(error) => {
            stderr_line(&error_line(&error));
            kind_of(&error).exit_code()
        }
    }
}

fn run(command: &Command, volume: Volume) -> Result<u8> {
    match command {
        Command::Generate(args) => generate::run(args, volume),
        Command::Enhance(args) => enhance::run(args, volume),
        Command::Chat(args) => chat::run(args, volume),
        Command::QueueDrain(args) => queue_drain::run(args, volume),
        Command::Queue(args) => queue::run(args, volume),
        Command::Worker(args) => worker::run(args),
        Command::Models(args) => models::run(&args.command, volume),
        Command::Doctor(args) => doctor::run(args),
        Command::Bench(args) => bench::run(args, volume),
        Command::Schema => schema::run(),
        Command::Completions(args) => completions::run(args),
        Command::Config(args) => config::run(args, volume),
        Command::Man(args) => man::run(args),
    }
}

/// Help and version are data; the rest is the user's mistake.
fn parse_failure(error: &clap::Error, args: &[OsString]) -> Result<u8> {
    if let Some(explained) = mistakes::explained(error, args) {
        return Err(explained.into());
    }
    // Nothing is left to say it with when printing fails.
    let _ = error.print();
    Ok(u8::try_from(error.exit_code()).unwrap_or(ErrorKind::Usage.exit_code()))
}
