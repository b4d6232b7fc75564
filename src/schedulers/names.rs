//! Our scheduler names, and the spellings under which users of other programs know them.
//!
//! A name is a sampler, with a schedule behind it where one is wanted: `dpmpp-2m-karras`. What a name
//! means is what diffusers' class of that sampler does; for what diffusers has not (`dpmpp-2s-ancestral`,
//! `dpmpp-3m-sde`, sigma curves for the ancestral samplers, `kl-optimal`) what k-diffusion and
//! ComfyUI do.

use anyhow::Result;

use super::curves::Curve;
use super::families::{FAMILIES, Family, Known, Schedule};
use super::spacing::Spacing;
use crate::error::{Error, ErrorKind};

/// The names in help texts and messages. A schedule of [`SCHEDULES`] may follow where it applies.
pub const NAMES: &[&str] = &[
    "euler",
    "euler-karras",
    "euler-trailing",
    "euler-ancestral",
    "heun",
    "dpm2",
    "dpm2-ancestral",
    "lms",
    "ddim",
    "pndm",
    "dpmpp-2m",
    "dpmpp-2m-karras",
    "dpmpp-2m-sde",
    "dpmpp-2m-sde-karras",
    "dpmpp-3m",
    "dpmpp-3m-sde",
    "dpmpp-2s",
    "dpmpp-2s-ancestral",
    "dpmpp-sde",
    "deis",
    "unipc",
    "lcm",
    "tcd",
    "flow-unipc",
    "flow-dpmpp",
    "flow-euler",
];

/// The schedules: how timesteps or noise levels are spread over the steps.
pub const SCHEDULES: &[&str] = &[
    "karras",
    "exponential",
    "beta",
    "lu",
    "kl-optimal",
    "trailing",
    "leading",
    "linspace",
    "simple",
];

/// What a name says: a sampler, and a schedule if one is named.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Choice {
    pub family: Family,
    pub curve: Option<Curve>,
    pub spacing: Option<Spacing>,
}

/// Spellings of schedules; a longer one stands before its own ending.
#[rustfmt::skip]
const SPELLINGS: &[(&str, Schedule)] = &[
    ("karras", Schedule::Curve(Curve::Karras)),
    ("polyexponential", Schedule::Curve(Curve::Exponential)),
    ("exponential", Schedule::Curve(Curve::Exponential)),
    ("beta", Schedule::Curve(Curve::Beta)),
    ("lulambdas", Schedule::Curve(Curve::Lu)),
    ("lu", Schedule::Curve(Curve::Lu)),
    ("kloptimal", Schedule::Curve(Curve::KlOptimal)),
    ("trailing", Schedule::Spacing(Spacing::Trailing)),
    ("sgmuniform", Schedule::Spacing(Spacing::Trailing)),
    ("leading", Schedule::Spacing(Spacing::Leading)),
    ("ddimuniform", Schedule::Spacing(Spacing::Leading)),
    ("linspace", Schedule::Spacing(Spacing::Linspace)),
    ("normal", Schedule::Spacing(Spacing::Linspace)),
    ("uniform", Schedule::Spacing(Spacing::Linspace)),
    ("simple", Schedule::Spacing(Spacing::Simple)),
];

/// # Errors
/// `InvalidSpec`, naming the choices and the nearest one.
pub(super) fn parse(name: &str) -> Result<Choice> {
    let mut short = shorten(name);
    let mut found: Vec<Schedule> = Vec::new();
    // What is a sampler already has no suffix: only what is left over is looked at for one.
    while family_of(&short).is_none() {
        let is_suffix = |word: &str| short.len() > word.len() && short.ends_with(word);
        let Some((word, schedule)) = SPELLINGS.iter().find(|(word, _)| is_suffix(word)) else {
            return Err(unknown(name));
        };
        found.push(*schedule);
        short.truncate(short.len() - word.len());
    }
    let family = family_of(&short).ok_or_else(|| unknown(name))?;
    let mut choice = Choice {
        family,
        curve: None,
        spacing: None,
    };
    for schedule in found {
        choice.add(schedule, name)?;
    }
    Ok(choice)
}

impl Choice {
    fn add(&mut self, schedule: Schedule, name: &str) -> Result<()> {
        let family = self.family;
        if !family.has(schedule) {
            crate::fail!(InvalidSpec, "scheduler is `{name}`, but {} has no such variant", family.name();
                "{}", family.schedules_hint());
        }
        let twice = match schedule {
            Schedule::Curve(curve) => self.curve.replace(curve).is_some_and(|old| old != curve),
            Schedule::Spacing(spacing) => self.spacing.replace(spacing).is_some_and(|old| old != spacing),
        };
        if twice {
            crate::fail!(InvalidSpec, "scheduler is `{name}`, which names two schedules"; "name one, for example `{}-karras`", family.name());
        }
        Ok(())
    }

    /// Our name for the choice, schedule included.
    pub fn name(&self) -> String {
        let mut name = self.family.name().to_string();
        let words = [self.curve.and_then(Curve::name), self.spacing.map(Spacing::name)];
        for word in words.into_iter().flatten() {
            name.push('-');
            name.push_str(word);
        }
        name
    }
}

impl Family {
    fn schedules_hint(self) -> String {
        let all = SCHEDULES.iter();
        let names: Vec<&str> = all
            .copied()
            .filter(|word| schedule_of(&shorten(word)).is_some_and(|schedule| self.has(schedule)))
            .collect();
        match names.as_slice() {
            [] => format!("use `{}`", self.name()),
            names => format!("use `{}`, alone or with one of {}", self.name(), names.join(", ")),
        }
    }
}

/// A sampler and a schedule of two lists, as ComfyUI and A1111 have them, as one of our names.
///
/// `automatic` and the empty text name no schedule; `ddim` is A1111's word for `ddim_uniform`.
///
/// # Errors
/// `InvalidSpec` if either is unknown, naming the nearest one, or if they do not go together.
pub fn combine(sampler: &str, schedule: &str) -> Result<String> {
    let mut choice = parse(sampler)?;
    match shorten(schedule).as_str() {
        "" | "automatic" | "default" => {}
        "ddim" => choice.add(
            Schedule::Spacing(Spacing::Leading),
            &format!("{sampler} {schedule}"),
        )?,
        short => {
            let found = schedule_of(short).ok_or_else(|| unknown_schedule(schedule))?;
            choice.add(found, &format!("{sampler} {schedule}"))?;
        }
    }
    Ok(choice.name())
}

/// Whether a name is known, for checks before a model is loaded.
///
/// # Errors
/// `InvalidSpec`, naming the choices and the nearest one.
pub fn check_name(name: &str) -> Result<()> {
    parse(name).map(|_| ())
}

/// Whether models of this kind can run the scheduler of this name.
pub fn runs_on(name: &str, flow_model: bool) -> bool {
    parse(name).is_ok_and(|choice| fit(&choice, flow_model).is_some())
}

/// The family that a name means on a model; `None` if it cannot run there.
pub(super) fn fit(choice: &Choice, flow_model: bool) -> Option<Family> {
    let plain = choice.curve.is_none() && choice.spacing.is_none();
    match choice.family {
        Family::Euler if flow_model && plain => Some(Family::FlowEuler),
        Family::UniPc if flow_model && plain => Some(Family::FlowUniPc),
        Family::Dpmpp2m if flow_model && plain => Some(Family::FlowDpmpp),
        family => (family.is_flow() == flow_model).then_some(family),
    }
}

/// The canonical names that run on models of this kind, for messages.
pub fn listing(flow_model: bool) -> String {
    let fits = NAMES
        .iter()
        .filter(|name| name.starts_with("flow-") == flow_model);
    fits.copied().collect::<Vec<_>>().join(", ")
}

/// How A1111 and what reads its pictures call one of our names: sampler and, where named, schedule.
pub fn a1111_names(name: &str) -> (String, Option<&'static str>) {
    let Ok(choice) = parse(name) else {
        return (name.to_string(), None);
    };
    let sampler = match choice.family {
        Family::Euler => "Euler",
        Family::EulerAncestral => "Euler a",
        Family::Heun => "Heun",
        Family::Dpm2 => "DPM2",
        Family::Dpm2Ancestral => "DPM2 a",
        Family::Lms => "LMS",
        Family::Ddim => "DDIM",
        Family::Pndm => "PLMS",
        Family::Dpmpp2m => "DPM++ 2M",
        Family::Dpmpp2mSde => "DPM++ 2M SDE",
        Family::Dpmpp3mSde => "DPM++ 3M SDE",
        Family::Dpmpp2sAncestral => "DPM++ 2S a",
        Family::DpmppSde => "DPM++ SDE",
        Family::UniPc => "UniPC",
        Family::Lcm => "LCM",
        family => family.name(),
    };
    let schedule = match (choice.curve, choice.spacing) {
        (Some(Curve::Karras), _) => Some("Karras"),
        (Some(Curve::Exponential), _) => Some("Exponential"),
        (Some(Curve::Beta), _) => Some("Beta"),
        (Some(Curve::KlOptimal), _) => Some("KL Optimal"),
        (_, Some(Spacing::Trailing)) => Some("SGM Uniform"),
        (_, Some(Spacing::Leading)) => Some("DDIM"),
        (_, Some(Spacing::Linspace)) => Some("Normal"),
        (_, Some(Spacing::Simple)) => Some("Simple"),
        _ => None,
    };
    (sampler.to_string(), schedule)
}

fn shorten(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-'))
        .map(|c| if c == '+' { 'p' } else { c.to_ascii_lowercase() })
        .collect()
}

fn family_of(short: &str) -> Option<Family> {
    let base = short.strip_suffix("scheduler").unwrap_or(short);
    let is = |known: &&Known| shorten(known.name) == base || known.spellings.contains(&base);
    FAMILIES.iter().find(is).map(|known| known.family)
}

fn schedule_of(short: &str) -> Option<Schedule> {
    let found = SPELLINGS.iter().find(|(word, _)| *word == short);
    found.map(|(_, schedule)| *schedule)
}

fn unknown(name: &str) -> anyhow::Error {
    not_among("scheduler", name, NAMES)
}

fn unknown_schedule(name: &str) -> anyhow::Error {
    not_among("schedule", name, SCHEDULES)
}

pub(super) fn not_among(field: &str, name: &str, names: &[&'static str]) -> anyhow::Error {
    let short = shorten(name);
    let score = |known: &&&str| strsim::jaro_winkler(&short, &shorten(known));
    let nearest = names
        .iter()
        .rev()
        .max_by(|a, b| score(a).total_cmp(&score(b)))
        .expect("there are names");
    Error::new(
        ErrorKind::InvalidSpec,
        format!(
            "{field} is `{name}`, which is unknown; allowed: {}",
            names.join(", ")
        ),
    )
    .hint(format!("did you mean `{nearest}`?"))
    .into()
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
