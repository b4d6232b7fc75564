//! What a job means once every value is settled.

use std::path::PathBuf;

use super::inputs::{Input, public_source};
use super::kinds::{Format, JobKind};
use super::spec::JobSpec;
use super::spec_parts::{Control, IpAdapter};
use super::turns::Turn;
use crate::prompts::PromptSyntax;
use crate::registry::ModelSpec;
use crate::schedulers::{Part, SamplerChoice, SchedulerConfig, build};

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
    Images(Box<Images>),
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
    /// What the model is given: without `<lora:…>`, with the producer's `compel_weights`.
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
    pub loras: Vec<LoraFile>,
    pub format: Format,
}

/// A LoRA that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraFile {
    /// The field that names it, or the tag in the prompt.
    pub field: String,
    pub path: PathBuf,
    pub scale: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    pub diffusion: Diffusion,
    pub prompt_syntax: PromptSyntax,
    pub strategy: Strategy,
    pub truncate_prompt: bool,
    pub deterministic: bool,
    pub sampler: SamplerChoice,
    /// How `config.image` is followed; `None`: there is none.
    pub follow: Option<Follow>,
    /// Those of the spec, and those that a reference is followed with.
    pub controls: Vec<Control>,
    pub ip_adapters: Vec<IpAdapter>,
    pub refiner: Option<ModelSpec>,
}

/// What became of a producer's wish for compel (`enhancement_strategy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// Weights were read and applied.
    Compel,
    /// compel was asked for, but the prompt misuses its operators: it is drawn without notation.
    Fallback,
    /// Nobody asked for it.
    None,
}

impl Strategy {
    /// The name in a callback.
    pub fn name(self) -> &'static str {
        match self {
            Self::Compel => "compel",
            Self::Fallback => "fallback",
            Self::None => "none",
        }
    }
}

/// What is made of `config.image`.
#[derive(Debug, Clone, PartialEq)]
pub enum Follow {
    /// It is where denoising starts.
    Start {
        /// Denoising strength.
        strength: f64,
        /// Aspect kept and centred on black, instead of stretched.
        fitted: bool,
        /// What the callback calls it.
        mode: &'static str,
    },
    /// An adapter of the model's entry reads it.
    Adapter(&'static str),
}

impl Images {
    /// Pictures from text alone, with the model's own sampler.
    pub fn plain(diffusion: Diffusion) -> Self {
        Self {
            diffusion,
            prompt_syntax: PromptSyntax::default(),
            strategy: Strategy::None,
            truncate_prompt: false,
            deterministic: false,
            sampler: SamplerChoice::default(),
            follow: None,
            controls: Vec::new(),
            ip_adapters: Vec::new(),
            refiner: None,
        }
    }

    /// Calls of the denoiser, on SDXL's own schedule where the model's is not known yet; a refiner
    /// takes its share of them.
    pub fn effective_steps(&self) -> usize {
        let part = Part {
            strength: match self.follow {
                Some(Follow::Start { strength, .. }) => Some(strength),
                _ => None,
            },
            ..Part::default()
        };
        let calls = || {
            let config = self.sampler.apply(&SchedulerConfig::sdxl()).ok()?;
            let scheduler = build::<4>(&config, self.diffusion.steps as usize).ok()?;
            Some(config.window(&*scheduler, &part).ok()?.calls.len())
        };
        calls().unwrap_or(self.diffusion.steps as usize)
    }
}

impl Follow {
    /// What the callback calls it.
    pub fn mode(&self) -> &'static str {
        match self {
            Self::Start { mode, .. } | Self::Adapter(mode) => mode,
        }
    }
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
    /// The spec with every default filled in, and without what belongs to the producer: it holds
    /// nothing of the day or the person, and can be run again.
    ///
    /// A scheduler that nobody named stays unnamed: the model's own configuration may say more than
    /// a name does, and a replay must meet the same one. The negative prompt is as the user gave it:
    /// automatic terms are added again in a replay.
    pub fn manifest_spec(&self) -> JobSpec {
        let mut config = self.spec.config.clone();
        for (_, source) in config.pictures_mut() {
            // A signed address gives away who may fetch; a picture in the spec itself is in the record
            // by its digest.
            *source = public_source(source);
        }
        JobSpec {
            id: self.spec.id.clone(),
            job_type: self.spec.job_type.clone(),
            model: self.spec.model.clone(),
            prompt: self.spec.prompt.clone(),
            enhanced_prompt: self.spec.enhanced_prompt.clone(),
            negative_prompt: self.spec.negative_prompt.clone(),
            compel_enabled: self.spec.compel_enabled,
            compel_weights: self.spec.compel_weights.clone(),
            config,
            ..JobSpec::default()
        }
    }

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
