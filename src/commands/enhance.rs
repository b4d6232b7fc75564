//! `enhance`: prompts in, richer prompts out, through the same service that jobs use.

use std::collections::BTreeSet;
use std::io::{self, IsTerminal};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::common::surroundings;
use super::signals;
use crate::cli::{self, Enhance};
use crate::config::Settings;
use crate::enhance::cache::Cache;
use crate::enhance::{
    EnhanceRequest, Enhancement, Enhancer, ModelSource, Style, Target, default_sampling, prompts,
};
use crate::error::{ErrorKind, kind_of};
use crate::fail;
use crate::pipelines;
use crate::pipelines::qwen::Sampling;
use crate::policy::Judge;
use crate::progress::{Reporter, Volume};
use crate::registry::Registry;
use crate::runner::exit_code;
use crate::stop::Stop;
use crate::text::escaped;

mod input;
mod model;

use model::Language;

/// Runs the command.
///
/// # Errors
/// Mistakes in the command line or the configuration. Failures of single prompts are printed here
/// and are in the exit code.
pub fn run(args: &Enhance, volume: Volume) -> Result<u8> {
    let given = input::prompts(args)?;
    let (mut settings, registry) = surroundings(&args.place, volume)?;
    if let Some(dtype) = args.dtype {
        settings.dtype = Some(dtype.name().into());
    }
    let mut reporter = Reporter::new(args.talk.json, volume);
    if args.clear_cache {
        clear(&Cache::of(&settings), &mut reporter)?;
    }
    let failures = match &given {
        Some(given) => Run::new(args, &settings, &registry)?.all(given, &mut reporter)?,
        None => Vec::new(),
    };
    reporter.finish()?;
    Ok(exit_code(given.map_or(0, |given| given.len()), &failures))
}

fn clear(cache: &Cache, reporter: &mut Reporter) -> Result<()> {
    let folder = cache.folder().display();
    let removed = cache
        .clear()
        .with_context(|| format!("enhancement cache `{folder}`"))?;
    reporter.info(&format!(
        "enhancement cache `{folder}`: {removed} answers removed"
    ));
    if reporter.is_json() {
        reporter.stdout_line(&json!({"event": "cache_cleared", "entries": removed}).to_string());
    }
    Ok(())
}

/// What all prompts of a command line share.
struct Run<'a> {
    args: &'a Enhance,
    enhancer: Enhancer,
    language: Option<Language>,
    /// All but the prompt.
    request: EnhanceRequest,
    judge: Judge,
    legacy_names: bool,
    stop: Stop,
    /// Notes are said once.
    said: BTreeSet<String>,
}

impl<'a> Run<'a> {
    fn new(args: &'a Enhance, settings: &Settings, registry: &Registry) -> Result<Self> {
        let language = Language::choose(args.model.as_deref(), registry, settings)?;
        let mut enhancer = Enhancer::of(settings, pipelines::clip_token_counter()?);
        if let Some(seconds) = args.time_limit {
            enhancer = enhancer.with_time_limit(Duration::from_secs_f32(seconds));
        }
        let is_micro = language.as_ref().is_some_and(Language::is_micro);
        Ok(Self {
            request: request(args, default_sampling(is_micro))?,
            args,
            enhancer,
            language,
            judge: Judge::of(settings),
            legacy_names: args.legacy_names || settings.enhance.legacy_names,
            stop: signals::listen()?,
            said: BTreeSet::new(),
        })
    }

    /// Enhances every prompt and prints what came of it; a signal ends the run.
    fn all(&mut self, given: &[String], reporter: &mut Reporter) -> Result<Vec<ErrorKind>> {
        let mut failures = Vec::new();
        for (index, prompt) in given.iter().enumerate() {
            let done = self
                .stop
                .check()
                .and_then(|()| self.one(prompt, given.len() == 1, reporter));
            match done {
                Ok(enhancement) => self.print(index, &enhancement, reporter),
                Err(error) => {
                    let kind = kind_of(&error);
                    self.print_failure(index, given.len(), error, reporter);
                    failures.push(kind);
                    if matches!(kind, ErrorKind::Interrupted { .. }) {
                        break;
                    }
                }
            }
            if given.len() > 1 {
                reporter.counted("prompts", index + 1, given.len());
            }
        }
        Ok(failures)
    }

    fn one(&mut self, prompt: &str, alone: bool, reporter: &mut Reporter) -> Result<Enhancement> {
        let request = EnhanceRequest {
            prompt: prompt.into(),
            ..self.request.clone()
        };
        request.check()?;
        let system_prompt = request.system_prompt.clone().unwrap_or_default();
        let asked = [("the system prompt", system_prompt.as_str()), ("prompt", prompt)];
        self.judge.texts(&asked, false)?;
        let (stop, judge) = (self.stop.clone(), self.judge.clone());
        let shows = alone && reporter.draws();
        let mut written = String::new();
        let mut observer = |piece: &str| {
            if shows {
                written.push_str(piece);
                // What the rules would refuse is not shown on the way either.
                if judge
                    .texts(&[("prompt", prompt), ("the answer", &written)], false)
                    .is_ok()
                {
                    reporter.writing(&written);
                }
            }
            stop.check()
        };
        let model = self.language.as_mut().map(|m| m as &mut dyn ModelSource);
        let enhancement = self.enhancer.enhance(model, &request, &mut observer)?;
        let [system, asked] = asked;
        let texts = [
            system,
            asked,
            ("the enhanced prompt", &enhancement.enhanced_prompt),
        ];
        self.judge.texts(&texts, false)?;
        Ok(enhancement)
    }

    fn print(&mut self, index: usize, enhancement: &Enhancement, reporter: &mut Reporter) {
        for note in &enhancement.notes {
            if self.said.insert(note.clone()) {
                reporter.note(note);
            }
        }
        reporter.detail(&format!(
            "prompt {}: {}{} in {:.2} s, score {:.2}, {} CLIP tokens, seed {}",
            index + 1,
            enhancement.enhancement_source.name(),
            if enhancement.cached {
                " (from the cache)"
            } else {
                ""
            },
            enhancement.enhancement_time,
            enhancement.quality_score,
            enhancement.prompt_tokens,
            enhancement.seed,
        ));
        if reporter.is_json() {
            let mut line = json!({"event": "result", "index": index});
            if let Some(line) = line.as_object_mut() {
                line.extend(enhancement.fields(self.legacy_names));
            }
            reporter.stdout_line(&line.to_string());
        } else {
            reporter.stdout_line(&self.line(&enhancement.enhanced_prompt));
        }
    }

    fn print_failure(&self, index: usize, total: usize, error: anyhow::Error, reporter: &mut Reporter) {
        let interrupted = matches!(kind_of(&error), ErrorKind::Interrupted { .. });
        let error = match total {
            1 => error,
            _ => error.context(format!("prompt {}", index + 1)),
        };
        reporter.error_about(&error, &json!({"index": index}));
        if total > 1 && !interrupted && !reporter.is_json() {
            reporter.stdout_line("");
        }
    }

    /// A prompt fit for stdout: one line unless --raw asks for the answer as it is, and nothing that
    /// commands a terminal.
    fn line(&self, prompt: &str) -> String {
        let lines = prompt.lines().map(|line| match io::stdout().is_terminal() {
            true => escaped(line),
            false => line.to_string(),
        });
        let separator = if self.args.raw { "\n" } else { " " };
        lines.collect::<Vec<_>>().join(separator)
    }
}

/// The request that the flags describe, still without its prompt.
fn request(args: &Enhance, default: Sampling) -> Result<EnhanceRequest> {
    let target: Target = args.job_type.parse()?;
    let system_prompt = match &args.system_prompt {
        None => None,
        Some(path) => match prompts::read(path)? {
            Some(text) => Some(text.trim().to_string()),
            None => {
                fail!(InputMissing, "system prompt `{}` not found", path.display(); "name an existing text file")
            }
        },
    };
    Ok(EnhanceRequest {
        style: match args.style {
            cli::Style::Manual => Style::Manual,
            cli::Style::Cinematic => Style::Cinematic,
            cli::Style::Custom => Style::Custom,
        },
        system_prompt,
        sampling: Some(sampling(args, default)?),
        seed: args.seed,
        max_new_tokens: args.max_tokens as usize,
        use_cache: !args.no_cache,
        raw: args.raw,
        ..EnhanceRequest::new("", target)
    })
}

/// The model's default sampling with the flags laid over it.
fn sampling(args: &Enhance, default: Sampling) -> Result<Sampling> {
    let sampling = Sampling {
        temperature: args.temperature.unwrap_or(default.temperature),
        top_p: args.top_p.unwrap_or(default.top_p),
        top_k: args.top_k.map_or(default.top_k, |k| k as usize),
        repetition_penalty: args.repetition_penalty.unwrap_or(default.repetition_penalty),
    };
    let without_effect = [
        ("--top-p", args.top_p.is_some()),
        ("--top-k", args.top_k.is_some()),
    ];
    if let Some((flag, _)) = without_effect
        .iter()
        .find(|(_, given)| *given && sampling.temperature == 0.0)
    {
        fail!(
            Usage, "{flag} has no effect at temperature 0, where the most probable token is taken always";
            "give --temperature above 0 too; 0 is the built-in model's default"
        );
    }
    sampling.check()?;
    Ok(sampling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_command_line_is_one_that_prompts_are_enhanced_for() {
        for name in cli::ENHANCE_TYPES {
            assert!(name.parse::<Target>().is_ok(), "{name}");
        }
        let all = "x".parse::<Target>().unwrap_err().message;
        let listed = all.split_once("allowed: ").unwrap().1;
        assert_eq!(listed.split(", ").collect::<Vec<_>>(), cli::ENHANCE_TYPES);
    }
}
