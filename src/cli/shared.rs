//! Flags that several commands have.

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};

use super::candidates;
use crate::progress::Volume;

/// Where models and arithmetic are.
#[derive(Debug, Args, Default, Clone)]
pub struct Place {
    /// The models.toml to use [default: ./models.toml, then the configuration folder's]
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub models: Option<PathBuf>,
    /// cpu, cuda, cuda:N, wgpu or auto [default: auto]
    #[arg(long, value_name = "DEVICE", value_parser = device, add = candidates::devices(), help_heading = "Model")]
    pub device: Option<String>,
}

/// To whom is spoken.
#[derive(Debug, Args, Default, Clone)]
pub struct Talk {
    /// Print one JSON object a line on stdout
    #[arg(long, help_heading = "Messages")]
    pub json: bool,
}

/// How much is said; every command has it.
#[derive(Debug, Args, Default, Clone, Copy)]
pub struct Loudness {
    /// Say nothing but errors
    #[arg(long, global = true, conflicts_with = "verbose", help_heading = "Messages")]
    pub quiet: bool,
    /// Say more, such as which files were read; twice in queue-drain: everything, prompts included
    #[arg(short, long, global = true, action = ArgAction::Count, help_heading = "Messages")]
    pub verbose: u8,
}

impl Loudness {
    pub fn volume(self) -> Volume {
        match (self.quiet, self.verbose) {
            (true, _) => Volume::Quiet,
            (_, 0) => Volume::Normal,
            (_, 1) => Volume::Verbose,
            _ => Volume::Everything,
        }
    }
}

/// Shape of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CallbackFormat {
    Standard,
    Workspace,
}

/// Number format of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dtype {
    #[value(alias = "fp32", alias = "float32")]
    F32,
    #[value(alias = "fp16", alias = "float16")]
    F16,
    #[value(alias = "bfloat16")]
    Bf16,
}

impl Dtype {
    /// The canonical name.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }
}

fn device(text: &str) -> Result<String, String> {
    let index = text.strip_prefix("cuda:");
    let known = ["auto", "cpu", "cuda", "wgpu"].contains(&text)
        || index.is_some_and(|i| (1..4).contains(&i.len()) && i.bytes().all(|b| b.is_ascii_digit()));
    if known {
        Ok(text.into())
    } else {
        Err("allowed: auto, cpu, cuda, cuda:N, wgpu".into())
    }
}
