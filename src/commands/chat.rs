//! `chat`: a conversation in the terminal, or through a pipe, one turn a line.
//!
//! Every turn is a `chat_conversation` job with the turns before it: it is settled, judged and answered
//! as one from a file or a queue is.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::common::surroundings;
use super::signals;
use crate::cli::Chat;
use crate::enhance::prompts;
use crate::error::{Error, ErrorKind, kind_of};
use crate::events::{Event, Events};
use crate::fail;
use crate::job::{Addresses, Fetched, JobSpec, MAX_SPEC_BYTES, Origin, Request, Speaker, Turn};
use crate::outcome::Outcome;
use crate::progress::{Reporter, Volume};
use crate::runner::{Runner, exit_code};
use crate::stop::{Reason, Stop};
use crate::text::escaped;

mod lines;

use lines::Lines;

/// What every turn is called in messages.
const ID: &str = "chat";

/// Runs the command.
///
/// # Errors
/// Mistakes in the command line or the configuration. What goes wrong with single turns is printed
/// here and is in the exit code.
pub fn run(args: &Chat, volume: Volume) -> Result<u8> {
    let mut conversation = Conversation::new(args, volume)?;
    match args.once.as_deref() {
        Some("-") => conversation.say(&all_of_stdin()?),
        Some(text) => conversation.say(text),
        None => conversation.hold()?,
    }
    conversation.voice.reporter.finish()?;
    Ok(exit_code(conversation.asked as usize, &conversation.failures))
}

fn all_of_stdin() -> Result<String> {
    let mut bytes = Vec::new();
    let most = MAX_SPEC_BYTES as u64;
    io::stdin()
        .lock()
        .take(most + 1)
        .read_to_end(&mut bytes)
        .context("stdin")?;
    if bytes.len() as u64 > most {
        fail!(InvalidSpec, "stdin has more than {most} bytes"; "ask for less at once");
    }
    let text = String::from_utf8(bytes);
    text.map_err(|_| Error::new(ErrorKind::InvalidSpec, "stdin is not valid UTF-8").into())
}

struct Conversation<'a> {
    args: &'a Chat,
    runner: Runner,
    voice: Voice,
    stop: Stop,
    system_prompt: Option<String>,
    /// Answered ones alone, oldest first.
    turns: Vec<Turn>,
    asked: u64,
    failures: Vec<ErrorKind>,
}

impl<'a> Conversation<'a> {
    fn new(args: &'a Chat, volume: Volume) -> Result<Self> {
        let (mut settings, registry) = surroundings(&args.place, volume)?;
        if let Some(dtype) = args.dtype {
            settings.dtype = Some(dtype.name().into());
        }
        let system_prompt = args.system_prompt.as_deref().map(system_prompt).transpose()?;
        Ok(Self {
            args,
            runner: Runner::new(Arc::new(settings), registry)?,
            voice: Voice::new(Reporter::new(args.talk.json, volume)),
            stop: signals::listen()?,
            system_prompt,
            turns: Vec::new(),
            asked: 0,
            failures: Vec::new(),
        })
    }

    /// Turn after turn until the input ends or a signal comes.
    fn hold(&mut self) -> Result<()> {
        let is_seen = io::stdin().is_terminal() && io::stderr().is_terminal();
        if is_seen {
            self.voice
                .reporter
                .info("every line is a turn; /reset forgets what was said, /quit or Ctrl-D ends");
        }
        let mut lines = Lines::of_stdin()?;
        loop {
            if is_seen {
                prompt_mark();
            }
            let Some(line) = lines.next(&self.stop)? else {
                return self.ended();
            };
            match line.trim() {
                "" => {}
                "/quit" | "/exit" => return Ok(()),
                "/reset" => {
                    self.turns.clear();
                    self.voice.reporter.info("what was said is forgotten");
                }
                text => self.say(text),
            }
            if self.stop.reason().is_some() {
                return self.ended();
            }
        }
    }

    /// A signal ends the conversation with its own exit code.
    fn ended(&mut self) -> Result<()> {
        match self.stop.reason() {
            Some(Reason::Signal(signal)) => {
                let stopped = ErrorKind::Interrupted { signal };
                if !self.failures.contains(&stopped) {
                    self.failures.push(stopped);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// One turn and its answer; a turn that failed is forgotten.
    fn say(&mut self, text: &str) {
        let spec = self.spec(text);
        self.asked += 1;
        match self.answer(&spec) {
            Ok(answer) => {
                self.turns = spec.messages;
                self.turns.push(turn(Speaker::Assistant, &answer));
            }
            Err(error) => {
                self.voice.broken_off();
                self.failures.push(kind_of(&error));
                let fields = json!({"turn": self.asked});
                self.voice.reporter.error_about(&error, &fields);
            }
        }
    }

    fn spec(&self, text: &str) -> JobSpec {
        let mut spec = JobSpec {
            job_type: Some("chat_conversation".into()),
            model: self.args.model.clone(),
            messages: self.turns.clone(),
            ..JobSpec::default()
        };
        spec.messages.push(turn(Speaker::User, text));
        let options = &mut spec.config;
        options.seed = self.args.seed.map(|first| first.saturating_add(self.asked));
        options.max_tokens = self.args.max_tokens;
        options.temperature = self.args.temperature;
        options.top_p = self.args.top_p;
        options.top_k = self.args.top_k;
        options.repetition_penalty = self.args.repetition_penalty;
        options.system_prompt.clone_from(&self.system_prompt);
        spec
    }

    fn answer(&mut self, spec: &JobSpec) -> Result<String> {
        let fetched = Fetched::new();
        let job = self.runner.settle(&Request {
            id: ID,
            spec,
            trust: Origin::Flags.trust(),
            addresses: Addresses::Fetched(&fetched),
        })?;
        // An answer leaves no files.
        let outcome = self.runner.run(&job, Path::new("."), &mut self.voice, &self.stop);
        if let Some(failure) = &outcome.error {
            return Err(match self.stop.reason() {
                Some(reason @ Reason::Signal(_)) => reason.error().into(),
                _ => failure.to_error().into(),
            });
        }
        let answer = outcome.answer.clone().unwrap_or_default();
        self.voice.answered(self.asked, &answer, &outcome);
        Ok(answer)
    }
}

fn turn(role: Speaker, content: &str) -> Turn {
    Turn {
        role,
        content: content.into(),
    }
}

fn system_prompt(path: &Path) -> Result<String> {
    match prompts::read(path)? {
        Some(text) => Ok(text.trim().to_string()),
        None => {
            fail!(InputMissing, "system prompt `{}` not found", path.display(); "name an existing text file")
        }
    }
}

/// Where the user types. A terminal that is gone ends the input too.
fn prompt_mark() {
    let mut stderr = io::stderr().lock();
    let _ = write!(stderr, "> ").and_then(|()| stderr.flush());
}

/// Says what the model writes: on a terminal while it does.
struct Voice {
    reporter: Reporter,
    streams: bool,
    /// What of the answer stands on the terminal.
    shown: String,
    /// Notes are said once.
    said: BTreeSet<String>,
}

impl Voice {
    fn new(reporter: Reporter) -> Self {
        Self {
            streams: io::stdout().is_terminal() && !reporter.is_json(),
            reporter,
            shown: String::new(),
            said: BTreeSet::new(),
        }
    }

    /// Shows what of `text` is not there yet.
    fn show(&mut self, text: &str) {
        let Some(more) = text.strip_prefix(&self.shown) else {
            return;
        };
        if !more.is_empty() {
            self.reporter
                .piece(&more.split('\n').map(escaped).collect::<Vec<_>>().join("\n"));
            self.shown.push_str(more);
        }
    }

    fn answered(&mut self, turn: u64, answer: &str, outcome: &Outcome) {
        let metadata = &outcome.metadata;
        for note in metadata
            .get("notes")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            self.note(note);
        }
        if self.reporter.is_json() {
            let mut line = json!({"turn": turn});
            for name in [
                "response",
                "seed",
                "model",
                "tokens_generated",
                "prompt_tokens",
                "finish_reason",
                "notes",
            ] {
                line[name] = metadata.get(name).cloned().unwrap_or_default();
            }
            self.reporter.result(&line);
        } else if self.streams {
            self.show(answer);
            self.broken_off();
        } else {
            self.reporter.answer(answer);
        }
    }

    /// The line of an answer that is shown ends here.
    fn broken_off(&mut self) {
        if !std::mem::take(&mut self.shown).is_empty() {
            self.reporter.piece("\n");
        }
    }

    fn note(&mut self, note: &str) {
        let note = note.strip_prefix(&format!("job {ID}: ")).unwrap_or(note);
        if self.said.insert(note.to_string()) {
            self.reporter.note(note);
        }
    }
}

impl Events for Voice {
    fn tell(&mut self, event: &Event) {
        match event {
            Event::Writing { text, .. } => self.show(text.trim_start()),
            Event::Note { text } => self.note(text),
            // The question stands above already.
            Event::Job { .. } => {}
            other => self.reporter.tell(other),
        }
    }

    fn wants_text(&self) -> bool {
        self.streams
    }
}
