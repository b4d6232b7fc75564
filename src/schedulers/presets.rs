//! Presets: sampler, spacing, steps and guidance that a distilled model needs together.

use anyhow::Result;

/// What a preset pins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Preset {
    pub name: &'static str,
    /// A name of [`super::NAMES`] with its schedule.
    pub scheduler: &'static str,
    pub num_inference_steps: usize,
    /// At most 1 switches guidance off.
    pub guidance_scale: f64,
}

/// After the model cards: stabilityai/sdxl-turbo, ByteDance/SDXL-Lightning,
/// latent-consistency/lcm-lora-sdxl and ByteDance/Hyper-SD.
pub const PRESETS: &[Preset] = &[
    preset("turbo", "euler-ancestral-trailing", 1, 0.0),
    preset("lightning-4", "euler-trailing", 4, 0.0),
    preset("lightning-8", "euler-trailing", 8, 0.0),
    preset("lcm", "lcm", 4, 1.0),
    preset("hyper", "ddim-trailing", 8, 0.0),
];

const fn preset(
    name: &'static str,
    scheduler: &'static str,
    num_inference_steps: usize,
    guidance_scale: f64,
) -> Preset {
    Preset {
        name,
        scheduler,
        num_inference_steps,
        guidance_scale,
    }
}

impl Preset {
    /// The preset of a name.
    ///
    /// # Errors
    /// `InvalidSpec`, naming the choices and the nearest one.
    pub fn named(name: &str) -> Result<&'static Self> {
        if let Some(preset) = PRESETS.iter().find(|preset| preset.name == name) {
            return Ok(preset);
        }
        let names: Vec<&'static str> = PRESETS.iter().map(|preset| preset.name).collect();
        Err(super::names::not_among("preset", name, &names))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::hint_of;
    use crate::schedulers::{SchedulerConfig, build};

    #[test]
    fn every_preset_runs_on_the_sdxl_configuration() {
        for preset in PRESETS {
            let config = SchedulerConfig::sdxl()
                .with_scheduler(preset.scheduler)
                .expect("fits");
            assert_eq!(config.name(), preset.scheduler);
            let scheduler = build::<4>(&config, preset.num_inference_steps).expect("built");
            assert_eq!(scheduler.num_steps(), preset.num_inference_steps);
            assert_eq!(Preset::named(preset.name).expect("known"), preset);
        }
    }

    #[test]
    fn an_unknown_preset_names_the_nearest() {
        let error = Preset::named("lightning").unwrap_err();
        assert!(error.to_string().contains("preset is `lightning`"), "{error}");
        assert!(hint_of(&error).is_some_and(|hint| hint.contains("lightning-")));
    }
}
