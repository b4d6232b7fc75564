//! Whole SDXL pipelines against diffusers' images, from the folder and from the single file.

use ourvidz::media::frames::Frame;
use ourvidz::pipelines::{ImagePipeline, ImageRequest};
use ourvidz::registry::{ModelFamily, ModelSpec, Source};

use crate::micro::load;
use crate::parity_models::{Case, data};

#[derive(serde::Deserialize)]
struct PipelineCase {
    name: String,
    scheduler: String,
    seeds: Vec<u64>,
    prompt: String,
    negative_prompt: Option<String>,
    num_inference_steps: usize,
    guidance_scale: f64,
    width: Option<usize>,
    height: Option<usize>,
}

fn cases() -> Vec<PipelineCase> {
    let text = std::fs::read_to_string(data("sdxl/pipeline/cases.json")).unwrap();
    let all: Vec<PipelineCase> = serde_json::from_str(&text).unwrap();
    // Image-to-image cases have no size of their own; they wait for that feature.
    all.into_iter().filter(|case| case.width.is_some()).collect()
}

fn request(case: &PipelineCase) -> ImageRequest {
    ImageRequest {
        prompt: case.prompt.clone(),
        negative_prompt: case.negative_prompt.clone(),
        seeds: case.seeds.clone(),
        num_inference_steps: case.num_inference_steps,
        guidance_scale: case.guidance_scale,
        width_px: case.width.unwrap(),
        height_px: case.height.unwrap(),
        scheduler: Some(case.scheduler.clone()),
        truncate_prompt: case.name.contains("truncated"),
        ..ImageRequest::default()
    }
}

fn spec(source: Source) -> ModelSpec {
    ModelSpec::new("tiny", ModelFamily::Sdxl, source)
}

pub fn from_folder() -> ModelSpec {
    spec(Source::Folder(data("sdxl")))
}

fn from_single_file() -> ModelSpec {
    spec(Source::SingleFile {
        path: data("sdxl/single-file.safetensors"),
        config_from: Some(data("sdxl")),
    })
}

fn psnr(errors: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for error in errors {
        sum += error * error;
        count += 1.0;
    }
    -10.0 * (sum / count).log10()
}

/// Against the reference's `[batch, 3, height, width]` in 0…1; 8-bit rounding alone gives 59 dB.
pub fn psnr_to_reference(frames: &[Frame], reference: &[f32]) -> f64 {
    let pixels = (frames[0].width * frames[0].height) as usize;
    psnr(frames.iter().enumerate().flat_map(|(i, frame)| {
        (0..3 * pixels).map(move |k| {
            let (pixel, channel) = (k / 3, k % 3);
            f64::from(frame.rgb[k]) / 255.0 - f64::from(reference[(i * 3 + channel) * pixels + pixel])
        })
    }))
}

fn check_all(pipeline: &mut dyn ImagePipeline) {
    let images = Case::open("sdxl/pipeline/images.safetensors");
    let mut failed = Vec::new();
    for case in cases() {
        let output = pipeline.text_to_image(&request(&case), &mut |_| Ok(())).unwrap();
        let (reference, shape) = images.values(&case.name);
        assert_eq!(shape[0], output.frames.len());
        let found = psnr_to_reference(&output.frames, &reference);
        println!("{:32} {found:.1} dB", case.name);
        if found < 50.0 {
            failed.push(format!("{}: {found:.1} dB", case.name));
        }
    }
    assert!(failed.is_empty(), "below 50 dB: {failed:?}");
}

#[test]
fn every_pipeline_case_agrees_with_diffusers_from_the_folder() {
    check_all(&mut *load(&from_folder()));
}

#[test]
fn every_pipeline_case_agrees_with_diffusers_from_the_single_file() {
    check_all(&mut *load(&from_single_file()));
}

#[test]
fn image_i_of_a_batch_is_the_image_of_seed_plus_i() {
    let mut pipeline = load(&from_folder());
    let batch_case = cases().into_iter().find(|c| c.name == "batch-of-3").unwrap();
    for (deterministic, least_db) in [(false, 60.0), (true, f64::INFINITY)] {
        let batch_request = ImageRequest {
            deterministic,
            ..request(&batch_case)
        };
        let batch = pipeline.text_to_image(&batch_request, &mut |_| Ok(())).unwrap();
        for (i, &seed) in batch_request.seeds.iter().enumerate() {
            let single = ImageRequest {
                seeds: vec![seed],
                ..batch_request.clone()
            };
            let single = pipeline.text_to_image(&single, &mut |_| Ok(())).unwrap();
            let errors = batch.frames[i].rgb.iter().zip(&single.frames[0].rgb);
            let found = psnr(errors.map(|(a, b)| (f64::from(*a) - f64::from(*b)) / 255.0));
            assert!(
                found >= least_db,
                "image {i}, deterministic {deterministic}: {found:.1} dB"
            );
        }
    }
}

#[test]
fn prompts_longer_than_a_chunk_are_encoded_whole_unless_cut() {
    let mut pipeline = load(&from_folder());
    let long = cases()
        .into_iter()
        .find(|c| c.name == "long-prompt-truncated")
        .unwrap();
    let cut = pipeline.text_to_image(&request(&long), &mut |_| Ok(())).unwrap();
    let whole = ImageRequest {
        truncate_prompt: false,
        ..request(&long)
    };
    let whole = pipeline.text_to_image(&whole, &mut |_| Ok(())).unwrap();
    assert_eq!(cut.prompt_tokens[0], [75]);
    assert_eq!(whole.prompt_tokens[0], [75, 45]);
    assert_ne!(cut.frames, whole.frames);
}

#[test]
fn sizes_that_are_no_multiple_of_four_latents_work_and_others_are_refused() {
    let mut pipeline = load(&from_folder());
    let base = request(&cases()[0]);
    let odd = ImageRequest {
        width_px: 136,
        height_px: 72,
        num_inference_steps: 1,
        ..base.clone()
    };
    let frame = pipeline
        .text_to_image(&odd, &mut |_| Ok(()))
        .unwrap()
        .frames
        .remove(0);
    assert_eq!((frame.width, frame.height), (136, 72));
    let wrong = ImageRequest {
        width_px: 100,
        ..base
    };
    let error = pipeline.text_to_image(&wrong, &mut |_| Ok(())).unwrap_err();
    assert!(error.to_string().contains("width is 100"), "{error}");
}
