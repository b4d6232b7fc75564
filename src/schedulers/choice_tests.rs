use super::*;
use crate::error::{ErrorKind, hint_of, kind_of};
use crate::schedulers::{Scheduler, build};

fn applied(choice: SamplerChoice) -> SchedulerConfig {
    choice
        .apply(&SchedulerConfig::sdxl())
        .expect("a choice that fits")
}

fn built(choice: SamplerChoice) -> Box<dyn Scheduler<4>> {
    build(&applied(choice), 10).expect("built")
}

/// What is wrong with a choice, when applied or when built.
fn wrong(choice: SamplerChoice) -> anyhow::Error {
    let config = choice.apply(&SchedulerConfig::sdxl());
    let error = config.and_then(|config| build::<4>(&config, 10)).err();
    let error = error.unwrap_or_else(|| panic!("{choice:?} is accepted"));
    assert_eq!(kind_of(&error), ErrorKind::InvalidSpec, "{error}");
    error
}

fn named(name: &str) -> SamplerChoice {
    SamplerChoice {
        name: Some(name.into()),
        ..SamplerChoice::default()
    }
}

#[test]
fn nothing_chosen_leaves_the_model_as_it_is() {
    assert_eq!(applied(SamplerChoice::default()), SchedulerConfig::sdxl());
}

#[test]
fn a_schedule_alone_changes_the_models_own_sampler() {
    let choice = SamplerChoice {
        schedule: Some("karras".into()),
        ..SamplerChoice::default()
    };
    assert_eq!(applied(choice).name(), "euler-karras");
    let choice = SamplerChoice {
        schedule: Some("sgm_uniform".into()),
        ..named("DPM++ 2M")
    };
    assert_eq!(applied(choice).name(), "dpmpp-2m-trailing");
    let choice = SamplerChoice {
        timestep_spacing: Some("trailing".into()),
        ..named("ddim")
    };
    assert_eq!(applied(choice).name(), "ddim-trailing");
}

#[test]
fn a_spacing_is_refused_where_it_does_not_apply() {
    let spacing = |name: &str, spacing: &str| SamplerChoice {
        timestep_spacing: Some(spacing.into()),
        ..named(name)
    };
    assert_eq!(
        built(spacing("lcm", "trailing")).timesteps(),
        built(named("lcm")).timesteps()
    );
    assert!(
        wrong(spacing("lcm", "leading"))
            .to_string()
            .contains("does not apply to lcm")
    );
    assert!(
        wrong(spacing("euler", "cosine"))
            .to_string()
            .contains("allowed: linspace")
    );
}

#[test]
fn a_list_of_timesteps_is_followed_and_counted() {
    let list = vec![999.0, 845.0, 730.0, 587.0, 443.0, 310.0, 193.0, 116.0, 53.0, 13.0];
    for name in [
        "euler",
        "euler-ancestral",
        "ddim",
        "dpmpp-2m",
        "unipc",
        "deis",
        "lcm",
        "tcd",
        "dpmpp-2s",
    ] {
        let scheduler = built(SamplerChoice {
            timesteps: Some(list.clone()),
            ..named(name)
        });
        assert_eq!(scheduler.timesteps(), list, "{name}");
    }
    let heun = built(SamplerChoice {
        timesteps: Some(vec![900.0, 100.0]),
        ..named("heun")
    });
    assert_eq!(
        (heun.timesteps(), heun.num_steps()),
        ([900.0, 100.0, 100.0].as_slice(), 2)
    );
}

#[test]
fn a_list_of_sigmas_is_followed_to_its_end() {
    for name in [
        "euler",
        "dpmpp-2m",
        "lms",
        "unipc",
        "deis",
        "dpmpp-3m-sde",
        "dpmpp-2s",
    ] {
        let scheduler = built(SamplerChoice {
            sigmas: Some(vec![14.0, 3.0, 0.5, 0.0]),
            ..named(name)
        });
        assert_eq!(scheduler.sigmas(), [14.0, 3.0, 0.5, 0.0], "{name}");
        assert_eq!(scheduler.timesteps().len(), 3);
        assert!(scheduler.timesteps().windows(2).all(|w| w[0] > w[1]), "{name}");
    }
}

#[test]
fn lists_that_are_no_schedule_are_refused_by_name() {
    let timesteps = |list: &[f64]| SamplerChoice {
        timesteps: Some(list.to_vec()),
        ..named("euler")
    };
    for (list, what) in [
        (&[][..], "0 entries"),
        (&[500.0, 500.0], "500 after 500"),
        (&[1000.0, 3.0], "starts at 1000"),
        (&[10.5], "10.5"),
        (&[10.0, -1.0], "-1"),
        (&[f64::NAN], "NaN"),
    ] {
        let error = wrong(timesteps(list)).to_string();
        assert!(error.starts_with("timesteps ") && error.contains(what), "{error}");
    }
    let sigmas = |name: &str, list: &[f64]| SamplerChoice {
        sigmas: Some(list.to_vec()),
        ..named(name)
    };
    assert!(wrong(sigmas("euler", &[1.0])).to_string().contains("1 entries"));
    assert!(
        wrong(sigmas("euler", &[1.0, 2.0]))
            .to_string()
            .contains("2 after 1")
    );
    for name in ["ddim", "pndm", "lcm", "tcd"] {
        let error = wrong(sigmas(name, &[1.0, 0.0]));
        assert_eq!(
            error.to_string(),
            format!("sigmas is given, but {name} cannot follow it")
        );
    }
    let both = SamplerChoice {
        sigmas: Some(vec![1.0, 0.0]),
        ..timesteps(&[10.0])
    };
    assert!(wrong(both).to_string().contains("both given"));
    let karras = SamplerChoice {
        timesteps: Some(vec![10.0]),
        ..named("dpmpp-2m-karras")
    };
    assert!(wrong(karras).to_string().contains("`karras`"));
    let pndm = SamplerChoice {
        timesteps: Some(vec![10.0]),
        ..named("pndm")
    };
    assert!(wrong(pndm).to_string().contains("pndm cannot follow it"));
}

#[test]
fn eta_is_for_the_samplers_that_have_it() {
    let eta = |name: &str, eta: f64| SamplerChoice {
        eta: Some(eta),
        ..named(name)
    };
    for name in [
        "ddim",
        "tcd",
        "euler-ancestral",
        "dpm2-ancestral",
        "dpmpp-2s-ancestral",
        "dpmpp-sde",
    ] {
        built(eta(name, 0.5));
        assert!(wrong(eta(name, 1.5)).to_string().contains("eta is 1.5"));
    }
    for name in ["euler", "dpmpp-2m", "lcm", "pndm"] {
        built(eta(name, 0.0));
        let error = wrong(eta(name, 0.5));
        assert_eq!(
            error.to_string(),
            format!("eta is 0.5, but {name} has no such choice")
        );
        assert!(hint_of(&error).is_some());
    }
}

#[test]
fn a_prediction_type_is_chosen_where_the_sampler_follows_it() {
    let choice = |name: &str, prediction: &str| SamplerChoice {
        prediction_type: Some(PredictionType::parse(prediction).expect("known")),
        ..named(name)
    };
    built(choice("euler", "v"));
    built(choice("dpm2", "v_prediction"));
    built(choice("euler", "sample"));
    let error = wrong(choice("dpm2", "sample")).to_string();
    assert!(error.contains("allowed: epsilon, v_prediction"), "{error}");
    assert!(PredictionType::parse("score").is_err());
}

#[test]
fn zero_terminal_snr_reaches_every_sampler_that_can_bear_it() {
    for name in [
        "euler-trailing",
        "heun-trailing",
        "dpm2-trailing",
        "lms-trailing",
        "dpmpp-2m-trailing",
        "dpmpp-2s-trailing",
    ] {
        let scheduler = built(SamplerChoice {
            rescale_betas_zero_snr: Some(true),
            prediction_type: Some(PredictionType::VPrediction),
            ..named(name)
        });
        assert!(
            (scheduler.sigmas()[0] - 4096.0).abs() < 1.0,
            "{name}: {}",
            scheduler.sigmas()[0]
        );
    }
    let error = wrong(SamplerChoice {
        rescale_betas_zero_snr: Some(true),
        ..named("ddim")
    });
    assert!(error.to_string().contains("prediction_type"), "{error}");
}
