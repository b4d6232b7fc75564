//! One module per command; this file picks one and turns its outcome into an exit code.

use std::ffi::OsString;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};

use anyhow::Result;
use clap::Parser;

use crate::cli::{Cli, Command, ModelsCommand, Place, Talk};
use crate::config::Settings;
use crate::error::{Error, ErrorKind, kind_of};
use crate::progress::{Volume, error_line};
use crate::registry::{ModelSpec, Registry};
use crate::runner::panics;
use crate::text::stderr_line;

pub mod bench;
pub mod completions;
pub mod doctor;
pub mod enhance;
pub mod generate;
pub mod models;
pub mod queue;
pub mod queue_drain;
pub mod signals;
pub mod worker;

/// Runs one command line; whatever happens becomes a message and an exit code.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    panics::install_hook();
    signals::outlive_file_size_limit();
    let args = args.into_iter().collect::<Vec<_>>();
    let outcome = catch_unwind(AssertUnwindSafe(|| match Cli::try_parse_from(args) {
        Ok(cli) => run(&cli.command),
        Err(error) => parse_failure(&error),
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

fn run(command: &Command) -> Result<u8> {
    match command {
        Command::Generate(args) => generate::run(args),
        Command::Enhance(args) => enhance::run(args),
        Command::QueueDrain(args) => queue_drain::run(args),
        Command::Queue(args) => queue::run(args),
        Command::Worker(args) => worker::run(args),
        Command::Models(args) => match &args.command {
            ModelsCommand::List { place, json } => models::list(place, *json),
            ModelsCommand::Verify {
                name,
                config_from,
                place,
                json,
            } => models::verify(name, config_from.as_deref(), place, *json),
            ModelsCommand::Inspect { file } => models::inspect(file),
        },
        Command::Doctor(args) => doctor::run(args),
        Command::Bench(args) => bench::run(args),
        Command::Completions(args) => completions::run(args.shell),
    }
}

/// Help and version are data; the rest is the user's mistake.
fn parse_failure(error: &clap::Error) -> Result<u8> {
    // Nothing is left to say it with when printing fails.
    let _ = error.print();
    Ok(u8::try_from(error.exit_code()).unwrap_or(ErrorKind::Usage.exit_code()))
}

/// Settings and models with the flags laid over them.
fn surroundings(place: &Place) -> Result<(Settings, Registry)> {
    let mut settings = Settings::load()?;
    if let Some(device) = &place.device {
        settings.device.clone_from(device);
    }
    let registry = Registry::load(place.models.as_deref(), &settings)?;
    Ok((settings, registry))
}

fn volume(talk: &Talk) -> Volume {
    match (talk.quiet, talk.verbose) {
        (true, _) => Volume::Quiet,
        (_, true) => Volume::Verbose,
        _ => Volume::Normal,
    }
}

/// A model by name, or by path with the folder its configuration comes from.
fn find_model(registry: &Registry, name: &str, config_from: Option<&std::path::Path>) -> Result<ModelSpec> {
    match config_from {
        Some(folder) => ModelSpec::from_path(name.as_ref(), Some(folder)),
        None => registry.find(name),
    }
}

/// Writes data to stdout. A reader that left early is no error.
///
/// # Errors
/// `Io` when stdout fails otherwise.
fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Io, format!("standard output: writing failed ({e})")).into())
        }
        _ => Ok(()),
    }
}

/// Rows in columns, two spaces between them, for people.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        rows.iter()
            .filter_map(|r| r.get(c))
            .map(|t| t.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{:width$}", crate::text::escaped(cell)))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
