//! What is asked of a model that makes pictures, in diffusers' words, and what it answers.
//!
//! The defaults are diffusers'; job types and presets put their own on top.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::loras::Lora;
use super::observer::Observer;
use crate::media::frames::Frame;
use crate::prompts::PromptSyntax;
use crate::registry::ModelSpec;
use crate::schedulers::SamplerChoice;

/// One picture or a batch, from text and whatever else is given.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRequest {
    pub prompt: String,
    /// For the second text encoder; `None`: the same as the first.
    pub prompt_2: Option<String>,
    /// `None`: zero embeddings where the model asks for them; `Some("")` is encoded.
    pub negative_prompt: Option<String>,
    pub negative_prompt_2: Option<String>,
    /// How brackets and weights in the prompts are read.
    pub prompt_syntax: PromptSyntax,
    /// Cut prompts at 77 tokens, as diffusers does, instead of encoding them in chunks.
    pub truncate_prompt: bool,
    /// Layers of the text encoders skipped besides the last one; leaves negative prompts alone.
    pub clip_skip: Option<usize>,
    /// One image per seed, each from its own generator.
    pub seeds: Vec<u64>,
    pub num_inference_steps: usize,
    /// Classifier-free guidance runs when above 1.
    pub guidance_scale: f64,
    /// How far the guided prediction is brought back to the deviation of the conditional one, 0 to 1.
    pub guidance_rescale: f64,
    /// Guidance runs only in the part of the schedule between these fractions.
    pub cfg_interval: Option<(f64, f64)>,
    /// Guidance runs only in so many steps from the first one done.
    pub guided_steps: Option<usize>,
    pub width_px: usize,
    pub height_px: usize,
    /// A scheduler name such as `dpmpp-2m-karras`; `None` keeps the model's own configuration.
    pub scheduler: Option<String>,
    /// Everything else about the sampler; its `name` is `scheduler`'s.
    pub sampling: SamplerChoice,
    pub sizes: MicroConditioning,
    /// The picture to start from.
    pub init: Option<InitImage>,
    /// The fraction of the schedule at which work begins: `init` already has that much noise.
    pub denoising_start: Option<f64>,
    /// The fraction of the schedule at which work ends, with noise left.
    pub denoising_end: Option<f64>,
    pub controls: Vec<Control>,
    pub ip_adapters: Vec<IpAdapter>,
    pub loras: Vec<Lora>,
    pub refiner: Option<Refiner>,
    pub hires: Option<Hires>,
    pub freeu: Option<FreeU>,
    pub vae_tiling: Option<VaeTiling>,
    /// An autoencoder in place of the model's own: a folder or a file.
    pub vae: Option<PathBuf>,
    /// Compute the images one by one, so that they do not depend on the batch.
    pub deterministic: bool,
}

impl Default for ImageRequest {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            prompt_2: None,
            negative_prompt: None,
            negative_prompt_2: None,
            prompt_syntax: PromptSyntax::Plain,
            truncate_prompt: false,
            clip_skip: None,
            seeds: vec![0],
            num_inference_steps: 50,
            guidance_scale: 5.0,
            guidance_rescale: 0.0,
            cfg_interval: None,
            guided_steps: None,
            width_px: 1024,
            height_px: 1024,
            scheduler: None,
            sampling: SamplerChoice::default(),
            sizes: MicroConditioning::default(),
            init: None,
            denoising_start: None,
            denoising_end: None,
            controls: Vec::new(),
            ip_adapters: Vec::new(),
            loras: Vec::new(),
            refiner: None,
            hires: None,
            freeu: None,
            vae_tiling: None,
            vae: None,
            deterministic: false,
        }
    }
}

/// Sizes that SDXL was told of each training picture (Podell et al. 2023, 2.2), `[height, width]`
/// in pixels; `None`: the size of the output.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct MicroConditioning {
    pub original_size: Option<[usize; 2]>,
    /// `[top, left]`
    pub crops_coords_top_left: [usize; 2],
    pub target_size: Option<[usize; 2]>,
    pub negative_original_size: Option<[usize; 2]>,
    pub negative_crops_coords_top_left: [usize; 2],
    pub negative_target_size: Option<[usize; 2]>,
    /// Read by refiners only; `None`: 6.0.
    pub aesthetic_score: Option<f64>,
    /// Read by refiners only; `None`: 2.5.
    pub negative_aesthetic_score: Option<f64>,
}

/// Image-to-image, and with a mask inpainting.
#[derive(Debug, Clone, PartialEq)]
pub struct InitImage {
    /// Resized to the output's size where it has another.
    pub picture: Arc<Frame>,
    /// Share of the schedule that runs, from its end; 0 to 1, at least one step runs.
    pub strength: f64,
    pub mask: Option<Mask>,
}

/// What of the picture is painted anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    /// White is repainted, from one half of white on.
    pub picture: Arc<Frame>,
    /// Put the kept pixels of the picture back into the result.
    pub paste_back: bool,
}

/// One ControlNet with its picture (Zhang et al. 2023).
#[derive(Debug, Clone, PartialEq)]
pub struct Control {
    /// A diffusers folder or one file.
    pub model: PathBuf,
    /// Edges, depth or whatever the net was trained on; resized to the output's size.
    pub picture: Arc<Frame>,
    pub scale: f64,
    /// The part of the schedule in which it works, as fractions.
    pub start: f64,
    pub end: f64,
    /// Runs on the conditional half only, with residuals that grow from a tenth to the whole.
    pub guess_mode: bool,
}

/// One IP-Adapter with its pictures (Ye et al. 2023).
#[derive(Debug, Clone, PartialEq)]
pub struct IpAdapter {
    pub file: PathBuf,
    /// The folder of the CLIP vision model.
    pub image_encoder: PathBuf,
    pub pictures: Vec<Arc<Frame>>,
    pub scale: IpAdapterScale,
}

/// How strongly an IP-Adapter works, and where.
#[derive(Debug, Clone, PartialEq)]
pub enum IpAdapterScale {
    All(f64),
    /// Block number → one scale an attention layer of the block; what is not named gets 0.
    Blocks {
        down: BTreeMap<usize, Vec<f64>>,
        mid: Vec<f64>,
        up: BTreeMap<usize, Vec<f64>>,
    },
}

impl IpAdapterScale {
    /// Colours and texture: the middle attention of the first up block (InstantStyle, Wang et al. 2024).
    pub fn style(scale: f64) -> Self {
        Self::Blocks {
            down: BTreeMap::new(),
            mid: Vec::new(),
            up: BTreeMap::from([(0, vec![0.0, scale, 0.0])]),
        }
    }

    /// Arrangement: the last attention of the last down block.
    pub fn layout(scale: f64) -> Self {
        Self::Blocks {
            down: BTreeMap::from([(2, vec![0.0, scale])]),
            mid: Vec::new(),
            up: BTreeMap::new(),
        }
    }
}

/// A second denoiser for the last part of the schedule.
#[derive(Debug, Clone, PartialEq)]
pub struct Refiner {
    pub model: ModelSpec,
    /// The fraction of the schedule at which it takes over.
    pub start: f64,
}

/// Render small, enlarge, refine with image-to-image.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hires {
    /// Sides of the result over sides of the first rendering.
    pub scale: f64,
    /// Denoising strength of the second pass.
    pub strength: f64,
}

/// FreeU (Si et al. 2023): scales of the skips (`s`) and of the backbone (`b`) in the first two up
/// blocks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FreeU {
    pub s1: f64,
    pub s2: f64,
    pub b1: f64,
    pub b2: f64,
}

/// Encode and decode in tiles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VaeTiling {
    /// Side of a tile in pixels; `None`: the size the autoencoder was made for.
    pub tile_px: Option<usize>,
    /// Share of a tile that its neighbour covers too.
    pub overlap: f64,
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
