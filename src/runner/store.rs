//! From encoded files to stored ones: all of a job's or none.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::run::output_name;

use super::inputs;
use crate::files::{Existing, remove_if_there, sha256_hex, write_whole};
use crate::job::{Format, Job};
use crate::media::frames::Frame;
use crate::media::{golden, thumb};
use crate::outcome::{Asset, thumbnail_name};

/// One file's content, ready to be written.
pub(super) struct Encoded {
    pub bytes: Vec<u8>,
    pub pixels_sha256: String,
    pub seed: u64,
    pub format: Format,
    /// Length of a video, as its encoded form says.
    pub duration_s: Option<f64>,
}

/// The result of `work`, and how long it took.
pub(super) fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    Ok((work()?, start.elapsed()))
}

/// The name of the picture that shows how an output differs from the expected one.
pub const DIFFERENCE: &str = "difference.png";

/// # Errors
/// `GoldenMismatch` when the job names a picture that `frame` does not match; then the difference
/// lies in `folder`.
pub(super) fn check_golden(job: &Job, frame: &Frame, folder: &Path) -> Result<()> {
    let (Some(expect), Some(input)) = (&job.spec.expect, job.input("expect.image")) else {
        return Ok(());
    };
    let expected = inputs::picture(input)?.frame;
    let difference = job.difference.clone().unwrap_or_else(|| folder.join(DIFFERENCE));
    golden::check(&input.source, expect.min_psnr, &expected, frame, &difference)
}

/// Writes a small picture beside every asset, `frame(index)` in it.
///
/// # Errors
/// As [`write_whole`].
pub(super) fn thumbnails<'f>(
    folder: &Path,
    assets: &[Asset],
    frame: impl Fn(usize) -> Option<&'f Frame>,
) -> Result<()> {
    for asset in assets {
        if let Some(frame) = frame(asset.index) {
            let path = folder.join(thumbnail_name(asset.index));
            write_whole(&path, &thumb::webp(frame)?, Existing::Replace)?;
        }
    }
    Ok(())
}

/// Writes every file into `folder`; a failure half-way takes the written ones back.
///
/// # Errors
/// As [`write_whole`].
pub(super) fn store(folder: &Path, files: Vec<Encoded>) -> Result<Vec<Asset>> {
    let mut assets: Vec<Asset> = Vec::new();
    for (index, file) in files.into_iter().enumerate() {
        let path = folder.join(output_name(index, file.format));
        if let Err(error) = write_whole(&path, &file.bytes, Existing::Replace) {
            for written in &assets {
                remove_if_there(&written.path)?;
            }
            return Err(error);
        }
        assets.push(Asset {
            path,
            bytes: file.bytes.len() as u64,
            sha256: sha256_hex(&file.bytes),
            pixels_sha256: Some(file.pixels_sha256),
            seed: file.seed,
            index,
            mime_type: file.format.mime_type().into(),
            duration_s: file.duration_s,
        });
    }
    Ok(assets)
}
