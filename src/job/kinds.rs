//! The table of job types: which model family, which defaults, which output limit.

use crate::config::{nearest, shown};
use crate::media::video::VideoFormat;

/// Which model family a job type runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Sdxl,
    Wan,
    Qwen,
    /// No model at all.
    None,
}

/// What a job type writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    Png,
    Mp4,
    Text,
    Json,
}

/// The file format of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Png,
    Video(VideoFormat),
}

impl Format {
    /// Its name in flags and specs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Video(format) => format.name(),
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "png" => Some(Self::Png),
            other => VideoFormat::from_name(other).map(Self::Video),
        }
    }

    /// The end of its files' names, without the dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Video(format) => format.extension(),
        }
    }

    pub fn mime_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Video(format) => format.mime_type(),
        }
    }
}

/// One job type of the product specification, section 2.
#[derive(Debug, PartialEq)]
pub struct JobKind {
    pub name: &'static str,
    /// Other names for it; the name given is kept in the callback.
    pub aliases: &'static [&'static str],
    pub family: Family,
    pub output: Output,
    /// The prompt goes through the language model first.
    pub enhanced: bool,
    pub steps: u32,
    pub guidance_scale: f64,
    pub width: u32,
    pub height: u32,
    /// 1 for pictures.
    pub frames: u32,
    /// Frames a second of a video; 0 for everything else.
    pub fps: u32,
    /// Constant rate factor of a video's encoder: smaller is better and larger.
    pub crf: u8,
    /// Largest allowed output file.
    pub limit_bytes: u64,
    /// False until this build can run it: such a job is answered plainly, with exit 69.
    pub built: bool,
}

impl JobKind {
    /// Whether pictures or videos come out.
    pub fn draws(&self) -> bool {
        matches!(self.family, Family::Sdxl | Family::Wan)
    }

    /// Whether it answers a conversation.
    pub fn converses(&self) -> bool {
        self.family == Family::Qwen && self.name != ENHANCE
    }

    /// Whether it makes a better prompt, for itself or as its result.
    pub fn enhances(&self) -> bool {
        self.enhanced || self.name == ENHANCE
    }
}

/// The type whose result is a better prompt.
pub const ENHANCE: &str = "chat_enhance";

/// The type that answers without the default restraint, by the operator's leave.
pub const UNRESTRICTED: &str = "chat_unrestricted";

const MB: u64 = 1_000_000;

const SDXL: JobKind = JobKind {
    name: "sdxl_image_fast",
    aliases: &[],
    family: Family::Sdxl,
    output: Output::Png,
    enhanced: false,
    steps: 15,
    guidance_scale: 6.0,
    width: 1024,
    height: 1024,
    frames: 1,
    fps: 0,
    crf: 0,
    limit_bytes: 5 * MB,
    built: true,
};

const IMAGE: JobKind = JobKind {
    name: "image_fast",
    family: Family::Wan,
    steps: 25,
    guidance_scale: 6.5,
    width: 480,
    height: 832,
    ..SDXL
};

const VIDEO: JobKind = JobKind {
    name: "video_fast",
    aliases: &["wan_video_fast"],
    output: Output::Mp4,
    frames: 81,
    fps: 16,
    crf: 23,
    limit_bytes: 50 * MB,
    ..IMAGE
};

const CHAT: JobKind = JobKind {
    name: ENHANCE,
    family: Family::Qwen,
    output: Output::Text,
    steps: 0,
    guidance_scale: 0.0,
    width: 0,
    height: 0,
    frames: 0,
    limit_bytes: MB,
    ..SDXL
};

/// Every type, in the order of the specification.
pub static KINDS: &[JobKind] = &[
    SDXL,
    JobKind {
        name: "sdxl_image_high",
        steps: 25,
        guidance_scale: 7.5,
        limit_bytes: 10 * MB,
        ..SDXL
    },
    IMAGE,
    JobKind {
        name: "image_high",
        steps: 50,
        guidance_scale: 7.5,
        limit_bytes: 10 * MB,
        ..IMAGE
    },
    VIDEO,
    JobKind {
        name: "video_high",
        aliases: &["wan_video_high"],
        steps: 50,
        guidance_scale: 7.5,
        crf: 18,
        limit_bytes: 200 * MB,
        ..VIDEO
    },
    JobKind {
        name: "image7b_fast_enhanced",
        enhanced: true,
        limit_bytes: 20 * MB,
        ..IMAGE
    },
    JobKind {
        name: "image7b_high_enhanced",
        enhanced: true,
        steps: 50,
        guidance_scale: 7.5,
        limit_bytes: 20 * MB,
        ..IMAGE
    },
    JobKind {
        name: "video7b_fast_enhanced",
        aliases: &[],
        enhanced: true,
        limit_bytes: 100 * MB,
        ..VIDEO
    },
    JobKind {
        name: "video7b_high_enhanced",
        aliases: &[],
        enhanced: true,
        crf: 18,
        steps: 50,
        guidance_scale: 7.5,
        limit_bytes: 100 * MB,
        ..VIDEO
    },
    CHAT,
    JobKind {
        name: "chat_conversation",
        ..CHAT
    },
    JobKind {
        name: UNRESTRICTED,
        ..CHAT
    },
    JobKind {
        name: "admin_utilities",
        family: Family::None,
        output: Output::Json,
        ..CHAT
    },
];

/// The type with this name or alias.
pub fn find(name: &str) -> Option<&'static JobKind> {
    KINDS
        .iter()
        .find(|kind| kind.name == name || kind.aliases.contains(&name))
}

/// The names of the types that this build runs, for messages and `--help`.
pub fn built_names() -> Vec<&'static str> {
    KINDS
        .iter()
        .filter(|kind| kind.built)
        .map(|kind| kind.name)
        .collect()
}

/// Every name and alias, built or not.
pub fn all_names() -> Vec<&'static str> {
    KINDS
        .iter()
        .flat_map(|kind| std::iter::once(kind.name).chain(kind.aliases.iter().copied()))
        .collect()
}

/// Message and hint about a type that does not exist; the caller puts the field before it.
pub fn unknown(name: &str) -> (String, String) {
    let message = format!(
        "is `{}`, it must be one of {}",
        shown(name),
        built_names().join(", ")
    );
    let hint = match nearest(name, all_names()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "leave `type` out for the default".into(),
    };
    (message, hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{ModelFamily, ROUTABLE};

    #[test]
    fn the_routable_types_are_the_types_that_use_a_model() {
        let family = |kind: &JobKind| match kind.family {
            Family::Sdxl => Some(ModelFamily::Sdxl),
            Family::Wan => Some(ModelFamily::Wan),
            Family::Qwen => Some(ModelFamily::Qwen),
            Family::None => None,
        };
        let here: Vec<_> = KINDS.iter().filter_map(|k| Some((k.name, family(k)?))).collect();
        assert_eq!(here, ROUTABLE);
    }

    #[test]
    fn an_unknown_type_lists_the_choices_and_the_nearest_one() {
        let (message, hint) = unknown("sdxl_image_fats");
        assert!(message.contains("sdxl_image_fast, sdxl_image_high"), "{message}");
        assert_eq!(hint, "did you mean `sdxl_image_fast`?");
    }

    #[test]
    fn names_and_aliases_are_unique_and_are_found() {
        let names = all_names();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len());
        assert_eq!(names.len(), 16);
        for name in names {
            assert!(find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn an_alias_leads_to_the_type_it_stands_for() {
        let kind = find("wan_video_high").unwrap();
        assert_eq!((kind.name, kind.steps, kind.frames), ("video_high", 50, 81));
        assert_eq!(kind.limit_bytes, 200_000_000);
    }

    #[test]
    fn every_type_is_built() {
        assert_eq!(built_names().len(), KINDS.len());
    }
}
