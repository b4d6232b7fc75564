//! Pseudo numerical methods for diffusion models, linear multistep (PLMS).
//!
//! Liu et al. 2022 (arXiv 2202.09778), equations 9 and 12, without the Runge-Kutta start. diffusers:
//! `scheduling_pndm.py` with `skip_prk_steps`, which also starts a tail of image-to-image by calling the
//! network twice for the first step.

use std::collections::VecDeque;

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::levels::whole_timesteps;
use super::noise_schedule::{DDPM_BETAS, NoiseSchedule, ZeroSnr};
use super::prediction::{EPSILON_OR_VELOCITY, Prediction};
use super::scheduler::{NoiseSource, Scheduler};
use super::spacing::Spacing;

pub(super) struct Pndm<const D: usize> {
    /// The second one comes twice.
    timesteps: Vec<f64>,
    alphas_cumprod: Vec<f32>,
    final_alpha: f64,
    stride: usize,
    num_steps: usize,
    prediction: Prediction,
    calls: usize,
    /// Earlier outputs, the newest first.
    history: VecDeque<Tensor<D>>,
    /// Where the first step started, for its second call.
    start: Option<Tensor<D>>,
}

impl<const D: usize> Pndm<D> {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        let of_file = config.chosen.family.is_none();
        if of_file && !config.flag("skip_prk_steps", false)? {
            return Err(config.not_built("skip_prk_steps", "false", "true"));
        }
        let prediction = config.prediction(EPSILON_OR_VELOCITY)?;
        let schedule = NoiseSchedule::new(config, &DDPM_BETAS, ZeroSnr::Ignored)?;
        let spacing = config.spacing(Spacing::Leading)?;
        let offset = config.integer("steps_offset", 0)?;
        let mut timesteps = whole_timesteps(spacing, offset, schedule.len(), n);
        for t in &timesteps {
            schedule.alpha_at(config, *t)?;
        }
        if n > 1 {
            timesteps.insert(1, timesteps[1]);
        }
        let final_alpha = match config.flag("set_alpha_to_one", false)? {
            true => 1.0,
            false => schedule.alphas_cumprod[0].into(),
        };
        Ok(Self {
            timesteps,
            final_alpha,
            stride: schedule.len() / n,
            num_steps: n,
            alphas_cumprod: schedule.alphas_cumprod,
            prediction,
            calls: 0,
            history: VecDeque::new(),
            start: None,
        })
    }

    /// The cumulative alpha of a timestep; below the first one it is that of the end.
    fn alpha_bar(&self, t: i64) -> f64 {
        let last = self.alphas_cumprod.len() - 1;
        usize::try_from(t).map_or(self.final_alpha, |t| self.alphas_cumprod[t.min(last)].into())
    }

    /// Equation 9.
    fn transfer(&self, sample: Tensor<D>, output: Tensor<D>, t: i64, next_t: i64) -> Tensor<D> {
        let (from, to) = (self.alpha_bar(t), self.alpha_bar(next_t));
        let epsilon = match self.prediction {
            Prediction::Velocity => output * from.sqrt() + sample.clone() * (1.0 - from).sqrt(),
            _ => output,
        };
        let divisor = from * (1.0 - to).sqrt() + (from * (1.0 - from) * to).sqrt();
        sample * (to / from).sqrt() - epsilon * ((to - from) / divisor)
    }

    /// The output that the history so far foretells, equation 12 and its lower orders.
    fn foretold(&self) -> Tensor<D> {
        let weights: &[f64] = match self.history.len() {
            1 => &[1.0],
            2 => &[1.5, -0.5],
            3 => &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
            _ => &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
        };
        let mut terms = self
            .history
            .iter()
            .zip(weights)
            .map(|(output, weight)| output.clone() * *weight);
        let first = terms.next().expect("the newest output is in the history");
        terms.fold(first, |sum, term| sum + term)
    }
}

impl<const D: usize> Scheduler<D> for Pndm<D> {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn sigmas(&self) -> &[f64] {
        &[]
    }

    fn num_steps(&self) -> usize {
        self.num_steps
    }

    fn scale_model_input(&self, sample: Tensor<D>, _i: usize) -> Tensor<D> {
        sample
    }

    fn step(
        &mut self,
        model_output: Tensor<D>,
        i: usize,
        sample: Tensor<D>,
        _noise: NoiseSource<'_, D>,
    ) -> Tensor<D> {
        let (t, stride) = (self.timesteps[i] as i64, self.stride as i64);
        let call = self.calls;
        self.calls += 1;
        if call == 1
            && let Some(start) = self.start.take()
        {
            // The first step once more, with the mean of both ends' outputs.
            let mean = (model_output + self.history[0].clone()) / 2.0;
            return self.transfer(start, mean, t + stride, t);
        }
        if call == 0 {
            self.start = Some(sample.clone());
        }
        self.history.push_front(model_output);
        self.history.truncate(4);
        self.transfer(sample, self.foretold(), t, t - stride)
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        let alpha_bar = self.alpha_bar(self.timesteps[i] as i64);
        original * alpha_bar.sqrt() + noise * (1.0 - alpha_bar).sqrt()
    }
}
