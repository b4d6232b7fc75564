//! What a video is written as, and how large it may become.

use anyhow::Result;

use super::fps::Fps;
use crate::fail;

/// What a video is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VideoFormat {
    /// H.264, 4:2:0, index in front.
    Mp4,
    /// VP9.
    Webm,
    /// 256 colours a frame, endless.
    Gif,
    /// One PNG a frame, pixels untouched.
    PngFrames,
}

impl VideoFormat {
    pub const ALL: [Self; 4] = [Self::Mp4, Self::Webm, Self::Gif, Self::PngFrames];

    /// The name in flags and specs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Webm => "webm",
            Self::Gif => "gif",
            Self::PngFrames => "png-frames",
        }
    }

    /// The format of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The extension of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::PngFrames => "png",
            other => other.name(),
        }
    }

    /// The media type of its files.
    pub fn mime_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Webm => "video/webm",
            Self::Gif => "image/gif",
            Self::PngFrames => "image/png",
        }
    }
}

/// How a video is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoSettings {
    pub format: VideoFormat,
    pub fps: Fps,
    /// Constant quality on H.264's scale: 0 (best) to 51. VP9 gets 8 more, which looks about the
    /// same; GIF and PNG have no such choice.
    pub crf: u8,
}

/// The largest [`VideoSettings::crf`].
pub const MAX_CRF: u8 = 51;

/// # Errors
/// `OutputTooLarge`.
pub fn within(bytes: u64, limit_bytes: u64) -> Result<()> {
    if bytes > limit_bytes {
        fail!(
            OutputTooLarge,
            "video of at least {bytes} bytes is over the limit of {limit_bytes} bytes for this job type";
            "ask for fewer frames, a smaller width or height, or another format"
        );
    }
    Ok(())
}
