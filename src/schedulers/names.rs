//! Our scheduler names, and the spellings under which users of other programs know them.

use anyhow::Result;

use crate::error::{Error, ErrorKind};

/// The names in help texts and messages. `-karras`, `-exponential`, `-trailing`, `-leading` and
/// `-linspace` may follow where they apply.
pub const NAMES: &[&str] = &[
    "euler",
    "euler-karras",
    "euler-trailing",
    "euler-ancestral",
    "heun",
    "ddim",
    "dpmpp-2m",
    "dpmpp-2m-karras",
    "dpmpp-2m-sde",
    "dpmpp-2m-sde-karras",
    "unipc",
    "lcm",
    "flow-unipc",
    "flow-dpmpp",
    "flow-euler",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Euler,
    EulerAncestral,
    Heun,
    Ddim,
    Dpmpp2m,
    Dpmpp2mSde,
    UniPc,
    Lcm,
    FlowUniPc,
    FlowDpmpp,
    FlowEuler,
}

/// How noise levels are spread over the steps, when not read from the training schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Curve {
    Karras,
    Exponential,
}

#[derive(Debug, PartialEq)]
pub(super) struct Choice {
    pub family: Family,
    pub curve: Option<Curve>,
    /// diffusers' `timestep_spacing`.
    pub spacing: Option<&'static str>,
}

/// Spellings without spaces, `_` and `-`, in lower case, with `p` for `+`.
const SPELLINGS: &[(Family, &[&str])] = &[
    (Family::Euler, &["euler", "keuler", "eulerdiscrete"]),
    (
        Family::EulerAncestral,
        &[
            "eulerancestral",
            "eulera",
            "keulera",
            "keulerancestral",
            "eulerancestraldiscrete",
        ],
    ),
    (Family::Heun, &["heun", "kheun", "heundiscrete"]),
    (Family::Ddim, &["ddim"]),
    (
        Family::Dpmpp2m,
        &[
            "dpmpp2m",
            "kdpmpp2m",
            "dpmpp",
            "dpmsolverpp",
            "dpmsolvermultistep",
        ],
    ),
    (
        Family::Dpmpp2mSde,
        &["dpmpp2msde", "kdpmpp2msde", "dpmpp2msdegpu", "sdedpmsolverpp"],
    ),
    (Family::UniPc, &["unipc", "unipcbh2", "unipcmultistep"]),
    (Family::Lcm, &["lcm"]),
    (Family::FlowUniPc, &["flowunipc"]),
    (Family::FlowDpmpp, &["flowdpmpp", "flowdpmpp2m", "flowdpm"]),
    (
        Family::FlowEuler,
        &["floweuler", "flowmatcheuler", "flowmatcheulerdiscrete"],
    ),
];

const CURVES: &[(&str, Curve)] = &[("karras", Curve::Karras), ("exponential", Curve::Exponential)];
const SPACINGS: &[&str] = &["trailing", "leading", "linspace"];

impl Family {
    pub fn class_name(self) -> &'static str {
        match self {
            Family::Euler => "EulerDiscreteScheduler",
            Family::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Family::Heun => "HeunDiscreteScheduler",
            Family::Ddim => "DDIMScheduler",
            Family::Dpmpp2m | Family::Dpmpp2mSde | Family::FlowDpmpp => "DPMSolverMultistepScheduler",
            Family::UniPc | Family::FlowUniPc => "UniPCMultistepScheduler",
            Family::Lcm => "LCMScheduler",
            Family::FlowEuler => "FlowMatchEulerDiscreteScheduler",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Family::Euler => "euler",
            Family::EulerAncestral => "euler-ancestral",
            Family::Heun => "heun",
            Family::Ddim => "ddim",
            Family::Dpmpp2m => "dpmpp-2m",
            Family::Dpmpp2mSde => "dpmpp-2m-sde",
            Family::UniPc => "unipc",
            Family::Lcm => "lcm",
            Family::FlowUniPc => "flow-unipc",
            Family::FlowDpmpp => "flow-dpmpp",
            Family::FlowEuler => "flow-euler",
        }
    }

    /// The family of a configuration; `None` for classes that are not built.
    pub fn of(class_name: &str, algorithm_type: Option<&str>, flow: bool) -> Option<Self> {
        let sde = algorithm_type == Some("sde-dpmsolver++");
        let all = SPELLINGS.iter().map(|(family, _)| *family);
        all.filter(|family| family.class_name() == class_name)
            .find(|family| family.is_flow() == flow && (*family == Family::Dpmpp2mSde) == (sde && !flow))
    }

    pub fn is_flow(self) -> bool {
        matches!(self, Family::FlowUniPc | Family::FlowDpmpp | Family::FlowEuler)
    }

    pub fn has_curves(self) -> bool {
        use Family::*;
        matches!(self, Euler | Heun | Dpmpp2m | Dpmpp2mSde | UniPc)
    }

    pub fn has_spacings(self) -> bool {
        !self.is_flow() && self != Family::Lcm
    }
}

/// # Errors
/// `InvalidSpec`, naming the choices and the nearest one.
pub(super) fn parse(name: &str) -> Result<Choice> {
    let mut short = shorten(name);
    let mut curve = None;
    let mut spacing = None;
    // A suffix counts only when a name is left before it.
    loop {
        if let Some((word, found)) = CURVES.iter().find(|(word, _)| is_suffix(&short, word))
            && curve.is_none()
        {
            curve = Some(*found);
            short.truncate(short.len() - word.len());
        } else if let Some(word) = SPACINGS.iter().find(|word| is_suffix(&short, word))
            && spacing.is_none()
        {
            spacing = Some(*word);
            short.truncate(short.len() - word.len());
        } else {
            break;
        }
    }
    let base = short.strip_suffix("scheduler").unwrap_or(&short);
    let family = SPELLINGS
        .iter()
        .find(|(_, spellings)| spellings.contains(&base))
        .map(|(family, _)| *family)
        .ok_or_else(|| unknown(name))?;
    if curve.is_some() && !family.has_curves() || spacing.is_some() && !family.has_spacings() {
        crate::fail!(InvalidSpec, "scheduler is `{name}`, but {} has no such variant", family.name();
            "use `{}`", family.name());
    }
    Ok(Choice {
        family,
        curve,
        spacing,
    })
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

fn shorten(name: &str) -> String {
    name.chars()
        .filter(|c| !c.is_whitespace() && !matches!(c, '_' | '-'))
        .map(|c| if c == '+' { 'p' } else { c.to_ascii_lowercase() })
        .collect()
}

fn is_suffix(short: &str, word: &str) -> bool {
    short.len() > word.len() && short.ends_with(word)
}

fn unknown(name: &str) -> anyhow::Error {
    let short = shorten(name);
    let score = |known: &&&str| strsim::jaro_winkler(&short, &shorten(known));
    let nearest = NAMES
        .iter()
        .max_by(|a, b| score(a).total_cmp(&score(b)))
        .expect("there are names");
    Error::new(
        ErrorKind::InvalidSpec,
        format!(
            "scheduler is `{name}`, which is unknown; allowed: {}",
            NAMES.join(", ")
        ),
    )
    .hint(format!("did you mean `{nearest}`?"))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{hint_of, kind_of};

    fn parsed(name: &str) -> (Family, Option<Curve>, Option<&'static str>) {
        let choice = parse(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        (choice.family, choice.curve, choice.spacing)
    }

    #[test]
    fn every_listed_name_is_known_and_its_family_has_its_name() {
        for name in NAMES {
            let (family, ..) = parsed(name);
            assert!(name.starts_with(family.name()), "{name}");
        }
    }

    #[test]
    fn spellings_of_other_programs_are_known() {
        use Family::*;
        for (name, family, curve) in [
            ("dpm++2m", Dpmpp2m, None),
            ("DPM++ 2M", Dpmpp2m, None),
            ("DPM++ 2M Karras", Dpmpp2m, Some(Curve::Karras)),
            ("DPM++ 2M SDE Karras", Dpmpp2mSde, Some(Curve::Karras)),
            ("dpmpp_2m_sde_gpu", Dpmpp2mSde, None),
            ("DPM++ 2M SDE Exponential", Dpmpp2mSde, Some(Curve::Exponential)),
            ("DPMSolverMultistepScheduler", Dpmpp2m, None),
            ("Euler", Euler, None),
            ("euler_a", EulerAncestral, None),
            ("Euler a", EulerAncestral, None),
            ("k_euler_ancestral", EulerAncestral, None),
            ("EulerDiscreteScheduler", Euler, None),
            ("EulerAncestralDiscreteScheduler", EulerAncestral, None),
            ("Heun", Heun, None),
            ("DDIM", Ddim, None),
            ("uni_pc", UniPc, None),
            ("uni_pc_bh2", UniPc, None),
            ("UniPC", UniPc, None),
            ("LCM", Lcm, None),
            ("FlowMatchEulerDiscreteScheduler", FlowEuler, None),
        ] {
            assert_eq!(parsed(name), (family, curve, None), "{name}");
        }
        assert_eq!(parsed("ddim-trailing"), (Ddim, None, Some("trailing")));
        assert_eq!(
            parsed("heun karras linspace"),
            (Heun, Some(Curve::Karras), Some("linspace"))
        );
    }

    #[test]
    fn an_unknown_name_lists_the_choices_and_the_nearest() {
        let error = parse("dpmpp-2n").unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::InvalidSpec);
        assert!(error.to_string().contains("euler-ancestral"), "{error}");
        assert_eq!(hint_of(&error), Some("did you mean `dpmpp-2m`?"));
        for name in ["", "karras", "-", "plms", "🎨"] {
            assert!(parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_variant_that_does_not_exist_is_refused() {
        for name in [
            "lcm-karras",
            "ddim-karras",
            "euler-a-karras",
            "flow-unipc-trailing",
        ] {
            let error = parse(name).unwrap_err().to_string();
            assert!(error.contains("no such variant"), "{error}");
        }
    }
}
