//! Small pictures of large ones, for lists of results.

use std::io::Cursor;

use anyhow::{Context, Result};
use image::codecs::webp::WebPEncoder;
use image::imageops::{FilterType, resize};
use image::{ExtendedColorType, ImageEncoder, RgbImage};

use super::frames::Frame;

/// The longer side, in pixels.
const SIDE_PX: u32 = 256;

/// A WebP of at most 256 pixels a side, its aspect kept. A smaller frame stays as it is.
///
/// # Errors
/// When the encoder fails.
pub fn webp(frame: &Frame) -> Result<Vec<u8>> {
    let picture = RgbImage::from_raw(frame.width, frame.height, frame.rgb.clone())
        .context("a frame holds as many bytes as it says")?;
    let longer = frame.width.max(frame.height);
    let small = match longer > SIDE_PX {
        true => {
            let side = |px: u32| (u64::from(px) * u64::from(SIDE_PX) / u64::from(longer)).max(1) as u32;
            resize(
                &picture,
                side(frame.width),
                side(frame.height),
                FilterType::Triangle,
            )
        }
        false => picture,
    };
    let mut bytes = Cursor::new(Vec::new());
    WebPEncoder::new_lossless(&mut bytes)
        .write_image(
            small.as_raw(),
            small.width(),
            small.height(),
            ExtendedColorType::Rgb8,
        )
        .context("thumbnail")?;
    Ok(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> (u32, u32) {
        let frame = Frame::new(width, height, vec![7; (width * height * 3) as usize]);
        let read = image::load_from_memory(&webp(&frame).unwrap()).unwrap();
        assert_eq!(read.to_rgb8().get_pixel(0, 0).0, [7; 3]);
        (read.width(), read.height())
    }

    #[test]
    fn the_longer_side_has_256_pixels_and_small_frames_stay() {
        assert_eq!(size(1024, 512), (256, 128));
        assert_eq!(size(480, 832), (147, 256));
        assert_eq!(size(64, 32), (64, 32));
        assert_eq!(size(2000, 1), (256, 1));
    }
}
