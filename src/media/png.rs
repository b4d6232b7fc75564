//! PNG with its papers: manifest, A1111's `parameters` and the mark of synthetic media.

use std::io::Cursor;
use std::path::Path;

use anyhow::{Context, Result};
use png::text_metadata::ITXtChunk;
use png::{BitDepth, ColorType, Compression, Decoder, Encoder, Limits, SrgbRenderingIntent};

use super::frames::Frame;
use super::marks::xmp_packet;
use super::papers::texts;
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files::read_bounded;

/// The longest manifest that is read, as JSON.
pub const LARGEST_MANIFEST_BYTES: usize = 1 << 20;
/// Keyword of the chunk that holds the manifest.
pub const MANIFEST_KEY: &str = "ourvidz";
const PARAMETERS_KEY: &str = "parameters";
/// Keyword under which the XMP specification (part 3, PNG) expects the packet.
const XMP_KEY: &str = "XML:com.adobe.xmp";

/// The texts that travel inside a picture or a video.
#[derive(Debug, Clone, Copy)]
pub struct Texts<'a> {
    /// The manifest as JSON.
    pub manifest: &'a str,
    /// Generation parameters as A1111 writes them.
    pub parameters: &'a str,
}

/// Encodes a frame as an 8-bit sRGB PNG. The same frame and texts give the same bytes.
///
/// The quick compressor is used first; a picture over `limit_bytes` gets a second, thorough try.
///
/// # Errors
/// `OutputTooLarge` when both are over the limit.
pub fn encode(frame: &Frame, texts: &Texts<'_>, limit_bytes: u64) -> Result<Vec<u8>> {
    let mut bytes = encode_with(frame, texts, Compression::Fast)?;
    if bytes.len() as u64 > limit_bytes {
        bytes = encode_with(frame, texts, Compression::High)?;
    }
    if bytes.len() as u64 > limit_bytes {
        fail!(
            OutputTooLarge,
            "output of {} bytes is over the limit of {limit_bytes} bytes for this job type",
            bytes.len();
            "ask for a smaller width or height"
        );
    }
    Ok(bytes)
}

/// Key and beginning of the text by which a contact sheet is known.
const SHEET_KEY: &str = "ourvidz-sheet";

/// Encodes a contact sheet, which was made by no job of its own: with the mark, and with what it shows.
///
/// # Errors
/// None in practice: memory is written to.
pub fn encode_sheet(frame: &Frame, about: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = encoder(&mut bytes, frame, Compression::High);
    encoder.add_itxt_chunk(SHEET_KEY.into(), about.into())?;
    encoder.add_itxt_chunk(XMP_KEY.into(), xmp_packet())?;
    write(encoder, frame)?;
    Ok(bytes)
}

/// Whether a file is a contact sheet of ours.
pub fn is_sheet(path: &Path) -> bool {
    let bytes = read_bounded(path, LARGEST_FILE_BYTES).unwrap_or_default();
    texts(&bytes).is_ok_and(|texts| texts.iter().any(|(key, _)| key == SHEET_KEY))
}

/// Encodes a frame without any texts.
///
/// # Errors
/// None in practice: memory is written to.
pub fn encode_plain(frame: &Frame) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    write(encoder(&mut bytes, frame, Compression::Fast), frame)?;
    Ok(bytes)
}

fn encode_with(frame: &Frame, texts: &Texts<'_>, compression: Compression) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut encoder = encoder(&mut bytes, frame, compression);
    // tEXt holds Latin-1 only; other prompts need iTXt. A1111 and its readers do the same.
    let parameters = texts.parameters.to_string();
    if parameters.chars().all(|c| u32::from(c) < 256) {
        encoder.add_text_chunk(PARAMETERS_KEY.into(), parameters)?;
    } else {
        encoder.add_itxt_chunk(PARAMETERS_KEY.into(), parameters)?;
    }
    encoder.add_itxt_chunk(MANIFEST_KEY.into(), texts.manifest.into())?;
    encoder.add_itxt_chunk(XMP_KEY.into(), xmp_packet())?;
    write(encoder, frame)?;
    Ok(bytes)
}

fn encoder<'a>(
    bytes: &'a mut Vec<u8>,
    frame: &Frame,
    compression: Compression,
) -> Encoder<'a, &'a mut Vec<u8>> {
    let mut encoder = Encoder::new(bytes, frame.width, frame.height);
    encoder.set_color(ColorType::Rgb);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_compression(compression);
    encoder.set_source_srgb(SrgbRenderingIntent::Perceptual);
    encoder
}

fn write(encoder: Encoder<'_, &mut Vec<u8>>, frame: &Frame) -> Result<()> {
    let mut writer = encoder.write_header().context("cannot encode the PNG header")?;
    writer
        .write_image_data(&frame.rgb)
        .context("cannot encode the PNG pixels")?;
    writer.finish().context("cannot finish the PNG")
}

/// A PNG read back: its pixels and the manifest text, where it has one.
#[derive(Debug)]
pub struct Picture {
    pub frame: Frame,
    pub manifest: Option<String>,
}

/// Reads a PNG as [`encode`] writes it: 8-bit RGB.
///
/// # Errors
/// `InputMissing` for a missing file, `BadInput` for one that is no PNG, is broken, or is no 8-bit
/// RGB picture of at most 256 MiB.
pub fn read(path: &Path) -> Result<Picture> {
    let bytes = read_bounded(path, LARGEST_FILE_BYTES)?;
    decode(&bytes).map_err(|why| {
        Error::new(
            ErrorKind::BadInput,
            format!("picture `{}`: not a readable PNG of ours ({why})", path.display()),
        )
        .hint("give a PNG, MP4, WebM or GIF that ourvidz wrote")
        .into()
    })
}

/// The largest file that is read.
const LARGEST_FILE_BYTES: u64 = 64 << 20;
/// All that is read beside the pixels.
const LARGEST_PAPERS_BYTES: usize = 16 << 20;
const LARGEST_PIXEL_BYTES: usize = 256 << 20;

/// A small chunk may promise gigabytes.
fn manifest_text(chunk: &ITXtChunk) -> Result<String, String> {
    let mut chunk = chunk.clone();
    chunk
        .decompress_text_with_limit(LARGEST_MANIFEST_BYTES)
        .and_then(|()| chunk.get_text())
        .map_err(|e| format!("its manifest: {e}"))
}

fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let limits = Limits {
        bytes: LARGEST_PAPERS_BYTES,
    };
    let mut reader = Decoder::new_with_limits(Cursor::new(bytes), limits)
        .read_info()
        .map_err(|e| e.to_string())?;
    if reader.output_color_type() != (ColorType::Rgb, BitDepth::Eight) {
        return Err("not 8-bit RGB".into());
    }
    let size = reader
        .output_buffer_size()
        .filter(|&n| n <= LARGEST_PIXEL_BYTES)
        .ok_or("more than 256 MiB of pixels")?;
    let mut rgb = vec![0; size];
    let shown = reader.next_frame(&mut rgb).map_err(|e| e.to_string())?;
    reader.finish().map_err(|e| e.to_string())?;
    let manifest = reader
        .info()
        .utf8_text
        .iter()
        .find(|chunk| chunk.keyword == MANIFEST_KEY)
        .map(manifest_text)
        .transpose()?;
    Ok(Picture {
        frame: Frame::new(shown.width, shown.height, rgb),
        manifest,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::kind_of;
    use crate::media::marks::DIGITAL_SOURCE_TYPE;

    fn frame() -> Frame {
        Frame::new(8, 4, (0..96).collect())
    }

    fn texts<'a>() -> Texts<'a> {
        Texts {
            manifest: "{\"größe\":1}",
            parameters: "a prompt\nSteps: 1",
        }
    }

    fn noise(width: u32, height: u32) -> Frame {
        let mut state = 1u32;
        let rgb = (0..width * height * 3)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        Frame::new(width, height, rgb)
    }

    #[test]
    fn pixels_and_manifest_come_back_and_bytes_repeat() {
        let bytes = encode(&frame(), &texts(), 1 << 20).unwrap();
        assert_eq!(bytes, encode(&frame(), &texts(), 1 << 20).unwrap());
        let back = decode(&bytes).unwrap();
        assert_eq!(back.frame, frame());
        assert_eq!(back.manifest.as_deref(), Some(texts().manifest));
    }

    #[test]
    fn the_synthetic_media_mark_is_readable_without_decompression() {
        let bytes = encode(&frame(), &texts(), 1 << 20).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("XML:com.adobe.xmp"));
        assert!(text.contains(&format!(
            "Iptc4xmpExt:DigitalSourceType=\"{DIGITAL_SOURCE_TYPE}\""
        )));
        assert!(text.contains("tEXtparameters"));
    }

    #[test]
    fn a_prompt_outside_latin_1_moves_parameters_to_itxt() {
        let texts = Texts {
            parameters: "灯台",
            ..texts()
        };
        let bytes = encode(&frame(), &texts, 1 << 20).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("iTXtparameters") && text.contains("灯台"));
    }

    #[test]
    fn a_picture_over_the_limit_is_output_too_large() {
        let error = encode(&noise(64, 64), &texts(), 4_000).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::OutputTooLarge);
    }

    #[test]
    fn broken_files_are_errors_and_never_panics() {
        let bytes = encode(&frame(), &texts(), 1 << 20).unwrap();
        for cut in 0..bytes.len() - 12 {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(decode(b"<html>").is_err());
    }
}
