//! Model families end to end: a request in, frames out.
//!
//! Pipelines know no jobs, queues, files or terminals. They report progress through an
//! [`Observer`], which may also stop them between two steps by returning an error.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use crate::media::frames::Frame;

mod digest;
pub mod embedded;
pub mod mock;
mod open;
pub mod qwen;
pub mod sdxl;
pub mod video;
pub mod wan;

pub use open::{
    LoadOptions, clip_token_counter, model_hash, native_size_px, open, open_text, open_video,
    takes_references, token_counter, verify, weights_bytes,
};
pub use video::{References, VideoOutput, VideoPipeline, VideoRequest};

/// What a pipeline tells while it works.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A stage begins: `load`, `encode`, `denoise`, `decode`.
    Stage(&'static str),
    /// `done` of `total` denoising steps are finished.
    Step { done: usize, total: usize },
}

/// Receives events; an error returned from it stops the work between two steps.
pub type Observer<'a> = dyn FnMut(Event) -> Result<()> + 'a;

/// Text to image, in the field's words.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRequest {
    pub prompt: String,
    /// `None`: zero embeddings where the model asks for them; `Some("")` is encoded.
    pub negative_prompt: Option<String>,
    /// One image per seed, each from its own generator.
    pub seeds: Vec<u64>,
    pub num_inference_steps: usize,
    /// Classifier-free guidance runs when above 1.
    pub guidance_scale: f64,
    pub width_px: usize,
    pub height_px: usize,
    /// A scheduler name such as `dpmpp-2m-karras`; `None` keeps the model's own configuration.
    pub scheduler: Option<String>,
    /// Cut prompts at 77 tokens, as diffusers does, instead of encoding them in chunks.
    pub truncate_prompt: bool,
    /// Compute the images one by one, so that they do not depend on the batch.
    pub deterministic: bool,
}

/// What came out, and how.
#[derive(Debug, Clone)]
pub struct ImageOutput {
    /// One frame per seed, in the order of the seeds.
    pub frames: Vec<Frame>,
    /// Wall time by stage.
    pub timings: BTreeMap<&'static str, Duration>,
    /// The scheduler that ran, by our name.
    pub scheduler: String,
    /// How many times the denoiser's schedule was advanced; heun counts two per step but the last.
    pub effective_steps: usize,
    /// Tokens of the prompt in each chunk, without the begin and end marks, per text encoder.
    pub prompt_tokens: Vec<Vec<usize>>,
    /// Things the user should know, for `metadata.notes`.
    pub notes: Vec<String>,
}

/// A loaded model that turns requests into images.
pub trait ImagePipeline {
    /// # Errors
    /// An impossible request (`InvalidSpec`), unusable output (`BadOutput`), a device fault, or
    /// whatever the observer returned.
    fn text_to_image(&mut self, request: &ImageRequest, observer: &mut Observer<'_>) -> Result<ImageOutput>;
}
