//! The table of spec fields: names, aliases, where they may stand, what they may hold, which job
//! types take them. The parser, the resolver, the command line and the JSON Schema read it; a new
//! option is a row here, a member of [`super::Options`], and what the resolver makes of it.

use serde_json::Value as Json;

use super::content::Content;
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
        Content::Bool,
        DRAWS,
        "Decodes in tiles: less memory",
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
    option("lora", &[], Content::List(&TEXT), DRAWS, "Additions to the model"),
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
    super::content::Key {
        name: "image",
        content: TEXT,
        needed: true,
    },
    super::content::Key {
        name: "min_psnr",
        content: Content::real(&limits::MIN_PSNR_DB),
        needed: true,
    },
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
