//! Model families end to end: a request in, frames out.
//!
//! Pipelines know no jobs, queues, files or terminals. They report progress through an
//! [`Observer`], which may also stop them between two steps by returning an error.

use anyhow::Result;

mod digest;
pub mod embedded;
pub mod image;
pub mod loras;
pub mod mock;
mod open;
pub mod qwen;
pub mod sdxl;
pub mod video;
pub mod wan;

pub use image::{ImageOutput, ImagePipeline, ImageRequest};
pub use loras::Lora;
pub use open::{
    LoadOptions, clip_token_counter, model_hash, native_size_px, open, open_text, open_video,
    takes_references, token_counter, verify, weights_bytes, weights_hash,
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
