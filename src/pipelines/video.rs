//! What a pipeline that makes videos takes and gives.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;

use super::loras::Lora;
use super::observer::Observer;
use crate::media::frames::Frame;

/// Text, and with some models reference pictures, to one video.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoRequest {
    pub prompt: String,
    /// `None` is encoded as the empty text.
    pub negative_prompt: Option<String>,
    pub seed: u64,
    /// 4n+1; 1 makes a picture.
    pub num_frames: usize,
    pub num_inference_steps: usize,
    /// Classifier-free guidance runs when above 1.
    pub guidance_scale: f64,
    pub width_px: usize,
    pub height_px: usize,
    /// A scheduler name such as `flow-unipc`; `None` keeps the model's own configuration.
    pub scheduler: Option<String>,
    /// Replaces the shift of the noise levels in the model's scheduler configuration.
    pub flow_shift: Option<f64>,
    pub references: References,
    /// Adapters of the denoiser.
    pub loras: Vec<Lora>,
    /// Decode in overlapping tiles: less memory, slightly other colours.
    pub vae_tiling: bool,
}

/// Pictures that the video follows, each of exactly the video's size.
#[derive(Debug, Clone, PartialEq)]
pub struct References {
    /// Becomes the first frame.
    pub first_frame: Option<Frame>,
    /// Becomes the last frame.
    pub last_frame: Option<Frame>,
    /// What the video shows, as no frame of its own.
    pub subject: Option<Frame>,
    /// How strongly the model follows them: VACE's conditioning scale, 1.0 as trained.
    pub scale: f64,
}

impl Default for References {
    fn default() -> Self {
        Self {
            first_frame: None,
            last_frame: None,
            subject: None,
            scale: 1.0,
        }
    }
}

impl References {
    /// Every picture that is there, under its field's name.
    pub fn pictures(&self) -> impl Iterator<Item = (&'static str, &Frame)> {
        [
            ("first_frame", &self.first_frame),
            ("last_frame", &self.last_frame),
            ("image", &self.subject),
        ]
        .into_iter()
        .filter_map(|(field, picture)| Some((field, picture.as_ref()?)))
    }
}

/// What came out, and how.
#[derive(Debug, Clone)]
pub struct VideoOutput {
    /// `num_frames` of them, in order.
    pub frames: Vec<Frame>,
    /// Wall time by stage.
    pub timings: BTreeMap<&'static str, Duration>,
    /// The scheduler that ran, by our name.
    pub scheduler: String,
    /// How many times the transformer's schedule was advanced.
    pub effective_steps: usize,
    /// Tokens of the prompt, with the end mark.
    pub prompt_tokens: usize,
    /// Things the user should know, for `metadata.notes`.
    pub notes: Vec<String>,
}

/// A model that turns requests into videos.
pub trait VideoPipeline {
    /// True when the model can follow reference pictures.
    fn takes_references(&self) -> bool;

    /// # Errors
    /// An impossible request (`InvalidSpec`), unusable output (`BadOutput`), a device fault, or
    /// whatever the observer returned.
    fn text_to_video(&mut self, request: &VideoRequest, observer: &mut Observer<'_>) -> Result<VideoOutput>;
}
