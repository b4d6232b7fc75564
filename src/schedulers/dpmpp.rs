//! DPM-Solver++, multistep: the deterministic solver and its stochastic variant.
//!
//! Lu et al. 2022 (arXiv 2211.01095), algorithm 2 and its SDE form. diffusers:
//! `scheduling_dpmsolver_multistep.py`.

use std::collections::VecDeque;

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::flow_euler::{flow_shift, shifted};
use super::noise_schedule::{DDPM_BETAS, NoiseSchedule, ZeroSnr};
use super::prediction::{DIFFUSION_OR_FLOW, Prediction, alpha_sigma, flow_sigmas, lambda};
use super::spacing::{Curve, FinalSigma, SigmaTable, Spacing, leading, linspace, to_f32, trailing};
use super::{NoiseSource, Scheduler};

/// Timesteps and noise levels as dpmpp and unipc use them.
pub(super) struct SolverSchedule {
    pub timesteps: Vec<f64>,
    /// One more than timesteps.
    pub sigmas: Vec<f64>,
}

/// The timesteps of a spacing up to `last`; one more point is laid out and the lowest left out.
pub(super) fn solver_timesteps(
    config: &SchedulerConfig,
    last: usize,
    train: usize,
    n: usize,
) -> Result<Vec<f64>> {
    let mut timesteps = match Spacing::new(config, "linspace")? {
        Spacing::Linspace => {
            let ascending = linspace(0.0, last as f64 - 1.0, n + 1);
            ascending.into_iter().rev().map(f64::round_ties_even).collect()
        }
        Spacing::Leading => leading(last / (n + 1), n + 1, config.integer("steps_offset", 0)?),
        Spacing::Trailing => trailing(last, train, n),
    };
    timesteps.truncate(n);
    Ok(timesteps)
}

impl SolverSchedule {
    fn new(config: &SchedulerConfig, flow: bool, final_sigma: FinalSigma, n: usize) -> Result<Self> {
        let schedule = NoiseSchedule::new(config, &DDPM_BETAS, ZeroSnr::NearlyZero)?;
        let curve = Curve::new(config)?;
        let (timesteps, mut sigmas) = if flow {
            Self::flow(config, curve, schedule.len(), n)?
        } else {
            Self::diffusion(config, curve, &schedule, n)?
        };
        sigmas.push(match final_sigma {
            FinalSigma::Zero => 0.0,
            FinalSigma::SigmaMin => schedule.sigma_min(),
        });
        Ok(Self {
            timesteps,
            sigmas: to_f32(sigmas),
        })
    }

    fn flow(config: &SchedulerConfig, curve: Curve, train: usize, n: usize) -> Result<(Vec<f64>, Vec<f64>)> {
        if curve != Curve::Table {
            return Err(config.not_built("use_flow_sigmas", "true", "false with other sigma curves"));
        }
        let shift = flow_shift(config, "flow_shift")?;
        let alphas = linspace(1.0, 1.0 / train as f64, n + 1);
        let levels = alphas.into_iter().rev().map(|a| shifted(1.0 - a, shift));
        let sigmas: Vec<f64> = levels.take(n).collect();
        let timesteps = sigmas.iter().map(|s| (s * train as f64).trunc()).collect();
        Ok((timesteps, sigmas))
    }

    fn diffusion(
        config: &SchedulerConfig,
        curve: Curve,
        schedule: &NoiseSchedule,
        n: usize,
    ) -> Result<(Vec<f64>, Vec<f64>)> {
        let table = SigmaTable::new(schedule.sigmas());
        if curve == Curve::Table {
            let last = schedule.len() - clipped(config, schedule)?;
            let timesteps = solver_timesteps(config, last, schedule.len(), n)?;
            let sigmas = timesteps.iter().map(|t| table.at(*t)).collect();
            return Ok((timesteps, sigmas));
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
        let sigmas = curve.sigmas(config, table.ends(), n)?;
        let whole = |t: f64| match curve {
            Curve::Karras if !cosine => t.round_ties_even(),
            _ => t.trunc(),
        };
        let timesteps = sigmas.iter().map(|s| whole(table.timestep_of(*s))).collect();
        Ok((timesteps, sigmas))
    }
}

/// How many of the noisiest timesteps `lambda_min_clipped` leaves out.
fn clipped(config: &SchedulerConfig, schedule: &NoiseSchedule) -> Result<usize> {
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
enum SolverType {
    Midpoint,
    Heun,
}

/// `dpmpp-2m` and its relatives.
pub(super) struct Dpmpp<const D: usize> {
    schedule: SolverSchedule,
    prediction: Prediction,
    flow: bool,
    /// Adds noise at every step.
    sde: bool,
    solver_order: usize,
    solver_type: SolverType,
    /// Lower the order of the last two steps when there are fewer than 15.
    lower_order_final: bool,
    /// The last step is of first order whatever the count.
    euler_at_final: bool,
    /// Earlier x0 predictions, the newest first.
    history: VecDeque<Tensor<D>>,
}

impl<const D: usize> Dpmpp<D> {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        config.refuse(&["thresholding", "variance_type", "use_dynamic_shifting"])?;
        let sde = config.choice(
            "algorithm_type",
            "dpmsolver++",
            &[("dpmsolver++", false), ("deis", false), ("sde-dpmsolver++", true)],
        )?;
        // diffusers' third-order SDE update has a sign that its own derivation contradicts.
        let solver_order = config.integer("solver_order", 2)?;
        let orders = if sde { 1..=2 } else { 1..=3 };
        if !orders.contains(&solver_order) {
            let allowed = if sde {
                "1, 2 with sde-dpmsolver++"
            } else {
                "1, 2, 3"
            };
            return Err(config.not_built("solver_order", &solver_order.to_string(), allowed));
        }
        use SolverType::{Heun, Midpoint};
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
        let prediction = Prediction::new(config, DIFFUSION_OR_FLOW)?;
        let flow = flow_sigmas(config, prediction)?;
        let final_sigma = FinalSigma::new(config)?;
        Ok(Self {
            schedule: SolverSchedule::new(config, flow, final_sigma, n)?,
            prediction,
            flow,
            sde,
            solver_order: solver_order as usize,
            solver_type,
            lower_order_final: config.flag("lower_order_final", true)?,
            euler_at_final: config.flag("euler_at_final", false)? || final_sigma == FinalSigma::Zero,
            history: VecDeque::new(),
        })
    }

    /// The order of step `i`: what history allows, lowered at the end.
    fn order_at(&self, i: usize) -> usize {
        let remaining = self.schedule.timesteps.len() - i;
        let few_steps = self.lower_order_final && self.schedule.timesteps.len() < 15;
        let cap = match remaining {
            1 if self.euler_at_final || few_steps => 1,
            2 if few_steps => 2,
            _ => 3,
        };
        self.history.len().min(self.solver_order).min(cap)
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
        self.history.truncate(self.solver_order);
        let noise = self.sde.then(noise);
        if from == to {
            return sample;
        }

        let h = lambda(to, self.flow) - lambda(from, self.flow);
        // The SDE's exponentials run twice as fast.
        let decay_rate = if self.sde { 2.0 * h } else { h };
        let gain = -(-decay_rate).exp_m1();
        let keep = if self.sde { (-h).exp() } else { 1.0 } * sigma_t / sigma_s;
        let mut next = sample * keep + denoised * (alpha_t * gain);
        let order = self.order_at(i);
        if order > 1 {
            let (first, second) = self.differences(i, h, order);
            let slope = 1.0 - gain / decay_rate;
            let weight = match self.solver_type {
                SolverType::Midpoint if order == 2 => 0.5 * gain,
                _ => slope,
            };
            next = next + first * (alpha_t * weight);
            if let Some(second) = second {
                next = next - second * (alpha_t * (slope / h - 0.5));
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
