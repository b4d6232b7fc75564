//! MP4 and WebM.

use ourvidz::error::{ErrorKind, kind_of};
use ourvidz::files::{Existing, write_whole};
use ourvidz::media::frames::Frame;
use ourvidz::media::golden::psnr_db;
use ourvidz::media::manifest::read_manifest;
use ourvidz::media::read::{self, Probe};
use ourvidz::media::video::{VideoFormat, encode};

use super::{
    HEIGHT, LIMIT_BYTES, MARK, PARAMETERS, WIDTH, assert_patches, clip, decoded, ffprobe, file,
    manifest_text, settings, texts,
};

fn mp4(count: usize, fps: f64) -> Vec<u8> {
    encode(
        &clip(count),
        &settings(VideoFormat::Mp4, fps),
        &texts(&manifest_text()),
        LIMIT_BYTES,
    )
    .unwrap()
}

/// Type, place and length of every box at the top.
fn boxes(bytes: &[u8]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let length = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        found.push((
            String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned(),
            at,
            length,
        ));
        at += length;
    }
    found
}

#[test]
fn an_mp4_is_h264_with_exact_frames_rate_and_duration() {
    for (fps, count, shown) in [
        (16.0, 17, "16/1"),
        (8.0, 17, "8/1"),
        (23.976, 5, "24000/1001"),
        (16.0, 1, "16/1"),
    ] {
        let bytes = mp4(count, fps);
        let (_folder, path) = file(&bytes, "a.mp4");
        let seen = ffprobe(&path);
        let stream = &seen["streams"][0];
        assert_eq!(seen["streams"].as_array().unwrap().len(), 1);
        for (key, value) in [
            ("codec_name", "h264"),
            ("profile", "High"),
            ("pix_fmt", "yuv420p"),
            ("color_range", "tv"),
            ("color_space", "bt709"),
            ("color_transfer", "bt709"),
            ("color_primaries", "bt709"),
            ("chroma_location", "left"),
            ("sample_aspect_ratio", "1:1"),
            ("avg_frame_rate", shown),
            ("r_frame_rate", shown),
            ("start_time", "0.000000"),
        ] {
            assert_eq!(stream[key], value, "{key} at {fps}");
        }
        let count_text = count.to_string();
        for key in ["nb_frames", "nb_read_frames", "nb_read_packets"] {
            assert_eq!(stream[key], count_text.as_str(), "{key} at {fps}");
        }
        let exact = count as f64 * settings(VideoFormat::Mp4, fps).fps.seconds() as f64
            / settings(VideoFormat::Mp4, fps).fps.frames() as f64;
        for place in [stream, &seen["format"]] {
            let duration: f64 = place["duration"].as_str().unwrap().parse().unwrap();
            assert!((duration - exact).abs() < 0.001, "{duration} for {exact}");
        }
        let ours = read::probe(&path).unwrap();
        assert!((ours.duration_s - exact).abs() < 1e-6);
        assert_eq!(
            Probe {
                fps: (ours.fps * 1000.0).round() / 1000.0,
                duration_s: 0.0,
                ..ours
            },
            Probe {
                frames: count as u64,
                fps,
                duration_s: 0.0,
                width: WIDTH,
                height: HEIGHT,
                codec: "h264".into()
            }
        );
    }
}

#[test]
fn the_index_of_an_mp4_comes_before_the_frames_and_the_mark_at_the_end() {
    let bytes = mp4(17, 16.0);
    let found = boxes(&bytes);
    let kinds: Vec<&str> = found
        .iter()
        .map(|(kind, ..)| kind.as_str())
        .filter(|k| *k != "free")
        .collect();
    assert_eq!(kinds, ["ftyp", "moov", "mdat", "uuid"]);
    let (_, at, length) = *found.last().as_ref().unwrap();
    assert_eq!(
        bytes[at + 8..at + 24],
        [
            0xBE, 0x7A, 0xCF, 0xCB, 0x97, 0xA9, 0x42, 0xE8, 0x9C, 0x71, 0x99, 0x94, 0x91, 0xE3, 0xAF, 0xAC
        ]
    );
    let packet = std::str::from_utf8(&bytes[at + 24..at + length]).unwrap();
    assert!(packet.starts_with("<?xpacket begin") && packet.contains(MARK));
}

#[test]
fn an_mp4_carries_the_manifest_for_ffprobe_and_for_us() {
    let manifest = manifest_text();
    assert!(manifest.len() > 30_000);
    let bytes = mp4(2, 16.0);
    let (_folder, path) = file(&bytes, "a.mp4");
    let seen = ffprobe(&path);
    let tags = &seen["format"]["tags"];
    assert_eq!(tags["ourvidz"], manifest.as_str());
    assert_eq!(tags["comment"], PARAMETERS);
    assert_eq!(tags["creation_time"], serde_json::Value::Null);
    assert_eq!(tags["encoder"], serde_json::Value::Null);
    assert_eq!(
        read::video(&path).unwrap().unwrap().manifest.as_deref(),
        Some(manifest.as_str())
    );
}

/// The part of the clip below its patches.
fn gradient(frame: &Frame) -> Frame {
    let rgb = frame.rgb[(WIDTH * 64 * 3) as usize..].to_vec();
    Frame::new(WIDTH, HEIGHT - 64, rgb)
}

#[test]
fn decoded_frames_are_the_ones_that_went_in_with_their_colours() {
    for (format, name) in [(VideoFormat::Mp4, "a.mp4"), (VideoFormat::Webm, "a.webm")] {
        let frames = clip(17);
        let bytes = encode(&frames, &settings(format, 16.0), &texts("{}"), LIMIT_BYTES).unwrap();
        let (_folder, path) = file(&bytes, name);
        let shown = decoded(&path);
        assert_eq!(shown.len(), 17);
        for (index, (shown, frame)) in shown.iter().zip(&frames).enumerate() {
            // The hard edges of the patches lose colour resolution in any 4:2:0; the rest must not.
            let db = psnr_db(&gradient(shown), &gradient(frame));
            assert!(db > 35.0, "{name} frame {index}: {db} dB");
            assert_patches(shown, 4.0);
        }
        // Each frame is nearest to its own: none is doubled, none left out.
        let near = psnr_db(&gradient(&shown[3]), &gradient(&frames[3]));
        assert!(
            near > psnr_db(&gradient(&shown[3]), &gradient(&frames[4])) + 3.0,
            "{name}"
        );
    }
}

#[test]
fn the_same_frames_give_the_same_bytes_and_a_lower_crf_gives_more() {
    for format in [VideoFormat::Mp4, VideoFormat::Webm] {
        let make = |crf| {
            let mut settings = settings(format, 16.0);
            settings.crf = crf;
            encode(&clip(9), &settings, &texts("{}"), LIMIT_BYTES).unwrap()
        };
        let high = make(18);
        assert_eq!(high, make(18));
        assert!(high.len() > make(40).len());
    }
}

#[test]
fn a_webm_is_vp9_with_exact_frames_and_its_papers() {
    let manifest = manifest_text();
    let bytes = encode(
        &clip(17),
        &settings(VideoFormat::Webm, 16.0),
        &texts(&manifest),
        LIMIT_BYTES,
    )
    .unwrap();
    let (_folder, path) = file(&bytes, "a.webm");
    let seen = ffprobe(&path);
    let stream = &seen["streams"][0];
    for (key, value) in [
        ("codec_name", "vp9"),
        ("pix_fmt", "yuv420p"),
        ("color_range", "tv"),
        ("color_space", "bt709"),
        ("avg_frame_rate", "16/1"),
        ("nb_read_frames", "17"),
        ("nb_read_packets", "17"),
    ] {
        assert_eq!(stream[key], value, "{key}");
    }
    let tags = &seen["format"]["tags"];
    assert_eq!(tags["OURVIDZ"], manifest.as_str());
    assert!(tags["XMP"].as_str().unwrap().contains(MARK));
    let video = read::video(&path).unwrap().unwrap();
    assert_eq!(video.manifest.as_deref(), Some(manifest.as_str()));
    let probe = video.probe;
    assert_eq!(
        (
            probe.frames,
            probe.fps,
            probe.width,
            probe.height,
            probe.codec.as_str()
        ),
        (17, 16.0, WIDTH, HEIGHT, "vp9")
    );
    assert!((probe.duration_s - 17.0 / 16.0).abs() <= 0.001, "{probe:?}");
}

#[test]
fn a_video_over_the_limit_is_output_too_large() {
    for format in [VideoFormat::Mp4, VideoFormat::Webm, VideoFormat::Gif] {
        let error = encode(&clip(17), &settings(format, 16.0), &texts("{}"), 2_000).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::OutputTooLarge, "{format:?}");
    }
}

#[test]
fn odd_sizes_are_refused_and_a_broken_encoder_is_bad_output_with_its_reason() {
    let odd = [Frame::new(15, 16, vec![0; 15 * 16 * 3])];
    let error = encode(&odd, &settings(VideoFormat::Mp4, 16.0), &texts("{}"), LIMIT_BYTES).unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::InvalidSpec);
    assert!(error.to_string().contains("width is 15"), "{error}");
    // Longer than any level of H.264 allows: x264 does not open.
    let long = [Frame::new(16, 20_000, vec![0; 16 * 20_000 * 3])];
    let error = encode(
        &long,
        &settings(VideoFormat::Mp4, 16.0),
        &texts("{}"),
        LIMIT_BYTES,
    )
    .unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::BadOutput);
    let text = error.to_string();
    assert!(text.contains("libx264") && text.contains("ffmpeg: "), "{text}");
}

#[test]
fn a_place_that_cannot_be_written_is_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a"), b"").unwrap();
    let error = write_whole(&folder.path().join("a/b.mp4"), &mp4(2, 16.0), Existing::Keep).unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::CannotWrite);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_video_cut_anywhere_is_an_error_and_never_a_panic() {
    for (format, ends) in [
        // Without the mark at its end, an MP4 is whole again.
        (VideoFormat::Mp4, vec!["mdat"]),
        (VideoFormat::Webm, vec![]),
        (VideoFormat::Gif, vec![]),
    ] {
        let bytes = encode(&clip(3), &settings(format, 16.0), &texts("{}"), LIMIT_BYTES).unwrap();
        let whole: Vec<usize> = match ends.is_empty() {
            true => vec![],
            false => boxes(&bytes)
                .iter()
                .filter(|(kind, ..)| ends.contains(&kind.as_str()))
                .map(|(_, at, length)| at + length)
                .collect(),
        };
        for cut in (8..bytes.len()).filter(|cut| !whole.contains(cut)) {
            let error = read::video_bytes(&bytes[..cut]).expect_err(&format!("{format:?} cut at {cut}"));
            assert_eq!(kind_of(&error), ErrorKind::BadInput);
        }
    }
}

#[test]
fn a_video_with_any_byte_changed_is_read_or_refused_but_never_a_panic() {
    for format in [VideoFormat::Mp4, VideoFormat::Webm, VideoFormat::Gif] {
        let good = encode(&clip(2), &settings(format, 16.0), &texts("{}"), LIMIT_BYTES).unwrap();
        let mut refused = 0;
        for at in 0..good.len() {
            for change in [0xFF, 0x80, 0x01] {
                let mut bad = good.clone();
                bad[at] ^= change;
                refused += usize::from(read::video_bytes(&bad).is_err());
            }
        }
        assert!(refused > 50, "{format:?}: {refused}");
    }
}

#[test]
fn a_video_with_no_manifest_of_ours_says_so() {
    let bytes = encode(
        &clip(2),
        &settings(VideoFormat::Mp4, 16.0),
        &texts("{}"),
        LIMIT_BYTES,
    )
    .unwrap();
    let (_folder, path) = file(&bytes, "a.mp4");
    let error = read_manifest(&path).unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::BadInput);
    assert!(error.to_string().contains("manifest is broken"), "{error}");
    // The key renamed: what any other program's file looks like.
    let at = bytes.windows(7).position(|w| w == b"ourvidz").unwrap();
    let mut foreign = bytes;
    foreign[at] = b'x';
    let (_folder, path) = file(&foreign, "b.mp4");
    let error = read_manifest(&path).unwrap_err();
    assert!(error.to_string().contains("has no ourvidz manifest"), "{error}");
}
