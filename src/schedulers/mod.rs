//! Samplers: how a trajectory from noise to a picture is cut into steps.
//!
//! A scheduler knows neither the network nor the progress bar. The loop around it is
//!
//! ```text
//! config    = choice.apply(model's configuration)
//! scheduler = build(config, num_inference_steps)
//! window    = config.window(scheduler, part)
//! latents   = noise * init_noise_sigma()                        from nothing, or
//!             add_noise(original, noise, window.calls.start)    from a picture, or
//!             what an earlier model left                        with denoising_start
//! for i in window.calls:
//!     model_output = network(scale_model_input(latents, i), timesteps()[i])
//!     latents = step(model_output, i, latents, noise)
//!     (inpainting: the kept part is add_noise(original, noise, i + 1), after the last call original)
//!     (progress: one step more if window.completes_step(i))
//! ```
//!
//! Timesteps and sigmas carry the roundings of diffusers 0.42 (`src/diffusers/schedulers/`),
//! since a rounding may decide a timestep; coefficients of a step are computed on the CPU in
//! double precision, and the step itself is plain float32 tensor arithmetic.

use anyhow::Result;

mod choice;
mod chosen;
mod config;
mod curves;
mod ddim;
mod deis;
mod dpmpp;
mod euler;
mod families;
mod flow_euler;
mod heun;
mod lcm;
mod levels;
mod lms;
mod names;
mod noise_schedule;
mod pndm;
mod prediction;
mod presets;
mod scheduler;
mod settings;
mod singlestep;
mod spacing;
mod tcd;
mod two_stage;
mod unipc;
mod window;

pub use scheduler::{NoiseSource, Scheduler};

pub use choice::{PredictionType, SamplerChoice};
pub use config::SchedulerConfig;
pub use names::{NAMES, SCHEDULES, a1111_names, check_name, combine, listing, runs_on};
pub use presets::{PRESETS, Preset};
pub use window::{Part, Window};

use families::Family;
use two_stage::Method;

impl SchedulerConfig {
    /// The calls of `scheduler`, built from this configuration, that a part of the trajectory takes.
    ///
    /// # Errors
    /// `InvalidSpec` for a share outside 0 to 1 or a part without any step.
    pub fn window<const D: usize>(&self, scheduler: &dyn Scheduler<D>, part: &Part) -> Result<Window> {
        let trajectory = window::Trajectory {
            timesteps: scheduler.timesteps(),
            num_steps: scheduler.num_steps(),
            order: scheduler.order(),
            train_timesteps: self.train_timesteps()?,
        };
        trajectory.window(part)
    }
}

/// A scheduler for `num_inference_steps` steps (or as many as chosen `timesteps` or `sigmas` make),
/// exactly as `config` says.
///
/// # Errors
/// `Config` when the configuration asks for something that is not built, `InvalidSpec` when the step
/// count or a choice does not fit the scheduler; both name the field, its value and the allowed ones.
pub fn build<const D: usize>(
    config: &SchedulerConfig,
    num_inference_steps: usize,
) -> Result<Box<dyn Scheduler<D>>> {
    let n = config.step_count(num_inference_steps)?;
    let Some(family) = config.family() else {
        return Err(config.unknown_class());
    };
    // Every sampler judges eta, also those that have none.
    config.eta(family)?;
    Ok(match family {
        Family::Euler => Box::new(euler::Euler::new(config, n)?),
        Family::EulerAncestral => Box::new(euler::EulerAncestral::new(config, n)?),
        Family::Heun => Box::new(heun::Heun::new(config, n)?),
        Family::Dpm2 => Box::new(two_stage::TwoStage::new(config, Method::Dpm2, n)?),
        Family::Dpm2Ancestral => Box::new(two_stage::TwoStage::new(config, Method::Dpm2Ancestral, n)?),
        Family::Dpmpp2sAncestral => Box::new(two_stage::TwoStage::new(config, Method::Dpmpp2sAncestral, n)?),
        Family::DpmppSde => Box::new(two_stage::TwoStage::new(config, Method::DpmppSde, n)?),
        Family::Lms => Box::new(lms::Lms::new(config, n)?),
        Family::Ddim => Box::new(ddim::Ddim::new(config, n)?),
        Family::Pndm => Box::new(pndm::Pndm::new(config, n)?),
        Family::Dpmpp2m | Family::Dpmpp2mSde | Family::Dpmpp3m | Family::Dpmpp3mSde | Family::FlowDpmpp => {
            Box::new(dpmpp::Dpmpp::new(config, n)?)
        }
        Family::Dpmpp2s => Box::new(singlestep::Singlestep::new(config, n)?),
        Family::Deis => Box::new(deis::Deis::new(config, n)?),
        Family::UniPc | Family::FlowUniPc => Box::new(unipc::UniPc::new(config, n)?),
        Family::Lcm => Box::new(lcm::Lcm::new(config, n)?),
        Family::Tcd => Box::new(tcd::Tcd::new(config, n)?),
        Family::FlowEuler => Box::new(flow_euler::FlowEuler::new(config, n)?),
    })
}
