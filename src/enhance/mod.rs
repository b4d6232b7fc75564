//! Prompt enhancement: a short prompt in, a richer one out, with an honest account of how.
//!
//! In order: the cache, the model, rules that add what a kind's prompts need, the original. A
//! model that is missing, fails, refuses or runs over its time limit is a reason to go on, not to
//! fail; the reason stands in the notes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, kind_of};
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
use score::{Words, score};
pub use target::{Kind, Quality, Style, Target};

/// Longest prompt, in bytes: as long as a whole job spec may be.
pub const LONGEST_PROMPT_BYTES: usize = 64 * 1024;

/// New tokens unless told otherwise.
pub const MAX_NEW_TOKENS: usize = 200;

/// Time for one answer unless the operator sets another.
pub const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Counts the CLIP tokens of a prompt.
pub type TokenCounter = dyn Fn(&str) -> Result<usize>;

/// A model that is loaded only when the cache has no answer.
pub trait ModelSource {
    /// Its name in the registry.
    fn name(&self) -> &str;

    /// Digest of what it computes: files and, where several are possible, the number type.
    fn hash(&self) -> &str;

    /// True for the built-in model: it gets its own short system messages and answers greedily,
    /// since it knows no others.
    fn is_micro(&self) -> bool;

    /// Loads it, or hands out the loaded one.
    ///
    /// # Errors
    /// Whatever is wrong with its files or the device.
    fn open(&mut self) -> Result<&mut dyn TextModel>;
}

/// What to enhance, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct EnhanceRequest {
    pub prompt: String,
    pub target: Target,
    pub style: Style,
    /// Replaces the system message of kind and style.
    pub system_prompt: Option<String>,
    /// `None`: [`Sampling::DEFAULT`], greedy for the built-in model.
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
    /// `None` unless the model made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_generated: Option<usize>,
    pub seed: u64,
    /// True when the answer came from disk.
    pub cached: bool,
    pub notes: Vec<String>,
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
        check(request)?;
        let start = Instant::now();
        let (name, hash) = match &model {
            Some(model) => (Some(model.name().to_string()), Some(model.hash().to_string())),
            None => (None, None),
        };
        let mut notes = Vec::new();
        let made = match model {
            Some(model) => self.ask(model, request, observer, &mut notes)?,
            None => {
                notes.push("no language model is configured".to_string());
                None
            }
        };
        let made = match made {
            Some(made) => made,
            None => self.fall_back(request, &mut notes)?,
        };
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
            model_hash: hash,
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
        request: &EnhanceRequest,
        observer: &mut TextObserver<'_>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Made>> {
        let key = self.key(model, request)?;
        let cache = self.cache.as_ref().filter(|_| request.use_cache);
        let stored = cache.and_then(|cache| cache.get(&key));
        let cached = stored.is_some();
        let answer = match stored {
            Some(answer) => answer,
            None => match self.answer(model, &key, observer) {
                Ok(answer) => answer,
                Err(e) if matches!(kind_of(&e), ErrorKind::Interrupted { .. }) => return Err(e),
                Err(e) => {
                    notes.push(format!("model `{}` gave no answer: {e:#}", model.name()));
                    return Ok(None);
                }
            },
        };
        if let (Some(cache), false) = (cache, cached)
            && let Err(e) = cache.put(&key, &answer)
        {
            notes.push(format!("{e:#}"));
        }
        let prompt = self.usable(&answer, request)?;
        if prompt.is_none() {
            notes.push(format!(
                "model `{}` gave an answer without a prompt in it",
                model.name()
            ));
        }
        Ok(prompt.map(|prompt| Made {
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

    fn key(&self, model: &dyn ModelSource, request: &EnhanceRequest) -> Result<Key> {
        let system_prompt = match &request.system_prompt {
            Some(text) => text.clone(),
            None => self
                .prompts
                .get(request.target, request.style, model.is_micro())?,
        };
        let default = if model.is_micro() {
            Sampling::GREEDY
        } else {
            Sampling::DEFAULT
        };
        Ok(Key {
            model_hash: model.hash().to_string(),
            system_prompt,
            sampling: request.sampling.unwrap_or(default),
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

fn check(request: &EnhanceRequest) -> Result<()> {
    if request.prompt.trim().is_empty() {
        fail!(InvalidSpec, "prompt is empty; it needs at least one word");
    }
    if request.prompt.len() > LONGEST_PROMPT_BYTES {
        fail!(
            InvalidSpec, "prompt has {} bytes; allowed: up to {LONGEST_PROMPT_BYTES}", request.prompt.len();
            "image and video models read a few hundred words at most"
        );
    }
    if request.max_new_tokens == 0 {
        fail!(InvalidSpec, "max_tokens is 0; allowed: 1 or more");
    }
    request.sampling.map_or(Ok(()), |sampling| sampling.check())
}
