//! Classifier-free guidance: when, how much, and how far it is taken back.

use burn::tensor::Tensor;

use crate::pipelines::image::ImageRequest;

/// What a request says of guidance for one denoiser.
#[derive(Debug, Clone)]
pub struct Guidance {
    scale: f64,
    rescale: f64,
    interval: Option<(f64, f64)>,
    steps: Option<usize>,
    /// The scale goes into the denoiser instead, which was distilled with it.
    pub embedded: bool,
}

impl Guidance {
    pub fn of(request: &ImageRequest, embedded: bool) -> Self {
        Self {
            scale: request.guidance_scale,
            rescale: request.guidance_rescale,
            interval: request.cfg_interval,
            steps: request.guided_steps,
            embedded,
        }
    }

    /// Whether any step has an unconditional branch.
    pub fn is_on(&self) -> bool {
        self.scale > 1.0 && !self.embedded
    }

    /// Whether call `call` of `calls` has one; `order` calls make a step.
    pub fn at(&self, call: usize, calls: usize, order: usize) -> bool {
        let inside = self
            .interval
            .is_none_or(|(start, end)| within(call, calls, start, end));
        self.is_on() && inside && self.steps.is_none_or(|steps| call / order < steps)
    }

    /// What a denoiser with a guidance embedding is told.
    pub fn embedding(&self) -> Option<f32> {
        self.embedded.then_some((self.scale - 1.0) as f32)
    }

    /// Both branches to one prediction (Ho & Salimans 2022), brought back to the deviation of the
    /// conditional one as far as asked (Lin et al. 2023, 3.4).
    ///
    /// # Shapes
    /// `[2 n, channels, height, width]`, unconditional rows first → `[n, channels, height, width]`.
    pub fn combine(&self, noise_pred: Tensor<4>) -> Tensor<4> {
        let [uncond, cond]: [Tensor<4>; 2] = noise_pred
            .chunk(2, 0)
            .try_into()
            .expect("both branches are in the batch");
        let guided = uncond.clone() + (cond.clone() - uncond) * self.scale;
        if self.rescale == 0.0 {
            return guided;
        }
        let ratio = deviation(cond) / deviation(guided.clone());
        guided.clone() * ratio * self.rescale + guided * (1.0 - self.rescale)
    }
}

/// Whether call `call` of `calls` lies in the part between two fractions, as ControlNet's pipelines
/// count: it must begin at or behind the start and finish at or before the end.
pub fn within(call: usize, calls: usize, start: f64, end: f64) -> bool {
    let (call, calls) = (call as f64, calls as f64);
    call / calls >= start && (call + 1.0) / calls <= end
}

/// Standard deviation of each row: `[n, 1, 1, 1]`.
fn deviation(x: Tensor<4>) -> Tensor<4> {
    let [rows, channels, height, width] = x.dims();
    let flat = x.reshape([rows, channels * height * width]);
    flat.var(1).sqrt().reshape([rows, 1, 1, 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guidance(request: ImageRequest) -> Guidance {
        Guidance::of(
            &ImageRequest {
                guidance_scale: 6.0,
                ..request
            },
            false,
        )
    }

    fn on(guidance: &Guidance, calls: usize, order: usize) -> Vec<usize> {
        (0..calls).filter(|i| guidance.at(*i, calls, order)).collect()
    }

    #[test]
    fn an_interval_and_a_number_of_steps_limit_guidance() {
        let all = guidance(ImageRequest::default());
        assert_eq!(on(&all, 5, 1), [0, 1, 2, 3, 4]);
        let middle = guidance(ImageRequest {
            cfg_interval: Some((0.2, 0.8)),
            ..ImageRequest::default()
        });
        assert_eq!(on(&middle, 5, 1), [1, 2, 3]);
        let first = guidance(ImageRequest {
            guided_steps: Some(2),
            ..ImageRequest::default()
        });
        assert_eq!(on(&first, 5, 1), [0, 1]);
        assert_eq!(on(&first, 7, 2), [0, 1, 2, 3], "two calls a step");
    }

    #[test]
    fn a_scale_of_one_or_a_distilled_model_needs_no_second_branch() {
        let off = Guidance::of(
            &ImageRequest {
                guidance_scale: 1.0,
                ..ImageRequest::default()
            },
            false,
        );
        assert!(!off.is_on() && off.embedding().is_none());
        let embedded = Guidance::of(
            &ImageRequest {
                guidance_scale: 8.0,
                ..ImageRequest::default()
            },
            true,
        );
        assert!(!embedded.is_on() && embedded.embedding() == Some(7.0));
    }
}
