//! DPM-Solver++, multistep: the deterministic solver and its stochastic variant.
//!
//! Lu et al. 2022 (arXiv 2211.01095), algorithm 2 and its SDE form. diffusers:
//! `scheduling_dpmsolver_multistep.py`.

use std::collections::VecDeque;

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::curves::Curve;
use super::families::Family;
use super::levels::{SolverRules, SolverSchedule, flow_shift};
use super::noise_schedule::{DDPM_BETAS, NoiseSchedule, ZeroSnr};
use super::prediction::{DIFFUSION_OR_FLOW, Prediction, alpha_sigma, lambda};
use super::scheduler::{NoiseSource, Scheduler};
use super::settings::{FinalSigma, LevelSettings};

/// How many of the noisiest timesteps `lambda_min_clipped` leaves out.
pub(super) fn clipped(config: &SchedulerConfig, schedule: &NoiseSchedule) -> Result<usize> {
    let minimum = config.number("lambda_min_clipped", f64::NEG_INFINITY)? as f32;
    let lambdas = schedule.alphas_cumprod.iter().rev();
    let below = lambdas.take_while(|a| a.sqrt().ln() - (1.0 - *a).sqrt().ln() < minimum);
    let count = below.count();
    if count + 2 > schedule.len() {
        return Err(config.not_built("lambda_min_clipped", &minimum.to_string(), "a smaller number"));
    }
    Ok(count)
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SolverType {
    Midpoint,
    Heun,
}

/// What the two DPM-Solver++ classes read besides noise levels.
#[derive(Debug, Clone, Copy)]
pub(super) struct SolverSettings {
    /// Adds noise at every step.
    pub sde: bool,
    pub order: usize,
    pub solver_type: SolverType,
    /// Lower the order of the last two steps when there are fewer than 15.
    pub lower_order_final: bool,
    /// The last step is of first order whatever the count.
    pub euler_at_final: bool,
}

impl SolverSettings {
    /// As the sampler of a name, or as the file says for one that was not chosen.
    pub fn read(config: &SchedulerConfig, lower_order_final: bool) -> Result<Self> {
        let mut settings = match config.chosen.family {
            Some(family) => Self::of_family(family),
            None => Self::of_file(config)?,
        };
        // k-diffusion's third-order SDE has phi functions at both orders and lowers nothing; the sign
        // of diffusers' own one contradicts its derivation.
        if settings.sde && settings.order == 3 {
            settings.solver_type = SolverType::Heun;
            settings.lower_order_final = false;
            settings.euler_at_final = true;
            return Ok(settings);
        }
        settings.lower_order_final = config.flag("lower_order_final", lower_order_final)?;
        settings.euler_at_final =
            config.flag("euler_at_final", false)? || config.final_sigma()? == FinalSigma::Zero;
        Ok(settings)
    }

    fn of_family(family: Family) -> Self {
        Self {
            sde: matches!(family, Family::Dpmpp2mSde | Family::Dpmpp3mSde),
            order: if matches!(family, Family::Dpmpp3m | Family::Dpmpp3mSde) {
                3
            } else {
                2
            },
            solver_type: SolverType::Midpoint,
            lower_order_final: true,
            euler_at_final: false,
        }
    }

    fn of_file(config: &SchedulerConfig) -> Result<Self> {
        use SolverType::{Heun, Midpoint};
        let sde = config.choice(
            "algorithm_type",
            "dpmsolver++",
            &[("dpmsolver++", false), ("deis", false), ("sde-dpmsolver++", true)],
        )?;
        let order = config.integer("solver_order", 2)?;
        if !(1..=3).contains(&order) {
            return Err(config.not_built("solver_order", &order.to_string(), "1, 2, 3"));
        }
        let solver_type = config.choice(
            "solver_type",
            "midpoint",
            // The last three are other schedulers' values, which diffusers reads as midpoint.
            &[
                ("midpoint", Midpoint),
                ("heun", Heun),
                ("logrho", Midpoint),
                ("bh1", Midpoint),
                ("bh2", Midpoint),
            ],
        )?;
        Ok(Self {
            sde,
            order: order as usize,
            solver_type,
            lower_order_final: true,
            euler_at_final: false,
        })
    }
}

/// `dpmpp-2m` and its relatives.
pub(super) struct Dpmpp<const D: usize> {
    schedule: SolverSchedule,
    prediction: Prediction,
    flow: bool,
    solver: SolverSettings,
    /// Earlier x0 predictions, the newest first.
    history: VecDeque<Tensor<D>>,
}

impl<const D: usize> Dpmpp<D> {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        config.refuse(&["thresholding", "variance_type", "use_dynamic_shifting"])?;
        let prediction = config.prediction(DIFFUSION_OR_FLOW)?;
        let flow = config.flow_sigmas(prediction)?;
        Ok(Self {
            schedule: schedule(config, flow, n)?,
            prediction,
            flow,
            solver: SolverSettings::read(config, true)?,
            history: VecDeque::new(),
        })
    }

    /// The order of step `i`: what history allows, lowered at the end.
    fn order_at(&self, i: usize) -> usize {
        let remaining = self.schedule.timesteps.len() - i;
        let few_steps = self.solver.lower_order_final && self.schedule.timesteps.len() < 15;
        let cap = match remaining {
            1 if self.solver.euler_at_final || few_steps => 1,
            2 if few_steps => 2,
            _ => 3,
        };
        self.history.len().min(self.solver.order).min(cap)
    }

    /// The first and second differences of x0 over lambda, as the solver weighs them.
    fn differences(&self, i: usize, h: f64, order: usize) -> (Tensor<D>, Option<Tensor<D>>) {
        let lambda_at = |k: usize| lambda(self.schedule.sigmas[k], self.flow);
        let m = &self.history;
        let r0 = (lambda_at(i) - lambda_at(i - 1)) / h;
        let newest = (m[0].clone() - m[1].clone()) / r0;
        if order == 2 {
            return (newest, None);
        }
        let r1 = (lambda_at(i - 1) - lambda_at(i - 2)) / h;
        let older = (m[1].clone() - m[2].clone()) / r1;
        let change = newest.clone() - older;
        (
            newest + change.clone() * (r0 / (r0 + r1)),
            Some(change / (r0 + r1)),
        )
    }
}

fn schedule(config: &SchedulerConfig, flow: bool, n: usize) -> Result<SolverSchedule> {
    let schedule = NoiseSchedule::new(config, &DDPM_BETAS, ZeroSnr::NearlyZero)?;
    let settings = LevelSettings::read(config)?;
    if flow {
        if settings.curve != Curve::Table {
            return Err(config.not_built("use_flow_sigmas", "true", "false with other sigma curves"));
        }
        let end = match settings.final_sigma {
            FinalSigma::Zero => 0.0,
            FinalSigma::SigmaMin => schedule.sigma_min(),
        };
        return Ok(SolverSchedule::flow(flow_shift(config)?, schedule.len(), end, n));
    }
    let cosine = config.choice(
        "beta_schedule",
        DDPM_BETAS.schedule,
        &[
            ("linear", false),
            ("scaled_linear", false),
            ("squaredcos_cap_v2", true),
        ],
    )?;
    let rules = SolverRules {
        clipped: clipped(config, &schedule)?,
        round: !cosine,
        repeat_lowest: false,
    };
    SolverSchedule::new(config, &settings, &schedule, rules, n)
}

impl<const D: usize> Scheduler<D> for Dpmpp<D> {
    fn timesteps(&self) -> &[f64] {
        &self.schedule.timesteps
    }

    fn sigmas(&self) -> &[f64] {
        &self.schedule.sigmas
    }

    fn scale_model_input(&self, sample: Tensor<D>, _i: usize) -> Tensor<D> {
        sample
    }

    fn step(
        &mut self,
        model_output: Tensor<D>,
        i: usize,
        sample: Tensor<D>,
        noise: NoiseSource<'_, D>,
    ) -> Tensor<D> {
        let (from, to) = (self.schedule.sigmas[i], self.schedule.sigmas[i + 1]);
        let (alpha_s, sigma_s) = alpha_sigma(from, self.flow);
        let (alpha_t, sigma_t) = alpha_sigma(to, self.flow);
        // A flow output is relative to the level itself, which is sigma_s there.
        let denoised = self
            .prediction
            .denoised(model_output, sample.clone(), alpha_s, sigma_s);
        self.history.push_front(denoised.clone());
        self.history.truncate(self.solver.order);
        let noise = self.solver.sde.then(noise);
        if from == to {
            return sample;
        }

        let h = lambda(to, self.flow) - lambda(from, self.flow);
        // The SDE's exponentials run twice as fast.
        let decay_rate = if self.solver.sde { 2.0 * h } else { h };
        let gain = -(-decay_rate).exp_m1();
        let keep = if self.solver.sde { (-h).exp() } else { 1.0 } * sigma_t / sigma_s;
        let mut next = sample * keep + denoised * (alpha_t * gain);
        let order = self.order_at(i);
        if order > 1 {
            let (first, second) = self.differences(i, h, order);
            let slope = 1.0 - gain / decay_rate;
            let weight = match self.solver.solver_type {
                SolverType::Midpoint if order == 2 => 0.5 * gain,
                _ => slope,
            };
            next = next + first * (alpha_t * weight);
            if let Some(second) = second {
                next = next - second * (alpha_t * (slope / decay_rate - 0.5));
            }
        }
        match noise {
            Some(noise) => next + noise * (sigma_t * gain.sqrt()),
            None => next,
        }
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        let (alpha, sigma) = alpha_sigma(self.schedule.sigmas[i], self.flow);
        original * alpha + noise * sigma
    }
}
