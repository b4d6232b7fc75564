//! Model families end to end: a request in, frames out.
//!
//! Pipelines know no jobs, queues, files or terminals. They report progress through an
//! [`Observer`], which may also stop them between two steps by returning an error.

mod digest;
pub mod embedded;
pub mod image;
mod load;
pub mod loras;
pub mod mock;
mod observer;
mod open;
pub mod qwen;
pub mod sdxl;
mod timings;
pub mod video;
pub mod wan;

pub use crate::nn::attention::kernels_used as attention_used;
pub use image::{ImageOutput, ImagePipeline, ImageRequest};
pub use load::{LoadOptions, Residency};
pub use loras::Lora;
pub use observer::{Event, Observer};
pub use open::{
    clip_token_counter, model_hash, native_size_px, open, open_text, open_video, takes_references,
    token_counter, verify, weights_bytes, weights_hash,
};
pub use video::{References, VideoOutput, VideoPipeline, VideoRequest};
