//! A diffusers `scheduler_config.json`, and what choosing another scheduler changes in it.
//!
//! Only the keys that the file states are kept; each scheduler reads the ones its diffusers class
//! has, with that class's defaults. So a change of class carries exactly what
//! `OtherScheduler.from_config(pipe.scheduler.config)` carries.

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::names::{self, Curve, Family};
use crate::error::{Error, ErrorKind};

const CLASSES: &[&str] = &[
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "HeunDiscreteScheduler",
    "DDIMScheduler",
    "DPMSolverMultistepScheduler",
    "UniPCMultistepScheduler",
    "LCMScheduler",
    "FlowMatchEulerDiscreteScheduler",
];

/// A scheduler's class and the settings that its file states.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerConfig {
    /// The file, for messages.
    origin: String,
    class_name: String,
    fields: Map<String, Value>,
}

impl SchedulerConfig {
    /// Reads a `scheduler_config.json`; `origin` is what messages call it.
    ///
    /// Unknown keys are kept and ignored. Values are judged when a scheduler is built, since
    /// another scheduler may not need them.
    ///
    /// # Errors
    /// `Config` if the text is not JSON or `_class_name` is missing.
    pub fn from_json(origin: &str, json: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(json).map_err(|e| bad(origin, &format!("not UTF-8: {e}")))?;
        let mut fields: Map<String, Value> = serde_json::from_str(&quote_infinities(text))
            .map_err(|e| bad(origin, &format!("not a JSON object: {e}")))?;
        match fields.remove("_class_name") {
            Some(Value::String(class_name)) => Ok(Self {
                origin: origin.to_string(),
                class_name,
                fields,
            }),
            Some(other) => Err(bad(origin, &format!("_class_name is {other}; it must be a string")).into()),
            None => Err(bad(origin, "_class_name is missing").into()),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// `Io` if it cannot be read, otherwise as [`Self::from_json`].
    pub fn from_file(path: &std::path::Path) -> Result<Self> {
        let origin = path.display().to_string();
        let json = std::fs::read(path).with_context(|| format!("reading {origin}"))?;
        Self::from_json(&origin, &json)
    }

    /// The settings SDXL was trained with, for checkpoints that come as one file without a configuration.
    pub fn sdxl() -> Self {
        let json = br#"{"_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012,
            "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "timestep_spacing": "leading",
            "steps_offset": 1, "clip_sample": false, "set_alpha_to_one": false}"#;
        Self::from_json("the built-in SDXL scheduler configuration", json).expect("valid by test")
    }

    /// The diffusers class, `EulerDiscreteScheduler` and the like.
    pub fn class_name(&self) -> &str {
        &self.class_name
    }

    /// True for models trained by flow matching (WAN), which need flow schedulers.
    pub fn is_flow(&self) -> bool {
        self.class_name.starts_with("FlowMatch")
            || self.fields.get("prediction_type").and_then(Value::as_str) == Some("flow_prediction")
            || self.fields.get("use_flow_sigmas").and_then(Value::as_bool) == Some(true)
    }

    /// The same model with another scheduler: its class and sigma options change, the model's own
    /// settings (betas, prediction type, steps offset, and spacing unless the name says one) stay.
    ///
    /// `name` is one of [`super::NAMES`], optionally with a curve or spacing behind it
    /// (`heun-karras`, `ddim-trailing`), or a spelling of another program. On a flow model
    /// `euler`, `unipc` and `dpmpp-2m` mean their flow variants.
    ///
    /// # Errors
    /// `InvalidSpec` for an unknown name or one that does not fit the model.
    pub fn with_scheduler(&self, name: &str) -> Result<Self> {
        let choice = names::parse(name)?;
        let family = names::fit(&choice, self.is_flow()).ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidSpec,
                format!(
                    "scheduler is `{name}`, which does not fit this model; allowed: {}",
                    names::listing(self.is_flow())
                ),
            )
        })?;
        let mut new = self.clone();
        new.class_name = family.class_name().to_string();
        new.set("use_karras_sigmas", (choice.curve == Some(Curve::Karras)).into());
        new.set(
            "use_exponential_sigmas",
            (choice.curve == Some(Curve::Exponential)).into(),
        );
        new.set("use_beta_sigmas", false.into());
        new.set("use_lu_lambdas", false.into());
        if let Some(spacing) = choice.spacing {
            new.set("timestep_spacing", spacing.into());
        }
        new.set_family_options(family);
        Ok(new)
    }

    fn set_family_options(&mut self, family: Family) {
        match family {
            // Latents are no pixels: unless the model says otherwise, x0 is not clipped to [-1, 1].
            Family::Ddim => {
                self.set_default("clip_sample", false.into());
                self.set_default("set_alpha_to_one", false.into());
            }
            Family::Dpmpp2m | Family::FlowDpmpp => self.set_dpm("dpmsolver++"),
            Family::Dpmpp2mSde => self.set_dpm("sde-dpmsolver++"),
            _ => {}
        }
        if family.is_flow() {
            let shift = self
                .fields
                .get("flow_shift")
                .or(self.fields.get("shift"))
                .cloned();
            let shift = shift.unwrap_or_else(|| 1.0.into());
            self.set("flow_shift", shift.clone());
            self.set("shift", shift);
            self.set("use_flow_sigmas", true.into());
            self.set("prediction_type", "flow_prediction".into());
        }
    }

    fn set_dpm(&mut self, algorithm: &str) {
        self.set("algorithm_type", algorithm.into());
        self.set("solver_type", "midpoint".into());
        self.set("solver_order", 2.into());
    }

    /// A flow model's shift of its noise levels (`--flow-shift`).
    ///
    /// # Errors
    /// `InvalidSpec` on a model without flow matching, or for a shift that is not above 0.
    pub fn with_flow_shift(&self, shift: f64) -> Result<Self> {
        if !self.is_flow() {
            crate::fail!(InvalidSpec, "flow_shift is {shift}, but this model is not a flow model"; "leave it out");
        }
        if !(shift.is_finite() && shift > 0.0) {
            crate::fail!(InvalidSpec, "flow_shift is {shift}; allowed: above 0");
        }
        let mut new = self.clone();
        new.set("flow_shift", shift.into());
        new.set("shift", shift.into());
        Ok(new)
    }

    /// Our name for this configuration, such as `dpmpp-2m-karras`; the class name where we have none.
    pub fn name(&self) -> String {
        let on = |field: &str| self.fields.get(field).and_then(Value::as_bool) == Some(true);
        let text = |field: &str| self.fields.get(field).and_then(Value::as_str);
        let Some(family) = Family::of(&self.class_name, text("algorithm_type"), self.is_flow()) else {
            return self.class_name.clone();
        };
        let mut name = family.name().to_string();
        if family.has_curves() && on("use_karras_sigmas") {
            name.push_str("-karras");
        } else if family.has_curves() && on("use_exponential_sigmas") {
            name.push_str("-exponential");
        }
        if family.has_spacings() && text("timestep_spacing") == Some("trailing") {
            name.push_str("-trailing");
        }
        name
    }

    fn set(&mut self, field: &str, value: Value) {
        self.fields.insert(field.to_string(), value);
    }

    fn set_default(&mut self, field: &str, value: Value) {
        self.fields.entry(field).or_insert(value);
    }
}

/// How schedulers read their settings; each names the field, its value and the allowed ones.
impl SchedulerConfig {
    pub(super) fn unknown_class(&self, class_name: &str) -> anyhow::Error {
        self.not_built("_class_name", class_name, &CLASSES.join(", "))
    }

    pub(super) fn not_built(&self, field: &str, value: &str, allowed: &str) -> anyhow::Error {
        let message = format!("{}: {field} is `{value}`; allowed: {allowed}", self.origin);
        Error::new(ErrorKind::Config, message)
            .hint("choose another one with --scheduler, for example `--scheduler euler`")
            .into()
    }

    pub(super) fn optional_number(&self, field: &str) -> Result<Option<f64>> {
        match self.fields.get(field) {
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
        match self.fields.get(field) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => value
                .as_i64()
                .filter(|v| v.abs() < 1 << 20)
                .ok_or_else(|| self.not_built(field, &value.to_string(), "an integer below 1048576")),
        }
    }

    /// A list of numbers; absent and null are none.
    pub(super) fn numbers(&self, field: &str) -> Result<Option<Vec<f64>>> {
        match self.fields.get(field) {
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
        match self.fields.get(field) {
            None => Ok(default),
            Some(Value::Null) => Ok(false),
            Some(Value::Bool(value)) => Ok(*value),
            Some(other) => Err(self.not_built(field, &other.to_string(), "true, false")),
        }
    }

    pub(super) fn choice<T: Copy>(&self, field: &str, default: &str, allowed: &[(&str, T)]) -> Result<T> {
        let value = match self.fields.get(field) {
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
            match self.fields.get(*field) {
                None | Some(Value::Null | Value::Bool(false)) => {}
                Some(other) => return Err(self.not_built(field, &other.to_string(), "false, null")),
            }
        }
        Ok(())
    }
}

fn bad(origin: &str, message: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{origin}: {message}"))
}

/// Python writes `-Infinity` into JSON, which no JSON parser reads: such bare words become strings.
fn quote_infinities(json: &str) -> String {
    let mut out = String::with_capacity(json.len() + 16);
    let mut in_string = false;
    let mut rest = json;
    while let Some(c) = rest.chars().next() {
        if !in_string {
            let word = ["-Infinity", "Infinity", "NaN"]
                .into_iter()
                .find(|w| rest.starts_with(w));
            if let Some(word) = word {
                out.extend(['"'].into_iter().chain(word.chars()).chain(['"']));
                rest = &rest[word.len()..];
                continue;
            }
        }
        let mut length = c.len_utf8();
        if in_string && c == '\\' {
            length += rest[1..].chars().next().map_or(0, char::len_utf8);
        } else if c == '"' {
            in_string = !in_string;
        }
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
