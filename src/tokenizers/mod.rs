//! Text to token ids.

pub mod clip;
