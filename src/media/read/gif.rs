//! GIF89a: its blocks, as far as frames, delays and our comment need them.

use std::io::{Read, Seek};

use super::bytes::{Bytes, Source};
use super::probe::{Probe, Video, checked};

const LARGEST_COMMENT_BYTES: usize = 4 << 20;
/// The label of a graphic control extension (GIF89a, section 23): the delay is in it.
const CONTROL: u8 = 0xF9;
/// The label of a comment extension (section 24): the manifest is in it.
const COMMENT: u8 = 0xFE;

/// # Errors
/// Why it cannot be read, to stand in parentheses.
pub fn read(reader: impl Read + Seek) -> Result<Video, String> {
    let mut source = Source::new(reader)?;
    let head = source.take(13, 13)?;
    let mut screen = Bytes(&head[6..]);
    let (width, height) = (screen.u16_le()?, screen.u16_le()?);
    skip_palette(&mut source, screen.u8()?)?;
    let (mut frames, mut delays_cs, mut manifest) = (0u64, 0u64, None);
    loop {
        match source.u8()? {
            b'!' => match source.u8()? {
                CONTROL => {
                    let control = sub_blocks(&mut source, 255)?;
                    let mut control = Bytes(&control);
                    control.u8()?;
                    delays_cs += u64::from(control.u16_le()?);
                }
                COMMENT => {
                    let text = sub_blocks(&mut source, LARGEST_COMMENT_BYTES)?;
                    if text.starts_with(b"{") && manifest.is_none() {
                        manifest = Some(String::from_utf8(text).map_err(|_| "its manifest is no UTF-8")?);
                    }
                }
                _ => skip_sub_blocks(&mut source)?,
            },
            b',' => {
                let descriptor = source.take(9, 9)?;
                skip_palette(&mut source, descriptor[8])?;
                source.skip(1)?;
                skip_sub_blocks(&mut source)?;
                frames += 1;
            }
            b';' => break,
            _ => return Err("a block of unknown type".into()),
        }
    }
    let duration_s = delays_cs as f64 / 100.0;
    let probe = checked(Probe {
        frames,
        fps: frames as f64 / duration_s,
        duration_s,
        width: width.into(),
        height: height.into(),
        codec: "gif".into(),
    })?;
    Ok(Video { probe, manifest })
}

fn skip_palette<R: Read + Seek>(source: &mut Source<R>, flags: u8) -> Result<(), String> {
    match flags & 0x80 {
        0 => Ok(()),
        _ => source.skip(3 * (2 << (flags & 7))),
    }
}

fn skip_sub_blocks<R: Read + Seek>(source: &mut Source<R>) -> Result<(), String> {
    loop {
        match source.u8()? {
            0 => return Ok(()),
            bytes => source.skip(bytes.into())?,
        }
    }
}

fn sub_blocks<R: Read + Seek>(source: &mut Source<R>, limit: usize) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    loop {
        let bytes = source.u8()?;
        if bytes == 0 {
            return Ok(all);
        }
        if all.len() + usize::from(bytes) > limit {
            return Err(format!("an extension over {limit} bytes"));
        }
        all.extend(source.take(bytes.into(), 255)?);
    }
}
