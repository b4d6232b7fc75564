//! Job specs: what producers send, and what a job means once every value is settled.
//!
//! [`JobSpec`] is what somebody asked for, in one canonical form whatever aliases were used;
//! [`Job`] is the same with every default filled in and every value checked. This is the
//! only place that knows YAML.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::registry::ModelSpec;

mod fields;
mod inputs;
pub mod kinds;
mod messages;
pub mod negatives;
mod node;
mod options;
mod origin;
mod parse;
mod resolve;
mod resolve_text;
mod resolve_video;

pub use fields::is_id;
pub use inputs::{Addresses, Fetched, Input, Local, references, scheme};
pub use kinds::{Family, Format, JobKind, Output};
pub use messages::{LONGEST_TURN_CHARS, MOST_TURNS, Speaker, Turn};
pub use origin::{Origin, Trust};
pub use parse::{MAX_SPEC_BYTES, labels, parse};
pub use resolve::{CountTokens, Request, job_kind, resolve};

/// A job as asked for. `None` means: not said, use the default.
///
/// Its JSON form is itself a valid spec; the manifest stores it and `generate --from` reads it back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The type as the producer spelled it (`wan_video_fast` stays `wan_video_fast`).
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub job_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// What a language model made of `prompt`: with it an enhanced job asks none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enhanced_prompt: Option<String>,
    /// A conversation, oldest turn first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Turn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compel_enabled: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compel_weights: Option<String>,
    #[serde(skip_serializing_if = "Options::is_empty")]
    pub config: Options,
    /// Producer fields that are carried through to the callback untouched (session ids and the like).
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub metadata: serde_json::Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// What the parser wants the user to know (aliases that disagreed, corrected frame counts).
    #[serde(skip)]
    pub notes: Vec<String>,
    /// Unknown fields of a queue item, kept and listed in the callback.
    #[serde(skip)]
    pub ignored: Vec<String>,
}

/// The `config` part of a spec: everything that decides the picture.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_images: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance_scale: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_negative: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncate_prompt: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deterministic: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow_shift: Option<f64>,
    /// Decode in tiles: less memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae_tiling: Option<bool>,
    /// `png`, `mp4`, `webm`, `gif` or `png-frames`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_frame: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_frame: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_strength: Option<f64>,
    /// Denoising strength as in diffusers; the complement of `reference_strength`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub lora: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repetition_penalty: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// The job type that a prompt is enhanced for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enhance_for: Option<String>,
    /// Names `enhancement_source` as older producers do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub legacy_names: Option<bool>,
}

impl JobSpec {
    /// SHA-256 over everything that was asked, in hexadecimal: two specs with one digest ask for the
    /// same job.
    pub fn digest(&self) -> String {
        let text = serde_json::to_vec(self).expect("a spec is plain JSON");
        crate::files::sha256_hex(&text)
    }
}

impl Options {
    /// True when nothing was said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A golden test: the picture the output must match.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub image: PathBuf,
    /// Peak signal-to-noise ratio in decibels below which the job fails.
    pub min_psnr: f64,
}

/// A job with every value settled and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    pub id: String,
    /// The type as given, for the callback.
    pub type_name: String,
    pub kind: &'static JobKind,
    /// `None` for types without one.
    pub model: Option<ModelSpec>,
    /// One per output, `seed + i`; empty for types that draw nothing.
    pub seeds: Vec<u64>,
    /// True when nobody named a seed and one was drawn.
    pub seed_drawn: bool,
    pub notes: Vec<String>,
    pub ignored: Vec<String>,
    /// Digest of what was asked ([`JobSpec::digest`]): the same job has the same.
    pub spec_sha256: String,
    /// The spec it came from, canonical; replaying it gives this job again.
    pub spec: JobSpec,
    pub work: Work,
    /// What it reads when it runs.
    pub inputs: Vec<Input>,
    /// Where a golden test shows what differs; `None`: beside the outputs.
    pub difference: Option<PathBuf>,
}

/// What is to be done, by kind of work.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// Pictures with SDXL, one per seed.
    Images(Images),
    /// A video with WAN, or pictures of one frame each, one per seed.
    Video(Video),
    /// The same from a prompt that a language model enhances first.
    EnhancedVideo(Box<Enhancing>, Video),
    /// A better prompt.
    Enhance(Enhancing),
    /// An answer in a conversation.
    Chat(Chat),
    /// What this installation has and holds, in numbers.
    Admin,
}

/// A prompt on its way to a better one.
#[derive(Debug, Clone, PartialEq)]
pub struct Enhancing {
    pub prompt: String,
    /// The job type that it is for.
    pub target: String,
    /// `manual`, `cinematic` or `custom`.
    pub style: String,
    pub answering: Answering,
    /// The language model's registry name; `None` when none is routed.
    pub model: Option<String>,
    /// The better prompt, when the spec has it.
    pub known: Option<String>,
    pub legacy_names: bool,
}

/// A conversation that waits for its answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Chat {
    /// Oldest first; the newest is the user's.
    pub turns: Vec<Turn>,
    pub answering: Answering,
    pub unrestricted: bool,
}

/// How a language model answers. `None`: as it does by default.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answering {
    pub temperature: Option<f64>,
    pub top_p: Option<f64>,
    pub top_k: Option<u32>,
    pub repetition_penalty: Option<f64>,
    pub max_tokens: Option<u32>,
    pub system_prompt: Option<String>,
}

/// What every job that denoises has.
#[derive(Debug, Clone, PartialEq)]
pub struct Diffusion {
    pub prompt: String,
    /// What the model is given: automatic negatives, then the user's. `None`: nothing at all.
    pub negative_prompt: Option<String>,
    pub auto_negative: bool,
    pub steps: u32,
    pub guidance_scale: f64,
    pub width: u32,
    pub height: u32,
    /// `None`: the model's own scheduler configuration.
    pub scheduler: Option<String>,
    pub format: Format,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    pub diffusion: Diffusion,
    pub truncate_prompt: bool,
    pub deterministic: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    pub diffusion: Diffusion,
    /// 4n+1; 1 for pictures.
    pub frames: u32,
    /// Frames a second of the video.
    pub fps: f64,
    /// `None`: as the model's scheduler configuration says.
    pub flow_shift: Option<f64>,
    pub vae_tiling: bool,
    pub references: References,
}

/// Where the pictures are that a video follows, as the spec names them.
#[derive(Debug, Clone, PartialEq)]
pub struct References {
    pub first_frame: Option<String>,
    pub last_frame: Option<String>,
    /// What the video shows, as no frame of its own.
    pub image: Option<String>,
    /// VACE's conditioning scale.
    pub strength: f64,
}

impl References {
    /// Which of the five modes this is: `none`, `single`, `start`, `end` or `both`; a subject beside
    /// frames is named first, as in `single+both`.
    pub fn mode(&self) -> &'static str {
        let frames = (self.first_frame.is_some(), self.last_frame.is_some());
        match (self.image.is_some(), frames) {
            (false, (false, false)) => "none",
            (false, (true, false)) => "start",
            (false, (false, true)) => "end",
            (false, (true, true)) => "both",
            (true, (false, false)) => "single",
            (true, (true, false)) => "single+start",
            (true, (false, true)) => "single+end",
            (true, (true, true)) => "single+both",
        }
    }

    pub fn is_empty(&self) -> bool {
        self.mode() == "none"
    }
}

impl Job {
    /// Takes a seed that was drawn for this job earlier in place of the one drawn now.
    pub fn take_drawn_seed(&mut self, first: u64) {
        if self.seed_drawn {
            self.seeds = (first..).take(self.seeds.len()).collect();
            self.spec.config.seed = Some(first);
        }
    }

    /// What messages and results call the model.
    pub fn model_name(&self) -> Option<&str> {
        self.model.as_ref().map(|model| model.name.as_str())
    }

    /// The file that a field of the spec names.
    pub fn input(&self, field: &str) -> Option<&Input> {
        self.inputs.iter().find(|input| input.field == field)
    }

    /// The part that every job that denoises has.
    pub fn diffusion(&self) -> Option<&Diffusion> {
        match &self.work {
            Work::Images(images) => Some(&images.diffusion),
            Work::Video(video) | Work::EnhancedVideo(_, video) => Some(&video.diffusion),
            Work::Enhance(_) | Work::Chat(_) | Work::Admin => None,
        }
    }

    /// The part that every WAN job has.
    pub fn video(&self) -> Option<&Video> {
        match &self.work {
            Work::Video(video) | Work::EnhancedVideo(_, video) => Some(video),
            _ => None,
        }
    }
}
