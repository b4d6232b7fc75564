//! Every range of a value, once: the command line, specs, models.toml and the JSON Schema read it.
//!
//! Below everything that reads it: the registry's entries and the specs' fields share some.

use std::ops::RangeInclusive;

pub const STEPS: RangeInclusive<u64> = 1..=150;
pub const IMAGES: RangeInclusive<u64> = 1..=64;
/// What producers of queue items agreed on.
pub const IMAGES_OF_PRODUCERS: &[u64] = &[1, 3, 6];
/// Seeds are non-negative signed 64-bit numbers, so that every producer can hold one.
pub const MAX_SEED: u64 = i64::MAX as u64;
pub const SEED: RangeInclusive<u64> = 0..=MAX_SEED;
pub const GUIDANCE_SCALE: RangeInclusive<f64> = 0.0..=30.0;
/// Pixels a side, for every model.
pub const SIDE_PX: RangeInclusive<u64> = 64..=4096;
/// SDXL's latents are an eighth of a picture's side; WAN asks for more.
pub const SIDE_MULTIPLE: u64 = 8;
pub const FRAMES: RangeInclusive<u64> = 1..=1001;
/// WAN turns so many frames into one latent frame, after the first.
pub const FRAMES_PER_LATENT: u64 = 4;
pub const FPS: RangeInclusive<f64> = 1.0..=120.0;
/// Above 0.
pub const MOST_FLOW_SHIFT: f64 = 100.0;
pub const SHARE: RangeInclusive<f64> = 0.0..=1.0;
/// How strongly a ControlNet or an IP-Adapter works.
/// Either way; beyond it pictures are noise.
pub const LORA_SCALE: RangeInclusive<f64> = -100.0..=100.0;
pub const ADAPTER_SCALE: RangeInclusive<f64> = 0.0..=10.0;
/// Sizes that SDXL is told of; pictures of training had any.
pub const TOLD_PX: RangeInclusive<u64> = 0..=65_536;
pub const CLIP_SKIP: RangeInclusive<u64> = 0..=31;
pub const AESTHETIC_SCORE: RangeInclusive<f64> = 0.0..=10.0;
pub const TIMESTEP: RangeInclusive<f64> = 0.0..=999.0;
pub const SIGMA: RangeInclusive<f64> = 0.0..=5000.0;
pub const FREEU: RangeInclusive<f64> = 0.0..=4.0;
pub const TILE_PX: RangeInclusive<u64> = 64..=8192;
pub const OVERLAP: RangeInclusive<f64> = 0.0..=0.9;
/// Sides of the result over those of the first rendering.
pub const HIRES_SCALE: RangeInclusive<f64> = 1.0..=8.0;
/// Where a refiner takes over.
pub const REFINER_START: RangeInclusive<f64> = 0.01..=0.99;
pub const TEMPERATURE: RangeInclusive<f64> = 0.0..=10.0;
pub const TOP_P: RangeInclusive<f64> = 0.001..=1.0;
pub const TOP_K: RangeInclusive<u64> = 0..=1_000_000;
pub const REPETITION_PENALTY: RangeInclusive<f64> = 0.1..=10.0;
pub const MAX_TOKENS: RangeInclusive<u64> = 1..=32_768;
pub const MIN_PSNR_DB: RangeInclusive<f64> = 1.0..=200.0;
/// Characters of an id.
pub const ID_CHARS: RangeInclusive<usize> = 1..=128;
