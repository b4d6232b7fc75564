//! DPM-Solver++, singlestep: groups of one to three calls that share their starting point.
//!
//! Lu et al. 2022 (arXiv 2211.01095), algorithm 1 and its third order. diffusers:
//! `scheduling_dpmsolver_singlestep.py`.

use std::collections::VecDeque;

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::dpmpp::{SolverSettings, SolverType, clipped};
use super::levels::{SolverRules, SolverSchedule};
use super::noise_schedule::{DDPM_BETAS, NoiseSchedule, ZeroSnr};
use super::prediction::{DIFFUSION, Prediction, alpha_sigma, lambda};
use super::scheduler::{NoiseSource, Scheduler};
use super::settings::{FinalSigma, LevelSettings};
use super::spacing::Spacing;

/// `dpmpp-2s`.
pub(super) struct Singlestep<const D: usize> {
    schedule: SolverSchedule,
    prediction: Prediction,
    solver: SolverSettings,
    /// The order of every call.
    orders: Vec<usize>,
    /// Earlier x0 predictions, the newest first.
    history: VecDeque<Tensor<D>>,
    /// Where the group started.
    start: Option<Tensor<D>>,
}

impl<const D: usize> Singlestep<D> {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        config.refuse(&[
            "thresholding",
            "variance_type",
            "use_dynamic_shifting",
            "use_flow_sigmas",
        ])?;
        let solver = SolverSettings::read(config, false)?;
        if solver.sde && solver.order == 3 {
            return Err(config.not_built("solver_order", "3", "1, 2 with sde-dpmsolver++"));
        }
        let schedule = NoiseSchedule::new(config, &DDPM_BETAS, ZeroSnr::Ignored)?;
        // The class spreads its timesteps evenly whatever the file says of other classes.
        let settings = LevelSettings {
            spacing: config.chosen.spacing.unwrap_or(Spacing::Linspace),
            ..LevelSettings::read(config)?
        };
        let rules = SolverRules {
            clipped: clipped(config, &schedule)?,
            round: true,
            repeat_lowest: false,
        };
        let to_zero = settings.final_sigma == FinalSigma::Zero || settings.given.is_some();
        Ok(Self {
            schedule: SolverSchedule::new(config, &settings, &schedule, rules, n)?,
            prediction: config.prediction(DIFFUSION)?,
            solver,
            orders: orders(solver, to_zero, n),
            history: VecDeque::new(),
            start: None,
        })
    }

    /// A step of the group that began `order - 1` calls before `i`.
    fn update(&self, i: usize, order: usize, sample: Tensor<D>) -> (Tensor<D>, f64) {
        let sigmas = &self.schedule.sigmas;
        let begin = i + 1 - order;
        let lambda_at = |k: usize| lambda(sigmas[k], false);
        let h = lambda_at(i + 1) - lambda_at(begin);
        let (_, sigma_s) = alpha_sigma(sigmas[begin], false);
        let (alpha_t, sigma_t) = alpha_sigma(sigmas[i + 1], false);
        // The SDE's exponentials run twice as fast.
        let decay_rate = if self.solver.sde { 2.0 * h } else { h };
        let gain = -(-decay_rate).exp_m1();
        let keep = if self.solver.sde { (-h).exp() } else { 1.0 } * sigma_t / sigma_s;
        let m = &self.history;
        let oldest = &m[order - 1];
        let next = sample * keep + oldest.clone() * (alpha_t * gain);
        let deviation = sigma_t * gain.sqrt();
        if order == 1 {
            return (next, deviation);
        }
        let slope = 1.0 - gain / decay_rate;
        let share = |k: usize| (lambda_at(k) - lambda_at(begin)) / h;
        let difference = |newer: &Tensor<D>, r: f64| (newer.clone() - oldest.clone()) / r;
        let r0 = share(i);
        let newest = difference(&m[0], r0);
        let next = match (order, self.solver.solver_type) {
            (2, SolverType::Midpoint) => next + newest * (alpha_t * 0.5 * gain),
            (2, SolverType::Heun) | (_, SolverType::Midpoint) => next + newest * (alpha_t * slope),
            (_, SolverType::Heun) => {
                let r1 = share(i - 1);
                let older = difference(&m[1], r1);
                let first = (older.clone() * r0 - newest.clone() * r1) / (r0 - r1);
                let second = (newest - older) * (2.0 / (r0 - r1));
                next + first * (alpha_t * slope) - second * (alpha_t * (slope / h - 0.5))
            }
        };
        (next, deviation)
    }
}

/// The orders of `n` calls: whole groups, and lower ones at the end.
fn orders(solver: SolverSettings, to_zero: bool, n: usize) -> Vec<usize> {
    let order = solver.order;
    // A group that is not whole, or one that ends at 0, needs lower orders at the end.
    let lower = solver.lower_order_final || to_zero || !n.is_multiple_of(order);
    let mut orders: Vec<usize> = (0..n).map(|i| i % order + 1).collect();
    if lower && order == 3 && n.is_multiple_of(3) && n >= 3 {
        // 1, 2, 3 becomes 1, 2, 1
        orders[n - 1] = 1;
    }
    if lower && order == 2 && n.is_multiple_of(2) || to_zero {
        orders[n - 1] = 1;
    }
    orders
}

impl<const D: usize> Scheduler<D> for Singlestep<D> {
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
        let (alpha, sigma) = alpha_sigma(self.schedule.sigmas[i], false);
        let denoised = self
            .prediction
            .denoised(model_output, sample.clone(), alpha, sigma);
        self.history.push_front(denoised);
        self.history.truncate(self.solver.order);
        let noise = self.solver.sde.then(noise);
        // A tail of image-to-image may begin within a group.
        let order = self.orders[i].min(self.history.len());
        if order == 1 {
            self.start = Some(sample.clone());
        }
        let start = self.start.clone().unwrap_or(sample);
        let (next, deviation) = self.update(i, order, start);
        match noise {
            Some(noise) => next + noise * deviation,
            None => next,
        }
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        let (alpha, sigma) = alpha_sigma(self.schedule.sigmas[i], false);
        original * alpha + noise * sigma
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_whole_and_end_low() {
        let solver = |order, lower_order_final| SolverSettings {
            sde: false,
            order,
            solver_type: SolverType::Midpoint,
            lower_order_final,
            euler_at_final: false,
        };
        for (order, lower, to_zero, n, expected) in [
            (2, true, true, 4, vec![1, 2, 1, 1]),
            (2, true, true, 5, vec![1, 2, 1, 2, 1]),
            (2, false, false, 4, vec![1, 2, 1, 2]),
            (3, true, true, 6, vec![1, 2, 3, 1, 2, 1]),
            (3, true, true, 7, vec![1, 2, 3, 1, 2, 3, 1]),
            (3, true, true, 5, vec![1, 2, 3, 1, 1]),
            (3, true, false, 5, vec![1, 2, 3, 1, 2]),
            (3, false, false, 6, vec![1, 2, 3, 1, 2, 3]),
            (1, true, true, 3, vec![1, 1, 1]),
            (2, true, true, 1, vec![1]),
        ] {
            assert_eq!(orders(solver(order, lower), to_zero, n), expected, "{order} {n}");
        }
    }
}
