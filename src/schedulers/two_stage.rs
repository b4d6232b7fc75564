//! Samplers that call the network twice a step, the second time at the middle of the step in log sigma:
//! `dpm2`, `dpm2-ancestral`, `dpmpp-2s-ancestral` and `dpmpp-sde`.
//!
//! Lu et al. 2022 (arXiv 2206.00927, 2211.01095) as in k-diffusion's `sampling.py`. diffusers:
//! `scheduling_k_dpm_2_discrete.py`, `scheduling_k_dpm_2_ancestral_discrete.py`,
//! `scheduling_dpmsolver_sde.py`.

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::families::Family;
use super::heun::repeat;
use super::levels::{Double, SigmaRules, SigmaSchedule, ancestral_step, scaled};
use super::noise_schedule::{NoiseSchedule, SDXL_RANGE_LINEAR, ZeroSnr};
use super::prediction::{EPSILON_OR_VELOCITY, Prediction};
use super::scheduler::{NoiseSource, Scheduler};
use super::settings::{FinalSigma, LevelSettings};
use super::spacing::to_f32;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Method {
    /// The derivative of the middle, over the whole step.
    Dpm2,
    /// The same to a level below, and noise back up.
    Dpm2Ancestral,
    /// x0 of the middle, over the whole step to a level below, and noise back up.
    Dpmpp2sAncestral,
    /// The same, with noise at the middle too. Both noises are increments of one Brownian path over
    /// sigma, as those of the tree in diffusers and k-diffusion, but drawn from the picture's generator
    /// as the path goes along: the same law, other numbers.
    DpmppSde,
}

/// Levels of one step: its start, the middle, where it lands and the noise that leads back up.
#[derive(Debug, Clone, Copy)]
struct Step {
    sigma: f64,
    middle: f64,
    down: f64,
    up: f64,
}

pub(super) struct TwoStage<const D: usize> {
    /// Calls come in pairs but for the last: even indices start a step, odd ones are at its middle.
    timesteps: Vec<f64>,
    /// `s0, s1, s1, s2, s2, …, 0`, as diffusers tells them.
    sigmas: Vec<f64>,
    /// All but the last, which goes straight to 0.
    steps: Vec<Step>,
    init_noise_sigma: f64,
    method: Method,
    eta: f64,
    prediction: Prediction,
    /// The sample at the start of the step, and the noise on the way to its middle.
    started: Option<(Tensor<D>, Option<Tensor<D>>)>,
}

impl<const D: usize> TwoStage<D> {
    pub fn new(config: &SchedulerConfig, method: Method, n: usize) -> Result<Self> {
        let schedule = NoiseSchedule::new(config, &SDXL_RANGE_LINEAR, ZeroSnr::Ignored)?;
        let (family, rules) = method.class();
        let settings = LevelSettings {
            final_sigma: FinalSigma::Zero,
            ..LevelSettings::read(config)?
        };
        let single = SigmaSchedule::new(config, &settings, &schedule, rules, n)?;
        let eta = config.eta(family)?;
        let pairs = single.sigmas.windows(2).take(single.timesteps.len() - 1);
        let steps: Vec<Step> = pairs.map(|pair| method.step(pair[0], pair[1], eta)).collect();
        let middles = steps.iter().map(|s| single.table.timestep_of(s.middle));
        let middles: Vec<f64> = match rules.double {
            Double::Always => middles.collect(),
            _ => to_f32(middles),
        };
        let starts = single.timesteps.iter().skip(1);
        let pairs = middles
            .into_iter()
            .zip(starts)
            .flat_map(|(middle, t)| [middle, *t]);
        Ok(Self {
            timesteps: single.timesteps.iter().copied().take(1).chain(pairs).collect(),
            sigmas: repeat(&single.sigmas, single.sigmas.len() - 1),
            steps,
            init_noise_sigma: single.init_noise_sigma,
            method,
            eta,
            prediction: config.prediction(EPSILON_OR_VELOCITY)?,
            started: None,
        })
    }

    /// The level of the latents at a call.
    fn level(&self, i: usize) -> f64 {
        match self.steps.get(i / 2) {
            Some(step) if i % 2 == 1 => step.middle,
            _ => self.sigmas[i],
        }
    }

    fn first_half(
        &mut self,
        step: Step,
        sample: Tensor<D>,
        denoised: Tensor<D>,
        noise: NoiseSource<'_, D>,
    ) -> Tensor<D> {
        if self.method != Method::DpmppSde {
            self.started = Some((sample.clone(), None));
            return towards(sample, denoised, step.middle / step.sigma);
        }
        let (down, up) = ancestral_step(step.sigma, step.middle, self.eta);
        let drawn = noise();
        self.started = Some((sample.clone(), Some(drawn.clone())));
        towards(sample, denoised, down / step.sigma) + drawn * up
    }

    fn whole(
        &self,
        step: Step,
        [start, middle, denoised]: [Tensor<D>; 3],
        earlier: Option<Tensor<D>>,
        next: f64,
        noise: NoiseSource<'_, D>,
    ) -> Tensor<D> {
        let landed = match self.method {
            Method::Dpm2 | Method::Dpm2Ancestral => {
                start + (middle - denoised) / step.middle * (step.down - step.sigma)
            }
            Method::Dpmpp2sAncestral | Method::DpmppSde => towards(start, denoised, step.down / step.sigma),
        };
        if self.method == Method::Dpm2 {
            return landed;
        }
        let mut drawn = noise();
        if let Some(earlier) = earlier {
            // The path's increment over the whole step, scaled to variance 1.
            let (first, second) = (step.sigma - step.middle, step.middle - next);
            let whole = step.sigma - next;
            drawn = earlier * (first / whole).sqrt() + drawn * (second / whole).sqrt();
        }
        landed + drawn * step.up
    }
}

/// Latents that keep `ratio` of their distance to x0.
fn towards<const D: usize>(sample: Tensor<D>, denoised: Tensor<D>, ratio: f64) -> Tensor<D> {
    sample * ratio + denoised * (1.0 - ratio)
}

impl Method {
    /// The sampler, and how its class rounds.
    fn class(self) -> (Family, SigmaRules) {
        let kdpm2 = SigmaRules {
            round_karras: true,
            double: Double::OnCurves,
        };
        let sde = SigmaRules {
            round_karras: false,
            double: Double::Always,
        };
        match self {
            Method::Dpm2 => (Family::Dpm2, kdpm2),
            Method::Dpm2Ancestral => (Family::Dpm2Ancestral, kdpm2),
            Method::Dpmpp2sAncestral => (Family::Dpmpp2sAncestral, SigmaRules::SINGLE),
            Method::DpmppSde => (Family::DpmppSde, sde),
        }
    }

    /// Levels in single precision, as torch computes them: the middle decides a timestep, and the
    /// difference of nearly equal squares its last digits.
    fn step(self, sigma: f64, next: f64, eta: f64) -> Step {
        let (from, to) = (sigma as f32, next as f32);
        let (down, up) = match self {
            Method::Dpm2 => (to, 0.0),
            _ => {
                let full = (to.powi(2) * (from.powi(2) - to.powi(2)) / from.powi(2)).sqrt();
                let up = (eta as f32 * full).min(to);
                ((to.powi(2) - up.powi(2)).sqrt(), up)
            }
        };
        // The middle of the way that the sample itself goes; the SDE's own middle has noise already.
        let end = if self == Method::DpmppSde { to } else { down };
        let (log_from, log_end) = (from.ln(), end.ln());
        let middle = (log_end - (log_end - log_from) * 0.5).exp();
        Step {
            sigma,
            middle: middle.into(),
            down: down.into(),
            up: up.into(),
        }
    }
}

impl<const D: usize> Scheduler<D> for TwoStage<D> {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    fn order(&self) -> usize {
        2
    }

    fn scale_model_input(&self, sample: Tensor<D>, i: usize) -> Tensor<D> {
        scaled(sample, self.level(i))
    }

    fn step(
        &mut self,
        model_output: Tensor<D>,
        i: usize,
        sample: Tensor<D>,
        noise: NoiseSource<'_, D>,
    ) -> Tensor<D> {
        let denoised = self
            .prediction
            .denoised_unscaled(model_output, sample.clone(), self.level(i));
        let Some(step) = self.steps.get(i / 2).copied() else {
            // The last step ends without noise, where x0 is.
            return denoised;
        };
        match self.started.take() {
            None => self.first_half(step, sample, denoised, noise),
            Some((start, earlier)) => {
                self.whole(step, [start, sample, denoised], earlier, self.sigmas[i], noise)
            }
        }
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        original + noise * self.sigmas[i]
    }
}
