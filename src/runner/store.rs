//! From encoded files to stored ones: all of a job's or none.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Task;
use crate::files::{remove_if_there, sha256_hex, with_suffix, write_whole};
use crate::job::Format;
use crate::media::frames::Frame;
use crate::media::golden;
use crate::outbox::body::Asset;

/// One file's content, ready to be written.
pub(super) struct Encoded {
    pub bytes: Vec<u8>,
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

/// # Errors
/// `GoldenMismatch` when the job names a picture that `frame` does not match.
pub(super) fn check_golden(task: &Task, frame: &Frame) -> Result<()> {
    let Some((expect, expected)) = &task.golden else {
        return Ok(());
    };
    let difference = with_suffix(&task.plan.assets[0].path, ".difference").with_extension("png");
    golden::check(expect, expected, frame, &difference)
}

/// Writes every file at its planned place; a failure half-way takes the written ones back.
///
/// # Errors
/// As [`write_whole`].
pub(super) fn store(task: &Task, files: Vec<Encoded>) -> Result<Vec<Asset>> {
    let places = &task.plan.assets;
    assert_eq!(files.len(), places.len(), "one planned place per file");
    let mut assets = Vec::new();
    for (index, (file, place)) in files.iter().zip(places).enumerate() {
        if let Err(error) = write_whole(&place.path, &file.bytes, place.existing) {
            for written in &places[..index] {
                remove_if_there(&written.path)?;
            }
            return Err(error);
        }
        assets.push(Asset {
            path: place.path.display().to_string(),
            bytes: file.bytes.len() as u64,
            sha256: sha256_hex(&file.bytes),
            seed: file.seed,
            index,
            mime_type: file.format.mime_type(),
            duration_s: file.duration_s,
        });
    }
    Ok(assets)
}
