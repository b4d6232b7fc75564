//! A pipeline without weights: draws a gradient that depends on prompt and seed.
//!
//! It lets commands, callbacks and queues be tested in milliseconds. Reached only through a
//! registry entry with `family = "mock"`; nothing it draws is passed off as a model's work.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Result;

use super::{
    Event, ImageOutput, ImagePipeline, ImageRequest, Observer, VideoOutput, VideoPipeline, VideoRequest,
};
use crate::media::frames::Frame;

#[derive(Debug, Default)]
pub struct MockPipeline;

impl ImagePipeline for MockPipeline {
    fn text_to_image(&mut self, request: &ImageRequest, observer: &mut Observer<'_>) -> Result<ImageOutput> {
        let start = Instant::now();
        observer(Event::Stage("denoise"))?;
        for done in 1..=request.num_inference_steps {
            observer(Event::Step {
                done,
                total: request.num_inference_steps,
            })?;
        }
        let frames = request
            .seeds
            .iter()
            .map(|&seed| gradient(request, seed))
            .collect();
        Ok(ImageOutput {
            frames,
            timings: BTreeMap::from([("denoise", start.elapsed())]),
            scheduler: request.scheduler.clone().unwrap_or_else(|| "euler".into()),
            effective_steps: request.num_inference_steps,
            prompt_tokens: vec![vec![request.prompt.split_whitespace().count()]],
            notes: Vec::new(),
        })
    }
}

impl VideoPipeline for MockPipeline {
    fn takes_references(&self) -> bool {
        false
    }

    /// The gradient's shade runs with time.
    fn text_to_video(&mut self, request: &VideoRequest, observer: &mut Observer<'_>) -> Result<VideoOutput> {
        let image = ImageRequest {
            prompt: request.prompt.clone(),
            negative_prompt: request.negative_prompt.clone(),
            seeds: (0..request.num_frames as u64).map(|i| request.seed + i).collect(),
            num_inference_steps: request.num_inference_steps,
            guidance_scale: request.guidance_scale,
            width_px: request.width_px,
            height_px: request.height_px,
            scheduler: request.scheduler.clone(),
            truncate_prompt: false,
            deterministic: true,
        };
        let made = self.text_to_image(&image, observer)?;
        Ok(VideoOutput {
            frames: made.frames,
            timings: made.timings,
            scheduler: request.scheduler.clone().unwrap_or_else(|| "flow-unipc".into()),
            effective_steps: made.effective_steps,
            prompt_tokens: made.prompt_tokens[0][0],
            notes: made.notes,
        })
    }
}

fn gradient(request: &ImageRequest, seed: u64) -> Frame {
    let (width, height) = (request.width_px, request.height_px);
    let shade = request
        .prompt
        .bytes()
        .fold(seed, |h, b| h.wrapping_mul(31) ^ u64::from(b));
    let mut rgb = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            rgb.push((x * 255 / width.max(2)) as u8);
            rgb.push((y * 255 / height.max(2)) as u8);
            rgb.push((shade % 200) as u8 + 40);
        }
    }
    Frame::new(width as u32, height as u32, rgb)
}
