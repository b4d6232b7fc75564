//! The parts of a spec's `config` that are maps: adapters with their pictures, and what else of SDXL has
//! several values. Defaults are filled in by the resolver.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One LoRA.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraSpec {
    /// A path, or a name in `lora_dir`.
    pub file: String,
    #[serde(default = "one")]
    pub scale: f64,
}

/// One ControlNet with its picture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Control {
    pub model: String,
    pub image: String,
    #[serde(default = "one")]
    pub scale: f64,
    #[serde(default)]
    pub start: f64,
    #[serde(default = "one")]
    pub end: f64,
    #[serde(default)]
    pub guess_mode: bool,
    /// `canny` or `none`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocess: Option<String>,
}

/// One IP-Adapter with its pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IpAdapter {
    pub file: String,
    pub image_encoder: String,
    pub image: Vec<String>,
    #[serde(default)]
    pub scale: IpScale,
}

/// One scale everywhere, or lists by block: one number an attention layer, or one for all of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum IpScale {
    All(f64),
    Blocks {
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        down: BTreeMap<String, Vec<f64>>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        mid: Vec<f64>,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        up: BTreeMap<String, Vec<f64>>,
    },
}

impl Default for IpScale {
    fn default() -> Self {
        Self::All(1.0)
    }
}

impl IpScale {
    /// Only the layers that colours and texture come from (InstantStyle, Wang et al. 2024).
    pub fn style(scale: f64) -> Self {
        Self::Blocks {
            down: BTreeMap::new(),
            mid: Vec::new(),
            up: BTreeMap::from([("block_0".into(), vec![0.0, scale, 0.0])]),
        }
    }

    /// Only the layers that the arrangement comes from.
    pub fn layout(scale: f64) -> Self {
        Self::Blocks {
            down: BTreeMap::from([("block_2".into(), vec![0.0, scale])]),
            mid: Vec::new(),
            up: BTreeMap::new(),
        }
    }
}

/// A second denoiser for the last part of the schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refiner {
    /// A name from models.toml, or a path.
    pub model: String,
    #[serde(default = "refiner_start")]
    pub start: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Hires {
    pub scale: f64,
    #[serde(default = "half")]
    pub strength: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct FreeU {
    pub s1: f64,
    pub s2: f64,
    pub b1: f64,
    pub b2: f64,
}

/// Whether the autoencoder works in tiles, or in which.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Tiling {
    Switch(bool),
    Tiles {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tile: Option<u32>,
        #[serde(default = "quarter")]
        overlap: f64,
    },
}

impl Tiling {
    pub fn is_on(self) -> bool {
        self != Self::Switch(false)
    }
}

fn one() -> f64 {
    1.0
}

fn half() -> f64 {
    0.5
}

fn quarter() -> f64 {
    0.25
}

fn refiner_start() -> f64 {
    0.8
}
