//! WAN jobs: frames, references and sizes, settled and checked.

use anyhow::{Context, Result};

use super::asked::{Asked, diffusion};
use super::written::unweighted;
use crate::fail;
use crate::job::kinds::{Format, JobKind, Output};
use crate::job::settled::{Diffusion, References, Video};
use crate::job::spec::Options;
use crate::job::spec_parts::Tiling;
use crate::limits::FRAMES_PER_LATENT;
use crate::media::video::{Fps, VideoFormat};

/// 8 pixels a latent, 2 latents a patch.
const SIZE_MULTIPLE: u32 = 16;
/// What the older system documented; it never decoded to more than 81 frames.
const DOCUMENTED_FRAMES: u32 = 83;
/// Viewers play no more.
const MOST_FPS_OF_GIF: f64 = 50.0;
const DEFAULT_REFERENCE_STRENGTH: f64 = 1.0;

/// # Errors
/// `InvalidSpec` for an impossible number of frames, size or mixture of references.
pub fn video(asked: &Asked<'_>, notes: &mut Vec<String>) -> Result<Video> {
    let config = &asked.spec.config;
    let references = references(config)?;
    let frames = frames(asked, notes)?;
    let diffusion = diffusion(asked, &unweighted(asked.spec)?, !references.is_empty(), notes)?;
    check_sides(&diffusion, asked.kind.name)?;
    let fps = config.fps.unwrap_or(f64::from(asked.kind.fps));
    if asked.kind.output == Output::Mp4 {
        Fps::new(fps).context("config.fps")?;
        if diffusion.format == Format::Video(VideoFormat::Gif) && fps > MOST_FPS_OF_GIF {
            fail!(InvalidSpec, "config.fps is {fps}, it must be at most {MOST_FPS_OF_GIF} for a GIF"; "use 1 to 50, or format mp4 or webm");
        }
    }
    Ok(Video {
        diffusion,
        frames,
        fps,
        flow_shift: config.flow_shift,
        vae_tiling: config.vae_tiling.is_some_and(Tiling::is_on),
        references,
    })
}

/// Both sides in one message, each with the nearest that work.
fn check_sides(diffusion: &Diffusion, type_name: &str) -> Result<()> {
    let wrong: Vec<(&str, u32)> = [("width", diffusion.width), ("height", diffusion.height)]
        .into_iter()
        .filter(|(_, side)| side % SIZE_MULTIPLE != 0)
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    let said: Vec<String> = wrong
        .iter()
        .map(|(name, side)| format!("config.{name} is {side}"))
        .collect();
    let nearest = |(name, side): &(&str, u32)| {
        let below = side / SIZE_MULTIPLE * SIZE_MULTIPLE;
        format!("the nearest {name}s are {below} and {}", below + SIZE_MULTIPLE)
    };
    let nearest: Vec<String> = wrong.iter().map(nearest).collect();
    fail!(InvalidSpec, "{}, it must be a multiple of {SIZE_MULTIPLE} for type `{type_name}`", said.join(" and ");
        "{}", nearest.join(", "))
}

fn frames(asked: &Asked<'_>, notes: &mut Vec<String>) -> Result<u32> {
    if asked.kind.output != Output::Mp4 {
        return Ok(1);
    }
    let wanted = match asked.spec.config.frames {
        Some(frames) => frames,
        None => asked.model.frames.unwrap_or(asked.kind.frames),
    };
    if wanted == DOCUMENTED_FRAMES {
        let frames = DOCUMENTED_FRAMES - 2;
        notes.push(format!(
            "frames is {DOCUMENTED_FRAMES}, which the model cannot make; it runs as {frames}"
        ));
        return Ok(frames);
    }
    let step = FRAMES_PER_LATENT as u32;
    if wanted % step != 1 {
        let below = wanted.saturating_sub(1) / step * step + 1;
        fail!(InvalidSpec, "config.frames is {wanted}, it must be {step}n+1";
            "the nearest are {below} and {}", below + step);
    }
    Ok(wanted)
}

fn references(config: &Options) -> Result<References> {
    let references = References {
        first_frame: config.first_frame.clone(),
        last_frame: config.last_frame.clone(),
        image: config.image.clone(),
        strength: config.reference_strength.unwrap_or(DEFAULT_REFERENCE_STRENGTH),
    };
    if references.is_empty() && config.reference_strength.is_some() {
        fail!(InvalidSpec, "config.reference_strength is given without a reference";
            "give first_frame, last_frame or image, or leave it out");
    }
    Ok(references)
}

/// The options with every default of a video filled in.
pub fn write_out(video: &Video, kind: &JobKind, config: &mut Options) {
    config.flow_shift = video.flow_shift;
    config.vae_tiling = Some(Tiling::Switch(video.vae_tiling));
    if kind.output == Output::Mp4 {
        config.frames = Some(video.frames);
        config.fps = Some(video.fps);
    }
    if !video.references.is_empty() {
        config.reference_strength = Some(video.references.strength);
    }
}
