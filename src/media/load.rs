//! Reference pictures: what may come in, checked before it is decoded.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use anyhow::Result;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::frames::Frame;
use super::read::{FileKind, sniff};
use crate::error::{Error, ErrorKind};
use crate::files::{input_error, open_regular};

/// The largest file that is read.
pub const LARGEST_FILE_BYTES: u64 = 20 << 20;
/// The longest side.
pub const LARGEST_SIDE_PX: u32 = 8192;
/// The most that the decoded pixels may take, as the file stores them.
pub const LARGEST_DECODED_BYTES: u64 = 256 << 20;

/// Reads the bytes of a reference picture. `name` begins the messages, such as
/// ``first_frame `a.png` ``.
///
/// # Errors
/// `InputMissing` for a missing file or one that is no regular file, `BadInput` for one that is too
/// large.
pub fn read_reference(name: &str, path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(name, path)?
        .take(LARGEST_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| named(name, input_error(path, e)))?;
    if bytes.len() as u64 > LARGEST_FILE_BYTES {
        return Err(too_large(name));
    }
    Ok(bytes)
}

/// Looks at size and first bytes of a reference picture, so that most mistakes are known before
/// any work.
///
/// # Errors
/// As [`read_reference`], and `BadInput` for what is no picture by its first bytes.
pub fn check_reference(name: &str, path: &Path) -> Result<()> {
    /// As many as a type needs to be told apart.
    const FIRST_BYTES: u64 = 512;
    let file = open(name, path)?;
    let length = file
        .metadata()
        .map_err(|e| named(name, input_error(path, e)))?
        .len();
    if length > LARGEST_FILE_BYTES {
        return Err(too_large(name));
    }
    let mut first = Vec::new();
    file.take(FIRST_BYTES)
        .read_to_end(&mut first)
        .map_err(|e| named(name, input_error(path, e)))?;
    format_of(name, &first).map(drop)
}

fn open(name: &str, path: &Path) -> Result<File> {
    open_regular(path).map_err(|e| {
        let Error { kind, message, .. } = Error::summary(&e);
        let error = Error::new(kind, message).hint("name a PNG, JPEG or WebP file that is there");
        named(name, error)
    })
}

fn named(name: &str, error: Error) -> anyhow::Error {
    Error {
        message: format!("{name}: {}", error.message),
        ..error
    }
    .into()
}

fn too_large(name: &str) -> anyhow::Error {
    bad(name, "over the limit of 20 MiB", "save it smaller, or as JPEG")
}

/// Width and height of a reference picture as it is decoded.
///
/// # Errors
/// As [`read_reference`] and [`load_reference`].
pub fn size_px(name: &str, path: &Path) -> Result<(u32, u32)> {
    let bytes = read_reference(name, path)?;
    let frame = load_reference(name, &bytes)?;
    Ok((frame.width, frame.height))
}

/// Decodes a PNG, JPEG or WebP, told apart by its content. The picture is turned as its EXIF
/// orientation says, everything else beside the pixels is dropped; transparency shows black; grey,
/// indexed and 16-bit pixels become 8-bit RGB. Of an animation, the first picture counts.
///
/// # Errors
/// `BadInput` for another type, a broken file, and one over [`LARGEST_FILE_BYTES`],
/// [`LARGEST_SIDE_PX`] or [`LARGEST_DECODED_BYTES`].
pub fn load_reference(name: &str, bytes: &[u8]) -> Result<Frame> {
    if bytes.len() as u64 > LARGEST_FILE_BYTES {
        return Err(too_large(name));
    }
    let format = format_of(name, bytes)?;
    let mut decoder = decoder(name, bytes, format)?;
    let why = |e: image::ImageError| broken(name, shown(format), &e.to_string());
    let orientation = decoder.orientation().map_err(why)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(why)?;
    picture.apply_orientation(orientation);
    let rgb = match picture.color().has_alpha() {
        true => on_black(picture),
        false => picture.into_rgb8(),
    };
    Ok(Frame::new(rgb.width(), rgb.height(), rgb.into_raw()))
}

/// Looks at everything of a picture but its pixels: type, size, and whether it is whole as far as its
/// header tells.
///
/// # Errors
/// As [`load_reference`], but for pixels that cannot be decoded.
pub fn check_picture(name: &str, bytes: &[u8]) -> Result<()> {
    if bytes.len() as u64 > LARGEST_FILE_BYTES {
        return Err(too_large(name));
    }
    decoder(name, bytes, format_of(name, bytes)?).map(drop)
}

/// The type by the content's first bytes.
fn format_of(name: &str, bytes: &[u8]) -> Result<ImageFormat> {
    Ok(match sniff(bytes) {
        Some(FileKind::Png) => ImageFormat::Png,
        Some(FileKind::Jpeg) => ImageFormat::Jpeg,
        Some(FileKind::Webp) => ImageFormat::WebP,
        Some(FileKind::Markup) => {
            return Err(bad(
                name,
                "holds HTML or XML, whatever its name says",
                "save the picture itself, not the page that shows it",
            ));
        }
        _ if bytes.is_empty() => return Err(bad(name, "is empty", "save it again")),
        _ => {
            return Err(bad(
                name,
                "is not a PNG, JPEG or WebP",
                "convert it to one of these",
            ));
        }
    })
}

/// A decoder that has read the header and finds nothing wrong with it.
fn decoder<'b>(name: &str, bytes: &'b [u8], format: ImageFormat) -> Result<impl ImageDecoder + 'b> {
    if format == ImageFormat::Jpeg && !jpeg_is_complete(bytes) {
        return Err(broken(name, "JPEG", "it is truncated"));
    }
    let why = |e: image::ImageError| broken(name, shown(format), &e.to_string());
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // The checks below are tighter and say more; this bounds what is compressed beside the pixels.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(LARGEST_DECODED_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(why)?;
    let (width, height) = decoder.dimensions();
    if width.max(height) > LARGEST_SIDE_PX {
        let found = format!("is {width}x{height} and a side may be {LARGEST_SIDE_PX} at most");
        return Err(bad(name, &found, "scale it down"));
    }
    if decoder.total_bytes() > LARGEST_DECODED_BYTES {
        let found = format!("takes {} bytes decoded, over 256 MiB", decoder.total_bytes());
        return Err(bad(
            name,
            &found,
            "scale it down, or save it with 8 bits a channel",
        ));
    }
    if width == 0 || height == 0 {
        return Err(broken(name, shown(format), "it has no pixels"));
    }
    Ok(decoder)
}

fn shown(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        _ => "WebP",
    }
}

fn on_black(picture: DynamicImage) -> image::RgbImage {
    let rgba = picture.into_rgba8();
    let (width, height) = rgba.dimensions();
    let rgb = rgba
        .pixels()
        .flat_map(|pixel| {
            let [r, g, b, alpha] = pixel.0.map(u16::from);
            [r, g, b].map(|v| ((v * alpha + 127) / 255) as u8)
        })
        .collect();
    image::RgbImage::from_raw(width, height, rgb).expect("three bytes a pixel")
}

/// Whether the end marker follows the first scan: the decoder itself fills what is missing with
/// grey and says nothing. Inside a scan, the marker's bytes cannot occur (ITU-T T.81, B.1.1.5).
fn jpeg_is_complete(bytes: &[u8]) -> bool {
    let mut at = 2;
    // Segments with a length, up to the first scan; a thumbnail among them has an end of its own.
    while let Some(&[0xFF, marker, high, low]) = bytes.get(at..at + 4) {
        if marker == 0xFF {
            at += 1;
            continue;
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
        if marker == 0xDA {
            let scan = bytes.get(at..).unwrap_or_default();
            return scan.windows(2).any(|pair| pair == [0xFF, 0xD9]);
        }
    }
    false
}

fn broken(name: &str, format: &str, why: &str) -> anyhow::Error {
    let found = format!("is no readable {format} ({why})");
    bad(name, &found, "save or fetch it again; it may be incomplete")
}

fn bad(name: &str, found: &str, hint: &str) -> anyhow::Error {
    Error::new(ErrorKind::BadInput, format!("{name}: {found}"))
        .hint(hint)
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{hint_of, kind_of};
    use image::{ExtendedColorType, ImageEncoder};

    const NAME: &str = "first_frame `a.png`";

    fn png(width: u32, height: u32, color: ExtendedColorType, pixels: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        image::codecs::png::PngEncoder::new(&mut bytes)
            .write_image(pixels, width, height, color)
            .unwrap();
        bytes
    }

    fn jpeg(exif: Option<Vec<u8>>) -> Vec<u8> {
        // Left half white, right half black; whole blocks, so that nothing rings over the edge.
        let pixels: Vec<u8> = (0..32 * 16)
            .flat_map(|i| [if i % 32 < 16 { 255 } else { 0 }; 3])
            .collect();
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 95);
        if let Some(exif) = exif {
            encoder.set_exif_metadata(exif).unwrap();
        }
        encoder
            .write_image(&pixels, 32, 16, ExtendedColorType::Rgb8)
            .unwrap();
        bytes
    }

    /// A big-endian TIFF header with one entry: orientation, a short.
    fn exif(orientation: u8) -> Vec<u8> {
        let mut bytes = b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        bytes.extend([orientation, 0, 0, 0, 0, 0, 0]);
        bytes
    }

    fn refused(bytes: &[u8], says: &str) {
        let error = load_reference(NAME, bytes).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::BadInput);
        let text = error.to_string();
        assert!(text.starts_with(NAME) && text.contains(says), "{text}");
        assert!(hint_of(&error).is_some());
    }

    #[test]
    fn png_jpeg_and_webp_are_known_by_their_content() {
        let frame = load_reference(NAME, &png(2, 1, ExtendedColorType::Rgb8, &[1, 2, 3, 4, 5, 6])).unwrap();
        assert_eq!(frame, Frame::new(2, 1, vec![1, 2, 3, 4, 5, 6]));
        let frame = load_reference(NAME, &jpeg(None)).unwrap();
        assert_eq!((frame.width, frame.height), (32, 16));
        assert!(frame.rgb[0] > 250 && frame.rgb[31 * 3] < 5);
        let mut webp = Vec::new();
        image::codecs::webp::WebPEncoder::new_lossless(&mut webp)
            .encode(&[9, 8, 7], 1, 1, ExtendedColorType::Rgb8)
            .unwrap();
        assert_eq!(load_reference(NAME, &webp).unwrap().rgb, [9, 8, 7]);
    }

    #[test]
    fn the_exif_orientation_is_applied() {
        // 6: turn by 90 degrees clockwise, so that the left side comes up.
        let frame = load_reference(NAME, &jpeg(Some(exif(6)))).unwrap();
        assert_eq!((frame.width, frame.height), (16, 32));
        assert!(frame.rgb[0] > 250 && frame.rgb[31 * 16 * 3] < 5);
        // 3: upside down, so that the left side goes right.
        let frame = load_reference(NAME, &jpeg(Some(exif(3)))).unwrap();
        assert!(frame.rgb[0] < 5 && frame.rgb[31 * 3] > 250);
    }

    #[test]
    fn transparency_shows_black_and_other_depths_become_8_bit_rgb() {
        let bytes = png(
            2,
            1,
            ExtendedColorType::Rgba8,
            &[200, 100, 50, 0, 200, 100, 50, 128],
        );
        assert_eq!(load_reference(NAME, &bytes).unwrap().rgb, [0, 0, 0, 100, 50, 25]);
        let bytes = png(1, 1, ExtendedColorType::L8, &[77]);
        assert_eq!(load_reference(NAME, &bytes).unwrap().rgb, [77; 3]);
        let wide: Vec<u8> = [0xFFFF_u16, 0x8000, 0]
            .iter()
            .flat_map(|v| v.to_ne_bytes())
            .collect();
        let bytes = png(1, 1, ExtendedColorType::Rgb16, &wide);
        assert_eq!(load_reference(NAME, &bytes).unwrap().rgb, [255, 128, 0]);
    }

    #[test]
    fn what_is_no_picture_is_refused_with_the_reason() {
        refused(b"  <!DOCTYPE html><html>not found</html>", "HTML");
        refused(b"GIF89a", "not a PNG, JPEG or WebP");
        refused(b"hello", "not a PNG, JPEG or WebP");
        refused(b"", "empty");
        refused(&vec![0; LARGEST_FILE_BYTES as usize + 1], "20 MiB");
    }

    #[test]
    fn a_picture_cut_anywhere_is_refused() {
        for whole in [jpeg(None), jpeg(Some(exif(6)))] {
            for cut in 4..whole.len() {
                refused(&whole[..cut], "JPEG");
            }
        }
        let whole = png(4, 4, ExtendedColorType::Rgb8, &(0..48).collect::<Vec<u8>>());
        // The last 12 bytes are the end mark, which holds no pixels.
        for cut in 8..whole.len() - 12 {
            refused(&whole[..cut], "PNG");
        }
    }

    /// A PNG header that promises a size, with its checksum, and nothing behind it but an empty end.
    fn promising(width: u32, height: u32, depth: u8, color: u8) -> Vec<u8> {
        let mut header = b"IHDR".to_vec();
        header.extend(width.to_be_bytes());
        header.extend(height.to_be_bytes());
        header.extend([depth, color, 0, 0, 0]);
        let mut crc = flate2::Crc::new();
        crc.update(&header);
        let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
        bytes.extend(&header);
        bytes.extend(crc.sum().to_be_bytes());
        bytes.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
        bytes
    }

    #[test]
    fn huge_pictures_are_refused_by_their_header() {
        refused(&promising(8193, 1, 8, 2), "8193x1");
        refused(&promising(1, 100_000, 8, 2), "1x100000");
        refused(&promising(8192, 8192, 16, 6), "256 MiB");
        refused(&promising(8192, 8192, 8, 6), "no readable PNG");
    }

    #[test]
    fn a_missing_file_is_missing_input_and_names_the_field() {
        let error = read_reference("first_frame", Path::new("no-such.png")).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::InputMissing);
        let text = error.to_string();
        assert!(
            text.contains("first_frame") && text.contains("no-such.png"),
            "{text}"
        );
    }
}
