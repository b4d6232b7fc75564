//! The pictures that a video follows: found, read and fitted before any job runs.

use std::path::Path;

use anyhow::Result;

use crate::fail;
use crate::job::Video;
use crate::pipelines::{self, References};
use crate::registry::ModelSpec;

/// Reads every reference of a job and fits it to the video's size: aspect kept, centred on black.
///
/// # Errors
/// `InvalidSpec` when the model takes none, `InputMissing` or `BadInput` for what is wrong with a
/// picture, each naming the field.
pub fn load(video: &Video, model: &ModelSpec, base: &Path) -> Result<References> {
    let asked = &video.references;
    let mut references = References {
        scale: asked.strength,
        ..References::default()
    };
    for (field, source, place) in [
        ("first_frame", &asked.first_frame, &mut references.first_frame),
        ("last_frame", &asked.last_frame, &mut references.last_frame),
        ("image", &asked.image, &mut references.subject),
    ] {
        if source.is_some() {
            check_model(field, model)?;
            let _ = (base, place);
            fail!(NotBuilt, "config.{field}: this build does not have it yet"; "leave it out");
        }
    }
    Ok(references)
}

fn check_model(field: &str, model: &ModelSpec) -> Result<()> {
    if pipelines::takes_references(model)? {
        return Ok(());
    }
    fail!(
        InvalidSpec, "config.{field}: model `{}` takes no reference picture", model.name;
        "reference frames need a VACE model: route the type to one in models.toml (Wan2.1-VACE-1.3B-diffusers), name it with --model, or leave {field} out"
    )
}
