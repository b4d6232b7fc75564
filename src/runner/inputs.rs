//! The pictures that a job reads, decoded when it runs and dropped with it.

use anyhow::Result;

use crate::fail;
use crate::files::sha256_hex;
use crate::job::{Input, Job, Video, public_source};
use crate::media::fit::fit;
use crate::media::frames::Frame;
use crate::media::load::{load_reference, read_reference};
use crate::media::manifest::ReferenceRecord;
use crate::pipelines::References;

/// One picture and the digest of the file it came from.
pub(super) struct Picture {
    pub frame: Frame,
    pub record: ReferenceRecord,
}

/// Reads and decodes one input.
///
/// # Errors
/// `InputMissing` or `BadInput` for what is wrong with the file, also when its digest is another
/// than the one that was promised; each names the field.
pub(super) fn picture(input: &Input) -> Result<Picture> {
    let name = input.name();
    let bytes = read_reference(&name, &input.path)?;
    let sha256 = sha256_hex(&bytes);
    if let Some(promised) = input.sha256.as_ref().filter(|promised| **promised != sha256) {
        fail!(
            BadInput, "{name}: its SHA-256 is {sha256}, and {promised} was used before";
            "give the same file again, or leave the replay's digest out with --force"
        );
    }
    Ok(Picture {
        frame: load_reference(&name, &bytes)?,
        record: ReferenceRecord {
            field: input.field.clone(),
            sha256,
            source: public_source(&input.source),
        },
    })
}

/// Every reference of a video, fitted to its size: aspect kept, centred on black.
///
/// # Errors
/// As [`picture`].
pub(super) fn of_video(job: &Job, video: &Video) -> Result<(References, Vec<ReferenceRecord>)> {
    let mut references = References {
        scale: video.references.strength,
        ..References::default()
    };
    let mut records = Vec::new();
    for (field, place) in [
        ("config.first_frame", &mut references.first_frame),
        ("config.last_frame", &mut references.last_frame),
        ("config.image", &mut references.subject),
    ] {
        if let Some(input) = job.input(field) {
            let picture = picture(input)?;
            *place = Some(fit(&picture.frame, video.diffusion.width, video.diffusion.height));
            records.push(picture.record);
        }
    }
    Ok((references, records))
}
