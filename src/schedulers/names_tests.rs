use super::*;
use crate::error::{hint_of, kind_of};
use Family::*;

fn parsed(name: &str) -> (Family, Option<Curve>, Option<Spacing>) {
    let choice = parse(name).unwrap_or_else(|e| panic!("{name}: {e}"));
    (choice.family, choice.curve, choice.spacing)
}

#[test]
fn every_listed_name_is_known_and_is_its_own_canonical_name() {
    for name in NAMES {
        assert_eq!(parse(name).expect("known").name(), *name);
    }
    for known in FAMILIES {
        assert!(NAMES.contains(&known.name), "{}", known.name);
        assert_eq!(parsed(known.name).0, known.family);
    }
    for schedule in SCHEDULES {
        assert_eq!(
            combine("dpmpp-2m", schedule).expect("fits"),
            format!("dpmpp-2m-{schedule}")
        );
    }
}

#[test]
fn spellings_of_other_programs_are_known() {
    let karras = Some(Curve::Karras);
    for (name, family, curve) in [
        ("dpm++2m", Dpmpp2m, None),
        ("DPM++ 2M", Dpmpp2m, None),
        ("DPM++ 2M Karras", Dpmpp2m, karras),
        ("DPM++ 2M SDE Karras", Dpmpp2mSde, karras),
        ("dpmpp_2m_sde_gpu", Dpmpp2mSde, None),
        ("DPM++ 2M SDE Exponential", Dpmpp2mSde, Some(Curve::Exponential)),
        ("DPM++ 3M SDE", Dpmpp3mSde, None),
        ("dpmpp_3m_sde_gpu", Dpmpp3mSde, None),
        ("DPM++ SDE Karras", DpmppSde, karras),
        ("dpmpp_sde", DpmppSde, None),
        ("DPMSolverSDEScheduler", DpmppSde, None),
        ("DPM++ 2S a Karras", Dpmpp2sAncestral, karras),
        ("dpmpp_2s_ancestral", Dpmpp2sAncestral, None),
        ("dpm++2s_a", Dpmpp2sAncestral, None),
        ("DPMSolverSinglestepScheduler", Dpmpp2s, None),
        ("DPMSolverMultistepScheduler", Dpmpp2m, None),
        ("Euler", Euler, None),
        ("euler_a", EulerAncestral, None),
        ("Euler a", EulerAncestral, None),
        ("k_euler_ancestral", EulerAncestral, None),
        ("euler-a-karras", EulerAncestral, karras),
        ("EulerDiscreteScheduler", Euler, None),
        ("EulerAncestralDiscreteScheduler", EulerAncestral, None),
        ("Heun", Heun, None),
        ("dpm_2", Dpm2, None),
        ("DPM2 a Karras", Dpm2Ancestral, karras),
        ("KDPM2AncestralDiscreteScheduler", Dpm2Ancestral, None),
        ("LMS Karras", Lms, karras),
        ("LMSDiscreteScheduler", Lms, None),
        ("DDIM", Ddim, None),
        ("PLMS", Pndm, None),
        ("PNDMScheduler", Pndm, None),
        ("DEISMultistepScheduler", Deis, None),
        ("uni_pc", UniPc, None),
        ("uni_pc_bh2", UniPc, None),
        ("UniPC", UniPc, None),
        ("LCM", Lcm, None),
        ("TCD", Tcd, None),
        ("FlowMatchEulerDiscreteScheduler", FlowEuler, None),
        ("dpmpp-2m-lu", Dpmpp2m, Some(Curve::Lu)),
        ("euler_beta", Euler, Some(Curve::Beta)),
        ("lms kl_optimal", Lms, Some(Curve::KlOptimal)),
    ] {
        assert_eq!(parsed(name), (family, curve, None), "{name}");
    }
    for (name, family, spacing) in [
        ("ddim-trailing", Ddim, Spacing::Trailing),
        ("euler_sgm_uniform", Euler, Spacing::Trailing),
        ("euler-ddim-uniform", Euler, Spacing::Leading),
        ("Euler Normal", Euler, Spacing::Linspace),
        ("heun uniform", Heun, Spacing::Linspace),
        ("lcm sgm_uniform", Lcm, Spacing::Trailing),
        ("unipc-simple", UniPc, Spacing::Simple),
    ] {
        assert_eq!(parsed(name), (family, None, Some(spacing)), "{name}");
    }
    assert_eq!(
        parsed("heun karras linspace"),
        (Heun, Some(Curve::Karras), Some(Spacing::Linspace))
    );
}

#[test]
fn a_sampler_and_a_schedule_of_two_lists_are_one_name() {
    for (sampler, schedule, name) in [
        ("dpmpp_2m", "karras", "dpmpp-2m-karras"),
        ("DPM++ 2M", "Karras", "dpmpp-2m-karras"),
        ("euler", "sgm_uniform", "euler-trailing"),
        ("euler_ancestral", "normal", "euler-ancestral-linspace"),
        ("Euler a", "Automatic", "euler-ancestral"),
        ("Euler", "DDIM", "euler-leading"),
        ("dpmpp_sde", "kl_optimal", "dpmpp-sde-kl-optimal"),
        ("dpmpp-2m-karras", "karras", "dpmpp-2m-karras"),
        ("euler", "", "euler"),
    ] {
        assert_eq!(combine(sampler, schedule).expect("goes together"), name);
    }
    let error = combine("euler", "karas").unwrap_err();
    assert_eq!(hint_of(&error), Some("did you mean `karras`?"));
    assert!(combine("dpmpp-2m-karras", "exponential").is_err());
    assert!(combine("ddim", "karras").is_err());
    assert!(combine("flow-unipc", "simple").is_err());
}

#[test]
fn names_go_to_a1111_and_come_back() {
    for name in NAMES {
        let (sampler, schedule) = a1111_names(name);
        let back = combine(&sampler, schedule.unwrap_or("Automatic")).expect("known");
        assert_eq!(back, *name);
    }
    assert_eq!(
        a1111_names("dpmpp-2m-sde-karras"),
        ("DPM++ 2M SDE".into(), Some("Karras"))
    );
    assert_eq!(a1111_names("SomeScheduler"), ("SomeScheduler".into(), None));
}

#[test]
fn an_unknown_name_lists_the_choices_and_the_nearest() {
    let error = parse("dpmpp-2n").unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::InvalidSpec);
    assert!(error.to_string().contains("euler-ancestral"), "{error}");
    assert_eq!(hint_of(&error), Some("did you mean `dpmpp-2m`?"));
    for name in ["", "karras", "-", "dpm-fast", "🎨", "scheduler", "lulu"] {
        assert!(parse(name).is_err(), "{name:?}");
    }
}

#[test]
fn a_variant_that_does_not_exist_is_refused_with_those_that_do() {
    for name in [
        "lcm-karras",
        "tcd-simple",
        "ddim-karras",
        "pndm-beta",
        "euler-lu",
        "flow-unipc-trailing",
    ] {
        let error = parse(name).unwrap_err();
        assert!(error.to_string().contains("no such variant"), "{error}");
    }
    let error = parse("ddim-karras").unwrap_err();
    assert_eq!(
        hint_of(&error),
        Some("use `ddim`, alone or with one of trailing, leading, linspace, simple")
    );
    assert!(parse("euler-karras-beta").is_err());
}
