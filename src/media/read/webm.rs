//! WebM (Matroska, RFC 9559): its elements, as far as one video track and our tags need them.

use std::io::{Read, Seek};

use super::bytes::{Bytes, Source};
use super::probe::{Probe, Video, checked};
use crate::media::png::MANIFEST_KEY;

const LARGEST_ELEMENT_BYTES: u64 = 64 << 20;

// Element identifiers of RFC 9559, section 5.1, and RFC 8794 for the header.
const EBML: u64 = 0x1A45_DFA3;
const SEGMENT: u64 = 0x1853_8067;
const INFO: u64 = 0x1549_A966;
const TIMESTAMP_SCALE: u64 = 0x2A_D7B1;
const DURATION: u64 = 0x4489;
const TRACKS: u64 = 0x1654_AE6B;
const TRACK_ENTRY: u64 = 0xAE;
const CODEC_ID: u64 = 0x86;
const DEFAULT_DURATION: u64 = 0x23_E383;
const VIDEO: u64 = 0xE0;
const PIXEL_WIDTH: u64 = 0xB0;
const PIXEL_HEIGHT: u64 = 0xBA;
const TAGS: u64 = 0x1254_C367;
const TAG: u64 = 0x7373;
const SIMPLE_TAG: u64 = 0x67C8;
const TAG_NAME: u64 = 0x45A3;
const TAG_STRING: u64 = 0x4487;
const CLUSTER: u64 = 0x1F43_B675;
const SIMPLE_BLOCK: u64 = 0xA3;
const BLOCK_GROUP: u64 = 0xA0;

/// What the elements of a file tell, in the order in which they come.
#[derive(Default)]
struct Found {
    frames: u64,
    duration_s: f64,
    fps: Option<f64>,
    width: u32,
    height: u32,
    codec: String,
    manifest: Option<String>,
}

/// # Errors
/// Why it cannot be read, to stand in parentheses.
pub fn read(reader: impl Read + Seek) -> Result<Video, String> {
    let mut source = Source::new(reader)?;
    let (id, bytes) = header(&mut source)?;
    if id != EBML {
        return Err("it does not begin with an EBML header".into());
    }
    source.skip(bytes)?;
    let (id, bytes) = header(&mut source)?;
    if id != SEGMENT || bytes != source.left() {
        return Err("its segment does not reach to its end".into());
    }
    let mut found = Found::default();
    while source.left() > 0 {
        let (id, bytes) = header(&mut source)?;
        match id {
            INFO | TRACKS | TAGS => found.learn(id, &source.take(bytes, LARGEST_ELEMENT_BYTES)?)?,
            CLUSTER => found.frames += blocks(&mut source, bytes)?,
            _ => source.skip(bytes)?,
        }
    }
    let fps = found.fps.unwrap_or(found.frames as f64 / found.duration_s);
    let probe = checked(Probe {
        frames: found.frames,
        fps,
        duration_s: found.duration_s,
        width: found.width,
        height: found.height,
        codec: found.codec,
    })?;
    Ok(Video {
        probe,
        manifest: found.manifest,
    })
}

/// Frames in a cluster; those of one video track, since we write no other.
fn blocks<R: Read + Seek>(source: &mut Source<R>, bytes: u64) -> Result<u64, String> {
    let end = source.position() + bytes;
    let mut count = 0;
    while source.position() < end {
        let (id, bytes) = header(source)?;
        count += u64::from(id == SIMPLE_BLOCK || id == BLOCK_GROUP);
        source.skip(bytes)?;
    }
    Ok(count)
}

/// The identifier of the next element and the number of bytes in it.
fn header<R: Read + Seek>(source: &mut Source<R>) -> Result<(u64, u64), String> {
    let mut variable = |marker: bool, longest: usize| -> Result<u64, String> {
        let first = source.u8()?;
        let length = length_of(first, longest)?;
        let more = source.take(length as u64 - 1, 7)?;
        value(first, &more, marker)
    };
    let id = variable(true, 4)?;
    let bytes = variable(false, 8)?;
    match bytes <= source.left() {
        true => Ok((id, bytes)),
        false => Err("it is truncated".into()),
    }
}

/// The same inside bytes that are already read: identifier and content.
fn next<'a>(parent: &mut Bytes<'a>) -> Result<Option<(u64, Bytes<'a>)>, String> {
    if parent.is_empty() {
        return Ok(None);
    }
    let mut variable = |marker: bool, longest: usize| -> Result<u64, String> {
        let first = parent.u8()?;
        let length = length_of(first, longest)?;
        value(first, parent.take(length - 1)?, marker)
    };
    let id = variable(true, 4)?;
    let bytes = usize::try_from(variable(false, 8)?).map_err(|e| e.to_string())?;
    Ok(Some((id, Bytes(parent.take(bytes)?))))
}

/// Bytes of a number whose first byte is `first`: one more than its leading zero bits.
fn length_of(first: u8, longest: usize) -> Result<usize, String> {
    match first.leading_zeros() as usize + 1 {
        length if length <= longest => Ok(length),
        _ => Err("a broken length".into()),
    }
}

/// Identifiers keep the bit that marks their length, sizes do not.
fn value(first: u8, more: &[u8], marker: bool) -> Result<u64, String> {
    let length = more.len() as u32 + 1;
    let first = match marker {
        true => first,
        false => first & (0xFFu16 >> length) as u8,
    };
    let number = more
        .iter()
        .fold(u64::from(first), |n, &b| (n << 8) | u64::from(b));
    // All ones: a live stream whose length nobody knew.
    if !marker && number == (1 << (7 * length)) - 1 {
        return Err("an element of unknown length".into());
    }
    Ok(number)
}

impl Found {
    fn learn(&mut self, id: u64, content: &[u8]) -> Result<(), String> {
        match id {
            INFO => self.info(Bytes(content)),
            TRACKS => self.tracks(Bytes(content)),
            _ => self.tags(Bytes(content)),
        }
    }

    fn info(&mut self, mut info: Bytes<'_>) -> Result<(), String> {
        let (mut scale_ns, mut duration) = (1_000_000, 0.0);
        while let Some((id, content)) = next(&mut info)? {
            match id {
                TIMESTAMP_SCALE => scale_ns = integer(content)?,
                DURATION => duration = float(content)?,
                _ => {}
            }
        }
        self.duration_s = duration * scale_ns as f64 / 1e9;
        Ok(())
    }

    fn tracks(&mut self, mut tracks: Bytes<'_>) -> Result<(), String> {
        while let Some((id, mut track)) = next(&mut tracks)? {
            if id != TRACK_ENTRY {
                continue;
            }
            let (mut fps, mut codec, mut size) = (None, String::new(), None);
            while let Some((id, content)) = next(&mut track)? {
                match id {
                    CODEC_ID => codec = codec_name(content.0),
                    DEFAULT_DURATION => fps = Some(1e9 / integer(content)? as f64),
                    VIDEO => size = Some(dimensions(content)?),
                    _ => {}
                }
            }
            if let Some((width, height)) = size.filter(|_| self.width == 0) {
                (self.width, self.height, self.fps, self.codec) = (width, height, fps, codec);
            }
        }
        Ok(())
    }

    fn tags(&mut self, mut tags: Bytes<'_>) -> Result<(), String> {
        while let Some((id, mut tag)) = next(&mut tags)? {
            if id != TAG {
                continue;
            }
            while let Some((id, simple)) = next(&mut tag)? {
                if id == SIMPLE_TAG && self.manifest.is_none() {
                    self.manifest = our_text(simple)?;
                }
            }
        }
        Ok(())
    }
}

/// The text of a tag when it is the one with our manifest. Muxers write names in capitals.
fn our_text(mut tag: Bytes<'_>) -> Result<Option<String>, String> {
    let (mut ours, mut text) = (false, &[][..]);
    while let Some((id, content)) = next(&mut tag)? {
        match id {
            TAG_NAME => ours = content.0.eq_ignore_ascii_case(MANIFEST_KEY.as_bytes()),
            TAG_STRING => text = content.0,
            _ => {}
        }
    }
    if !ours {
        return Ok(None);
    }
    let text = std::str::from_utf8(text).map_err(|_| "its manifest is no UTF-8")?;
    Ok(Some(text.to_string()))
}

fn dimensions(mut video: Bytes<'_>) -> Result<(u32, u32), String> {
    let (mut width, mut height) = (0, 0);
    while let Some((id, content)) = next(&mut video)? {
        let side = || u32::try_from(integer(content)?).map_err(|e| e.to_string());
        match id {
            PIXEL_WIDTH => width = side()?,
            PIXEL_HEIGHT => height = side()?,
            _ => {}
        }
    }
    Ok((width, height))
}

/// FFmpeg's name of a codec: `V_VP9` is `vp9`.
fn codec_name(id: &[u8]) -> String {
    let id = id.strip_prefix(b"V_").unwrap_or(id);
    id.escape_ascii().to_string().to_ascii_lowercase()
}

fn integer(mut content: Bytes<'_>) -> Result<u64, String> {
    match content.0.len() {
        bytes @ 0..=8 => content.number(bytes),
        _ => Err("a number of more than 8 bytes".into()),
    }
}

fn float(mut content: Bytes<'_>) -> Result<f64, String> {
    match content.0.len() {
        4 => Ok(f64::from(f32::from_bits(content.u32()?))),
        8 => Ok(f64::from_bits(content.number(8)?)),
        _ => Err("a broken number".into()),
    }
}
