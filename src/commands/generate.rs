//! `generate`: from flags, files, stdin or an earlier picture to jobs, and through the runner.
//!
//! Everything is checked before the first job starts: all specs of the command line are read and
//! resolved, every mistake is reported, and unless `--keep-going` says otherwise nothing runs.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::common::{find_model, surroundings};
use super::signals;
use crate::cli::{self, Generate};
use crate::config::callback::address;
use crate::config::{CallbackFormat, Settings};
use crate::error::{Error, ErrorKind, kind_of};
use crate::files::{Staging, sweep};
use crate::job::Job;
use crate::media::manifest::Manifest;
use crate::outbox::body::{self as callback, Report, Status};
use crate::outcome::{Failure, Outcome};
use crate::progress::{Reporter, Volume};
use crate::runner::{self, Runner, exit_code};
use crate::stop::{Reason, Stop};

mod dry_run;
mod earlier;
mod fetching;
mod from;
pub(super) mod gather;
mod layout;
mod look;
mod names;
mod plan;
mod post;
mod prepare;
mod preview;
mod publish;
mod refused;
mod replay;

use earlier::State;
use layout::Layout;
use look::Look;
use post::{Ended, Post};
use prepare::{Invalid, Ready};
use publish::Publisher;
use refused::{code_of_invalid, report_invalid};
use replay::Comparison;

/// Runs the command.
///
/// # Errors
/// Mistakes in the command line or the configuration. Failures of jobs are printed here and are in
/// the exit code.
pub fn run(args: &Generate, volume: Volume) -> Result<u8> {
    let gathered = gather::jobs(args)?;
    let look = Look::of(args)?;
    let (mut settings, mut registry) = surroundings(&args.place, volume)?;
    lay_over(args, &mut settings)?;
    if let (Some(model), Some(_)) = (&args.model, &args.config_from) {
        registry.insert(find_model(&registry, model, args.config_from.as_deref())?);
    }
    let layout = Layout {
        output: args.output.clone().or(settings.output.clone()),
        date: jiff::ZonedDateTime::now().date().to_string(),
        callback: args.callback.clone(),
        force: args.force,
        tells: args.callback_format.is_some() || settings.callback.url.is_some(),
    };
    let format = settings.callback.format;
    let warnings: Vec<String> = settings.warnings().map(String::from).collect();
    let mut post = (!args.dry_run).then(|| Post::new(&settings)).transpose()?;
    let mut runner = Runner::new(Arc::new(settings), registry)?;
    let mut prepared = prepare::all(gathered, &mut runner, &layout)?;
    let mut reporter = Reporter::new(args.talk.json, volume);
    for warning in &warnings {
        reporter.note(warning);
    }
    for invalid in &prepared.invalid {
        report_invalid(&mut reporter, invalid, &layout, format, post.as_mut());
    }
    if !prepared.invalid.is_empty() && !args.keep_going {
        end_post(post, &mut reporter, post::PATIENCE);
        reporter.finish()?;
        return Ok(code_of_invalid(&prepared));
    }
    for note in &prepared.notes {
        reporter.note(note);
    }
    let jobs = std::mem::take(&mut prepared.ready);
    let count = jobs.len() + prepared.invalid.len();
    let failures = match post {
        None => {
            dry_run::print(&mut reporter, &jobs, &runner);
            Vec::new()
        }
        Some(post) => {
            let mut all = All {
                runner,
                reporter: &mut reporter,
                stop: signals::listen()?,
                format,
                skip_existing: args.skip_existing,
                strict: args.strict,
                post,
                look,
            };
            let failures = all.run(&jobs);
            let patience = match all.stop.reason() {
                Some(Reason::Signal(_)) => post::PATIENCE_AFTER_SIGNAL,
                _ => post::PATIENCE,
            };
            let look = all.look;
            end_post(Some(all.post), &mut reporter, patience);
            look.finish(&mut reporter)?;
            failures
        }
    };
    reporter.finish()?;
    let kinds: Vec<ErrorKind> = prepared
        .invalid
        .iter()
        .map(Invalid::kind)
        .chain(failures)
        .collect();
    Ok(exit_code(count, &kinds))
}

/// Waits for the callbacks of the run; what did not arrive is kept and said, and changes no exit code.
fn end_post(post: Option<Post>, reporter: &mut Reporter, patience: Duration) {
    match post.map(|post| post.finish(patience)).transpose() {
        Ok(notes) => notes
            .unwrap_or_default()
            .iter()
            .for_each(|note| reporter.note(note)),
        Err(error) => reporter.error(&error.context("callbacks wait, and were not delivered")),
    }
}

/// Flags win over settings.
///
/// # Errors
/// `Usage` for a callback address that is none.
fn lay_over(args: &Generate, settings: &mut Settings) -> Result<()> {
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
    if let Some(url) = &args.callback_url {
        let wrong = |e: anyhow::Error| {
            let Error { message, hint, .. } = Error::summary(&e);
            Error {
                kind: ErrorKind::Usage,
                message: format!("--callback-url {message}"),
                hint,
            }
        };
        settings.callback.url = Some(address(url).map_err(wrong)?);
    }
    Ok(())
}

/// What all jobs of a command line share.
struct All<'a> {
    runner: Runner,
    reporter: &'a mut Reporter,
    stop: Stop,
    format: CallbackFormat,
    skip_existing: bool,
    /// A replay must come to what it replays.
    strict: bool,
    post: Post,
    look: Look,
}

impl All<'_> {
    /// Runs every job and prints the errors; a signal ends the run.
    fn run(&mut self, jobs: &[Ready]) -> Vec<ErrorKind> {
        let mut swept: Vec<PathBuf> = Vec::new();
        let mut failures = Vec::new();
        let mut done_before = 0;
        for ready in jobs {
            let folder = self.publisher(ready).folder();
            if !swept.contains(&folder) {
                sweep(&folder);
                swept.push(folder);
            }
            // Between two jobs nothing has begun yet: the rest is simply not started.
            let done = self.stop.check().and_then(|()| self.one(ready));
            if let Err(error) = done {
                let kind = kind_of(&error);
                self.reporter
                    .error(&error.context(format!("job `{}`", ready.job.id)));
                failures.push(kind);
                if matches!(kind, ErrorKind::Interrupted { .. }) {
                    self.tell_what_is_kept(jobs, done_before);
                    break;
                }
            } else {
                done_before += 1;
            }
        }
        failures
    }

    /// After a signal: what stands, and how to go on. A single job's error says it all.
    fn tell_what_is_kept(&mut self, jobs: &[Ready], done: usize) {
        if jobs.len() < 2 {
            return;
        }
        let has_place = |ready: &Ready| ready.job.spec.id.is_some();
        let how = match jobs.iter().all(has_place) {
            true => "the same command with --skip-existing goes on",
            false => "run the rest again; jobs with an id of their own are left out by --skip-existing",
        };
        self.reporter
            .note(&format!("{done} of {} jobs are done and kept; {how}", jobs.len()));
    }

    fn publisher<'r>(&self, ready: &'r Ready) -> Publisher<'r> {
        Publisher {
            plan: &ready.plan,
            format: self.format,
        }
    }

    /// Runs one job from its first status to its last.
    fn one(&mut self, ready: &Ready) -> Result<()> {
        let job = &ready.job;
        if let (true, State::Done { body, .. }) = (self.skip_existing, &ready.state) {
            self.skip(ready, body.as_ref());
            return Ok(());
        }
        if let (true, Some(earlier), Some(model)) = (self.strict, &ready.replayed, &job.model) {
            replay::check_model(earlier, model, &self.runner.settings.cache_dir)?;
        }
        let publisher = self.publisher(ready);
        // A place where nothing can be written is known before any work.
        let outcome = match self.begin(&publisher, job) {
            Ok(staging) => {
                let outcome = self
                    .runner
                    .run(job, staging.path(), &mut *self.reporter, &self.stop);
                let (outcome, report) = publisher.finish(job, outcome)?;
                self.reporter.result(&callback::body(self.format, &report));
                self.post(&publisher, job, &report)?;
                outcome
            }
            Err(error) => {
                let outcome = runner::failed(job, &error, Duration::ZERO);
                let report = publish::report(job, &outcome);
                self.reporter.result(&callback::body(self.format, &report));
                self.post(&publisher, job, &report)?;
                return Err(error);
            }
        };
        match &outcome.error {
            Some(failure) => Err(self.failure(failure)),
            None => {
                self.tell(job, &outcome);
                match &ready.replayed {
                    Some(earlier) => self.compare(earlier, &outcome),
                    None => Ok(()),
                }
            }
        }
    }

    /// Says that the job begins, and makes the folder for its files.
    fn begin(&mut self, publisher: &Publisher<'_>, job: &Job) -> Result<Staging> {
        let staging = publisher.begin(job)?;
        let report = publish::begun(job);
        if publisher.is_news(&report) {
            let body = callback::text(self.format, &report);
            self.post.begin(job.spec.callback_url.as_deref(), body)?;
        }
        Ok(staging)
    }

    /// Posts how the job ended, unless a result of it stands that this is not to replace.
    fn post(&mut self, publisher: &Publisher<'_>, job: &Job, report: &Report) -> Result<()> {
        if !publisher.is_news(report) {
            return Ok(());
        }
        self.post.tell(Ended {
            job_id: &job.id,
            spec_sha256: &job.spec_sha256,
            completed: report.status == Status::Completed,
            own_url: job.spec.callback_url.as_deref(),
            body: callback::text(self.format, report),
        })
    }

    /// The error behind a failure; a signal is in no record.
    fn failure(&self, failure: &Failure) -> anyhow::Error {
        match (failure.kind(), self.stop.reason()) {
            (ErrorKind::Interrupted { .. }, Some(reason @ Reason::Signal(_))) => reason.error().into(),
            _ => failure.to_error().into(),
        }
    }

    fn tell(&mut self, job: &Job, outcome: &Outcome) {
        for asset in &outcome.assets {
            self.reporter
                .asset(&asset.path.display().to_string(), asset.bytes, asset.seed);
            self.look.at(&asset.path, asset.seed, self.reporter);
        }
        if let Some(answer) = &outcome.answer {
            self.reporter.answer(answer);
        }
        let time = outcome.metadata["generation_time"].as_f64().unwrap_or_default();
        self.reporter.info(&format!(
            "job {}: done in {time:.2} s{}",
            job.id,
            shown_timings(&outcome.metadata["timings"])
        ));
    }

    /// Says where a replay differs from what it replays.
    ///
    /// # Errors
    /// With `--strict`, as [`Comparison::into_strict`].
    fn compare(&mut self, earlier: &Manifest, outcome: &Outcome) -> Result<()> {
        let Ok(now) = serde_json::from_value::<Manifest>(outcome.metadata["manifest"].clone()) else {
            return Ok(());
        };
        let found = Comparison::of(earlier, &now);
        for line in found.lines() {
            self.reporter.note(&format!("job {}: {line}", outcome.job_id));
        }
        match self.strict {
            true => found.into_strict(),
            false => Ok(()),
        }
    }

    /// A job that is done already counts as a success.
    fn skip(&mut self, ready: &Ready, body: Option<&Value>) {
        let job = &ready.job;
        self.reporter
            .note(&format!("job {}: is done already and left out", job.id));
        let paths: Vec<String> = ready
            .plan
            .assets
            .iter()
            .map(|place| place.path.display().to_string())
            .collect();
        let unnamed = || json!({"job_id": job.id, "status": "completed", "assets": paths});
        let mut result = body.cloned().unwrap_or_else(unnamed);
        result["skipped"] = true.into();
        self.reporter.result(&result);
        for (path, &seed) in paths.iter().zip(job.seeds.iter().cycle()) {
            self.reporter.asset(path, 0, seed);
            self.look.at(path.as_ref(), seed, self.reporter);
        }
    }
}

fn shown_timings(timings: &Value) -> String {
    let parts: Vec<String> = timings
        .as_object()
        .into_iter()
        .flatten()
        .map(|(stage, time)| format!("{stage} {:.2} s", time.as_f64().unwrap_or_default()))
        .collect();
    if parts.is_empty() {
        return String::new();
    }
    format!(" ({})", parts.join(", "))
}
