//! What the user sees while jobs run: bars and text on stderr, or one JSON object a line on stdout.
//! The only file that draws; the words of machine mode are in `ndjson`.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use serde_json::Value;

use crate::error::{Error, ErrorKind, hint_of};
use crate::events::{Event, Events};
use crate::ndjson;
use crate::text::{escaped, stderr_line};

/// Letters of running text that are shown.
const WRITING_WIDTH: usize = 60;

/// How much is said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Volume {
    /// Errors only.
    Quiet,
    #[default]
    Normal,
    /// Details too.
    Verbose,
    /// Whatever is known; where that is no more than details, those.
    Everything,
}

/// Tells people (stderr) and programs (stdout) what happens.
#[derive(Debug)]
pub struct Reporter {
    json: bool,
    volume: Volume,
    bar: Option<ProgressBar>,
    stage: String,
    /// The first stdout failure other than a closed pipe; kept until somebody asks.
    stdout_failure: Option<io::Error>,
    stdout_closed: bool,
}

impl Reporter {
    /// With `json`, stdout carries events and results as JSON lines; otherwise only asset paths.
    pub fn new(json: bool, volume: Volume) -> Self {
        Self {
            json,
            volume,
            bar: None,
            stage: String::new(),
            stdout_failure: None,
            stdout_closed: false,
        }
    }

    /// Whether stdout carries JSON lines.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// A picture is stored: its path is what stdout carries for people's scripts.
    pub fn asset(&mut self, path: &str, bytes: u64, seed: u64) {
        self.say(
            Volume::Verbose,
            &format!("stored {path} ({} bytes, seed {seed})", bytes),
        );
        if !self.json {
            self.stdout_line(path);
        }
    }

    /// The result of a job that is no file: for people it is what stdout carries.
    pub fn answer(&mut self, text: &str) {
        if self.json {
            return;
        }
        let terminal = io::stdout().is_terminal();
        for line in text.lines() {
            match terminal {
                true => self.stdout_line(&escaped(line)),
                false => self.stdout_line(line),
            }
        }
    }

    /// A job is over; `report` is the callback body.
    pub fn result(&mut self, report: &Value) {
        self.clear_bar();
        self.json_line(|| ndjson::result(report));
    }

    /// Something the user should know.
    pub fn note(&mut self, text: &str) {
        self.say(Volume::Normal, &format!("note: {text}"));
    }

    /// A finished picture for a terminal, as it stands.
    pub fn picture(&mut self, drawing: &str) {
        self.clear_bar();
        // A terminal that is gone shows nothing; the picture is in its file.
        let _ = io::stderr().lock().write_all(drawing.as_bytes());
    }

    /// Progress in words.
    pub fn info(&mut self, text: &str) {
        self.say(Volume::Normal, text);
    }

    /// For those who asked for more.
    pub fn detail(&mut self, text: &str) {
        self.say(Volume::Verbose, text);
    }

    /// An error with its way out, in one line on stderr, whatever the volume.
    pub fn error(&mut self, error: &anyhow::Error) {
        self.error_about(error, &Value::Null);
    }

    /// The same; in machine mode with these fields, which tell what failed.
    pub fn error_about(&mut self, error: &anyhow::Error, fields: &Value) {
        self.say(Volume::Quiet, &error_line(error));
        self.json_line(|| ndjson::error(error, fields));
    }

    /// Shows, on a terminal, that text is being written, and its end so far; the line goes away.
    pub fn writing(&mut self, text: &str) {
        if self.bar.is_none() {
            self.spin("");
        }
        if let Some(bar) = &self.bar {
            let shown = escaped(text);
            let from = shown.chars().count().saturating_sub(WRITING_WIDTH);
            bar.set_message(shown.chars().skip(from).collect::<String>());
        }
    }

    /// Shows, on a terminal, that `done` of `total` are done.
    pub fn counted(&mut self, what: &str, done: usize, total: usize) {
        self.stage = what.into();
        self.step(done, total);
    }

    /// One line of data.
    pub fn stdout_line(&mut self, line: &str) {
        self.stdout(&format!("{line}\n"));
    }

    /// A piece of an answer while it is written; no bar goes with it.
    pub fn piece(&mut self, text: &str) {
        self.clear_bar();
        self.stdout(text);
    }

    fn stdout(&mut self, text: &str) {
        if self.stdout_closed {
            return;
        }
        let write = || {
            let mut stdout = io::stdout().lock();
            stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
        };
        // Data and bar may share a terminal.
        let written = match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        };
        match written {
            Ok(()) => {}
            // Whoever read us has seen enough. The pictures are the product, so the work goes on.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => self.stdout_closed = true,
            Err(e) => {
                self.stdout_closed = true;
                self.stdout_failure = Some(e);
            }
        }
    }

    /// # Errors
    /// `Io` when stdout failed for another reason than a closed pipe (a full disk behind `>`).
    pub fn finish(&mut self) -> Result<()> {
        self.clear_bar();
        match self.stdout_failure.take() {
            None => Ok(()),
            Some(e) => Err(
                Error::new(ErrorKind::Io, format!("standard output: writing failed ({e})"))
                    .hint("what was printed is incomplete; files and callbacks are stored as the jobs said")
                    .into(),
            ),
        }
    }

    fn json_line<L: Into<Option<Value>>>(&mut self, line: impl FnOnce() -> L) {
        if self.json
            && !self.stdout_closed
            && let Some(line) = line().into()
        {
            self.stdout_line(&line.to_string());
        }
    }

    fn say(&self, least: Volume, text: &str) {
        if self.volume < least {
            return;
        }
        match &self.bar {
            Some(bar) => bar.suspend(|| stderr_line(text)),
            None => stderr_line(text),
        }
    }

    /// Whether bars and running text are shown.
    pub fn draws(&self) -> bool {
        !self.json && self.volume > Volume::Quiet && io::stderr().is_terminal()
    }

    fn spin(&mut self, stage: &str) {
        if self.draws() {
            let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
            let bar = ProgressBar::new_spinner().with_message(escaped(stage));
            bar.set_style(style.expect("a valid template"));
            bar.enable_steady_tick(Duration::from_millis(120));
            self.bar = Some(bar);
        }
    }

    fn step(&mut self, done: usize, total: usize) {
        if !self.draws() {
            return;
        }
        let fresh = self
            .bar
            .as_ref()
            .is_none_or(|bar| bar.length() != Some(total as u64));
        if fresh {
            self.clear_bar();
            self.bar = Some(step_bar(total, &self.stage));
        }
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
        }
    }

    fn clear_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Events for Reporter {
    fn tell(&mut self, event: &Event) {
        self.json_line(|| ndjson::line(event));
        match event {
            Event::Job { job_id, summary } => self.say(Volume::Normal, &format!("job {job_id}: {summary}")),
            Event::Stage { stage, .. } => {
                self.stage.clone_from(stage);
                self.clear_bar();
                self.spin(stage);
            }
            Event::Step {
                stage, done, total, ..
            } => {
                self.stage.clone_from(stage);
                self.step(*done, *total);
            }
            Event::Writing { text, .. } => self.writing(text),
            Event::Note { text } => self.note(text),
            Event::Info { text } => self.info(text),
            Event::Detail { text } => self.detail(text),
        }
    }

    fn wants_text(&self) -> bool {
        self.draws()
    }
}

fn step_bar(total: usize, stage: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{wide_bar}] {pos}/{len} {rate} ETA {eta}")
        .expect("a valid template")
        .with_key("rate", |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            // The bar is drawn anyway when this fails.
            let _ = write!(out, "{:.2} it/s", state.per_sec());
        })
        .progress_chars("=> ");
    let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
    bar.set_style(style);
    bar.set_message(escaped(stage));
    bar
}

/// `error: … ; hint: …` in one line, whatever is in the message.
pub fn error_line(error: &anyhow::Error) -> String {
    match hint_of(error) {
        Some(hint) => format!("error: {error:#}; hint: {hint}"),
        None => format!("error: {error:#}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_and_its_way_out_are_one_line() {
        let error =
            anyhow::Error::from(Error::new(ErrorKind::InvalidSpec, "steps is 0").hint("use 1 to 150"));
        assert_eq!(
            error_line(&error.context("job `a`")),
            "error: job `a`: steps is 0; hint: use 1 to 150"
        );
    }
}
