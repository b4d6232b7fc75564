//! The table of spec fields: names, aliases, where they may stand, what they may hold, which job
//! types take them. The parser, the resolver, the command line and the JSON Schema read it; a new
//! option is a row here, a member of [`super::Options`], and what the resolver makes of it.

use serde_json::Value as Json;

use super::content::{Content, Key};
use super::kinds::{ENHANCE, Family, JobKind, Output};
use crate::limits;

/// Where the canonical form of a spec keeps a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    Top,
    Config,
    Metadata,
}

/// Whether a job type takes a field with this value; what it does not take is an error.
type Takes = fn(&JobKind, &Json) -> bool;

/// One field under its canonical name.
#[derive(Debug)]
pub struct Field {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub home: Home,
    /// May also stand in `config`, in `metadata` and at the top level, whatever its home.
    pub anywhere: bool,
    pub content: Content,
    pub takes: Takes,
    /// In a few words, for the JSON Schema.
    pub about: &'static str,
}

const fn top(
    name: &'static str,
    aliases: &'static [&'static str],
    content: Content,
    takes: Takes,
    about: &'static str,
) -> Field {
    Field {
        name,
        aliases,
        home: Home::Top,
        anywhere: false,
        content,
        takes,
        about,
    }
}

const fn option(
    name: &'static str,
    aliases: &'static [&'static str],
    content: Content,
    takes: Takes,
    about: &'static str,
) -> Field {
    anywhere(Home::Config, name, aliases, content, takes, about)
}

const fn anywhere(
    home: Home,
    name: &'static str,
    aliases: &'static [&'static str],
    content: Content,
    takes: Takes,
    about: &'static str,
) -> Field {
    Field {
        name,
        aliases,
        home,
        anywhere: true,
        content,
        takes,
        about,
    }
}

const ALL: Takes = |_, _| true;
/// Types with a model.
const MODEL: Takes = |kind, _| kind.family != Family::None;
const DRAWS: Takes = |kind, _| kind.draws();
const SDXL: Takes = |kind, _| kind.family == Family::Sdxl;
const WAN: Takes = |kind, _| kind.family == Family::Wan;
const VIDEO: Takes = |kind, _| kind.output == Output::Mp4;
/// Types that ask a language model.
const ANSWERS: Takes = |kind, _| kind.family == Family::Qwen || kind.enhanced;
const ENHANCES: Takes = |kind, _| kind.enhances();
/// A video is one; pictures are as many as one likes.
const SEVERAL: Takes = |kind, value| kind.draws() && (kind.output != Output::Mp4 || *value == 1);
/// A picture of WAN is a video of one frame.
const FRAMES: Takes = |kind, value| kind.output == Output::Mp4 || (kind.family == Family::Wan && *value == 1);
/// Off is as good as not said, as producers say it.
const SDXL_IF_ON: Takes = |kind, value| kind.family == Family::Sdxl || *value == false;
const SDXL_IF_SAID: Takes = |kind, value| {
    let is_blank = value.as_str().is_some_and(|text| text.trim().is_empty());
    kind.family == Family::Sdxl || is_blank
};

const SDXL_OR_MODIFY: Takes = |kind, value| kind.family == Family::Sdxl || *value == "modify";
/// WAN's tiles have one size.
const TILES: Takes = |kind, value| kind.draws() && (kind.family == Family::Sdxl || value.is_boolean());

const SHARE: Content = Content::real(&limits::SHARE);
const SCALE: Content = Content::real(&limits::ADAPTER_SCALE);
const TOLD_PX: Content = Content::whole(&limits::TOLD_PX);
/// `[height, width]`, as in diffusers.
const PAIR: Content = Content::Tuple(&TOLD_PX, 2);

const fn key(name: &'static str, content: Content) -> Key {
    Key {
        name,
        content,
        needed: false,
    }
}

const fn needed(name: &'static str, content: Content) -> Key {
    Key {
        name,
        content,
        needed: true,
    }
}

const CONTROL: Content = Content::Map(&[
    needed("model", TEXT),
    needed("image", TEXT),
    key("scale", SCALE),
    key("start", SHARE),
    key("end", SHARE),
    key("guess_mode", Content::Bool),
    key("preprocess", PREPROCESS),
]);

const PREPROCESS: Content = Content::Choice(&["none", "canny"]);

/// One scale an attention layer of the block, or one for all of them.
const LAYERS: Content = Content::List(&SCALE);

const BLOCKS: Content = Content::Map(&[
    key("block_0", LAYERS),
    key("block_1", LAYERS),
    key("block_2", LAYERS),
    key("block_3", LAYERS),
]);

const IP_ADAPTER: Content = Content::Map(&[
    needed("file", TEXT),
    needed("image_encoder", TEXT),
    needed("image", Content::List(&TEXT)),
    key(
        "scale",
        Content::Either(&[
            SCALE,
            Content::Map(&[key("down", BLOCKS), key("mid", LAYERS), key("up", BLOCKS)]),
        ]),
    ),
]);

const FREEU_FACTOR: Content = Content::real(&limits::FREEU);

const FREEU: Content = Content::Map(&[
    needed("s1", FREEU_FACTOR),
    needed("s2", FREEU_FACTOR),
    needed("b1", FREEU_FACTOR),
    needed("b2", FREEU_FACTOR),
]);

const VAE_TILING: Content = Content::Either(&[
    Content::Bool,
    Content::Map(&[
        key("tile", Content::whole(&limits::TILE_PX)),
        key("overlap", Content::real(&limits::OVERLAP)),
    ]),
]);

const REFINER: Content = Content::Map(&[
    needed("model", TEXT),
    key("start", Content::real(&limits::REFINER_START)),
]);

const HIRES: Content = Content::Map(&[
    needed("scale", Content::real(&limits::HIRES_SCALE)),
    key("strength", SHARE),
]);

const TIMESTEP: Content = Content::real(&limits::TIMESTEP);
const SIGMA: Content = Content::real(&limits::SIGMA);
const SIDE: Content = Content::multiple(&limits::SIDE_PX, limits::SIDE_MULTIPLE);
const TEXT: Content = Content::Text;

/// `config`, `metadata` and `expect` hold fields and are none themselves.
pub static FIELDS: &[Field] = &[
    top(
        "id",
        &["job_id", "jobId"],
        Content::Id,
        ALL,
        "Made if it is left out",
    ),
    top(
        "type",
        &["job_type", "jobType"],
        TEXT,
        ALL,
        "Job type; by the model if it is left out",
    ),
    anywhere(
        Home::Top,
        "model",
        &[],
        TEXT,
        MODEL,
        "A name from models.toml, or a path",
    ),
    top(
        "prompt",
        &[],
        TEXT,
        MODEL,
        "What is to be drawn, enhanced or answered",
    ),
    top(
        "enhanced_prompt",
        &[],
        TEXT,
        |kind, _| kind.enhanced,
        "What a language model made of the prompt earlier",
    ),
    anywhere(
        Home::Top,
        "messages",
        &[],
        Content::Messages,
        |kind, _| kind.converses(),
        "A conversation, oldest turn first",
    ),
    anywhere(
        Home::Top,
        "negative_prompt",
        &[],
        TEXT,
        DRAWS,
        "What is not to be drawn",
    ),
    top("user_id", &["userId"], Content::Id, ALL, "Whose job it is"),
    anywhere(
        Home::Top,
        "compel_enabled",
        &[],
        Content::Bool,
        SDXL_IF_ON,
        "Reads the prompt in Compel's notation",
    ),
    anywhere(
        Home::Top,
        "compel_weights",
        &[],
        TEXT,
        SDXL_IF_SAID,
        "Weighted terms that join the prompt",
    ),
    top(
        "callback_url",
        &[],
        TEXT,
        ALL,
        "Who is told what became of the job",
    ),
    option(
        "num_images",
        &[],
        Content::whole(&limits::IMAGES),
        SEVERAL,
        "Images to make; 1, 3 or 6 in a queue",
    ),
    option(
        "seed",
        &[],
        Content::whole(&limits::SEED),
        MODEL,
        "Of the first image; drawn if it is left out",
    ),
    option(
        "steps",
        &["num_inference_steps", "sample_steps"],
        Content::whole(&limits::STEPS),
        DRAWS,
        "Denoising steps",
    ),
    option(
        "guidance_scale",
        &["cfg_scale", "sample_guide_scale"],
        Content::real(&limits::GUIDANCE_SCALE),
        DRAWS,
        "How closely the prompt is followed",
    ),
    option("width", &[], SIDE, DRAWS, "Pixels"),
    option("height", &[], SIDE, DRAWS, "Pixels"),
    option(
        "scheduler",
        &["sampler_name", "sampler"],
        TEXT,
        DRAWS,
        "Sampling method",
    ),
    option(
        "auto_negative",
        &[],
        Content::Bool,
        DRAWS,
        "Puts automatic terms before the negative prompt",
    ),
    option(
        "truncate_prompt",
        &[],
        Content::Bool,
        SDXL_IF_ON,
        "Cuts prompts at 77 tokens, as diffusers does",
    ),
    option(
        "deterministic",
        &[],
        Content::Bool,
        DRAWS,
        "Computes images one by one",
    ),
    option(
        "frames",
        &["frame_num", "num_frames"],
        Content::whole(&limits::FRAMES),
        FRAMES,
        "Frames of a video, 4n+1",
    ),
    option("fps", &[], Content::real(&limits::FPS), VIDEO, "Frames a second"),
    option(
        "flow_shift",
        &["sample_shift"],
        Content::Above {
            min: 0.0,
            max: limits::MOST_FLOW_SHIFT,
        },
        WAN,
        "Shift of the noise levels",
    ),
    option(
        "vae_tiling",
        &[],
        VAE_TILING,
        TILES,
        "Encodes and decodes in tiles: less memory",
    ),
    option("format", &[], TEXT, DRAWS, "png, mp4, webm, gif or png-frames"),
    option(
        "image",
        &["reference_image_url", "referenceImageUrl"],
        TEXT,
        DRAWS,
        "A picture that is followed: a path or an address",
    ),
    option(
        "first_frame",
        &[
            "start_reference_url",
            "start_reference_image_url",
            "startReferenceImageUrl",
        ],
        TEXT,
        VIDEO,
        "The picture that a video begins with",
    ),
    option(
        "last_frame",
        &[
            "end_reference_url",
            "end_reference_image_url",
            "endReferenceImageUrl",
        ],
        TEXT,
        VIDEO,
        "The picture that a video ends with",
    ),
    option(
        "reference_type",
        &[],
        TEXT,
        SDXL,
        "What of the picture is followed",
    ),
    option(
        "reference_strength",
        &[],
        Content::real(&limits::SHARE),
        DRAWS,
        "How closely it is followed",
    ),
    option(
        "strength",
        &[],
        Content::real(&limits::SHARE),
        SDXL,
        "Denoising strength, as in diffusers",
    ),
    option(
        "prompt_2",
        &[],
        TEXT,
        SDXL,
        "The prompt of the second text encoder",
    ),
    option(
        "negative_prompt_2",
        &[],
        TEXT,
        SDXL,
        "The negative prompt of the second text encoder",
    ),
    option(
        "mask_image",
        &[],
        TEXT,
        SDXL,
        "What of the picture is painted anew: white",
    ),
    option(
        "no_paste",
        &[],
        Content::Bool,
        SDXL,
        "Leaves the kept part as the model made it",
    ),
    option(
        "guidance_rescale",
        &[],
        SHARE,
        SDXL,
        "How far guidance is brought back to the deviation of the prediction",
    ),
    option(
        "cfg_interval",
        &[],
        Content::Tuple(&SHARE, 2),
        SDXL,
        "The part of the schedule that has guidance",
    ),
    option(
        "guided_steps",
        &[],
        Content::whole(&limits::STEPS),
        SDXL,
        "Steps with guidance, from the first one",
    ),
    option(
        "clip_skip",
        &[],
        Content::whole(&limits::CLIP_SKIP),
        SDXL,
        "Layers of the text encoders that are skipped besides the last",
    ),
    option(
        "schedule",
        &[],
        TEXT,
        SDXL,
        "How noise levels are spread, such as karras",
    ),
    option(
        "preset",
        &[],
        TEXT,
        SDXL,
        "Sampler, steps and guidance of a distilled model",
    ),
    option("eta", &[], SHARE, SDXL, "Share of fresh noise in each step"),
    option(
        "timesteps",
        &[],
        Content::List(&TIMESTEP),
        SDXL,
        "Timesteps to visit",
    ),
    option(
        "sigmas",
        &[],
        Content::List(&SIGMA),
        SDXL,
        "Noise levels to visit",
    ),
    option(
        "prediction_type",
        &[],
        Content::Choice(&["epsilon", "v_prediction", "sample"]),
        SDXL,
        "What the denoiser predicts",
    ),
    option(
        "rescale_betas_zero_snr",
        &[],
        Content::Bool,
        SDXL,
        "For models trained on pure noise as well",
    ),
    option(
        "timestep_spacing",
        &[],
        Content::Choice(&["leading", "trailing", "linspace"]),
        SDXL,
        "How timesteps are spread",
    ),
    option(
        "original_size",
        &[],
        PAIR,
        SDXL,
        "Size that the picture is said to have had: [height, width]",
    ),
    option(
        "crops_coords_top_left",
        &[],
        PAIR,
        SDXL,
        "Where it is said to have been cut: [top, left]",
    ),
    option(
        "target_size",
        &[],
        PAIR,
        SDXL,
        "Size that it is said to have: [height, width]",
    ),
    option(
        "negative_original_size",
        &[],
        PAIR,
        SDXL,
        "The same for the negative prompt",
    ),
    option(
        "negative_crops_coords_top_left",
        &[],
        PAIR,
        SDXL,
        "The same for the negative prompt",
    ),
    option(
        "negative_target_size",
        &[],
        PAIR,
        SDXL,
        "The same for the negative prompt",
    ),
    option(
        "aesthetic_score",
        &[],
        Content::real(&limits::AESTHETIC_SCORE),
        SDXL,
        "What refiners are told; 6 without it",
    ),
    option(
        "negative_aesthetic_score",
        &[],
        Content::real(&limits::AESTHETIC_SCORE),
        SDXL,
        "The same for the negative prompt; 2.5 without it",
    ),
    option(
        "denoising_start",
        &[],
        SHARE,
        SDXL,
        "The share of the schedule that the picture has behind it",
    ),
    option(
        "denoising_end",
        &[],
        SHARE,
        SDXL,
        "The share of the schedule after which work ends",
    ),
    option("freeu", &[], FREEU, SDXL, "Scales of skips and backbone"),
    option(
        "vae",
        &[],
        TEXT,
        SDXL,
        "An autoencoder in place of the model's own",
    ),
    option(
        "controls",
        &[],
        Content::List(&CONTROL),
        SDXL,
        "ControlNets with their pictures",
    ),
    option(
        "control_preprocess",
        &[],
        PREPROCESS,
        SDXL,
        "What is made of every control picture",
    ),
    option(
        "ip_adapters",
        &[],
        Content::List(&IP_ADAPTER),
        SDXL,
        "IP-Adapters with their pictures",
    ),
    option(
        "refiner",
        &[],
        REFINER,
        SDXL,
        "A second denoiser for the last part",
    ),
    option("hires", &[], HIRES, SDXL, "Enlarges the picture and refines it"),
    option(
        "exact_copy_mode",
        &[],
        Content::Bool,
        SDXL_IF_ON,
        "Changes the picture as little as can be",
    ),
    option(
        "reference_mode",
        &[],
        Content::Choice(&["modify", "copy"]),
        SDXL_OR_MODIFY,
        "copy: the same",
    ),
    option(
        "loras",
        &["lora"],
        Content::List(&Content::Lora),
        DRAWS,
        "LoRAs, each with its scale",
    ),
    option(
        "prompt_syntax",
        &[],
        TEXT,
        SDXL,
        "How weights are written in prompts: a1111, comfy, compel or plain",
    ),
    option(
        "temperature",
        &[],
        Content::real(&limits::TEMPERATURE),
        ANSWERS,
        "0 takes the most probable token",
    ),
    option(
        "top_p",
        &["topP"],
        Content::real(&limits::TOP_P),
        ANSWERS,
        "Share of the tokens to draw from",
    ),
    option(
        "top_k",
        &["topK"],
        Content::whole(&limits::TOP_K),
        ANSWERS,
        "Number of tokens to draw from; 0 for all",
    ),
    option(
        "repetition_penalty",
        &["repetitionPenalty"],
        Content::real(&limits::REPETITION_PENALTY),
        ANSWERS,
        "Makes tokens that occurred less probable",
    ),
    option(
        "max_tokens",
        &["max_new_tokens", "maxTokens"],
        Content::whole(&limits::MAX_TOKENS),
        ANSWERS,
        "Most tokens of an answer",
    ),
    option(
        "system_prompt",
        &["systemPrompt"],
        TEXT,
        ANSWERS,
        "What the language model is told first",
    ),
    option(
        "enhance_for",
        &["enhanceFor"],
        TEXT,
        |kind, _| kind.name == ENHANCE,
        "The job type that a prompt is enhanced for",
    ),
    option(
        "legacy_names",
        &[],
        Content::Bool,
        ENHANCES,
        "Names sources as older producers do",
    ),
    anywhere(
        Home::Metadata,
        "conversation_id",
        &["conversationId"],
        TEXT,
        ALL,
        "Carried to the callback",
    ),
    anywhere(
        Home::Metadata,
        "message_id",
        &["messageId"],
        TEXT,
        ALL,
        "Carried to the callback",
    ),
    anywhere(
        Home::Metadata,
        "session_id",
        &[],
        TEXT,
        ALL,
        "Carried to the callback",
    ),
    anywhere(
        Home::Metadata,
        "enhancement_type",
        &[],
        TEXT,
        ALL,
        "manual, cinematic or custom",
    ),
];

/// What `expect` holds.
pub static EXPECT: Content = Content::Map(&[
    needed("image", TEXT),
    needed("min_psnr", Content::real(&limits::MIN_PSNR_DB)),
]);

impl Field {
    /// The canonical name, then the aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }

    /// Its canonical place in a spec, as messages name it.
    pub fn path(&self) -> String {
        match self.home {
            Home::Top => self.name.into(),
            Home::Config => format!("config.{}", self.name),
            Home::Metadata => format!("metadata.{}", self.name),
        }
    }

    /// Its value in the JSON form of a spec.
    pub fn value<'j>(&self, spec: &'j Json) -> Option<&'j Json> {
        let home = match self.home {
            Home::Top => spec,
            Home::Config => &spec["config"],
            Home::Metadata => &spec["metadata"],
        };
        home.get(self.name)
    }
}

/// The field with this canonical name.
///
/// # Panics
/// For a name that is not in the table.
pub fn field(name: &str) -> &'static Field {
    FIELDS
        .iter()
        .find(|field| field.name == name)
        .unwrap_or_else(|| panic!("`{name}` is not in the table of fields"))
}
