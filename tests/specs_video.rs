//! What WAN jobs mean: frames, sizes, references, formats.

use ourvidz::config::Settings;
use ourvidz::error::{ErrorKind, hint_of, kind_of};
use ourvidz::job::{Addresses, Fetched, Format, Job, Origin, Request, Trust, Video, Work, parse, resolve};
use ourvidz::media::video::VideoFormat;
use ourvidz::registry::Registry;

fn settled(text: &str) -> anyhow::Result<Job> {
    let jobs = parse(text.as_bytes(), "job.yaml", Origin::File)?;
    assert_eq!(jobs.len(), 1, "{text}");
    let registry = Registry::shipped()?;
    let words = |_: &_, text: &str| Ok(text.split_whitespace().count());
    resolve(
        &Request {
            id: "drawn",
            spec: &jobs[0],
            trust: Trust::FULL,
            addresses: Addresses::Fetched(&Fetched::new()),
        },
        &registry,
        &Settings::with_folders("none", "none"),
        &words,
    )
}

fn video(text: &str) -> Video {
    match settled(text).unwrap_or_else(|e| panic!("{text}: {e:#}")).work {
        Work::Video(video) => video,
        other => panic!("{text}: {other:?}"),
    }
}

fn unsettled(text: &str, kind: ErrorKind, words: &[&str]) {
    let e = settled(text).expect_err(text);
    assert_eq!(kind_of(&e), kind, "{text}: {e:#}");
    let message = format!("{e:#} | {}", hint_of(&e).unwrap_or_default());
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

#[test]
fn the_types_have_the_documented_defaults_and_the_model_its_own_size() {
    for (name, steps, guidance, frames, fps, format) in [
        ("image_fast", 25, 6.5, 1, 0.0, Format::Png),
        ("image_high", 50, 7.5, 1, 0.0, Format::Png),
        ("video_fast", 25, 6.5, 17, 16.0, Format::Video(VideoFormat::Mp4)),
        ("video_high", 50, 7.5, 17, 16.0, Format::Video(VideoFormat::Mp4)),
    ] {
        let v = video(&format!("prompt: x\ntype: {name}"));
        let d = &v.diffusion;
        assert_eq!((d.steps, d.guidance_scale), (steps, guidance), "{name}");
        assert_eq!((d.width, d.height), (96, 160), "{name}");
        assert_eq!((v.frames, v.fps, d.format), (frames, fps, format), "{name}");
        assert_eq!((v.flow_shift, v.references.mode()), (None, "none"), "{name}");
    }
}

#[test]
fn an_alias_is_kept_as_the_name_and_runs_as_its_type() {
    let job = settled("prompt: x\ntype: wan_video_high").unwrap();
    assert_eq!(
        (job.type_name.as_str(), job.kind.name),
        ("wan_video_high", "video_high")
    );
    assert_eq!(job.spec.job_type.as_deref(), Some("wan_video_high"));
}

#[test]
fn the_documented_83_frames_run_as_81_and_are_noted() {
    let job = settled("prompt: x\ntype: video_fast\nframes: 83").unwrap();
    assert!(
        job.notes.iter().any(|n| n.contains("83") && n.contains("81")),
        "{:?}",
        job.notes
    );
    assert_eq!(job.spec.config.frames, Some(81));
    assert_eq!(
        video("prompt: x\ntype: video_fast\nsample_shift: 3\nframe_num: 5").frames,
        5
    );
}

#[test]
fn impossible_frame_counts_name_the_nearest_ones() {
    for (frames, near) in [
        (82, ["81", "85"]),
        (2, ["1", "5"]),
        (84, ["81", "85"]),
        (80, ["77", "81"]),
    ] {
        unsettled(
            &format!("prompt: x\ntype: video_fast\nframes: {frames}"),
            ErrorKind::InvalidSpec,
            &["config.frames", "4n+1", near[0], near[1]],
        );
    }
    for frames in ["0", "-1", "1002", "1.5"] {
        unsettled(
            &format!("prompt: x\ntype: video_fast\nframes: {frames}"),
            ErrorKind::InvalidSpec,
            &["frames"],
        );
    }
}

#[test]
fn sizes_are_multiples_of_16() {
    unsettled(
        "prompt: x\ntype: video_fast\nwidth: 488",
        ErrorKind::InvalidSpec,
        &["config.width", "multiple of 16", "480", "496"],
    );
    assert_eq!(
        video("prompt: x\ntype: image_fast\nheight: 176").diffusion.height,
        176
    );
}

#[test]
fn options_that_do_not_fit_the_type_are_refused() {
    for (job_type, option) in [
        ("image_fast", "frames: 5"),
        ("image_fast", "fps: 8"),
        ("image_fast", "first_frame: a.png"),
        ("video_fast", "num_images: 3"),
        ("video_fast", "truncate_prompt: true"),
        ("video_fast", "strength: 0.5"),
        ("video_fast", "reference_type: style"),
        ("video_fast", "compel_enabled: true"),
        ("sdxl_image_fast", "flow_shift: 3"),
    ] {
        let name = option.split(':').next().unwrap();
        unsettled(
            &format!("prompt: x\ntype: {job_type}\n{option}"),
            ErrorKind::InvalidSpec,
            &[name, "does not apply", job_type],
        );
    }
    unsettled(
        "prompt: x\ntype: video_fast\nscheduler: heun",
        ErrorKind::InvalidSpec,
        &["config.scheduler", "heun", "flow-unipc"],
    );
    unsettled(
        "prompt: x\nscheduler: flow-unipc",
        ErrorKind::InvalidSpec,
        &["config.scheduler", "euler"],
    );
    assert_eq!(
        video("prompt: x\ntype: video_fast\nscheduler: unipc")
            .diffusion
            .scheduler
            .as_deref(),
        Some("unipc")
    );
}

#[test]
fn references_have_their_mode_and_strength() {
    for (fields, mode) in [
        ("first_frame: a.png", "start"),
        ("endReferenceImageUrl: b.png", "end"),
        ("start_reference_url: a.png\nlast_frame: b.png", "both"),
        ("reference_image_url: c.png", "single"),
    ] {
        let v = video(&format!("prompt: x\ntype: video_fast\n{fields}"));
        assert_eq!(
            (v.references.mode(), v.references.strength),
            (mode, 1.0),
            "{fields}"
        );
    }
    let v = video("prompt: x\ntype: video_fast\nimage: a.png\nreference_strength: 0.4");
    assert_eq!(v.references.strength, 0.4);
    unsettled(
        "prompt: x\ntype: video_fast\nreference_strength: 0.4",
        ErrorKind::InvalidSpec,
        &["reference_strength", "without a reference"],
    );
}

#[test]
fn explicit_text_is_never_put_beside_a_reference_whatever_its_name() {
    // `naked` stands for the words that the rules match.
    for field in ["first_frame", "last_frame", "image"] {
        unsettled(
            &format!("prompt: a naked man\ntype: video_fast\n{field}: a.png"),
            ErrorKind::Refused,
            &["refused by the content rules"],
        );
    }
}

#[test]
fn formats_belong_to_their_types() {
    for (name, format) in [
        ("mp4", Format::Video(VideoFormat::Mp4)),
        ("webm", Format::Video(VideoFormat::Webm)),
        ("gif", Format::Video(VideoFormat::Gif)),
        ("png-frames", Format::Video(VideoFormat::PngFrames)),
    ] {
        let text = format!("prompt: x\ntype: video_fast\nformat: {name}");
        assert_eq!(video(&text).diffusion.format, format);
    }
    unsettled(
        "prompt: x\ntype: image_fast\nformat: mp4",
        ErrorKind::InvalidSpec,
        &["config.format", "png"],
    );
    unsettled(
        "prompt: x\ntype: video_fast\nformat: avi",
        ErrorKind::InvalidSpec,
        &["avi", "webm"],
    );
}

#[test]
fn a_rate_that_gifs_cannot_play_and_no_shift_at_all_are_refused() {
    unsettled(
        "prompt: x\ntype: video_fast\nformat: gif\nfps: 60",
        ErrorKind::InvalidSpec,
        &["config.fps", "60", "50"],
    );
    unsettled(
        "prompt: x\ntype: video_fast\nflow_shift: 0",
        ErrorKind::InvalidSpec,
        &["flow_shift is 0", "above 0"],
    );
}

#[test]
fn replaying_a_settled_video_gives_the_same_job() {
    let job = settled("prompt: x\ntype: video_fast\nseed: 3\nfps: 8\nflow_shift: 4\nformat: gif").unwrap();
    let again = settled(&serde_json::to_string(&job.spec).unwrap()).unwrap();
    assert_eq!(
        (&again.work, &again.seeds, &again.spec),
        (&job.work, &job.seeds, &job.spec)
    );
}
