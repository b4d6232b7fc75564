//! Text to token ids.

pub mod clip;
pub mod json;
