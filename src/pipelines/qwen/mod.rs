//! Qwen2.5 end to end: turns of a conversation in, the assistant's text out, token by token.

use std::time::{Duration, Instant};

use anyhow::Result;
use burn::tensor::{DType, Device};
use serde::Deserialize;

use crate::device::Precision;
use crate::fail;
use crate::models::qwen2::{KvCache, Qwen2, Qwen2Config, TokenIds};
use crate::tokenizers::chat::{ChatTokenizer, TextStream};
use crate::weights::vars::Mode;
use crate::weights::{ModelFiles, NameTable, Report, Vars};

pub mod sampling;

pub use crate::tokenizers::chat::{Message, Role};
pub use sampling::Sampling;

use sampling::Sampler;

/// A language model is one component, at the root of its folder.
pub(super) const ROOT: &str = "";

/// Cache sizes are rounded up to this many tokens, so that requests of similar length share one.
const CACHE_STEP: usize = 256;

/// What to say, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct TextRequest {
    pub messages: Vec<Message>,
    pub sampling: Sampling,
    pub seed: u64,
    pub max_new_tokens: usize,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model said so.
    Stop,
    /// `max_new_tokens`, or the context is full.
    Length,
}

/// An answer, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct TextOutput {
    pub text: String,
    pub prompt_tokens: usize,
    pub tokens_generated: usize,
    pub finish_reason: FinishReason,
    pub prefill: Duration,
    pub decode: Duration,
}

/// Receives the text that each token completes (empty in the middle of a character); an error
/// returned from it stops the answer before the next token.
pub type TextObserver<'a> = dyn FnMut(&str) -> Result<()> + 'a;

/// A loaded model that answers.
pub trait TextModel {
    /// Its name in the registry.
    fn name(&self) -> &str;

    /// Digest of the files that decide what it computes.
    fn hash(&self) -> &str;

    /// Tokens that a conversation may have, answer included.
    fn context_tokens(&self) -> usize;

    /// Tokens that the conversation takes, up to where the answer begins.
    ///
    /// # Errors
    /// When it cannot be rendered or encoded.
    fn count_tokens(&self, messages: &[Message]) -> Result<usize>;

    /// # Errors
    /// `InvalidSpec` for a conversation that does not fit, `BadOutput` for scores that are not
    /// numbers, and whatever the observer returned.
    fn generate(&mut self, request: &TextRequest, observer: &mut TextObserver<'_>) -> Result<TextOutput>;
}

/// `generation_config.json`, as far as it is used here.
#[derive(Debug, Default, Deserialize)]
struct GenerationConfig {
    #[serde(default)]
    eos_token_id: Option<TokenIds>,
}

/// Qwen2 or Qwen2.5 on a device.
#[derive(Debug)]
pub struct QwenPipeline {
    name: String,
    hash: String,
    model: Qwen2,
    tokenizer: ChatTokenizer,
    /// Sorted ids that end an answer.
    stop: Vec<u32>,
    /// Kept between answers; holds nothing of them.
    cache: Option<KvCache>,
}

impl QwenPipeline {
    /// Loads a Hugging Face folder; `hash` is what answers are attributed to.
    ///
    /// # Errors
    /// `InputMissing` for an absent file or shard, `BadInput` for one that does not fit.
    pub fn load(
        files: &ModelFiles,
        name: &str,
        hash: &str,
        device: &Device,
        precision: Precision,
    ) -> Result<Self> {
        let tokenizer = Self::tokenizer(files)?;
        let config: Qwen2Config = files.json("config.json")?;
        if tokenizer.vocab_size() > config.vocab_size {
            fail!(
                BadInput, "tokenizer.json defines {} tokens, config.json has vocab_size {}", tokenizer.vocab_size(), config.vocab_size;
                "the two are of different models"
            );
        }
        let stop = stop_ids(files, &config, &tokenizer)?;
        let checkpoint = files.checkpoint(ROOT)?;
        let dtype = Some(precision.dtype());
        let vars = Vars::new(name, &checkpoint, NameTable::Diffusers, device, dtype, Mode::Load);
        let model = Qwen2::load(&vars, config)?;
        // Rotary tables that older writers stored are computed here; an answer has no notes for it.
        vars.finish().into_result()?;
        Ok(Self {
            name: name.into(),
            hash: hash.into(),
            model,
            tokenizer,
            stop,
            cache: None,
        })
    }

    /// Vocabulary and chat template.
    ///
    /// # Errors
    /// `InputMissing` for an absent file, `BadInput` for a broken one.
    pub fn tokenizer(files: &ModelFiles) -> Result<ChatTokenizer> {
        let needed = |name: &str| -> Result<_> {
            match files.read(name)? {
                Some(bytes) => Ok(bytes),
                None => fail!(
                    InputMissing, "model file `{}` not found", files.label(name);
                    "the folder must have the layout of Hugging Face: config.json, tokenizer.json, tokenizer_config.json, *.safetensors"
                ),
            }
        };
        ChatTokenizer::new(
            &needed("tokenizer.json")?,
            &needed("tokenizer_config.json")?,
            files.read("chat_template.jinja")?.as_deref(),
        )
    }

    /// Accounts for every tensor, reading only headers, and reads tokenizer and template.
    ///
    /// # Errors
    /// As [`QwenPipeline::load`]; tensors that do not fit are in the report.
    pub fn verify(files: &ModelFiles, name: &str) -> Result<Report> {
        Self::tokenizer(files)?;
        Self::verify_weights(files, name)
    }

    /// The weights' part of [`QwenPipeline::verify`].
    ///
    /// # Errors
    /// As there.
    pub fn verify_weights(files: &ModelFiles, name: &str) -> Result<Report> {
        let checkpoint = files.checkpoint(ROOT)?;
        let device = Device::flex();
        let vars = Vars::new(
            name,
            &checkpoint,
            NameTable::Diffusers,
            &device,
            None,
            Mode::Verify,
        );
        Qwen2::load(&vars, files.json("config.json")?)?;
        Ok(vars.finish())
    }

    /// Every file that decides what the model answers, for its hash.
    ///
    /// # Errors
    /// When the folder has no weights.
    pub fn deciding(files: &ModelFiles) -> Result<Vec<String>> {
        const SMALL: &[&str] = &[
            "chat_template.jinja",
            "config.json",
            "generation_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        ];
        let small = SMALL.iter().filter(|name| files.has(name));
        let mut names: Vec<String> = small.map(|name| name.to_string()).collect();
        names.extend(files.weight_files(ROOT)?);
        Ok(names)
    }

    /// Memory of keys and values for a conversation of `tokens`, in bytes; for the memory budget.
    pub fn cache_bytes(&self, tokens: usize, dtype: DType) -> u64 {
        self.model.config().cache_bytes(tokens, dtype)
    }

    /// Frees the keys and values kept between answers.
    pub fn free_cache(&mut self) {
        self.cache = None;
    }

    /// An empty cache of at least `tokens`, the kept one where it is large enough.
    fn take_cache(&mut self, tokens: usize) -> KvCache {
        match self.cache.take() {
            Some(mut cache) if cache.capacity() >= tokens => {
                cache.clear();
                cache
            }
            _ => {
                let rounded = tokens.next_multiple_of(CACHE_STEP);
                let limit = self.model.config().max_position_embeddings.max(tokens);
                self.model.new_cache(rounded.min(limit))
            }
        }
    }

    fn encode(&self, messages: &[Message]) -> Result<Vec<u32>> {
        self.tokenizer.encode(&self.tokenizer.render(messages)?)
    }

    /// Scores of the token behind `ids`.
    fn next_logits(&self, ids: &[u32], cache: &mut KvCache) -> Result<Vec<f32>> {
        let hidden_states = self.model.forward(ids, cache).narrow(0, ids.len() - 1, 1);
        let logits = self
            .model
            .logits(hidden_states)
            .cast(DType::F32)
            .try_into_data()?;
        Ok(logits.try_to_vec::<f32>()?)
    }

    fn answer(
        &self,
        prompt: &[u32],
        request: &TextRequest,
        cache: &mut KvCache,
        observer: &mut TextObserver<'_>,
    ) -> Result<TextOutput> {
        let start = Instant::now();
        let vocab_size = self.model.config().vocab_size;
        let mut sampler = Sampler::new(request.sampling, request.seed, prompt, vocab_size);
        let mut logits = self.next_logits(prompt, cache)?;
        let prefill = start.elapsed();

        let start = Instant::now();
        let limit = request.max_new_tokens.min(self.context_tokens() - prompt.len());
        let mut stream = TextStream::default();
        let mut ids = Vec::with_capacity(limit);
        let finish_reason = loop {
            let id = sampler.next(logits)?;
            if self.stop.binary_search(&id).is_ok() {
                break FinishReason::Stop;
            }
            ids.push(id);
            observer(&stream.push(&self.tokenizer, id)?)?;
            if ids.len() == limit {
                break FinishReason::Length;
            }
            logits = self.next_logits(&[id], cache)?;
        };
        Ok(TextOutput {
            text: self.tokenizer.decode(&ids)?,
            prompt_tokens: prompt.len(),
            tokens_generated: ids.len(),
            finish_reason,
            prefill,
            decode: start.elapsed(),
        })
    }
}

impl TextModel for QwenPipeline {
    fn name(&self) -> &str {
        &self.name
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    fn context_tokens(&self) -> usize {
        self.model.config().max_position_embeddings
    }

    fn count_tokens(&self, messages: &[Message]) -> Result<usize> {
        Ok(self.encode(messages)?.len())
    }

    fn generate(&mut self, request: &TextRequest, observer: &mut TextObserver<'_>) -> Result<TextOutput> {
        request.sampling.check()?;
        let context = self.context_tokens();
        if request.messages.is_empty() {
            fail!(
                InvalidSpec,
                "the conversation is empty; it needs at least one message"
            );
        }
        if request.max_new_tokens == 0 {
            fail!(
                InvalidSpec,
                "max_new_tokens is 0; allowed: 1 to {context}, the model's context"
            );
        }
        let prompt = self.encode(&request.messages)?;
        if prompt.len() >= context {
            fail!(
                InvalidSpec, "the conversation has {} tokens; the context of `{}` holds {context}, answer included", prompt.len(), self.name;
                "shorten the prompt or drop older turns"
            );
        }
        let mut cache = self.take_cache((prompt.len() + request.max_new_tokens).min(context));
        let output = self.answer(&prompt, request, &mut cache, observer);
        self.cache = Some(cache);
        output
    }
}

/// Everything that ends an answer: generation_config.json, config.json and the tokenizer's marks.
fn stop_ids(files: &ModelFiles, config: &Qwen2Config, tokenizer: &ChatTokenizer) -> Result<Vec<u32>> {
    let generation = match files.read("generation_config.json")? {
        Some(_) => files.json("generation_config.json")?,
        None => GenerationConfig::default(),
    };
    let mut ids = tokenizer.end_ids();
    for configured in [&generation.eos_token_id, &config.eos_token_id]
        .into_iter()
        .flatten()
    {
        ids.extend_from_slice(configured.as_slice());
    }
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        fail!(BadInput, "no end token: generation_config.json, config.json and the tokenizer name none"; "set eos_token_id in generation_config.json");
    }
    Ok(ids)
}
