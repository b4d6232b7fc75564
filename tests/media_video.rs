//! Needs `ffmpeg` and `ffprobe` in PATH: other eyes than ours look at the files.

use std::path::Path;
use std::process::Command;

use ourvidz::error::{ErrorKind, kind_of};
use ourvidz::media::frames::Frame;
use ourvidz::media::png::{self, Texts};
use ourvidz::media::read;
use ourvidz::media::video::{Fps, VideoFormat, VideoSettings, available, encode, png_frames};
use serde_json::Value;

#[cfg(feature = "video")]
mod encoded;

const WIDTH: u32 = 96;
const HEIGHT: u32 = 160;
const LIMIT_BYTES: u64 = 50_000_000;
const MARK: &str = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";

/// What the flat patches show, from the top left: 32x32 pixels each.
const PATCHES: [[u8; 3]; 6] = [
    [255, 0, 0],
    [0, 255, 0],
    [0, 0, 255],
    [255, 255, 255],
    [0, 0, 0],
    [128, 128, 128],
];

/// Six flat patches above a gradient that moves a little with every frame.
fn clip(count: usize) -> Vec<Frame> {
    let pixel = |x: u32, y: u32, time: u32| {
        if y < 64 {
            return PATCHES[(y / 32 * 3 + x / 32) as usize];
        }
        [
            (x * 2 + time * 3) as u8,
            (y + time * 2) as u8,
            (255 - x - y / 2) as u8,
        ]
    };
    (0..count as u32)
        .map(|time| {
            let rgb = (0..HEIGHT)
                .flat_map(|y| (0..WIDTH).flat_map(move |x| pixel(x, y, time)))
                .collect();
            Frame::new(WIDTH, HEIGHT, rgb)
        })
        .collect()
}

fn settings(format: VideoFormat, fps: f64) -> VideoSettings {
    VideoSettings {
        format,
        fps: Fps::new(fps).unwrap(),
        crf: 18,
    }
}

/// About 30 kB with everything that a text format could trip over.
fn manifest_text() -> String {
    let prompt = "a \"lighthouse\"; {fog} = 灯台 \\ 'é' #, \n <tag> &amp; ".repeat(600);
    serde_json::json!({"manifest_version": 1, "prompt": prompt}).to_string()
}

const PARAMETERS: &str = "a lighthouse\nSteps: 4, Sampler: UniPC, Seed: 1";

fn texts(manifest: &str) -> Texts<'_> {
    Texts {
        manifest,
        parameters: PARAMETERS,
    }
}

fn file(bytes: &[u8], name: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn output(program: &str, args: &[&str], path: &Path, more: &[&str]) -> Vec<u8> {
    let output = Command::new(program)
        .args(args)
        .arg(path)
        .args(more)
        .output()
        .unwrap_or_else(|e| panic!("{program} is needed (.ci/packages installs it): {e}"));
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && complaints.is_empty(),
        "{program}: {complaints}"
    );
    output.stdout
}

/// Streams and format as ffprobe sees them, every packet and frame counted.
fn ffprobe(path: &Path) -> Value {
    let args = [
        "-v",
        "warning",
        "-of",
        "json",
        "-count_packets",
        "-count_frames",
        "-show_streams",
        "-show_format",
    ];
    serde_json::from_slice(&output("ffprobe", &args, path, &[])).unwrap()
}

/// Every frame as ffmpeg decodes it, by the colour tags of the file.
fn decoded(path: &Path) -> Vec<Frame> {
    let more = [
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-sws_flags",
        "accurate_rnd+full_chroma_int",
        "-vsync",
        "passthrough",
        "-",
    ];
    output("ffmpeg", &["-v", "error", "-i"], path, &more)
        .chunks((WIDTH * HEIGHT * 3) as usize)
        .map(|rgb| Frame::new(WIDTH, HEIGHT, rgb.to_vec()))
        .collect()
}

/// The mean colour of a patch without its edges.
fn patch(frame: &Frame, number: u32) -> [f64; 3] {
    let (left, top) = (number % 3 * 32 + 8, number / 3 * 32 + 8);
    let mut sums = [0.0; 3];
    for y in top..top + 16 {
        for x in left..left + 16 {
            let at = ((y * WIDTH + x) * 3) as usize;
            for (sum, &value) in sums.iter_mut().zip(&frame.rgb[at..]) {
                *sum += f64::from(value) / 256.0;
            }
        }
    }
    sums
}

fn assert_patches(frame: &Frame, within: f64) {
    for (number, wanted) in PATCHES.iter().enumerate() {
        let got = patch(frame, number as u32);
        for (got, wanted) in got.iter().zip(wanted) {
            assert!(
                (got - f64::from(*wanted)).abs() <= within,
                "patch {number}: {got} is not {wanted}"
            );
        }
    }
}

#[test]
fn a_gif_plays_every_frame_at_the_right_time_and_carries_its_papers() {
    let manifest = manifest_text();
    let frames = clip(17);
    let settings = settings(VideoFormat::Gif, 16.0);
    let bytes = encode(&frames, &settings, &texts(&manifest), LIMIT_BYTES).unwrap();
    assert_eq!(
        bytes,
        encode(&frames, &settings, &texts(&manifest), LIMIT_BYTES).unwrap()
    );
    let video = read::video_bytes(&bytes).unwrap().unwrap();
    assert_eq!(video.manifest.as_deref(), Some(manifest.as_str()));
    assert_eq!((video.probe.frames, video.probe.codec.as_str()), (17, "gif"));
    assert!((video.probe.duration_s - 17.0 / 16.0).abs() <= 0.005);
    assert!(String::from_utf8_lossy(&bytes).contains(MARK));

    let (_folder, path) = file(&bytes, "a.gif");
    let seen = ffprobe(&path);
    assert_eq!(seen["streams"][0]["codec_name"], "gif");
    assert_eq!(seen["streams"][0]["nb_read_frames"], "17");
    assert_eq!(
        (&seen["streams"][0]["width"], &seen["streams"][0]["height"]),
        (&96.into(), &160.into())
    );
    let shown = decoded(&path);
    assert_eq!(shown.len(), 17);
    for (shown, frame) in shown.iter().zip(&frames) {
        assert_patches(shown, 6.0);
        let db = ourvidz::media::golden::psnr_db(shown, frame);
        assert!(db > 25.0, "{db} dB");
    }
}

#[test]
fn a_gif_faster_than_viewers_play_is_refused() {
    let error = encode(
        &clip(2),
        &settings(VideoFormat::Gif, 60.0),
        &texts("{}"),
        LIMIT_BYTES,
    )
    .unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::InvalidSpec);
}

#[test]
fn png_frames_hold_the_exact_pixels_each_with_manifest_and_mark() {
    let folder = tempfile::tempdir().unwrap();
    let frames = clip(3);
    let files: Vec<_> = png_frames(&frames, texts("{\"a\":1}"), LIMIT_BYTES)
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let names: Vec<&str> = files.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["00000.png", "00001.png", "00002.png"]);
    for (file, frame) in files.iter().zip(&frames) {
        let path = folder.path().join(&file.name);
        std::fs::write(&path, &file.bytes).unwrap();
        let back = png::read(&path).unwrap();
        assert_eq!(&back.frame, frame);
        assert_eq!(back.manifest.as_deref(), Some("{\"a\":1}"));
        assert!(String::from_utf8_lossy(&file.bytes).contains(MARK));
    }
}

#[test]
fn the_limit_counts_all_png_frames_together() {
    let frames = clip(3);
    let first = png_frames(&frames, texts("{}"), LIMIT_BYTES)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let limit = first.bytes.len() as u64 * 2;
    let results: Vec<_> = png_frames(&frames, texts("{}"), limit).unwrap().collect();
    assert!(results[0].is_ok());
    assert_eq!(
        kind_of(results[2].as_ref().unwrap_err()),
        ErrorKind::OutputTooLarge
    );
}

#[test]
fn no_frames_and_frames_of_different_sizes_are_errors_in_every_format() {
    let mut uneven = clip(2);
    uneven.push(Frame::new(2, 2, vec![0; 12]));
    for format in [VideoFormat::Mp4, VideoFormat::Webm, VideoFormat::Gif] {
        let settings = settings(format, 16.0);
        let error = encode(&[], &settings, &texts("{}"), LIMIT_BYTES).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::BadOutput);
        let error = encode(&uneven, &settings, &texts("{}"), LIMIT_BYTES).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::Internal);
        assert!(error.to_string().contains("frame 2 is 2x2"), "{error}");
    }
    assert!(png_frames(&[], texts("{}"), LIMIT_BYTES).is_err());
    assert!(png_frames(&uneven, texts("{}"), LIMIT_BYTES).is_err());
}

#[test]
fn what_a_build_can_write_is_known_before_any_work() {
    assert!(available(VideoFormat::Gif).is_ok() && available(VideoFormat::PngFrames).is_ok());
    for format in [VideoFormat::Mp4, VideoFormat::Webm] {
        match cfg!(feature = "video") {
            true => available(format).unwrap(),
            false => {
                let error = available(format).unwrap_err();
                assert_eq!(kind_of(&error), ErrorKind::NotBuilt);
                assert!(error.to_string().contains("feature `video`"), "{error}");
            }
        }
    }
}
