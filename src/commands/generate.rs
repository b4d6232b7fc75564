//! `generate`: from flags, files, stdin or an earlier picture to jobs, and through the runner.
//!
//! Everything is checked before the first job starts: all specs of the command line are read and
//! resolved, every mistake is reported, and unless `--keep-going` says otherwise nothing runs.

use std::time::Duration;

use anyhow::Result;

use super::{signals, surroundings, volume};
use crate::cli::{self, Generate};
use crate::config::{CallbackFormat, Settings};
use crate::error::{ErrorKind, kind_of};
use crate::outbox::body::{self as callback, Status};
use crate::progress::Reporter;
use crate::registry::Registry;
use crate::runner::loader::Loader;
use crate::runner::plan::Layout;
use crate::runner::{Runner, Task, exit_code, metadata};

mod dry_run;
mod gather;
mod prepare;
mod references;

use prepare::{Invalid, Prepared};

/// Runs the command.
///
/// # Errors
/// Mistakes in the command line or the configuration. Failures of jobs are printed here and are in
/// the exit code.
pub fn run(args: &Generate) -> Result<u8> {
    let gathered = gather::jobs(args)?;
    let (mut settings, mut registry) = surroundings(&args.place)?;
    if let Some(dtype) = args.dtype {
        settings.dtype = Some(dtype.name().into());
    }
    if let Some(seconds) = args.time_limit {
        settings.time_limit_s = (seconds > 0).then_some(seconds);
    }
    if let Some(format) = args.callback_format {
        settings.callback.format = match format {
            cli::CallbackFormat::Standard => CallbackFormat::Standard,
            cli::CallbackFormat::Workspace => CallbackFormat::Workspace,
        };
    }
    if let (Some(model), Some(_)) = (&args.model, &args.config_from) {
        registry.insert(super::find_model(&registry, model, args.config_from.as_deref())?);
    }
    let layout = Layout {
        output: args.output.clone().or(settings.output.clone()),
        callback: args.callback.clone(),
        force: args.force,
    };
    let prepared = prepare::all(gathered, &mut registry, &settings, &layout)?;
    let mut reporter = Reporter::new(args.talk.json, volume(&args.talk));
    for invalid in &prepared.invalid {
        report_invalid(
            &mut reporter,
            invalid,
            &layout,
            settings.callback.format,
            args.dry_run,
        );
    }
    if !prepared.invalid.is_empty() && !args.keep_going {
        reporter.finish()?;
        return Ok(code_of_invalid(&prepared));
    }
    for note in &prepared.notes {
        reporter.note(note);
    }
    let failures = if args.dry_run {
        dry_run::print(&mut reporter, &prepared, &settings);
        Vec::new()
    } else {
        run_all(&mut reporter, &prepared.tasks, &settings, &registry)?
    };
    reporter.finish()?;
    let kinds: Vec<ErrorKind> = prepared
        .invalid
        .iter()
        .map(Invalid::kind)
        .chain(failures)
        .collect();
    Ok(exit_code(prepared.tasks.len() + prepared.invalid.len(), &kinds))
}

/// Runs every task and prints the errors; a signal ends the run.
fn run_all(
    reporter: &mut Reporter,
    tasks: &[Task],
    settings: &Settings,
    registry: &Registry,
) -> Result<Vec<ErrorKind>> {
    let mut runner = Runner {
        loader: Loader::new(settings)?,
        reporter,
        stop: signals::listen()?,
        callback_format: settings.callback.format,
        time_limit: settings.time_limit_s.map(Duration::from_secs),
        settings,
        registry,
    };
    let mut failures = Vec::new();
    for task in tasks {
        // Between two jobs nothing has begun yet: the rest is simply not started.
        let done = runner.check_stop().and_then(|()| runner.run(task));
        if let Err(error) = done {
            let kind = kind_of(&error);
            runner
                .reporter
                .error(&error.context(format!("job `{}`", task.job.id)));
            failures.push(kind);
            if matches!(kind, ErrorKind::Interrupted { .. }) {
                break;
            }
        }
    }
    Ok(failures)
}

/// Prints what is wrong with a job that never started, and writes its callback where somebody can
/// find it: under an id of its own, or at a place that the command names.
fn report_invalid(
    reporter: &mut Reporter,
    invalid: &Invalid,
    layout: &Layout,
    format: CallbackFormat,
    dry_run: bool,
) {
    reporter.error(&invalid.error);
    let Some(job) = &invalid.job else {
        return;
    };
    let report = callback::Report {
        job_id: job.id.clone(),
        user_id: job.spec.user_id.clone(),
        status: Status::Failed,
        assets: Vec::new(),
        error_message: Some(format!("{:#}", invalid.error)),
        metadata: metadata::refused(&job.spec, &invalid.error),
    };
    reporter.result(&callback::body(format, &report));
    if dry_run || !(job.id_given || layout.output.is_some() || layout.callback.is_some()) {
        return;
    }
    if let Some(path) = layout.callback_of_refused(&job.id)
        && let Err(second) = callback::write(&path, format, &report)
    {
        reporter.detail(&format!("callback: {second:#}"));
    }
}

/// The one code that all invalid jobs share; otherwise the worst, 65 when they concern the jobs alone.
fn code_of_invalid(prepared: &Prepared) -> u8 {
    let mut kinds = prepared.invalid.iter().map(Invalid::kind);
    let first = kinds.next().map_or(0, |kind| kind.exit_code());
    if kinds.all(|kind| kind.exit_code() == first) {
        return first;
    }
    let all: Vec<ErrorKind> = prepared.invalid.iter().map(Invalid::kind).collect();
    match exit_code(all.len(), &all) {
        1 => ErrorKind::InvalidSpec.exit_code(),
        worst => worst,
    }
}
