//! Reading finished videos: what they are, and the manifest inside. Needs no FFmpeg.

mod bytes;
mod gif;
pub mod mp4;
mod probe;
mod webm;

pub use probe::{Probe, Video};

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use anyhow::Result;

use crate::error::{Error, ErrorKind};
use crate::files::open_regular;

/// The kinds of file that are told apart by their first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    Png,
    Jpeg,
    Webp,
    Gif,
    /// MP4 and its relatives.
    Mp4,
    /// WebM and Matroska.
    Webm,
    /// Text in angle brackets: mostly a web page under the name of a picture.
    Markup,
}

/// So many first bytes decide [`sniff`].
pub const SNIFF_BYTES: usize = 64;

/// The kind of a file by its first bytes, whatever its name; `None` for others.
pub fn sniff(start: &[u8]) -> Option<FileKind> {
    let text = start
        .strip_prefix(b"\xef\xbb\xbf")
        .unwrap_or(start)
        .trim_ascii_start();
    match start {
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Some(FileKind::Png),
        [0xFF, 0xD8, 0xFF, ..] => Some(FileKind::Jpeg),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(FileKind::Webp),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(FileKind::Gif),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(FileKind::Mp4),
        [0x1A, 0x45, 0xDF, 0xA3, ..] => Some(FileKind::Webm),
        _ if text.starts_with(b"<") => Some(FileKind::Markup),
        _ => None,
    }
}

/// Reads a video file, or tells that it is none: `None`.
///
/// # Errors
/// `InputMissing` for a missing file, `BadInput` for a broken MP4, WebM or GIF.
pub fn video(path: &Path) -> Result<Option<Video>> {
    let file = open_regular(path)?;
    from_reader(BufReader::new(file), &format!("video `{}`", path.display()))
}

/// The same for a file in memory.
///
/// # Errors
/// `BadInput` for a broken MP4, WebM or GIF.
pub fn video_bytes(bytes: &[u8]) -> Result<Option<Video>> {
    from_reader(std::io::Cursor::new(bytes), "the video")
}

/// Reads what a video file holds: frames, rate, duration, size and codec.
///
/// # Errors
/// As [`video`], and `BadInput` for a file of another kind.
pub fn probe(path: &Path) -> Result<Probe> {
    match video(path)? {
        Some(video) => Ok(video.probe),
        None => Err(bad(
            &format!("video `{}`", path.display()),
            "not an MP4, WebM or GIF",
        )),
    }
}

/// The same for a file in memory.
///
/// # Errors
/// `BadInput`.
pub fn probe_bytes(bytes: &[u8]) -> Result<Probe> {
    match video_bytes(bytes)? {
        Some(video) => Ok(video.probe),
        None => Err(bad("the video", "not an MP4, WebM or GIF")),
    }
}

fn from_reader(mut reader: impl Read + Seek, shown: &str) -> Result<Option<Video>> {
    let mut start = Vec::new();
    let read = |e: std::io::Error| Error::new(ErrorKind::Io, format!("{shown}: cannot be read ({e})"));
    reader
        .by_ref()
        .take(SNIFF_BYTES as u64)
        .read_to_end(&mut start)
        .map_err(read)?;
    reader.seek(SeekFrom::Start(0)).map_err(read)?;
    let found = match sniff(&start) {
        Some(FileKind::Mp4) => mp4::read(&mut reader),
        Some(FileKind::Webm) => webm::read(&mut reader),
        Some(FileKind::Gif) => gif::read(&mut reader),
        _ => return Ok(None),
    };
    found.map(Some).map_err(|why| bad(shown, &why))
}

fn bad(shown: &str, why: &str) -> anyhow::Error {
    Error::new(
        ErrorKind::BadInput,
        format!("{shown}: not a readable video ({why})"),
    )
    .hint("give an MP4, WebM or GIF that is complete, best one that ourvidz wrote")
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_decide_the_kind() {
        for (start, kind) in [
            (&b"\x89PNG\r\n\x1a\n"[..], Some(FileKind::Png)),
            (b"\xff\xd8\xff\xe0", Some(FileKind::Jpeg)),
            (b"RIFF\0\0\0\0WEBPVP8 ", Some(FileKind::Webp)),
            (b"GIF89a", Some(FileKind::Gif)),
            (b"\0\0\0\x20ftypisom", Some(FileKind::Mp4)),
            (b"\x1a\x45\xdf\xa3", Some(FileKind::Webm)),
            (b"\xef\xbb\xbf \n<!DOCTYPE html>", Some(FileKind::Markup)),
            (b"RIFF\0\0\0\0WAVE", None),
            (b"", None),
        ] {
            assert_eq!(sniff(start), kind, "{start:?}");
        }
    }

    #[test]
    fn a_file_of_another_kind_is_no_video_and_a_missing_one_is_missing() {
        assert_eq!(video_bytes(b"\x89PNG\r\n\x1a\n").unwrap(), None);
        let error = probe_bytes(b"hello").unwrap_err();
        assert_eq!(crate::error::kind_of(&error), ErrorKind::BadInput);
        let error = probe(Path::new("no-such.mp4")).unwrap_err();
        assert_eq!(crate::error::kind_of(&error), ErrorKind::InputMissing);
    }
}
