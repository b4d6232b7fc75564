//! GIF: a palette for every frame, delays that add up exactly, the papers in extension blocks.

use anyhow::{Context, Result};
use gif::{Encoder, Repeat};

use super::format::within;
use super::fps::Fps;
use crate::fail;
use crate::media::frames::Frame;
use crate::media::marks::xmp_packet;
use crate::media::png::Texts;

/// The label of comment extensions (GIF89a, section 24).
pub const COMMENT: u8 = 0xFE;
/// The label of application extensions (GIF89a, section 26).
pub const APPLICATION: u8 = 0xFF;
/// Viewers take shorter delays for a tenth of a second.
const SHORTEST_DELAY_CS: u64 = 2;
/// Of color_quant's 1 (best) to 30: every tenth pixel teaches the palette.
const PALETTE_SPEED: i32 = 10;

/// # Errors
/// As [`super::encode`].
pub fn encode(frames: &[Frame], fps: Fps, texts: &Texts<'_>, limit_bytes: u64) -> Result<Vec<u8>> {
    if fps.as_f64() * SHORTEST_DELAY_CS as f64 > 100.0 {
        fail!(InvalidSpec, "fps is {} and GIF viewers play at most 50 frames a second", fps.as_f64();
            "use 1 to 50, or --format mp4 or webm");
    }
    let (width, height) = (side(frames[0].width, "width")?, side(frames[0].height, "height")?);
    let mut encoder = Encoder::new(Vec::new(), width, height, &[]).context("cannot begin the GIF")?;
    encoder
        .set_repeat(Repeat::Infinite)
        .context("cannot begin the GIF")?;
    for (index, frame) in frames.iter().enumerate() {
        let mut shown = gif::Frame::from_rgb_speed(width, height, &frame.rgb, PALETTE_SPEED);
        shown.delay = delay_cs(index as u64, fps);
        encoder
            .write_frame(&shown)
            .with_context(|| format!("cannot encode frame {index} as GIF"))?;
        within(encoder.get_ref().len() as u64, limit_bytes)?;
    }
    let mut bytes = encoder.into_inner().context("cannot finish the GIF")?;
    insert_papers(&mut bytes, texts);
    Ok(bytes)
}

fn side(pixels: u32, name: &str) -> Result<u16> {
    match u16::try_from(pixels) {
        Ok(side) => Ok(side),
        Err(_) => {
            fail!(InvalidSpec, "{name} is {pixels} and GIF holds at most 65535"; "use a smaller {name}")
        }
    }
}

/// Hundredths of a second from the start of a frame to the start of the next, where every start is
/// rounded on its own: the error never grows above half a hundredth.
fn delay_cs(index: u64, fps: Fps) -> u16 {
    let (frames, seconds) = (u64::from(fps.frames()), u64::from(fps.seconds()));
    let start = |i: u64| (i * seconds * 200 + frames) / (2 * frames);
    u16::try_from(start(index + 1) - start(index)).expect("at most one second a frame")
}

/// Puts the manifest (a comment) and the XMP packet behind the screen descriptor and its palette.
fn insert_papers(bytes: &mut Vec<u8>, texts: &Texts<'_>) {
    let flags = bytes[10];
    let palette = match flags & 0x80 {
        0 => 0,
        _ => 3 * (2usize << (flags & 7)),
    };
    let at = 13 + palette;
    let mut papers = comment(texts.manifest.as_bytes());
    papers.extend(xmp_extension());
    bytes.splice(at..at, papers);
}

fn comment(text: &[u8]) -> Vec<u8> {
    let mut block = vec![b'!', COMMENT];
    for chunk in text.chunks(255) {
        block.push(chunk.len() as u8);
        block.extend_from_slice(chunk);
    }
    block.push(0);
    block
}

/// XMP specification, part 3, GIF: the packet is not cut into sub-blocks; the 257 bytes that follow
/// lead a reader of sub-blocks to the end wherever in the text it last landed.
fn xmp_extension() -> Vec<u8> {
    let mut block = vec![b'!', APPLICATION, 11];
    block.extend_from_slice(b"XMP DataXMP");
    block.extend_from_slice(xmp_packet().as_bytes());
    block.push(1);
    block.extend((0..=255).rev());
    block.push(0);
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_add_up_to_the_exact_time() {
        for (rate, count, total) in [
            (16.0, 16, 100),
            (8.0, 8, 100),
            (30.0, 90, 300),
            (23.976, 2400, 10_010),
        ] {
            let fps = Fps::new(rate).unwrap();
            let sum: u64 = (0..count).map(|i| u64::from(delay_cs(i, fps))).sum();
            assert_eq!(sum, total, "{rate}");
        }
        assert_eq!(delay_cs(0, Fps::new(1.0).unwrap()), 100);
    }
}
