//! Text to token ids.

pub mod chat;
pub mod clip;
pub mod json;
