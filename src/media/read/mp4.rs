//! MP4 (ISO/IEC 14496-12): its boxes, as far as one video track and our own texts need them.

use std::io::{Read, Seek};

use super::bytes::{Bytes, Source};
use super::probe::{Probe, Video, checked};
use crate::media::png::MANIFEST_KEY;

/// The box type that XMP's specification (part 3, MPEG-4) reserves for its packet.
pub const XMP_UUID: [u8; 16] = [
    0xBE, 0x7A, 0xCF, 0xCB, 0x97, 0xA9, 0x42, 0xE8, 0x9C, 0x71, 0x99, 0x94, 0x91, 0xE3, 0xAF, 0xAC,
];
/// An index for hours of video is below this.
const LARGEST_INDEX_BYTES: u64 = 64 << 20;
const MOST_TOP_LEVEL_BOXES: usize = 10_000;

/// Reads the index of an MP4; the frames themselves are skipped, and must be there.
///
/// # Errors
/// Why it cannot be read, to stand in parentheses.
pub fn read(reader: impl Read + Seek) -> Result<Video, String> {
    let mut source = Source::new(reader)?;
    let mut index = None;
    let mut has_frames = false;
    for _ in 0..MOST_TOP_LEVEL_BOXES {
        if source.left() == 0 {
            break;
        }
        let (kind, bytes) = top_level_header(&mut source)?;
        match &kind {
            b"moov" if index.is_none() => index = Some(source.take(bytes, LARGEST_INDEX_BYTES)?),
            _ => {
                has_frames |= &kind == b"mdat";
                source.skip(bytes)?;
            }
        }
    }
    if source.left() > 0 {
        return Err("it has too many boxes".into());
    }
    match index {
        Some(index) if has_frames => parse_index(&index),
        Some(_) => Err("it has no box `mdat`".into()),
        None => Err("it has no box `moov`".into()),
    }
}

/// The type of the next box and the number of bytes behind its header.
fn top_level_header<R: Read + Seek>(source: &mut Source<R>) -> Result<([u8; 4], u64), String> {
    let header = source.take(8, 8)?;
    let kind = [header[4], header[5], header[6], header[7]];
    let bytes = match Bytes(&header).u32()? {
        0 => Some(source.left()),
        1 => {
            let long = source.take(8, 8)?;
            Bytes(&long).number(8)?.checked_sub(16)
        }
        short => u64::from(short).checked_sub(8),
    };
    Ok((kind, bytes.ok_or("a box is shorter than its header")?))
}

/// The next box inside another: its type and content.
fn next<'a>(parent: &mut Bytes<'a>) -> Result<Option<([u8; 4], Bytes<'a>)>, String> {
    if parent.is_empty() {
        return Ok(None);
    }
    let size = parent.u32()?;
    let kind = parent.take(4)?;
    let kind = [kind[0], kind[1], kind[2], kind[3]];
    let bytes = match size {
        0 => Some(parent.0.len() as u64),
        1 => parent.number(8)?.checked_sub(16),
        short => u64::from(short).checked_sub(8),
    };
    let bytes = bytes
        .and_then(|b| usize::try_from(b).ok())
        .ok_or("a box is shorter than its header")?;
    Ok(Some((kind, Bytes(parent.take(bytes)?))))
}

/// The first box of a type inside another.
fn find<'a>(mut parent: Bytes<'a>, wanted: &[u8; 4]) -> Result<Option<Bytes<'a>>, String> {
    while let Some((kind, content)) = next(&mut parent)? {
        if &kind == wanted {
            return Ok(Some(content));
        }
    }
    Ok(None)
}

fn need<'a>(parent: Bytes<'a>, wanted: &[u8; 4]) -> Result<Bytes<'a>, String> {
    find(parent, wanted)?.ok_or_else(|| format!("it has no box `{}`", wanted.escape_ascii()))
}

fn parse_index(index: &[u8]) -> Result<Video, String> {
    let moov = Bytes(index);
    let mut boxes = moov;
    let mut probe = None;
    while let Some((kind, content)) = next(&mut boxes)? {
        if &kind == b"trak" && probe.is_none() {
            probe = video_track(need(content, b"mdia")?)?;
        }
    }
    Ok(Video {
        probe: probe.ok_or("it has no video track")?,
        manifest: manifest(moov)?,
    })
}

fn video_track(mdia: Bytes<'_>) -> Result<Option<Probe>, String> {
    let mut hdlr = need(mdia, b"hdlr")?;
    hdlr.take(8)?;
    if hdlr.take(4)? != b"vide" {
        return Ok(None);
    }
    let timescale = timescale(need(mdia, b"mdhd")?)?;
    let stbl = need(need(mdia, b"minf")?, b"stbl")?;
    let (frames, ticks) = times(need(stbl, b"stts")?)?;
    let mut stsz = need(stbl, b"stsz")?;
    stsz.take(8)?;
    if u64::from(stsz.u32()?) != frames {
        return Err("its tables disagree about the number of frames".into());
    }
    let (codec, width, height) = format(need(stbl, b"stsd")?)?;
    let duration_s = ticks as f64 / f64::from(timescale);
    checked(Probe {
        frames,
        fps: frames as f64 / duration_s,
        duration_s,
        width,
        height,
        codec,
    })
    .map(Some)
}

/// Ticks a second.
fn timescale(mut mdhd: Bytes<'_>) -> Result<u32, String> {
    let version = mdhd.u32()? >> 24;
    // Times of creation and change, four or eight bytes each.
    mdhd.take(if version == 1 { 16 } else { 8 })?;
    mdhd.u32()
}

/// The number of frames and of ticks that they last.
fn times(mut stts: Bytes<'_>) -> Result<(u64, u64), String> {
    stts.take(4)?;
    let entries = stts.u32()?;
    let (mut frames, mut ticks) = (0u64, 0u64);
    for _ in 0..entries {
        let (count, delta) = (u64::from(stts.u32()?), u64::from(stts.u32()?));
        frames += count;
        // Two numbers of 32 bits: the product fits, the sum of many may not.
        ticks = ticks
            .checked_add(count * delta)
            .ok_or("its duration is beyond measure")?;
    }
    Ok((frames, ticks))
}

/// Codec, width and height of the first sample description.
fn format(mut stsd: Bytes<'_>) -> Result<(String, u32, u32), String> {
    stsd.take(8)?;
    let (kind, mut entry) = next(&mut stsd)?.ok_or("it describes no codec")?;
    let codec = match &kind {
        b"avc1" | b"avc3" => "h264".into(),
        b"hvc1" | b"hev1" => "hevc".into(),
        b"vp09" => "vp9".into(),
        b"av01" => "av1".into(),
        other => other.escape_ascii().to_string(),
    };
    // SampleEntry (8) and the part of VisualSampleEntry before the size (16).
    entry.take(24)?;
    Ok((codec, entry.number(2)? as u32, entry.number(2)? as u32))
}

/// The text under our key: `moov/udta/meta` as MP4 has it or `moov/meta` as QuickTime has it.
fn manifest(moov: Bytes<'_>) -> Result<Option<String>, String> {
    let inside = match find(moov, b"udta")? {
        Some(udta) => find(udta, b"meta")?,
        None => None,
    };
    match inside.or(find(moov, b"meta")?) {
        Some(meta) => keyed_text(meta),
        None => Ok(None),
    }
}

/// QuickTime File Format, "Metadata item keys atom": names by number, then values by that number.
fn keyed_text(mut meta: Bytes<'_>) -> Result<Option<String>, String> {
    // A full box in MP4 (version and flags first), a plain one in QuickTime.
    if meta.0.get(4..8) != Some(b"hdlr") {
        meta.take(4)?;
    }
    let (Some(keys), Some(mut items)) = (find(meta, b"keys")?, find(meta, b"ilst")?) else {
        return Ok(None);
    };
    let Some(ours) = key_number(keys)? else {
        return Ok(None);
    };
    while let Some((number, item)) = next(&mut items)? {
        if u32::from_be_bytes(number) == ours {
            let mut data = need(item, b"data")?;
            // Type 1 is UTF-8; then the locale.
            if data.u32()? != 1 {
                return Err("its manifest is no text".into());
            }
            data.take(4)?;
            let text = std::str::from_utf8(data.0).map_err(|_| "its manifest is no UTF-8")?;
            return Ok(Some(text.to_string()));
        }
    }
    Ok(None)
}

fn key_number(mut keys: Bytes<'_>) -> Result<Option<u32>, String> {
    keys.take(4)?;
    let count = keys.u32()?;
    for number in 1..=count {
        let (_, name) = next(&mut keys)?.ok_or("a key is missing")?;
        if name.0 == MANIFEST_KEY.as_bytes() {
            return Ok(Some(number));
        }
    }
    Ok(None)
}

/// Moves `moov`, which is last, behind `ftyp`, so that players can begin before the file is there;
/// the places of the frames in its tables move with it.
///
/// # Errors
/// Why the file is not as FFmpeg writes it.
pub fn move_index_to_front(file: &mut [u8]) -> Result<(), String> {
    let mut rest = Bytes(file);
    let (kind, content) = next(&mut rest)?.ok_or("it is empty")?;
    if &kind != b"ftyp" {
        return Err("it does not begin with `ftyp`".into());
    }
    let front = 8 + content.0.len();
    let mut start = front;
    loop {
        let before = rest.0.len();
        let (kind, _) = next(&mut rest)?.ok_or("it has no box `moov`")?;
        if &kind == b"moov" {
            break;
        }
        start += before - rest.0.len();
    }
    if !rest.is_empty() {
        return Err("its box `moov` is not the last".into());
    }
    let moved = file.len() - start;
    shift_places(&mut file[start + 8..], moved as u64)?;
    file[front..].rotate_right(moved);
    Ok(())
}

/// Adds to every chunk's place in the file, in all tables below these boxes.
fn shift_places(boxes: &mut [u8], by: u64) -> Result<(), String> {
    let mut at = 0;
    while at < boxes.len() {
        let mut rest = Bytes(&boxes[at..]);
        let (kind, content) = next(&mut rest)?.ok_or("a box is missing")?;
        let end = boxes.len() - rest.0.len();
        let start = end - content.0.len();
        match &kind {
            b"trak" | b"mdia" | b"minf" | b"stbl" => shift_places(&mut boxes[start..end], by)?,
            b"stco" => shift_table::<4>(&mut boxes[start..end], by)?,
            b"co64" => shift_table::<8>(&mut boxes[start..end], by)?,
            _ => {}
        }
        at = end;
    }
    Ok(())
}

/// A table of version, count and that many numbers of `N` bytes.
fn shift_table<const N: usize>(table: &mut [u8], by: u64) -> Result<(), String> {
    let count = {
        let mut head = Bytes(table);
        head.take(4)?;
        head.u32()? as usize
    };
    let places = table
        .get_mut(8..)
        .filter(|places| places.len() / N >= count)
        .ok_or("it is truncated")?;
    for place in places.chunks_exact_mut(N).take(count) {
        let moved = Bytes(place)
            .number(N)?
            .checked_add(by)
            .ok_or("a place is out of range")?;
        if N == 4 && moved > u64::from(u32::MAX) {
            return Err("a place is out of range".into());
        }
        place.copy_from_slice(&moved.to_be_bytes()[8 - N..]);
    }
    Ok(())
}

/// Appends an XMP packet in the box made for it; at the end, it moves nothing.
///
/// # Panics
/// If the packet is over 4 GiB.
pub fn append_xmp(file: &mut Vec<u8>, packet: &str) {
    let bytes = u32::try_from(8 + XMP_UUID.len() + packet.len()).expect("a packet of a few hundred bytes");
    file.extend(bytes.to_be_bytes());
    file.extend(b"uuid");
    file.extend(XMP_UUID);
    file.extend(packet.as_bytes());
}
