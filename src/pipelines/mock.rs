//! Pipelines without weights: one draws a gradient that depends on prompt and seed, one answers with
//! what it was told.
//!
//! They let commands, callbacks and queues be tested in milliseconds. Reached only through a
//! registry entry with `family = "mock"`; nothing of theirs is passed off as a model's work.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::image::{ImageOutput, ImagePipeline, ImageRequest};
use super::observer::{Event, Observer};
use super::qwen::{FinishReason, Message, TextModel, TextObserver, TextOutput, TextRequest};
use super::video::{VideoOutput, VideoPipeline, VideoRequest};
use crate::fail;
use crate::media::frames::Frame;

#[derive(Debug, Default)]
pub struct MockPipeline;

impl ImagePipeline for MockPipeline {
    fn text_to_image(&mut self, request: &ImageRequest, observer: &mut Observer<'_>) -> Result<ImageOutput> {
        let start = Instant::now();
        observer(Event::Stage("denoise"))?;
        for done in 1..=request.num_inference_steps {
            obey(&request.prompt)?;
            observer(Event::Step {
                done,
                total: request.num_inference_steps,
            })?;
        }
        let frames = request
            .seeds
            .iter()
            .map(|&seed| gradient(request, seed))
            .collect();
        Ok(ImageOutput {
            frames,
            timings: BTreeMap::from([("denoise", start.elapsed())]),
            scheduler: request.scheduler.clone().unwrap_or_else(|| "euler".into()),
            effective_steps: request.num_inference_steps,
            prompt_tokens: vec![vec![request.prompt.split_whitespace().count()]],
            notes: Vec::new(),
        })
    }
}

impl VideoPipeline for MockPipeline {
    fn takes_references(&self) -> bool {
        false
    }

    /// The gradient's shade runs with time.
    fn text_to_video(&mut self, request: &VideoRequest, observer: &mut Observer<'_>) -> Result<VideoOutput> {
        let image = ImageRequest {
            prompt: request.prompt.clone(),
            negative_prompt: request.negative_prompt.clone(),
            seeds: (0..request.num_frames as u64).map(|i| request.seed + i).collect(),
            num_inference_steps: request.num_inference_steps,
            guidance_scale: request.guidance_scale,
            width_px: request.width_px,
            height_px: request.height_px,
            scheduler: request.scheduler.clone(),
            truncate_prompt: false,
            deterministic: true,
            ..ImageRequest::default()
        };
        let made = self.text_to_image(&image, observer)?;
        Ok(VideoOutput {
            frames: made.frames,
            timings: made.timings,
            scheduler: request.scheduler.clone().unwrap_or_else(|| "flow-unipc".into()),
            effective_steps: made.effective_steps,
            prompt_tokens: made.prompt_tokens[0][0],
            notes: made.notes,
        })
    }
}

/// What words of the prompt ask for: `mock-crash` ends the process, `mock-hang` never returns,
/// `mock-step-MS` takes so many milliseconds, `mock-panic` panics, `mock-oom` finds no memory;
/// `mock-black` draws nothing.
fn obey(prompt: &str) -> Result<()> {
    for word in prompt.split_whitespace() {
        match word {
            "mock-crash" => std::process::abort(),
            "mock-hang" => loop {
                std::thread::park();
            },
            "mock-panic" => panic!("asked for by the prompt"),
            "mock-oom" => fail!(GpuOom, "asked for by the prompt"),
            _ => {
                if let Some(ms) = word.strip_prefix("mock-step-").and_then(|ms| ms.parse().ok()) {
                    std::thread::sleep(Duration::from_millis(ms));
                }
            }
        }
    }
    Ok(())
}

fn gradient(request: &ImageRequest, seed: u64) -> Frame {
    let (width, height) = (request.width_px, request.height_px);
    if request.prompt.contains("mock-black") {
        return Frame::new(width as u32, height as u32, vec![0; width * height * 3]);
    }
    let shade = request
        .prompt
        .bytes()
        .fold(seed, |h, b| h.wrapping_mul(31) ^ u64::from(b));
    let mut rgb = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            rgb.push((x * 255 / width.max(2)) as u8);
            rgb.push((y * 255 / height.max(2)) as u8);
            rgb.push((shade % 200) as u8 + 40);
        }
    }
    Frame::new(width as u32, height as u32, rgb)
}

/// Answers with the newest turn, a word a token; behind `rot13:` deciphered, so that a test can
/// have an answer that differs from every prompt; to `silence` with nothing.
#[derive(Debug)]
pub struct MockText {
    name: String,
}

impl MockText {
    const CONTEXT_TOKENS: usize = 2048;

    pub fn new(name: &str) -> Self {
        Self { name: name.into() }
    }
}

impl TextModel for MockText {
    fn name(&self) -> &str {
        &self.name
    }

    fn hash(&self) -> &str {
        "mock"
    }

    fn context_tokens(&self) -> usize {
        Self::CONTEXT_TOKENS
    }

    fn count_tokens(&self, messages: &[Message]) -> Result<usize> {
        let words = |m: &Message| m.content.split_whitespace().count();
        Ok(messages.iter().map(words).sum())
    }

    fn generate(&mut self, request: &TextRequest, observer: &mut TextObserver<'_>) -> Result<TextOutput> {
        let start = Instant::now();
        let asked = request.messages.last().map_or("", |m| m.content.trim());
        let whole = match asked.strip_prefix("rot13:") {
            Some(ciphered) => ciphered.chars().map(rot13).collect(),
            None if asked == "silence" => String::new(),
            None => asked.to_string(),
        };
        let words: Vec<&str> = whole.split_whitespace().collect();
        let said = &words[..words.len().min(request.max_new_tokens)];
        for word in said {
            observer(word)?;
        }
        Ok(TextOutput {
            text: said.join(" "),
            prompt_tokens: self.count_tokens(&request.messages)?,
            tokens_generated: said.len(),
            finish_reason: if said.len() < words.len() {
                FinishReason::Length
            } else {
                FinishReason::Stop
            },
            prefill: Duration::ZERO,
            decode: start.elapsed(),
        })
    }
}

fn rot13(c: char) -> char {
    let turn = |first: u8| char::from((c as u8 - first + 13) % 26 + first);
    match c {
        'a'..='z' => turn(b'a'),
        'A'..='Z' => turn(b'A'),
        other => other,
    }
}
