//! Videos: MP4 and WebM through FFmpeg, GIF and a folder of PNG files without it.

#[cfg(feature = "video")]
mod encoder;
#[cfg(feature = "video")]
mod ffmpeg;
mod format;
mod fps;
mod gif;
#[cfg(feature = "video")]
mod muxer;
#[cfg(feature = "video")]
mod yuv;

use anyhow::Result;
use format::within;
pub use format::{MAX_CRF, VideoFormat, VideoSettings};
pub use fps::Fps;

use super::frames::Frame;
use super::png::{self, Texts};
use crate::fail;

/// Whether this build on this machine can write `format`: to be asked before any work.
///
/// # Errors
/// `NotBuilt` without the feature `video`, `Unavailable` when FFmpeg's libraries are not there or were
/// built without the encoder. GIF and PNG frames are always there.
pub fn available(format: VideoFormat) -> Result<()> {
    match format {
        VideoFormat::Gif | VideoFormat::PngFrames => Ok(()),
        #[cfg(feature = "video")]
        VideoFormat::Mp4 | VideoFormat::Webm => encoder::find(format).map(|_| ()),
        #[cfg(not(feature = "video"))]
        VideoFormat::Mp4 | VideoFormat::Webm => not_built(format),
    }
}

#[cfg(not(feature = "video"))]
fn not_built<T>(format: VideoFormat) -> Result<T> {
    fail!(
        NotBuilt,
        "format `{}` needs the feature `video`, which this build leaves out", format.name();
        "build with the default features, or take --format png-frames or gif"
    )
}

/// The version of the FFmpeg library behind MP4 and WebM, such as `libavcodec 59.37.100`.
///
/// # Errors
/// `NotBuilt` without the feature `video`, `Unavailable` when the library is not there.
pub fn library_version() -> Result<String> {
    #[cfg(feature = "video")]
    return encoder::library_version();
    #[cfg(not(feature = "video"))]
    return not_built(VideoFormat::Mp4);
}

/// Encodes frames as one file that carries the texts and the mark of synthetic media.
///
/// The same frames, settings and texts give the same bytes with the same FFmpeg. Frames are
/// converted one by one; the file is built in memory and never larger than `limit_bytes` by more
/// than its index, so that nothing half-written can reach a disk.
///
/// # Errors
/// `BadOutput` for no frames and when the encoder fails, `InvalidSpec` for odd sizes (MP4, WebM)
/// and rates that the format cannot hold, `OutputTooLarge` above `limit_bytes`, and what
/// [`available`] says. `Internal` for frames of different sizes, a `crf` above [`MAX_CRF`], and for
/// [`VideoFormat::PngFrames`], which is many files (see [`png_frames`]).
pub fn encode(
    frames: &[Frame],
    settings: &VideoSettings,
    texts: &Texts<'_>,
    limit_bytes: u64,
) -> Result<Vec<u8>> {
    check(frames)?;
    if settings.crf > MAX_CRF {
        fail!(Internal, "crf is {} of at most {MAX_CRF}", settings.crf);
    }
    let bytes = match settings.format {
        #[cfg(feature = "video")]
        VideoFormat::Mp4 | VideoFormat::Webm => encoder::encode(frames, settings, texts, limit_bytes)?,
        #[cfg(not(feature = "video"))]
        VideoFormat::Mp4 | VideoFormat::Webm => not_built(settings.format)?,
        VideoFormat::Gif => gif::encode(frames, settings.fps, texts, limit_bytes)?,
        VideoFormat::PngFrames => fail!(Internal, "png frames are many files, not one"),
    };
    within(bytes.len() as u64, limit_bytes)?;
    Ok(bytes)
}

/// One file of a video that is kept as PNG files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameFile {
    /// `00000.png` and so on.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// The frames as PNG files, made one at a time; each carries the texts and the mark. `limit_bytes`
/// holds for all together.
///
/// # Errors
/// `BadOutput` for no frames, `Internal` for frames of different sizes; an item is `OutputTooLarge`
/// when the files so far are over the limit.
pub fn png_frames<'a>(
    frames: &'a [Frame],
    texts: Texts<'a>,
    limit_bytes: u64,
) -> Result<impl Iterator<Item = Result<FrameFile>> + 'a> {
    check(frames)?;
    let mut total = 0;
    Ok(frames.iter().enumerate().map(move |(index, frame)| {
        let bytes = png::encode(frame, &texts, limit_bytes)?;
        total += bytes.len() as u64;
        within(total, limit_bytes)?;
        Ok(FrameFile {
            name: format!("{index:05}.png"),
            bytes,
        })
    }))
}

fn check(frames: &[Frame]) -> Result<()> {
    let Some(first) = frames.first() else {
        fail!(BadOutput, "the video has no frames");
    };
    for (index, frame) in frames.iter().enumerate() {
        if (frame.width, frame.height) != (first.width, first.height) {
            fail!(
                Internal,
                "frame {index} is {}x{} and the first one {}x{}",
                frame.width,
                frame.height,
                first.width,
                first.height
            );
        }
    }
    Ok(())
}
