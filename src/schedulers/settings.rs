//! What a configuration says, as typed settings: the one place where fields of the file are looked up
//! by name, and where what was chosen takes their place.
//!
//! Each error names the field, its value and the allowed ones.

use anyhow::Result;
use serde_json::Value;

use super::chosen::Given;
use super::config::SchedulerConfig;
use super::curves::Curve;
use super::families::{CurveFields, Family};
use super::prediction::Prediction;
use super::spacing::{SPACINGS, Spacing};
use crate::error::{Error, ErrorKind};

/// `final_sigmas_type`: where the trajectory ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum FinalSigma {
    Zero,
    SigmaMin,
}

/// How the timesteps and noise levels of a run are laid out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LevelSettings {
    pub spacing: Spacing,
    pub steps_offset: i64,
    pub curve: Curve,
    pub sigma_min: Option<f64>,
    pub sigma_max: Option<f64>,
    pub final_sigma: FinalSigma,
    pub given: Option<Given>,
}

impl LevelSettings {
    pub fn read(config: &SchedulerConfig) -> Result<Self> {
        Ok(Self {
            spacing: config.spacing(Spacing::Linspace)?,
            steps_offset: config.integer("steps_offset", 0)?,
            curve: config.curve()?,
            sigma_min: config.optional_number("sigma_min")?,
            sigma_max: config.optional_number("sigma_max")?,
            final_sigma: config.final_sigma()?,
            given: config.chosen.given.clone(),
        })
    }

    /// The curve's noise levels between `ends`, or those that the file states.
    pub fn curve_sigmas(&self, config: &SchedulerConfig, ends: [f64; 2], n: usize) -> Result<Vec<f64>> {
        let max = self.sigma_max.unwrap_or(ends[0]);
        let min = self.sigma_min.unwrap_or(ends[1]);
        if !(min > 0.0 && max >= min && max.is_finite()) {
            let allowed = format!("above 0 and at most sigma_max, {max}");
            return Err(config.not_built("sigma_min", &min.to_string(), &allowed));
        }
        Ok(self.curve.sigmas(max, min, n))
    }
}

impl SchedulerConfig {
    pub(super) fn spacing(&self, default: Spacing) -> Result<Spacing> {
        match self.chosen.spacing {
            Some(spacing) => Ok(spacing),
            None => self.choice("timestep_spacing", default.name(), SPACINGS),
        }
    }

    /// The chosen curve, or that of the file.
    pub(super) fn curve(&self) -> Result<Curve> {
        if let Some(curve) = self.chosen.curve {
            return Ok(curve);
        }
        let known = [
            ("use_karras_sigmas", Curve::Karras),
            ("use_exponential_sigmas", Curve::Exponential),
            ("use_beta_sigmas", Curve::Beta),
            ("use_lu_lambdas", Curve::Lu),
        ];
        let fields = self.family().map_or(CurveFields::Ignored, Family::curve_fields);
        let read = match fields {
            CurveFields::Ignored => 0,
            CurveFields::Three => 3,
            CurveFields::WithLu => 4,
        };
        let mut found = Curve::Table;
        for (field, curve) in &known[..read] {
            if self.flag(field, false)? {
                if found != Curve::Table {
                    return Err(self.not_built(field, "true", "false beside another sigma curve"));
                }
                found = *curve;
            }
        }
        Ok(found)
    }

    pub(super) fn final_sigma(&self) -> Result<FinalSigma> {
        self.choice(
            "final_sigmas_type",
            "zero",
            &[("zero", FinalSigma::Zero), ("sigma_min", FinalSigma::SigmaMin)],
        )
    }

    /// `clip_sample`: the largest magnitude of x0.
    pub(super) fn clip(&self, default: bool) -> Result<Option<f64>> {
        let clip = self.flag("clip_sample", default)?;
        let range = self.number("clip_sample_range", 1.0)?;
        Ok(clip.then_some(range))
    }

    /// What the network's output means: as chosen, or as the file says.
    ///
    /// # Errors
    /// `InvalidSpec` or `Config` for one that is not among `allowed`.
    pub(super) fn prediction(&self, allowed: &[(&str, Prediction)]) -> Result<Prediction> {
        if self.chosen.family.is_some_and(Family::is_flow) {
            return Ok(Prediction::Flow);
        }
        let Some(chosen) = self.chosen.prediction else {
            return self.choice("prediction_type", "epsilon", allowed);
        };
        if allowed.iter().any(|(_, prediction)| *prediction == chosen) {
            return Ok(chosen);
        }
        let names: Vec<_> = allowed.iter().map(|(name, _)| *name).collect();
        crate::fail!(InvalidSpec, "prediction_type is not what {} can follow; allowed: {}", self.name(), names.join(", ");
            "choose another one with --scheduler, for example `--scheduler euler`")
    }

    /// Whether noise levels lie on a straight line. `flow_prediction` and `use_flow_sigmas` only make
    /// sense together.
    pub(super) fn flow_sigmas(&self, prediction: Prediction) -> Result<bool> {
        if let Some(family) = self.chosen.family {
            return Ok(family.is_flow());
        }
        let flow = self.flag("use_flow_sigmas", false)?;
        if flow == (prediction == Prediction::Flow) {
            return Ok(flow);
        }
        let needed = if flow { "false without" } else { "true with" };
        let allowed = format!("{needed} prediction_type `flow_prediction`");
        Err(self.not_built("use_flow_sigmas", &flow.to_string(), &allowed))
    }

    /// How much noise an ancestral sampler adds, 0 to 1.
    ///
    /// # Errors
    /// `InvalidSpec` for one out of range, or above 0 with a sampler that has no such choice.
    pub(super) fn eta(&self, family: Family) -> Result<f64> {
        let eta = self.chosen.eta;
        if let Some(eta) = eta
            && !(0.0..=1.0).contains(&eta)
        {
            crate::fail!(InvalidSpec, "eta is {eta}; allowed: 0 to 1");
        }
        match (family.default_eta(), eta) {
            (Some(default), eta) => Ok(eta.unwrap_or(default)),
            // diffusers' default, which it hands to no sampler but ddim and tcd.
            (None, None | Some(0.0)) => Ok(0.0),
            (None, Some(eta)) => {
                crate::fail!(InvalidSpec, "eta is {eta}, but {} has no such choice", family.name();
                "leave it out, or use ddim, tcd or an ancestral scheduler")
            }
        }
    }
}

/// How single fields are read.
impl SchedulerConfig {
    pub(super) fn not_built(&self, field: &str, value: &str, allowed: &str) -> anyhow::Error {
        let message = format!("{}: {field} is `{value}`; allowed: {allowed}", self.origin);
        Error::new(ErrorKind::Config, message)
            .hint("choose another one with --scheduler, for example `--scheduler euler`")
            .into()
    }

    pub(super) fn optional_number(&self, field: &str) -> Result<Option<f64>> {
        match self.stated.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Number(number)) => Ok(number.as_f64()),
            Some(Value::String(text)) if text == "Infinity" => Ok(Some(f64::INFINITY)),
            Some(Value::String(text)) if text == "-Infinity" => Ok(Some(f64::NEG_INFINITY)),
            Some(other) => Err(self.not_built(field, &other.to_string(), "a number")),
        }
    }

    pub(super) fn number(&self, field: &str, default: f64) -> Result<f64> {
        Ok(self.optional_number(field)?.unwrap_or(default))
    }

    pub(super) fn integer(&self, field: &str, default: i64) -> Result<i64> {
        match self.stated.get(field) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_i64()
                .filter(|v| v.abs() < 1 << 20)
                .ok_or_else(|| self.not_built(field, &value.to_string(), "an integer below 1048576")),
        }
    }

    /// A list of numbers; absent and null are none.
    pub(super) fn numbers(&self, field: &str) -> Result<Option<Vec<f64>>> {
        match self.stated.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value
                .as_array()
                .and_then(|list| list.iter().map(Value::as_f64).collect())
                .map(Some)
                .ok_or_else(|| self.not_built(field, &value.to_string(), "a list of numbers, or null")),
        }
    }

    /// Null counts as false, as in Python.
    pub(super) fn flag(&self, field: &str, default: bool) -> Result<bool> {
        match self.stated.get(field) {
            None => Ok(default),
            Some(Value::Null) => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(self.not_built(field, &other.to_string(), "true, false")),
        }
    }

    pub(super) fn choice<T: Copy>(&self, field: &str, default: &str, allowed: &[(&str, T)]) -> Result<T> {
        let value = match self.stated.get(field) {
            None | Some(Value::Null) => default.to_string(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let found = allowed.iter().find(|(name, _)| *name == value);
        found.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<_> = allowed.iter().map(|(name, _)| *name).collect();
            self.not_built(field, &value, &names.join(", "))
        })
    }

    /// Features of diffusers that are not built: the file may name them only to switch them off.
    pub(super) fn refuse(&self, fields: &[&str]) -> Result<()> {
        for field in fields {
            match self.stated.get(*field) {
                None | Some(Value::Null | Value::Bool(false)) => {}
                Some(other) => return Err(self.not_built(field, &other.to_string(), "false, null")),
            }
        }
        Ok(())
    }
}
