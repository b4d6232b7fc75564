//! The samplers: which class of diffusers each is, how others spell it, and what applies to it.

use super::curves::Curve;
use super::spacing::Spacing;

use Family::*;

/// A sampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Euler,
    EulerAncestral,
    Heun,
    Dpm2,
    Dpm2Ancestral,
    Lms,
    Ddim,
    Pndm,
    Dpmpp2m,
    Dpmpp2mSde,
    Dpmpp3m,
    Dpmpp3mSde,
    Dpmpp2s,
    Dpmpp2sAncestral,
    DpmppSde,
    Deis,
    UniPc,
    Lcm,
    Tcd,
    FlowUniPc,
    FlowDpmpp,
    FlowEuler,
}

/// A curve or a spacing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Schedule {
    Curve(Curve),
    Spacing(Spacing),
}

/// Which sigma curves a diffusers class reads from its file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum CurveFields {
    /// None: what the file says of them is for other classes.
    Ignored,
    /// `use_karras_sigmas`, `use_exponential_sigmas` and `use_beta_sigmas`.
    Three,
    /// Also `use_lu_lambdas`.
    WithLu,
}

/// What is known of a sampler.
pub(super) struct Known {
    pub family: Family,
    pub name: &'static str,
    /// Of diffusers; empty where it has none.
    class_name: &'static str,
    /// Without spaces, `_` and `-`, in lower case, with `p` for `+`; the name itself is one more.
    pub spellings: &'static [&'static str],
}

const fn known(
    family: Family,
    name: &'static str,
    class_name: &'static str,
    spellings: &'static [&'static str],
) -> Known {
    Known {
        family,
        name,
        class_name,
        spellings,
    }
}

const MULTISTEP: &str = "DPMSolverMultistepScheduler";
const UNIPC: &str = "UniPCMultistepScheduler";

#[rustfmt::skip]
pub(super) const FAMILIES: &[Known] = &[
    known(Euler, "euler", "EulerDiscreteScheduler", &["keuler", "eulerdiscrete"]),
    known(EulerAncestral, "euler-ancestral", "EulerAncestralDiscreteScheduler",
        &["eulera", "keulera", "keulerancestral", "eulerancestraldiscrete"]),
    known(Heun, "heun", "HeunDiscreteScheduler", &["kheun", "heundiscrete"]),
    known(Dpm2, "dpm2", "KDPM2DiscreteScheduler", &["kdpm2", "kdpm2discrete"]),
    known(Dpm2Ancestral, "dpm2-ancestral", "KDPM2AncestralDiscreteScheduler",
        &["dpm2a", "kdpm2a", "kdpm2ancestral", "kdpm2ancestraldiscrete"]),
    known(Lms, "lms", "LMSDiscreteScheduler", &["klms", "lmsdiscrete"]),
    known(Ddim, "ddim", "DDIMScheduler", &[]),
    known(Pndm, "pndm", "PNDMScheduler", &["plms"]),
    known(Dpmpp2m, "dpmpp-2m", MULTISTEP, &["kdpmpp2m", "dpmpp", "dpmsolverpp", "dpmsolvermultistep"]),
    known(Dpmpp2mSde, "dpmpp-2m-sde", MULTISTEP, &["kdpmpp2msde", "dpmpp2msdegpu", "sdedpmsolverpp"]),
    known(Dpmpp3m, "dpmpp-3m", MULTISTEP, &["kdpmpp3m"]),
    known(Dpmpp3mSde, "dpmpp-3m-sde", MULTISTEP, &["kdpmpp3msde", "dpmpp3msdegpu"]),
    known(Dpmpp2s, "dpmpp-2s", "DPMSolverSinglestepScheduler", &["kdpmpp2s", "dpmsolversinglestep"]),
    known(Dpmpp2sAncestral, "dpmpp-2s-ancestral", "", &["dpmpp2sa", "kdpmpp2sa", "kdpmpp2sancestral"]),
    known(DpmppSde, "dpmpp-sde", "DPMSolverSDEScheduler", &["kdpmppsde", "dpmppsdegpu", "dpmsolversde"]),
    known(Deis, "deis", "DEISMultistepScheduler", &["deismultistep"]),
    known(UniPc, "unipc", UNIPC, &["unipcbh2", "unipcmultistep"]),
    known(Lcm, "lcm", "LCMScheduler", &[]),
    known(Tcd, "tcd", "TCDScheduler", &[]),
    known(FlowUniPc, "flow-unipc", UNIPC, &[]),
    known(FlowDpmpp, "flow-dpmpp", MULTISTEP, &["flowdpmpp2m", "flowdpm"]),
    known(FlowEuler, "flow-euler", "FlowMatchEulerDiscreteScheduler", &["flowmatcheuler", "flowmatcheulerdiscrete"]),
];

impl Family {
    fn known(self) -> &'static Known {
        let mut all = FAMILIES.iter();
        all.find(|known| known.family == self)
            .expect("every family is in the table")
    }

    /// The class of diffusers; our name where it has none.
    pub fn class_name(self) -> &'static str {
        match self.known().class_name {
            "" => self.name(),
            class_name => class_name,
        }
    }

    pub fn name(self) -> &'static str {
        self.known().name
    }

    /// The family of a configuration file; `None` for classes that are not built.
    pub fn of(class_name: &str, sde: bool, third_order: bool, flow: bool) -> Option<Self> {
        match (class_name, flow) {
            (MULTISTEP, true) => Some(FlowDpmpp),
            (MULTISTEP, false) => Some(match (sde, third_order) {
                (false, false) => Dpmpp2m,
                (false, true) => Dpmpp3m,
                (true, false) => Dpmpp2mSde,
                (true, true) => Dpmpp3mSde,
            }),
            (UNIPC, true) => Some(FlowUniPc),
            _ => {
                let mut all = FAMILIES.iter();
                all.find(|known| !class_name.is_empty() && known.class_name == class_name)
                    .map(|known| known.family)
            }
        }
    }

    pub fn is_flow(self) -> bool {
        matches!(self, FlowUniPc | FlowDpmpp | FlowEuler)
    }

    /// Whether it follows noise levels, so that a curve or `sigmas` may lay them out.
    pub fn has_sigmas(self) -> bool {
        !self.is_flow() && !matches!(self, Ddim | Pndm | Lcm | Tcd)
    }

    /// Samplers that draw as much noise as `eta` says; 1 is the full amount.
    pub fn default_eta(self) -> Option<f64> {
        match self {
            Ddim | Tcd => Some(0.0),
            EulerAncestral | Dpm2Ancestral | Dpmpp2sAncestral | DpmppSde => Some(1.0),
            _ => None,
        }
    }

    /// Whether `timesteps` may lay it out: pndm's own calls depend on even spacing.
    pub fn takes_timesteps(self) -> bool {
        !self.is_flow() && self != Pndm
    }

    /// Whether the class of diffusers reads `timestep_spacing` from its file.
    pub fn reads_spacing(self) -> bool {
        !self.is_flow() && !matches!(self, Lcm | Tcd | Dpmpp2s)
    }

    /// The sigma curves that the class of diffusers reads from its file.
    pub fn curve_fields(self) -> CurveFields {
        match self {
            Dpmpp2m | Dpmpp2mSde | Dpmpp3m | Dpmpp3mSde => CurveFields::WithLu,
            EulerAncestral | Dpmpp2sAncestral => CurveFields::Ignored,
            family if family.has_sigmas() => CurveFields::Three,
            _ => CurveFields::Ignored,
        }
    }

    /// Whether a schedule can lay it out.
    pub fn has(self, schedule: Schedule) -> bool {
        match schedule {
            Schedule::Curve(Curve::Lu) => matches!(self, Dpmpp2m | Dpmpp2mSde | Dpmpp3m | Dpmpp3mSde),
            Schedule::Curve(_) => self.has_sigmas(),
            // Their distilled timesteps are spread from the top, whatever diffusers' file says.
            Schedule::Spacing(spacing) if matches!(self, Lcm | Tcd) => spacing == Spacing::Trailing,
            Schedule::Spacing(_) => !self.is_flow(),
        }
    }
}

/// The classes of diffusers that are built.
pub(super) fn class_names() -> Vec<&'static str> {
    let mut names: Vec<_> = FAMILIES.iter().map(|known| known.class_name).collect();
    names.sort_unstable();
    names.dedup();
    names.retain(|name| !name.is_empty());
    names
}
