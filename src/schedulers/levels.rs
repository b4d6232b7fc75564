//! Timesteps and noise levels of a run, under all samplers that follow noise levels.
//!
//! Two layouts: that of k-diffusion, whose latents grow with sigma (euler, heun, dpm2, lms, …), and
//! that of the exponential solvers, whose latents keep their variance (dpmpp, deis, unipc). Flow
//! models have levels of their own. diffusers: `set_timesteps` of the classes.

use anyhow::Result;
use burn::tensor::Tensor;

use super::chosen::Given;
use super::config::SchedulerConfig;
use super::curves::Curve;
use super::noise_schedule::NoiseSchedule;
use super::settings::{FinalSigma, LevelSettings};
use super::spacing::{SigmaTable, Spacing, leading, linspace, simple, to_f32, trailing};

/// Where the classes keep timesteps in double precision, and so their last digits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Double {
    Never,
    OnCurves,
    Always,
}

/// How a class of k-diffusion's layout rounds timesteps.
#[derive(Debug, Clone, Copy)]
pub(super) struct SigmaRules {
    /// To whole numbers, on the karras curve.
    pub round_karras: bool,
    pub double: Double,
}

impl SigmaRules {
    pub const SINGLE: Self = Self {
        round_karras: false,
        double: Double::Never,
    };
}

/// Timesteps and noise levels in k-diffusion's layout: latents are `x0 + sigma * noise`.
pub(super) struct SigmaSchedule {
    pub timesteps: Vec<f64>,
    /// One more than timesteps.
    pub sigmas: Vec<f64>,
    pub init_noise_sigma: f64,
    pub table: SigmaTable,
}

impl SigmaSchedule {
    pub fn new(
        config: &SchedulerConfig,
        settings: &LevelSettings,
        schedule: &NoiseSchedule,
        rules: SigmaRules,
        n: usize,
    ) -> Result<Self> {
        let table = SigmaTable::new(schedule.sigmas());
        let mut levels = match &settings.given {
            Some(Given::Sigmas(sigmas)) => Levels::of_sigmas(sigmas, &table),
            given => {
                let timesteps = match given {
                    Some(Given::Timesteps(timesteps)) => timesteps.clone(),
                    _ => sigma_timesteps(settings, schedule.len(), n),
                };
                let mut levels = Levels::at(timesteps, &table, rules.double != Double::Always);
                if settings.curve != Curve::Table {
                    let ends = match settings.curve {
                        Curve::KlOptimal => table.ends(),
                        _ => [levels.sigmas[0], levels.sigmas[levels.sigmas.len() - 1]],
                    };
                    levels = Levels::on_curve(settings.curve_sigmas(config, ends, n)?, &table);
                    if rules.round_karras && settings.curve == Curve::Karras {
                        levels.timesteps.iter_mut().for_each(|t| *t = t.round_ties_even());
                    }
                }
                levels.sigmas.push(match settings.final_sigma {
                    FinalSigma::Zero => 0.0,
                    FinalSigma::SigmaMin => schedule.sigma_min(),
                });
                levels
            }
        };
        if rules.double == Double::Never {
            levels.timesteps = to_f32(levels.timesteps);
        }
        let sigmas = to_f32(levels.sigmas);
        let largest = sigmas.iter().copied().fold(0.0, f64::max);
        Ok(Self {
            timesteps: levels.timesteps,
            sigmas,
            init_noise_sigma: match settings.spacing {
                Spacing::Leading => (largest * largest + 1.0).sqrt(),
                _ => largest,
            },
            table,
        })
    }

    pub fn add_noise<const D: usize>(&self, original: Tensor<D>, noise: Tensor<D>, i: usize) -> Tensor<D> {
        original + noise * self.sigmas[i]
    }
}

/// Latents of k-diffusion's layout, as the network expects them.
pub(super) fn scaled<const D: usize>(sample: Tensor<D>, sigma: f64) -> Tensor<D> {
    sample / (sigma.powi(2) + 1.0).sqrt()
}

/// The level below `to` that a step reaches before noise leads back up to it, and that noise's size.
pub(super) fn ancestral_step(from: f64, to: f64, eta: f64) -> (f64, f64) {
    let full = (to.powi(2) * (from.powi(2) - to.powi(2)) / from.powi(2)).sqrt();
    let up = (eta * full).min(to);
    ((to.powi(2) - up.powi(2)).sqrt(), up)
}

struct Levels {
    timesteps: Vec<f64>,
    sigmas: Vec<f64>,
}

impl Levels {
    fn at(timesteps: Vec<f64>, table: &SigmaTable, single: bool) -> Self {
        let timesteps = if single { to_f32(timesteps) } else { timesteps };
        Self {
            sigmas: timesteps.iter().map(|t| table.at(*t)).collect(),
            timesteps,
        }
    }

    fn on_curve(sigmas: Vec<f64>, table: &SigmaTable) -> Self {
        Self {
            timesteps: sigmas.iter().map(|s| table.timestep_of(*s)).collect(),
            sigmas,
        }
    }

    /// The last of `given` is the level at the end, which has no timestep.
    fn of_sigmas(given: &[f64], table: &SigmaTable) -> Self {
        let sigmas = to_f32(given.iter().copied());
        let steps = &sigmas[..sigmas.len() - 1];
        Self {
            timesteps: steps.iter().map(|s| table.timestep_of(*s)).collect(),
            sigmas,
        }
    }
}

/// The timesteps of a spacing over `train` in k-diffusion's layout, fractional ones included.
fn sigma_timesteps(settings: &LevelSettings, train: usize, n: usize) -> Vec<f64> {
    match settings.spacing {
        Spacing::Linspace => {
            let mut ascending = linspace(0.0, (train - 1) as f64, n);
            ascending.reverse();
            ascending
        }
        Spacing::Leading => leading(train / n, n, settings.steps_offset),
        Spacing::Trailing => trailing(train, train, n),
        Spacing::Simple => simple(train, n),
    }
}

/// The whole timesteps of a spacing for samplers that read the training schedule itself.
pub(super) fn whole_timesteps(spacing: Spacing, steps_offset: i64, train: usize, n: usize) -> Vec<f64> {
    match spacing {
        Spacing::Linspace => {
            let ascending = linspace(0.0, (train - 1) as f64, n);
            ascending.into_iter().rev().map(f64::round_ties_even).collect()
        }
        Spacing::Leading => leading(train / n, n, steps_offset),
        Spacing::Trailing => trailing(train, train, n),
        Spacing::Simple => simple(train, n),
    }
}

/// How a class of the exponential solvers lays out and rounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct SolverRules {
    /// How many of the noisiest timesteps are left out.
    pub clipped: usize,
    /// Whether timesteps of the karras and lu curves are rounded; those of others are always cut.
    pub round: bool,
    /// Where the end is not 0: whether a curve repeats its lowest level instead of going to the table's.
    pub repeat_lowest: bool,
}

/// Timesteps and noise levels of the exponential solvers: latents keep their variance.
pub(super) struct SolverSchedule {
    pub timesteps: Vec<f64>,
    /// One more than timesteps.
    pub sigmas: Vec<f64>,
}

impl SolverSchedule {
    pub fn new(
        config: &SchedulerConfig,
        settings: &LevelSettings,
        schedule: &NoiseSchedule,
        rules: SolverRules,
        n: usize,
    ) -> Result<Self> {
        let table = SigmaTable::new(schedule.sigmas());
        let whole = |t: f64| match settings.curve {
            Curve::Karras | Curve::Lu if rules.round => t.round_ties_even(),
            _ => t.trunc(),
        };
        let mut lowest = schedule.sigma_min();
        let mut levels = match (&settings.given, settings.curve) {
            (Some(Given::Sigmas(sigmas)), _) => {
                let levels = Levels::of_sigmas(sigmas, &table);
                return Ok(Self {
                    timesteps: levels.timesteps.into_iter().map(f64::round_ties_even).collect(),
                    sigmas: levels.sigmas,
                });
            }
            (Some(Given::Timesteps(timesteps)), _) => Levels::at(timesteps.clone(), &table, false),
            (None, Curve::Table) => {
                let last = schedule.len() - rules.clipped;
                Levels::at(solver_timesteps(settings, last, schedule.len(), n), &table, false)
            }
            (None, _) => {
                let sigmas = settings.curve_sigmas(config, table.ends(), n)?;
                let mut levels = Levels::on_curve(sigmas, &table);
                levels.timesteps.iter_mut().for_each(|t| *t = whole(*t));
                if rules.repeat_lowest {
                    lowest = levels.sigmas[n - 1];
                }
                levels
            }
        };
        levels.sigmas.push(match settings.final_sigma {
            FinalSigma::Zero => 0.0,
            FinalSigma::SigmaMin => lowest,
        });
        Ok(Self {
            timesteps: levels.timesteps,
            sigmas: to_f32(levels.sigmas),
        })
    }

    /// A flow model's, from the step below pure noise down; `end` is the last level.
    pub fn flow(shift: f64, train: usize, end: f64, n: usize) -> Self {
        let alphas = linspace(1.0, 1.0 / train as f64, n + 1);
        let levels = alphas.into_iter().rev().map(|a| shifted(1.0 - a, shift));
        Self::of_flow_sigmas(levels.take(n).collect(), train, end)
    }

    /// A flow model's, from (almost) pure noise down; the end repeats the lowest level or is 0.
    pub fn flow_from_noise(shift: f64, train: usize, final_sigma: FinalSigma, n: usize) -> Self {
        const EPSILON: f64 = 1e-6;
        let mut sigmas = linspace(1.0, 1.0 / train as f64, n + 1);
        sigmas.truncate(n);
        sigmas.iter_mut().for_each(|s| *s = shifted(*s, shift));
        // Pure noise has no finite lambda.
        if (sigmas[0] - 1.0).abs() < EPSILON {
            sigmas[0] -= EPSILON;
        }
        let end = match final_sigma {
            FinalSigma::Zero => 0.0,
            FinalSigma::SigmaMin => sigmas[n - 1],
        };
        Self::of_flow_sigmas(sigmas, train, end)
    }

    fn of_flow_sigmas(mut sigmas: Vec<f64>, train: usize, end: f64) -> Self {
        let timesteps = sigmas.iter().map(|s| (s * train as f64).trunc()).collect();
        sigmas.push(end);
        Self {
            timesteps,
            sigmas: to_f32(sigmas),
        }
    }
}

/// The timesteps of a spacing up to `last`; one more point is laid out and the lowest left out.
fn solver_timesteps(settings: &LevelSettings, last: usize, train: usize, n: usize) -> Vec<f64> {
    let mut timesteps = match settings.spacing {
        Spacing::Linspace => {
            let ascending = linspace(0.0, last as f64 - 1.0, n + 1);
            ascending.into_iter().rev().map(f64::round_ties_even).collect()
        }
        Spacing::Leading => leading(last / (n + 1), n + 1, settings.steps_offset),
        Spacing::Trailing => trailing(last, train, n),
        Spacing::Simple => simple(last, n),
    };
    timesteps.truncate(n);
    timesteps
}

/// A flow model's shift, of the choice or of the file (`flow_shift`, or `shift` with euler), checked.
pub(super) fn flow_shift(config: &SchedulerConfig) -> Result<f64> {
    if let Some(shift) = config.chosen.flow_shift {
        return Ok(shift);
    }
    for field in ["flow_shift", "shift"] {
        if let Some(shift) = config.optional_number(field)? {
            if shift.is_finite() && shift > 0.0 {
                return Ok(shift);
            }
            return Err(config.not_built(field, &shift.to_string(), "above 0"));
        }
    }
    Ok(1.0)
}

/// A noise level moved towards noise, for larger pictures.
pub(super) fn shifted(sigma: f64, shift: f64) -> f64 {
    shift * sigma / (1.0 + (shift - 1.0) * sigma)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ancestral_step_keeps_the_variance() {
        for (from, to) in [(14.6, 7.0), (1.0, 0.9), (0.03, 0.0)] {
            for eta in [0.0, 0.5, 1.0] {
                let (down, up) = ancestral_step(from, to, eta);
                assert!((down.hypot(up) - to).abs() < 1e-12);
                assert!(eta > 0.0 || up == 0.0);
            }
        }
    }
}
