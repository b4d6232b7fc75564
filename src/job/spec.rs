//! What was asked for, in one canonical form whatever aliases were used.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::spec_parts::{Control, FreeU, Hires, IpAdapter, LoraSpec, Refiner, Tiling};
use super::turns::Turn;
use crate::prompts::tags::take_loras;

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
    pub vae_tiling: Option<Tiling>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_2: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_prompt_2: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask_image: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_paste: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance_rescale: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cfg_interval: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guided_steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_skip: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timesteps: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigmas: Option<Vec<f64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prediction_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rescale_betas_zero_snr: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestep_spacing: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_size: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crops_coords_top_left: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_size: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_original_size: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_crops_coords_top_left: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_target_size: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aesthetic_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_aesthetic_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denoising_start: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denoising_end: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeu: Option<FreeU>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vae: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub controls: Vec<Control>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub control_preprocess: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ip_adapters: Vec<IpAdapter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refiner: Option<Refiner>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hires: Option<Hires>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact_copy_mode: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_mode: Option<String>,
    /// LoRAs; those in the prompt come on top.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraSpec>,
    /// `a1111`, `comfy`, `compel` or `plain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_syntax: Option<String>,
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

    /// Jobs of one value have the same weights in memory, LoRAs included; a queue runs them together.
    pub fn affinity(&self, model: &str) -> String {
        let named = self.config.loras.iter();
        let named = named.map(|lora| (lora.file.as_str(), lora.scale));
        // A prompt whose tags are broken is refused when its turn comes.
        let tagged = take_loras(self.prompt.as_deref().unwrap_or_default()).unwrap_or_default();
        let tags = tagged.loras.iter().map(|lora| (lora.name.as_str(), lora.scale));
        let mut text = model.to_string();
        for (name, scale) in named.chain(tags) {
            text.push_str(&format!("+{name}:{scale}"));
        }
        text
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
