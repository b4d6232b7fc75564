//! A diffusers `scheduler_config.json`, and what choosing another scheduler changes in it.
//!
//! Only the keys that the file states are kept; each scheduler reads the ones its diffusers class
//! has, with that class's defaults. So a change of class carries exactly what
//! `OtherScheduler.from_config(pipe.scheduler.config)` carries. What was chosen instead lies beside
//! them as typed values, so that a file's word and a user's word stay apart.

use anyhow::Result;
use serde_json::{Map, Value};

use super::chosen::{Chosen, Given};
use super::curves::Curve;
use super::families::{self, Family};
use super::names::{self, Choice};
use super::spacing::Spacing;
use crate::error::{Error, ErrorKind};

/// A scheduler's class and the settings that its file states, with what was chosen in their place.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerConfig {
    /// The file, for messages.
    pub(super) origin: String,
    class_name: String,
    /// The fields of the file.
    pub(super) stated: Map<String, Value>,
    pub(super) chosen: Chosen,
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
        let mut stated: Map<String, Value> = serde_json::from_str(&quote_infinities(text))
            .map_err(|e| bad(origin, &format!("not a JSON object: {e}")))?;
        match stated.remove("_class_name") {
            Some(Value::String(class_name)) => Ok(Self {
                origin: origin.to_string(),
                class_name,
                stated,
                chosen: Chosen::default(),
            }),
            Some(other) => Err(bad(origin, &format!("_class_name is {other}; it must be a string")).into()),
            None => Err(bad(origin, "_class_name is missing").into()),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// `InputMissing` when it is not there or no regular file, `BadInput` over a mebibyte, otherwise as [`Self::from_json`].
    pub fn from_file(path: &std::path::Path) -> Result<Self> {
        const LARGEST_CONFIG_BYTES: u64 = 1 << 20;
        let origin = path.display().to_string();
        let json = crate::files::read_bounded(path, LARGEST_CONFIG_BYTES)?;
        Self::from_json(&origin, &json)
    }

    /// The settings SDXL was trained with, for checkpoints that come as one file without a configuration.
    pub fn sdxl() -> Self {
        let json = br#"{"_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012,
            "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "timestep_spacing": "leading",
            "steps_offset": 1, "clip_sample": false, "set_alpha_to_one": false}"#;
        Self::from_json("the built-in SDXL scheduler configuration", json).expect("valid by test")
    }

    /// The diffusers class, `EulerDiscreteScheduler` and the like; our name where it has none.
    pub fn class_name(&self) -> &str {
        match self.chosen.family {
            Some(family) => family.class_name(),
            None => &self.class_name,
        }
    }

    /// True for models trained by flow matching (WAN), which need flow schedulers.
    pub fn is_flow(&self) -> bool {
        if let Some(family) = self.chosen.family {
            return family.is_flow();
        }
        self.class_name.starts_with("FlowMatch")
            || self.stated_text("prediction_type") == Some("flow_prediction")
            || self.stated.get("use_flow_sigmas").and_then(Value::as_bool) == Some(true)
    }

    /// The sampler that runs; `None` for a class of diffusers that is not built.
    pub(super) fn family(&self) -> Option<Family> {
        let sde = self.stated_text("algorithm_type") == Some("sde-dpmsolver++");
        let third_order = self.stated.get("solver_order").and_then(Value::as_i64) == Some(3);
        let of_file = || Family::of(&self.class_name, sde, third_order, self.is_flow());
        self.chosen.family.or_else(of_file)
    }

    fn stated_text(&self, field: &str) -> Option<&str> {
        self.stated.get(field).and_then(Value::as_str)
    }

    /// The same model with another scheduler: the sampler and its sigma curve change, the model's own
    /// settings (betas, prediction type, steps offset, and spacing unless the name says one) stay.
    ///
    /// `name` is one of [`super::NAMES`], optionally with a schedule behind it (`heun-karras`,
    /// `ddim-trailing`), or a spelling of another program. On a flow model `euler`, `unipc` and
    /// `dpmpp-2m` mean their flow variants.
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
        new.chosen = Chosen {
            family: Some(family),
            curve: Some(choice.curve.unwrap_or(Curve::Table)),
            spacing: choice.spacing,
            ..self.chosen.clone()
        };
        Ok(new)
    }

    /// The same sampler with another schedule, of [`super::SCHEDULES`] or another program's list.
    ///
    /// # Errors
    /// `InvalidSpec` for an unknown schedule or one that does not go with the sampler.
    pub(super) fn with_schedule(&self, schedule: &str) -> Result<Self> {
        let Some(family) = self.family() else {
            return Err(self.unknown_class());
        };
        let choice = names::parse(&names::combine(family.name(), schedule)?)?;
        let mut new = self.clone();
        new.chosen.spacing = choice.spacing.or(new.chosen.spacing);
        if choice.curve.is_some() || choice.spacing.is_some() {
            new.chosen.curve = Some(choice.curve.unwrap_or(Curve::Table));
        }
        Ok(new)
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
        new.chosen.flow_shift = Some(shift);
        Ok(new)
    }

    /// Our name for this configuration, such as `dpmpp-2m-karras`; the class name where we have none.
    pub fn name(&self) -> String {
        let Some(family) = self.family() else {
            return self.class_name.clone();
        };
        let trailing = self.stated_text("timestep_spacing") == Some("trailing");
        let stated_spacing = (trailing && family.reads_spacing()).then_some(Spacing::Trailing);
        let choice = Choice {
            family,
            curve: self.curve_of().ok().flatten(),
            spacing: self.chosen.spacing.or(stated_spacing),
        };
        choice.name()
    }

    /// The sigma curve that a name mentions, if there is one.
    pub(super) fn curve_of(&self) -> Result<Option<Curve>> {
        Ok(Some(self.curve()?).filter(|curve| *curve != Curve::Table))
    }

    /// The timesteps that the model was trained on.
    pub(super) fn train_timesteps(&self) -> Result<usize> {
        let count = self.integer("num_train_timesteps", 1000)?;
        if !(2..=100_000).contains(&count) {
            return Err(self.not_built("num_train_timesteps", &count.to_string(), "2 to 100000"));
        }
        Ok(count as usize)
    }

    /// How many steps a run takes that asks for `num_inference_steps`: a list knows better.
    ///
    /// # Errors
    /// `InvalidSpec` for none or more than the model has timesteps.
    pub fn step_count(&self, num_inference_steps: usize) -> Result<usize> {
        let train = self.train_timesteps()?;
        match &self.chosen.given {
            Some(Given::Timesteps(timesteps)) => Ok(timesteps.len()),
            Some(Given::Sigmas(sigmas)) => Ok(sigmas.len() - 1),
            None if num_inference_steps == 0 || num_inference_steps > train => {
                crate::fail!(
                    InvalidSpec,
                    "steps is {num_inference_steps}; allowed: 1 to {train}"
                )
            }
            None => Ok(num_inference_steps),
        }
    }

    pub(super) fn unknown_class(&self) -> anyhow::Error {
        self.not_built(
            "_class_name",
            &self.class_name,
            &families::class_names().join(", "),
        )
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
