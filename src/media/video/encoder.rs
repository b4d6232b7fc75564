//! H.264 and VP9 through FFmpeg's libraries.

use std::sync::Once;

use anyhow::Result;
use ffmpeg_next::codec::encoder::{find_by_name, video};
use ffmpeg_next::format::Pixel;
use ffmpeg_next::util::color::{Range, Space};
use ffmpeg_next::{self as ffmpeg, Codec, Dictionary, Packet, Rational};

use super::ffmpeg as libraries;
use super::format::{VideoFormat, VideoSettings, within};
use super::muxer::{Muxer, rational};
use super::yuv::{self, CB, CR};
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::media::frames::Frame;
use crate::media::marks::xmp_packet;
use crate::media::png::{MANIFEST_KEY, Texts};
use crate::media::read::mp4;

/// A fixed number: both encoders divide the work by it, and so the bytes depend on it.
const THREADS: &str = "4";
/// Between the quality scales of H.264 and VP9.
const VP9_CRF_OFFSET: u8 = 8;

/// The libraries, FFmpeg's texts for its error codes, and silence: what it logs would land on the
/// terminal.
fn prepare() -> Result<()> {
    static ONCE: Once = Once::new();
    libraries::open()?;
    ONCE.call_once(|| {
        // The call only fills the table of texts; it has no failure to report.
        let _ = ffmpeg::init();
        ffmpeg::log::set_level(ffmpeg::log::Level::Quiet);
    });
    Ok(())
}

/// # Errors
/// `Unavailable` when FFmpeg's libraries are not there.
pub fn library_version() -> Result<String> {
    prepare()?;
    let version = ffmpeg::codec::version();
    let (major, minor, micro) = (version >> 16, (version >> 8) & 255, version & 255);
    Ok(format!("libavcodec {major}.{minor}.{micro}"))
}

/// FFmpeg's name of the encoder behind a format.
fn encoder_name(format: VideoFormat) -> &'static str {
    match format {
        VideoFormat::Mp4 => "libx264",
        VideoFormat::Webm => "libvpx-vp9",
        VideoFormat::Gif | VideoFormat::PngFrames => unreachable!("written without FFmpeg"),
    }
}

/// # Errors
/// `Unavailable` when FFmpeg is not there or was built without the encoder.
pub fn find(format: VideoFormat) -> Result<Codec> {
    prepare()?;
    let name = encoder_name(format);
    match find_by_name(name) {
        Some(codec) => Ok(codec),
        None => fail!(
            Unavailable,
            "format `{}` needs the encoder {name}, and {} was built without it", format.name(), library_version()?;
            "install a complete FFmpeg (its configuration has --enable-{}), or take --format png-frames", name.trim_end_matches("-vp9")
        ),
    }
}

/// # Errors
/// As [`super::encode`].
pub fn encode(
    frames: &[Frame],
    settings: &VideoSettings,
    texts: &Texts<'_>,
    limit_bytes: u64,
) -> Result<Vec<u8>> {
    let codec = find(settings.format)?;
    let (width, height) = (frames[0].width, frames[0].height);
    for (name, side) in [("width", width), ("height", height)] {
        if side == 0 || side % 2 == 1 {
            fail!(InvalidSpec, "{name} is {side} and {} needs even sizes", settings.format.name();
                "use a multiple of 16");
        }
    }
    let mut encoder = open(codec, settings, width, height).map_err(|e| failed(settings, "opening", e))?;
    let mut muxer = Muxer::new(&encoder, settings, &tags(settings, texts))
        .map_err(|e| failed(settings, "beginning", e))?;
    let mut bytes = texts.manifest.len() as u64;
    for (index, frame) in frames.iter().enumerate() {
        let mut picture = converted(frame);
        picture.set_pts(Some(index as i64));
        encoder
            .send_frame(&picture)
            .map_err(|e| failed(settings, "encoding", e))?;
        bytes += drain(&mut encoder, &mut muxer).map_err(|e| failed(settings, "encoding", e))?;
        within(bytes, limit_bytes)?;
    }
    encoder.send_eof().map_err(|e| failed(settings, "finishing", e))?;
    bytes += drain(&mut encoder, &mut muxer).map_err(|e| failed(settings, "finishing", e))?;
    within(bytes, limit_bytes)?;
    let written = muxer.finish().map_err(|e| failed(settings, "finishing", e))?;
    finished(settings.format, written)
}

fn open(
    codec: Codec,
    settings: &VideoSettings,
    width: u32,
    height: u32,
) -> Result<video::Encoder, ffmpeg::Error> {
    let mut video = ffmpeg::codec::Context::new_with_codec(codec).encoder().video()?;
    video.set_width(width);
    video.set_height(height);
    video.set_format(Pixel::YUV420P);
    video.set_time_base(rational(settings.fps).invert());
    video.set_frame_rate(Some(rational(settings.fps)));
    video.set_aspect_ratio(Rational::new(1, 1));
    video.set_colorspace(Space::BT709);
    video.set_color_range(Range::MPEG);
    let mut options = Dictionary::new();
    options.set("threads", THREADS);
    options.set("color_primaries", "bt709");
    options.set("color_trc", "bt709");
    options.set("chroma_sample_location", "left");
    match settings.format {
        VideoFormat::Webm => {
            options.set("flags", "+bitexact");
            options.set("crf", &(settings.crf + VP9_CRF_OFFSET).to_string());
            options.set("b", "0");
            options.set("deadline", "good");
            options.set("cpu-used", "2");
            options.set("row-mt", "1");
        }
        _ => {
            options.set("flags", "+bitexact+global_header");
            options.set("crf", &settings.crf.to_string());
            options.set("preset", "medium");
            options.set("profile", "high");
            // The macroblock tree reads memory that nobody set: with it, bytes differ from run to run.
            options.set("mbtree", "0");
        }
    }
    video.open_with(options)
}

/// The texts under the keys of the container; MP4 takes the mark in a box of its own.
fn tags(settings: &VideoSettings, texts: &Texts<'_>) -> Vec<(&'static str, String)> {
    let mut tags = vec![
        (MANIFEST_KEY, texts.manifest.to_string()),
        ("comment", texts.parameters.to_string()),
    ];
    if settings.format == VideoFormat::Webm {
        tags.push(("xmp", xmp_packet()));
    }
    tags
}

fn converted(frame: &Frame) -> ffmpeg::frame::Video {
    let mut picture = ffmpeg::frame::Video::new(Pixel::YUV420P, frame.width, frame.height);
    let strides = [0, 1, 2].map(|plane| picture.stride(plane));
    yuv::luma(frame, picture.data_mut(0), strides[0]);
    yuv::chroma(frame, CB, picture.data_mut(1), strides[1]);
    yuv::chroma(frame, CR, picture.data_mut(2), strides[2]);
    picture
}

/// Moves what the encoder has ready into the container; returns the number of bytes.
fn drain(encoder: &mut video::Encoder, muxer: &mut Muxer) -> Result<u64, ffmpeg::Error> {
    let mut bytes = 0;
    let mut packet = Packet::empty();
    loop {
        match encoder.receive_packet(&mut packet) {
            Ok(()) => {}
            Err(ffmpeg::Error::Eof) => return Ok(bytes),
            Err(ffmpeg::Error::Other { errno }) if errno == ffmpeg::error::EAGAIN => return Ok(bytes),
            Err(e) => return Err(e),
        }
        bytes += packet.size() as u64;
        muxer.write(&mut packet)?;
    }
}

fn finished(format: VideoFormat, mut bytes: Vec<u8>) -> Result<Vec<u8>> {
    if format == VideoFormat::Mp4 {
        let broken = |why: String| Error::new(ErrorKind::Internal, format!("the MP4 just written: {why}"));
        mp4::move_index_to_front(&mut bytes).map_err(broken)?;
        mp4::append_xmp(&mut bytes, &xmp_packet());
    }
    Ok(bytes)
}

fn failed(settings: &VideoSettings, doing: &str, e: ffmpeg::Error) -> anyhow::Error {
    let (format, encoder) = (settings.format.name(), encoder_name(settings.format));
    Error::new(
        ErrorKind::BadOutput,
        format!("{doing} the {format} failed in {encoder} (ffmpeg: {e})"),
    )
    .hint("try --format png-frames, which needs no encoder; `ourvidz doctor` names the FFmpeg in use")
    .into()
}
