//! Prompt enhancement: a short prompt in, a richer one out, with an honest account of how.
//!
//! In order: the cache, the model, rules that add what a kind's prompts need, the original. A
//! model that is missing, fails, refuses or runs over its time limit is a reason to go on, not to
//! fail; the reason stands in the notes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::Settings;
use crate::error::{Error, ErrorKind, hint_of, kind_of};
use crate::fail;
use crate::pipelines::qwen::{FinishReason, Message, Role, Sampling, TextModel, TextObserver, TextRequest};

pub mod cache;
pub mod prompts;
mod rules;
pub mod score;
pub mod target;
mod tidy;

use cache::{Answer, Cache, Key};
use prompts::SystemPrompts;
use score::{Words, kept_share, score};
pub use target::{Kind, Quality, Style, Target};
pub use tidy::TokenCounter;

/// Longest prompt, in bytes: as long as a whole job spec may be.
pub const LONGEST_PROMPT_BYTES: usize = 64 * 1024;

/// New tokens unless told otherwise.
pub const MAX_NEW_TOKENS: usize = 200;

/// Time for one answer unless the operator sets another.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The built-in model knows a small world of shapes. An answer of its that keeps less than this
/// share of the prompt's words is about something else.
const MICRO_KEEPS_AT_LEAST: f64 = 0.5;

/// A model that is loaded only when the cache has no answer.
pub trait ModelSource {
    /// Its name in the registry.
    fn name(&self) -> &str;

    /// What decides its answers; found out without loading it.
    ///
    /// # Errors
    /// Files that are missing or cannot be read.
    fn identity(&mut self) -> Result<Identity>;

    /// True for the built-in model: it gets its own short system messages and answers greedily,
    /// since it knows no others.
    fn is_micro(&self) -> bool;

    /// Loads it, or hands out the loaded one.
    ///
    /// # Errors
    /// Whatever is wrong with its files or the device.
    fn open(&mut self) -> Result<&mut dyn TextModel>;
}

/// What a model computes, and in which numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// SHA-256 over the files that decide, as `models verify` prints it.
    pub hash: String,
    pub dtype: String,
}

/// What answers are drawn with unless told otherwise; the built-in model answers greedily.
pub fn default_sampling(is_micro: bool) -> Sampling {
    if is_micro {
        Sampling::GREEDY
    } else {
        Sampling::DEFAULT
    }
}

/// What to enhance, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct EnhanceRequest {
    pub prompt: String,
    pub target: Target,
    pub style: Style,
    /// Replaces the system message of kind and style.
    pub system_prompt: Option<String>,
    /// `None`: [`default_sampling`].
    pub sampling: Option<Sampling>,
    pub seed: u64,
    pub max_new_tokens: usize,
    pub use_cache: bool,
    /// Gives the model's answer as it is.
    pub raw: bool,
}

impl EnhanceRequest {
    /// A request with every default.
    pub fn new(prompt: impl Into<String>, target: Target) -> Self {
        Self {
            prompt: prompt.into(),
            target,
            style: Style::default(),
            system_prompt: None,
            sampling: None,
            seed: 0,
            max_new_tokens: MAX_NEW_TOKENS,
            use_cache: true,
            raw: false,
        }
    }

    /// # Errors
    /// `InvalidSpec` for an empty or oversized prompt and numbers out of range.
    pub fn check(&self) -> Result<()> {
        if self.prompt.trim().is_empty() {
            fail!(InvalidSpec, "prompt is empty; it needs at least one word");
        }
        if self.prompt.len() > LONGEST_PROMPT_BYTES {
            fail!(
                InvalidSpec, "prompt has {} bytes; allowed: up to {LONGEST_PROMPT_BYTES}", self.prompt.len();
                "image and video models read a few hundred words at most"
            );
        }
        if self.max_new_tokens == 0 {
            fail!(InvalidSpec, "max_tokens is 0; allowed: 1 or more");
        }
        self.sampling.map_or(Ok(()), |sampling| sampling.check())
    }
}

/// Who made the enhanced prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    Model,
    Rules,
    Original,
}

impl Source {
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Rules => "rules",
            Self::Original => "original",
        }
    }

    /// The name that older producers ask for.
    pub fn legacy_name(self) -> &'static str {
        match self {
            Self::Model => "edge_function",
            Self::Rules => "worker_fallback",
            Self::Original => "emergency_fallback",
        }
    }
}

/// An enhanced prompt and how it came about: the fields of callback and manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Enhancement {
    pub original_prompt: String,
    pub enhanced_prompt: String,
    pub enhancement_source: Source,
    pub enhancement_type: Style,
    /// Seconds, the model's loading included.
    pub enhancement_time: f64,
    /// 0 to 1, see [`score`](mod@score).
    pub quality_score: f64,
    pub quality_criteria: BTreeMap<String, bool>,
    /// CLIP tokens of the enhanced prompt.
    pub prompt_tokens: usize,
    /// The model that was asked; `None` without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_hash: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_dtype: Option<String>,
    /// True when that is the small model in the binary.
    pub model_embedded: bool,
    /// `None` unless the model made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_generated: Option<usize>,
    pub seed: u64,
    /// True when the answer came from disk.
    pub cached: bool,
    pub notes: Vec<String>,
}

impl Enhancement {
    /// The fields as JSON; with `legacy_names`, `enhancement_source` in the words of older producers.
    pub fn fields(&self, legacy_names: bool) -> Map<String, Value> {
        let Ok(Value::Object(mut fields)) = serde_json::to_value(self) else {
            unreachable!("a struct of plain fields is a JSON object");
        };
        if legacy_names {
            fields.insert(
                "enhancement_source".into(),
                self.enhancement_source.legacy_name().into(),
            );
        }
        fields
    }
}

/// Enhances prompts; holds what all requests share.
pub struct Enhancer {
    prompts: SystemPrompts,
    cache: Option<Cache>,
    time_limit: Duration,
    count_tokens: Box<TokenCounter>,
}

/// A prompt that somebody made, before it is judged.
struct Made {
    prompt: String,
    source: Source,
    tokens_generated: Option<usize>,
    cached: bool,
}

impl Enhancer {
    /// `count_tokens` counts with the tokenizer of the model that will read the prompt.
    pub fn new(prompts: SystemPrompts, cache: Option<Cache>, count_tokens: Box<TokenCounter>) -> Self {
        Self {
            prompts,
            cache,
            time_limit: TIME_LIMIT,
            count_tokens,
        }
    }

    /// One with the operator's prompts, cache and limits.
    pub fn of(settings: &Settings, count_tokens: Box<TokenCounter>) -> Self {
        let prompts = SystemPrompts::new(Some(settings.config_dir.clone()));
        let limit = settings.enhance.time_limit.unwrap_or(TIME_LIMIT);
        Self::new(prompts, Some(Cache::of(settings)), count_tokens).with_time_limit(limit)
    }

    /// The same with another time limit for an answer; loading does not count.
    pub fn with_time_limit(self, time_limit: Duration) -> Self {
        Self { time_limit, ..self }
    }

    /// The cache, for statistics and clearing.
    pub fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }

    /// Enhances one prompt. `observer` sees the model's text as it comes.
    ///
    /// # Errors
    /// `InvalidSpec` for an empty or oversized prompt and numbers out of range, `Config` for a
    /// broken system prompt, `Interrupted` when the observer stops the work. A model's failure is
    /// no error: it is noted, and rules or the original take over.
    pub fn enhance(
        &self,
        model: Option<&mut dyn ModelSource>,
        request: &EnhanceRequest,
        observer: &mut TextObserver<'_>,
    ) -> Result<Enhancement> {
        request.check()?;
        let start = Instant::now();
        let mut notes = Vec::new();
        let (mut name, mut identity, mut is_micro) = (None, None, false);
        let made = match model {
            Some(model) => {
                name = Some(model.name().to_string());
                is_micro = model.is_micro();
                match model.identity() {
                    Ok(found) => {
                        let made = self.ask(model, &found, request, observer, &mut notes)?;
                        identity = Some(found);
                        made
                    }
                    Err(e) => {
                        notes.push(no_answer(model.name(), e)?);
                        None
                    }
                }
            }
            None => {
                notes.push("no language model is configured".to_string());
                None
            }
        };
        let made = match made {
            Some(made) => made,
            None => self.fall_back(request, &mut notes)?,
        };
        if request.style != Style::default() && (is_micro || made.source != Source::Model) {
            notes.push(
                "the style changes nothing here: neither the built-in model nor the rules know one".into(),
            );
        }
        let prompt_tokens = (self.count_tokens)(&made.prompt)?;
        let score = score(request.target.kind, &request.prompt, &made.prompt, prompt_tokens);
        Ok(Enhancement {
            original_prompt: request.prompt.clone(),
            enhanced_prompt: made.prompt,
            enhancement_source: made.source,
            enhancement_type: request.style,
            enhancement_time: start.elapsed().as_secs_f64(),
            quality_score: score.quality_score,
            quality_criteria: score.criteria,
            prompt_tokens,
            model: name,
            model_hash: identity.as_ref().map(|i| i.hash.clone()),
            model_dtype: identity.map(|i| i.dtype),
            model_embedded: is_micro,
            tokens_generated: made.tokens_generated,
            seed: request.seed,
            cached: made.cached,
            notes,
        })
    }

    /// The cache's or the model's prompt; `None`, with a note, when there is no usable one.
    fn ask(
        &self,
        model: &mut dyn ModelSource,
        identity: &Identity,
        request: &EnhanceRequest,
        observer: &mut TextObserver<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Made>> {
        let key = self.key(model.is_micro(), identity, request)?;
        let cache = self.cache.as_ref().filter(|_| request.use_cache);
        let stored = cache.and_then(|cache| cache.get(&key));
        let cached = stored.is_some();
        let answer = match stored {
            Some(answer) => answer,
            None => match self.answer(model, &key, observer) {
                Ok(answer) => answer,
                Err(e) => {
                    notes.push(no_answer(model.name(), e)?);
                    return Ok(None);
                }
            },
        };
        if let (Some(cache), false) = (cache, cached)
            && let Err(e) = cache.put(&key, &answer)
        {
            notes.push(format!("{e:#}"));
        }
        let Some(prompt) = self.usable(&answer, request)? else {
            notes.push(format!(
                "model `{}` gave an answer without a prompt in it",
                model.name()
            ));
            return Ok(None);
        };
        if model.is_micro() {
            if !request.raw && kept_share(&request.prompt, &prompt) < MICRO_KEEPS_AT_LEAST {
                notes.push(format!(
                    "the built-in model `{}` knows only coloured shapes and lost the subject",
                    model.name()
                ));
                return Ok(None);
            }
            notes.push(format!(
                "made by the built-in model `{}`, which is very small and knows only coloured shapes",
                model.name()
            ));
        }
        Ok(Some(Made {
            prompt,
            source: Source::Model,
            tokens_generated: Some(answer.tokens_generated),
            cached,
        }))
    }

    fn usable(&self, answer: &Answer, request: &EnhanceRequest) -> Result<Option<String>> {
        if request.raw {
            return Ok(Some(answer.text.clone()).filter(|text| !text.trim().is_empty()));
        }
        let max_tokens = Words::get(request.target.kind).max_tokens;
        tidy::tidy(&answer.text, answer.is_complete, max_tokens, &*self.count_tokens)
    }

    fn key(&self, is_micro: bool, identity: &Identity, request: &EnhanceRequest) -> Result<Key> {
        let system_prompt = match &request.system_prompt {
            Some(text) => text.clone(),
            None => self.prompts.get(request.target, request.style, is_micro)?,
        };
        Ok(Key {
            model_hash: identity.hash.clone(),
            model_dtype: identity.dtype.clone(),
            system_prompt,
            sampling: request.sampling.unwrap_or(default_sampling(is_micro)),
            max_new_tokens: request.max_new_tokens,
            seed: request.seed,
            prompt: request.prompt.trim().to_string(),
            target: request.target,
            style: request.style,
        })
    }

    fn answer(
        &self,
        model: &mut dyn ModelSource,
        key: &Key,
        observer: &mut TextObserver<'_>,
    ) -> Result<Answer> {
        let model = model.open()?;
        let request = TextRequest {
            messages: vec![
                Message::new(Role::System, key.system_prompt.clone()),
                Message::new(Role::User, key.prompt.clone()),
            ],
            sampling: key.sampling,
            seed: key.seed,
            max_new_tokens: key.max_new_tokens,
        };
        let (start, limit) = (Instant::now(), self.time_limit);
        let output = model.generate(&request, &mut |text| {
            if start.elapsed() >= limit {
                return Err(Error::new(
                    ErrorKind::TimedOut,
                    format!("over its time limit of {} s", limit.as_secs_f64()),
                )
                .into());
            }
            observer(text)
        })?;
        Ok(Answer {
            text: output.text,
            is_complete: output.finish_reason == FinishReason::Stop,
            tokens_generated: output.tokens_generated,
            generation_time: start.elapsed().as_secs_f64(),
        })
    }

    fn fall_back(&self, request: &EnhanceRequest, notes: &mut Vec<String>) -> Result<Made> {
        let by_rules = rules::enhance(&request.prompt, request.target, &*self.count_tokens)?;
        let source = if by_rules.is_some() {
            Source::Rules
        } else {
            notes.push("the rules had nothing to add within the token limit".to_string());
            Source::Original
        };
        Ok(Made {
            prompt: by_rules.unwrap_or_else(|| request.prompt.clone()),
            source,
            tokens_generated: None,
            cached: false,
        })
    }
}

/// The note about a model that failed.
///
/// # Errors
/// The failure itself when it is an interruption, which nothing takes over from.
fn no_answer(model: &str, error: anyhow::Error) -> Result<String> {
    if matches!(kind_of(&error), ErrorKind::Interrupted { .. }) {
        return Err(error);
    }
    let way_out = hint_of(&error).map(|hint| format!("; hint: {hint}"));
    Ok(format!(
        "model `{model}` gave no answer: {error:#}{}",
        way_out.unwrap_or_default()
    ))
}
