//! The pictures that a video follows: found, read and fitted before any job runs.

use std::path::Path;

use anyhow::Result;

use crate::config::shown;
use crate::fail;
use crate::job::Video;
use crate::media::fit::fit;
use crate::media::frames::Frame;
use crate::media::load::read_reference;
use crate::pipelines::{self, References};
use crate::registry::ModelSpec;

/// Reads every reference of a job and fits it to the video's size: aspect kept, centred on black.
///
/// # Errors
/// `InvalidSpec` when the model takes none, `InputMissing` or `BadInput` for what is wrong with a
/// picture, each naming the field.
pub fn load(video: &Video, model: &ModelSpec) -> Result<References> {
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
        if let Some(source) = source {
            check_model(field, model)?;
            let picture = read(field, source)?;
            *place = Some(fit(&picture, video.diffusion.width, video.diffusion.height));
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

/// `https` of `https://…`, `data` of `data:…`; a drive letter is none.
fn scheme(source: &str) -> Option<&str> {
    let (scheme, _) = source.split_once(':')?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
    (scheme.len() > 1 && scheme.len() < 20 && scheme.chars().all(fits)).then_some(scheme)
}

fn read(field: &str, source: &str) -> Result<Frame> {
    if let Some(scheme) = scheme(source) {
        fail!(
            NotBuilt, "config.{field}: `{scheme}:` addresses are not fetched by this build";
            "save the picture as a file and name its path"
        );
    }
    read_reference(&format!("config.{field} `{}`", shown(source)), Path::new(source))
}
