//! SDXL jobs, settled and checked.

use anyhow::Result;

use super::asked::{Asked, diffusion};
use crate::job::settled::Images;
use crate::job::spec::Options;

/// # Errors
/// As [`diffusion`].
pub fn images(asked: &Asked<'_>, notes: &mut Vec<String>) -> Result<Images> {
    let config = &asked.spec.config;
    Ok(Images {
        diffusion: diffusion(asked, false, notes)?,
        truncate_prompt: config.truncate_prompt.unwrap_or(false),
        deterministic: config.deterministic.unwrap_or(false),
    })
}

/// The options with every default of an image filled in.
pub fn write_out(images: &Images, config: &mut Options) {
    config.truncate_prompt = Some(images.truncate_prompt);
    config.deterministic = Some(images.deterministic);
}
