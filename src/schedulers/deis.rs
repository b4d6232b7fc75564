//! Diffusion exponential integrator: extrapolates the noise over the logarithm of its level.
//!
//! Zhang & Chen 2022 (arXiv 2204.13902), the rho-Adams-Bashforth method in log rho. diffusers:
//! `scheduling_deis_multistep.py`.

use std::collections::VecDeque;

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::levels::{SolverRules, SolverSchedule};
use super::noise_schedule::{DDPM_BETAS, NoiseSchedule, ZeroSnr};
use super::prediction::{DIFFUSION, Prediction, alpha_sigma};
use super::scheduler::{NoiseSource, Scheduler};
use super::settings::{FinalSigma, LevelSettings};

pub(super) struct Deis<const D: usize> {
    schedule: SolverSchedule,
    prediction: Prediction,
    solver_order: usize,
    /// Lower the order of the last two steps when there are fewer than 15.
    lower_order_final: bool,
    /// Earlier noise predictions, the newest first.
    history: VecDeque<Tensor<D>>,
}

impl<const D: usize> Deis<D> {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        config.refuse(&["thresholding", "use_flow_sigmas"])?;
        let solver_order = match config.chosen.family {
            Some(_) => 2,
            None => config.integer("solver_order", 2)?,
        };
        if !(1..=3).contains(&solver_order) {
            return Err(config.not_built("solver_order", &solver_order.to_string(), "1, 2, 3"));
        }
        let schedule = NoiseSchedule::new(config, &DDPM_BETAS, ZeroSnr::Ignored)?;
        // The class never goes to 0: the noise there would have no logarithm.
        let settings = LevelSettings {
            final_sigma: FinalSigma::SigmaMin,
            ..LevelSettings::read(config)?
        };
        let rules = SolverRules {
            clipped: 0,
            round: true,
            repeat_lowest: true,
        };
        Ok(Self {
            schedule: SolverSchedule::new(config, &settings, &schedule, rules, n)?,
            prediction: config.prediction(DIFFUSION)?,
            solver_order: solver_order as usize,
            lower_order_final: config.flag("lower_order_final", true)?,
            history: VecDeque::new(),
        })
    }

    fn order_at(&self, i: usize) -> usize {
        let remaining = self.schedule.timesteps.len() - i;
        let few_steps = self.lower_order_final && self.schedule.timesteps.len() < 15;
        let cap = if few_steps { remaining } else { 3 };
        // A list of the user's may end at 0.
        let cap = if self.schedule.sigmas[i + 1] == 0.0 {
            1
        } else {
            cap
        };
        self.history.len().min(self.solver_order).min(cap)
    }
}

/// The integral over rho from `points[0]` to `end` of the polynomial in log rho that is 1 at `points[k]`
/// and 0 at the others.
fn coefficient(points: &[f64], k: usize, end: f64) -> f64 {
    let log = |x: f64| x.ln();
    let others: Vec<f64> = (0..points.len())
        .filter(|j| *j != k)
        .map(|j| log(points[j]))
        .collect();
    let scale: f64 = others.iter().map(|o| log(points[k]) - o).product();
    let antiderivative = |x: f64| match others[..] {
        [] => x,
        [c] => x * (log(x) - 1.0 - c),
        [c, d] => x * (log(x).powi(2) - (2.0 + c + d) * (log(x) - 1.0) + c * d),
        _ => unreachable!("the order is at most 3"),
    };
    (antiderivative(end) - antiderivative(points[0])) / scale
}

impl<const D: usize> Scheduler<D> for Deis<D> {
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
        _noise: NoiseSource<'_, D>,
    ) -> Tensor<D> {
        let (from, to) = (self.schedule.sigmas[i], self.schedule.sigmas[i + 1]);
        let (alpha, sigma) = alpha_sigma(from, false);
        let denoised = self
            .prediction
            .denoised(model_output.clone(), sample.clone(), alpha, sigma);
        let epsilon = self
            .prediction
            .noise(model_output, sample.clone(), denoised, alpha, sigma);
        self.history.push_front(epsilon);
        self.history.truncate(self.solver_order);
        if from == to {
            return sample;
        }
        let order = self.order_at(i);
        let points: Vec<f64> = (0..order).map(|k| self.schedule.sigmas[i - k]).collect();
        let (alpha_next, _) = alpha_sigma(to, false);
        let terms = self.history.iter().take(order).enumerate();
        terms.fold(sample * (alpha_next / alpha), |sum, (k, epsilon)| {
            sum + epsilon.clone() * (alpha_next * coefficient(&points, k, to))
        })
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
    fn coefficients_integrate_squares_of_the_logarithm_exactly() {
        let (points, end) = ([5.0f64, 7.0, 11.0], 3.0f64);
        let square = |x: f64| 2.0 * x.ln().powi(2) - x.ln() + 4.0;
        let sum: f64 = (0..3)
            .map(|k| coefficient(&points, k, end) * square(points[k]))
            .sum();
        let steps = 200_000;
        let width = (end - points[0]) / f64::from(steps);
        let midpoints = (0..steps).map(|i| points[0] + (f64::from(i) + 0.5) * width);
        let integral: f64 = midpoints.map(|x| square(x) * width).sum();
        assert!((sum - integral).abs() < 1e-8, "{sum} {integral}");
    }
}
