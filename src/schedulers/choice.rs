//! What a job chooses on top of the model's scheduler configuration.

use anyhow::Result;

use super::chosen::Given;
use super::config::SchedulerConfig;
use super::curves::Curve;
use super::families::Schedule;
use super::names;
use super::prediction::Prediction;
use super::spacing::{SPACINGS, Spacing};

/// What a network predicts, for models whose files do not say so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionType {
    Epsilon,
    VPrediction,
    Sample,
}

impl PredictionType {
    /// diffusers' names, and short ones: `epsilon` (`eps`), `v_prediction` (`v`), `sample` (`x0`).
    ///
    /// # Errors
    /// `InvalidSpec` for another one.
    pub fn parse(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().replace('-', "_").as_str() {
            "epsilon" | "eps" => Ok(Self::Epsilon),
            "v_prediction" | "v_pred" | "v" => Ok(Self::VPrediction),
            "sample" | "x0" => Ok(Self::Sample),
            _ => crate::fail!(
                InvalidSpec,
                "prediction_type is `{name}`; allowed: epsilon, v_prediction, sample"
            ),
        }
    }

    /// diffusers' name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Epsilon => "epsilon",
            Self::VPrediction => "v_prediction",
            Self::Sample => "sample",
        }
    }

    fn prediction(self) -> Prediction {
        match self {
            Self::Epsilon => Prediction::Epsilon,
            Self::VPrediction => Prediction::Velocity,
            Self::Sample => Prediction::Sample,
        }
    }
}

/// What a job says of its sampler; whatever is `None` stays as the model's configuration has it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SamplerChoice {
    /// A name of [`super::NAMES`], optionally with a schedule behind it, or another program's spelling.
    pub name: Option<String>,
    /// A name of [`super::SCHEDULES`] or of ComfyUI's or A1111's second list. Without `name` it changes
    /// the model's own sampler.
    pub schedule: Option<String>,
    /// diffusers' `timestep_spacing`: `linspace`, `leading` or `trailing`.
    pub timestep_spacing: Option<String>,
    pub prediction_type: Option<PredictionType>,
    /// Lin et al. 2023 (arXiv 2305.08891), for models trained on pure noise as well.
    pub rescale_betas_zero_snr: Option<bool>,
    /// How much noise ddim (default 0), tcd (default 0, its gamma) and the ancestral samplers
    /// (default 1) add, 0 to 1.
    pub eta: Option<f64>,
    /// Training timesteps to visit, descending. Their count replaces `num_inference_steps`.
    pub timesteps: Option<Vec<f64>>,
    /// Noise levels, descending, the end (usually 0) included: one more than steps.
    pub sigmas: Option<Vec<f64>>,
}

impl SamplerChoice {
    /// The model's configuration with the choice applied.
    ///
    /// # Errors
    /// `InvalidSpec` for a name that is unknown, does not fit the model or goes with no such schedule,
    /// and for lists that are no schedule.
    pub fn apply(&self, model: &SchedulerConfig) -> Result<SchedulerConfig> {
        let mut config = match (&self.name, &self.schedule) {
            (Some(name), Some(schedule)) => model.with_scheduler(&names::combine(name, schedule)?)?,
            (Some(name), None) => model.with_scheduler(name)?,
            (None, Some(schedule)) => model.with_schedule(schedule)?,
            (None, None) => model.clone(),
        };
        if let Some(spacing) = &self.timestep_spacing {
            config.chosen.spacing = Some(self.spacing(spacing, &config)?);
        }
        let chosen = &mut config.chosen;
        if let Some(prediction) = self.prediction_type {
            if model.is_flow() {
                crate::fail!(InvalidSpec, "prediction_type is `{}`, but this model is a flow model", prediction.name(); "leave it out");
            }
            chosen.prediction = Some(prediction.prediction());
        }
        chosen.rescale_zero_snr = self.rescale_betas_zero_snr.or(chosen.rescale_zero_snr);
        chosen.eta = self.eta.or(chosen.eta);
        if let Some(given) = self.given()? {
            config.give(given)?;
        }
        Ok(config)
    }

    fn spacing(&self, name: &str, config: &SchedulerConfig) -> Result<Spacing> {
        let Some((_, spacing)) = SPACINGS.iter().find(|(known, _)| *known == name) else {
            crate::fail!(
                InvalidSpec,
                "timestep_spacing is `{name}`; allowed: linspace, leading, trailing"
            );
        };
        if let Some(family) = config.family()
            && !family.has(Schedule::Spacing(*spacing))
        {
            crate::fail!(InvalidSpec, "timestep_spacing is `{name}`, which does not apply to {}", family.name(); "leave it out");
        }
        Ok(*spacing)
    }

    fn given(&self) -> Result<Option<Given>> {
        match (&self.timesteps, &self.sigmas) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => {
                crate::fail!(InvalidSpec, "timesteps and sigmas are both given"; "give one of them")
            }
            (Some(timesteps), None) => {
                check_descending("timesteps", timesteps, 1)?;
                if let Some(t) = timesteps.iter().find(|t| t.fract() != 0.0) {
                    crate::fail!(InvalidSpec, "timesteps has {t}; allowed: whole numbers");
                }
                Ok(Some(Given::Timesteps(timesteps.clone())))
            }
            (None, Some(sigmas)) => {
                check_descending("sigmas", sigmas, 2)?;
                Ok(Some(Given::Sigmas(sigmas.clone())))
            }
        }
    }
}

fn check_descending(field: &str, values: &[f64], at_least: usize) -> Result<()> {
    if values.len() < at_least || values.len() > 1000 {
        crate::fail!(
            InvalidSpec,
            "{field} has {} entries; allowed: {at_least} to 1000",
            values.len()
        );
    }
    if let Some(value) = values.iter().find(|v| !(v.is_finite() && **v >= 0.0)) {
        crate::fail!(InvalidSpec, "{field} has {value}; allowed: 0 and above");
    }
    if let Some(pair) = values.windows(2).find(|pair| pair[0] <= pair[1]) {
        crate::fail!(
            InvalidSpec,
            "{field} has {} after {}; it must descend",
            pair[1],
            pair[0]
        );
    }
    Ok(())
}

impl SchedulerConfig {
    /// Takes a list in place of a spacing.
    fn give(&mut self, given: Given) -> Result<()> {
        let (field, needs_sigmas) = match &given {
            Given::Timesteps(timesteps) => {
                let train = self.train_timesteps()?;
                if timesteps[0] >= train as f64 {
                    crate::fail!(
                        InvalidSpec,
                        "timesteps starts at {}; allowed: 0 to {}",
                        timesteps[0],
                        train - 1
                    );
                }
                ("timesteps", false)
            }
            Given::Sigmas(_) => ("sigmas", true),
        };
        if let Some(family) = self.family() {
            let takes = if needs_sigmas {
                family.has_sigmas()
            } else {
                family.takes_timesteps()
            };
            if !takes {
                crate::fail!(InvalidSpec, "{field} is given, but {} cannot follow it", family.name();
                    "leave it out, or choose another one with --scheduler, for example `--scheduler euler`");
            }
        }
        if let Some(curve) = self.curve_of()? {
            // Also of the model's own file: a curve replaces the timesteps that a list would give.
            if !needs_sigmas {
                crate::fail!(InvalidSpec, "timesteps is given, but the schedule `{}` lays them out", curve.name().unwrap_or_default();
                    "choose the sampler without it, for example `--scheduler euler`");
            }
            self.chosen.curve = Some(Curve::Table);
        }
        self.chosen.given = Some(given);
        Ok(())
    }
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
