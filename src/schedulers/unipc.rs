//! UniPC: a multistep predictor, and a corrector that reuses the next call's output.
//!
//! Zhao et al. 2023 (arXiv 2302.04867), equations 3, 5 and 8 with B(h) of section 3.4, for x0
//! prediction. diffusers: `scheduling_unipc_multistep.py`.

use std::collections::VecDeque;

use anyhow::Result;
use burn::tensor::Tensor;

use super::config::SchedulerConfig;
use super::curves::Curve;
use super::levels::{SolverRules, SolverSchedule, flow_shift};
use super::noise_schedule::{DDPM_BETAS, NoiseSchedule, ZeroSnr};
use super::prediction::{DIFFUSION_OR_FLOW, Prediction, alpha_sigma, lambda};
use super::scheduler::{NoiseSource, Scheduler};
use super::settings::LevelSettings;

#[derive(Debug, Clone, Copy, PartialEq)]
enum SolverType {
    Bh1,
    Bh2,
}

/// `unipc`.
pub(super) struct UniPc<const D: usize> {
    schedule: SolverSchedule,
    prediction: Prediction,
    flow: bool,
    solver_order: usize,
    solver_type: SolverType,
    lower_order_final: bool,
    /// Steps after which the corrector is left out.
    disable_corrector: Vec<usize>,
    /// Earlier x0 predictions, the newest first.
    history: VecDeque<Tensor<D>>,
    /// Where the last step started, and its order.
    last: Option<(Tensor<D>, usize)>,
}

impl<const D: usize> UniPc<D> {
    pub fn new(config: &SchedulerConfig, n: usize) -> Result<Self> {
        config.refuse(&[
            "thresholding",
            "solver_p",
            "use_dynamic_shifting",
            "shift_terminal",
        ])?;
        if !config.flag("predict_x0", true)? {
            return Err(config.not_built("predict_x0", "false", "true"));
        }
        let solver_order = config.integer("solver_order", 2)?;
        if !(1..=3).contains(&solver_order) {
            return Err(config.not_built("solver_order", &solver_order.to_string(), "1, 2, 3"));
        }
        use SolverType::{Bh1, Bh2};
        let solver_type = config.choice(
            "solver_type",
            "bh2",
            // The last three are other schedulers' values, which diffusers reads as bh2.
            &[
                ("bh1", Bh1),
                ("bh2", Bh2),
                ("midpoint", Bh2),
                ("heun", Bh2),
                ("logrho", Bh2),
            ],
        )?;
        let prediction = config.prediction(DIFFUSION_OR_FLOW)?;
        let flow = config.flow_sigmas(prediction)?;
        let lower_order_final = config.flag("lower_order_final", true)?;
        if !lower_order_final && solver_order > 1 {
            let allowed = "true unless solver_order is 1";
            return Err(config.not_built("lower_order_final", "false", allowed));
        }
        let disabled = config.numbers("disable_corrector")?.unwrap_or_default();
        Ok(Self {
            schedule: schedule(config, flow, n)?,
            prediction,
            flow,
            solver_order: solver_order as usize,
            solver_type,
            lower_order_final,
            disable_corrector: disabled.into_iter().map(|i| i as usize).collect(),
            history: VecDeque::new(),
            last: None,
        })
    }

    /// One step of either kind from noise level `start` to `start + 1`, given x0 there (`m[0]`) and before.
    ///
    /// `outcome` is x0 at the end of the step: with it this is the corrector, without the predictor.
    fn update(&self, start: usize, order: usize, sample: Tensor<D>, outcome: Option<Tensor<D>>) -> Tensor<D> {
        let sigmas = &self.schedule.sigmas;
        let lambda_start = lambda(sigmas[start], self.flow);
        let (_, sigma_s) = alpha_sigma(sigmas[start], self.flow);
        let (alpha_t, sigma_t) = alpha_sigma(sigmas[start + 1], self.flow);
        let h = lambda(sigmas[start + 1], self.flow) - lambda_start;
        let m0 = &self.history[0];
        let base = sample * (sigma_t / sigma_s) - m0.clone() * (alpha_t * (-h).exp_m1());

        let mut points: Vec<f64> = (1..order)
            .map(|k| (lambda(sigmas[start - k], self.flow) - lambda_start) / h)
            .collect();
        let mut differences: Vec<Tensor<D>> = points
            .iter()
            .zip(self.history.iter().skip(1))
            .map(|(point, m)| (m.clone() - m0.clone()) / *point)
            .collect();
        if let Some(outcome) = outcome {
            points.push(1.0);
            differences.push(outcome - m0.clone());
        }
        let b_h = match self.solver_type {
            SolverType::Bh1 => -h,
            SolverType::Bh2 => (-h).exp_m1(),
        };
        // The paper's simplification where one difference is left.
        let weights = match points.len() {
            0 => return base,
            1 => vec![0.5],
            _ => weights(&points, -h, b_h),
        };
        let terms = differences.into_iter().zip(weights);
        terms.fold(base, |x, (difference, weight)| {
            x - difference * (alpha_t * b_h * weight)
        })
    }
}

/// Solves `R(h) rho = b(h)`, equation 5 (`hh` is -h for x0 prediction).
fn weights(points: &[f64], hh: f64, b_h: f64) -> Vec<f64> {
    let mut phi = hh.exp_m1() / hh - 1.0;
    let mut factorial = 1.0;
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for power in 0..points.len() {
        let mut row: Vec<f64> = points.iter().map(|p| p.powi(power as i32)).collect();
        row.push(phi * factorial / b_h);
        rows.push(row);
        factorial *= (power + 2) as f64;
        phi = phi / hh - 1.0 / factorial;
    }
    solve(rows)
}

/// Gauss elimination of a small augmented matrix, with pivoting.
fn solve(mut rows: Vec<Vec<f64>>) -> Vec<f64> {
    let n = rows.len();
    for column in 0..n {
        let pivot = (column..n)
            .max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()))
            .expect("at least one row");
        rows.swap(column, pivot);
        let pivot_row = rows[column].clone();
        for (index, row) in rows.iter_mut().enumerate() {
            if index != column {
                let factor = row[column] / pivot_row[column];
                row.iter_mut().zip(&pivot_row).for_each(|(v, p)| *v -= factor * p);
            }
        }
    }
    rows.iter().enumerate().map(|(i, row)| row[n] / row[i]).collect()
}

fn schedule(config: &SchedulerConfig, flow: bool, n: usize) -> Result<SolverSchedule> {
    let schedule = NoiseSchedule::new(config, &DDPM_BETAS, ZeroSnr::NearlyZero)?;
    let settings = LevelSettings::read(config)?;
    if flow {
        if settings.curve != Curve::Table {
            return Err(config.not_built("use_flow_sigmas", "true", "false with other sigma curves"));
        }
        let (shift, train) = (flow_shift(config)?, schedule.len());
        return Ok(SolverSchedule::flow_from_noise(
            shift,
            train,
            settings.final_sigma,
            n,
        ));
    }
    let rules = SolverRules {
        clipped: 0,
        round: true,
        repeat_lowest: true,
    };
    SolverSchedule::new(config, &settings, &schedule, rules, n)
}

impl<const D: usize> Scheduler<D> for UniPc<D> {
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
        mut sample: Tensor<D>,
        _noise: NoiseSource<'_, D>,
    ) -> Tensor<D> {
        let (alpha, sigma) = alpha_sigma(self.schedule.sigmas[i], self.flow);
        let denoised = self
            .prediction
            .denoised(model_output, sample.clone(), alpha, sigma);
        if let Some((start, order)) = self.last.take()
            && !self.disable_corrector.contains(&(i - 1))
        {
            sample = self.update(i - 1, order, start, Some(denoised.clone()));
        }
        self.history.push_front(denoised);
        self.history.truncate(self.solver_order);
        let mut order = self.history.len();
        if self.lower_order_final {
            order = order.min(self.schedule.timesteps.len() - i);
        }
        self.last = Some((sample.clone(), order));
        if self.schedule.sigmas[i] == self.schedule.sigmas[i + 1] {
            return sample;
        }
        self.update(i, order, sample, None)
    }

    fn add_noise(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        let (alpha, sigma) = alpha_sigma(self.schedule.sigmas[i], self.flow);
        original * alpha + noise * sigma
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_solver_solves_where_a_pivot_is_zero() {
        let solution = solve(vec![vec![0.0, 2.0, 4.0], vec![3.0, 1.0, 5.0]]);
        assert_eq!(solution, vec![1.0, 2.0]);
    }

    #[test]
    fn weights_satisfy_their_equations() {
        let (points, hh) = ([-0.8, 1.0], -0.3f64);
        let b_h = hh.exp_m1();
        let rho = weights(&points, hh, b_h);
        let phi_1 = hh.exp_m1() / hh - 1.0;
        let phi_2 = phi_1 / hh - 0.5;
        assert!((rho[0] + rho[1] - phi_1 / b_h).abs() < 1e-12);
        assert!((points[0] * rho[0] + points[1] * rho[1] - 2.0 * phi_2 / b_h).abs() < 1e-12);
    }
}
