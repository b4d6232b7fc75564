//! What a prompt is enhanced for, and how.

use std::str::FromStr;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::config::nearest;
use crate::error::{Error, ErrorKind};

/// What the prompt will become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    SdxlImage,
    WanImage,
    WanVideo,
}

impl Kind {
    /// Its name in file names and in words.toml.
    pub fn name(self) -> &'static str {
        match self {
            Self::SdxlImage => "sdxl-image",
            Self::WanImage => "wan-image",
            Self::WanVideo => "wan-video",
        }
    }
}

/// The two qualities of job types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quality {
    Fast,
    High,
}

/// A job type, as far as enhancement is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    pub kind: Kind,
    pub quality: Quality,
}

/// Names accepted by [`Target::from_str`], the enhanced types and aliases included.
const JOB_TYPES: &[(&str, Kind, Quality)] = &[
    ("sdxl_image_fast", Kind::SdxlImage, Quality::Fast),
    ("sdxl_image_high", Kind::SdxlImage, Quality::High),
    ("image_fast", Kind::WanImage, Quality::Fast),
    ("image_high", Kind::WanImage, Quality::High),
    ("video_fast", Kind::WanVideo, Quality::Fast),
    ("video_high", Kind::WanVideo, Quality::High),
    ("image7b_fast_enhanced", Kind::WanImage, Quality::Fast),
    ("image7b_high_enhanced", Kind::WanImage, Quality::High),
    ("video7b_fast_enhanced", Kind::WanVideo, Quality::Fast),
    ("video7b_high_enhanced", Kind::WanVideo, Quality::High),
    ("wan_video_fast", Kind::WanVideo, Quality::Fast),
    ("wan_video_high", Kind::WanVideo, Quality::High),
];

impl FromStr for Target {
    type Err = Error;

    fn from_str(job_type: &str) -> Result<Self, Error> {
        let found = JOB_TYPES.iter().find(|(name, ..)| *name == job_type);
        if let Some(&(_, kind, quality)) = found {
            return Ok(Self { kind, quality });
        }
        let names: Vec<&str> = JOB_TYPES.iter().map(|(name, ..)| *name).collect();
        let error = Error::new(
            ErrorKind::InvalidSpec,
            format!(
                "prompts cannot be enhanced for `{job_type}`; allowed: {}",
                names.join(", ")
            ),
        );
        Err(match nearest(job_type, names) {
            Some(name) => error.hint(format!("did you mean `{name}`?")),
            None => error,
        })
    }
}

/// The manner of an enhanced prompt (`enhancement_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Style {
    /// Plain and precise; producers also call it `base`.
    #[default]
    #[serde(alias = "base")]
    Manual,
    Cinematic,
    /// As the operator's own file says.
    Custom,
}

impl Style {
    /// Its name in file names and callbacks.
    pub fn name(self) -> &'static str {
        match self {
            Self::Manual => "manual",
            Self::Cinematic => "cinematic",
            Self::Custom => "custom",
        }
    }
}

impl FromStr for Style {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        match name {
            "manual" | "base" => Ok(Self::Manual),
            "cinematic" => Ok(Self::Cinematic),
            "custom" => Ok(Self::Custom),
            _ => Err(Error::new(
                ErrorKind::InvalidSpec,
                format!("enhancement_type is `{name}`; allowed: manual (or base), cinematic, custom"),
            )),
        }
    }
}
