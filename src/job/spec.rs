//! What was asked for, in one canonical form whatever aliases were used.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::parse::messages::Turn;

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
