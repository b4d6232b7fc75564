//! The noise schedule that a model was trained with: betas, cumulative alphas, sigmas.
//!
//! Ho et al. 2020 (arXiv 2006.11239); roundings as torch makes them in diffusers'
//! `scheduling_euler_discrete.py`.

use anyhow::Result;

use super::config::SchedulerConfig;
use super::prediction::Prediction;

/// The defaults of a diffusers class, for files that do not state them.
pub(super) struct BetaDefaults {
    pub start: f64,
    pub end: f64,
    pub schedule: &'static str,
}

pub(super) const DDPM_BETAS: BetaDefaults = BetaDefaults {
    start: 0.0001,
    end: 0.02,
    schedule: "linear",
};

/// Of the classes after k-diffusion's second order: SDXL's range, and a linear schedule over it.
pub(super) const SDXL_RANGE_LINEAR: BetaDefaults = BetaDefaults {
    start: 0.00085,
    end: 0.012,
    schedule: "linear",
};

/// Of the distilled models' classes.
pub(super) const SDXL_BETAS: BetaDefaults = BetaDefaults {
    start: 0.00085,
    end: 0.012,
    schedule: "scaled_linear",
};

#[derive(Debug, Clone, Copy)]
enum BetaSchedule {
    Linear,
    ScaledLinear,
    SquaredCosine,
}

/// What a class does about schedules that end in pure noise (arXiv 2305.08891).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ZeroSnr {
    /// The class has no such option: only a choice can ask for it, and is answered as `NearlyZero`.
    Ignored,
    /// The last cumulative alpha is exactly zero.
    Exact,
    /// The last cumulative alpha is 2^-24, so that sigma stays finite.
    NearlyZero,
}

/// Cumulative products of `1 - beta`, from little noise to much.
#[derive(Debug, Clone)]
pub(super) struct NoiseSchedule {
    pub alphas_cumprod: Vec<f32>,
}

impl NoiseSchedule {
    pub fn new(config: &SchedulerConfig, defaults: &BetaDefaults, zero_snr: ZeroSnr) -> Result<Self> {
        let mut betas = betas(config, defaults)?;
        let stated = zero_snr != ZeroSnr::Ignored && config.flag("rescale_betas_zero_snr", false)?;
        let rescale = config.chosen.rescale_zero_snr.unwrap_or(stated);
        if rescale {
            betas = rescale_zero_terminal_snr(&betas);
        }
        let mut alphas_cumprod = cumulative_alphas(&betas);
        if rescale && zero_snr != ZeroSnr::Exact {
            let last = alphas_cumprod.last_mut().expect("at least two betas");
            *last = 2f32.powi(-24);
        }
        Ok(Self { alphas_cumprod })
    }

    /// For samplers that divide by cumulative alphas: pure noise says nothing of x0 by its noise.
    pub fn exact(config: &SchedulerConfig, defaults: &BetaDefaults, prediction: Prediction) -> Result<Self> {
        let schedule = Self::new(config, defaults, ZeroSnr::Exact)?;
        if prediction == Prediction::Epsilon && schedule.alphas_cumprod.contains(&0.0) {
            let allowed = "false with prediction_type `epsilon`";
            if config.chosen.rescale_zero_snr.is_some() {
                crate::fail!(InvalidSpec, "rescale_betas_zero_snr is true; allowed with {}: {allowed}", config.name();
                    "such models predict v: add prediction_type `v_prediction`");
            }
            return Err(config.not_built("rescale_betas_zero_snr", "true", allowed));
        }
        Ok(schedule)
    }

    /// The cumulative alpha of a whole timestep.
    pub fn alpha_at(&self, config: &SchedulerConfig, t: f64) -> Result<f64> {
        let alpha = usize::try_from(t as i64)
            .ok()
            .and_then(|t| self.alphas_cumprod.get(t));
        alpha.map(|alpha| f64::from(*alpha)).ok_or_else(|| {
            let allowed = format!("such that timestep {t} exists");
            config.not_built("steps_offset", &t.to_string(), &allowed)
        })
    }

    pub fn len(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// `sqrt((1 - alpha) / alpha)` for every training timestep.
    pub fn sigmas(&self) -> Vec<f32> {
        self.alphas_cumprod
            .iter()
            .map(|a| ((1.0 - a) / a).sqrt())
            .collect()
    }

    /// The smallest sigma, where `final_sigmas_type` is `sigma_min`.
    pub fn sigma_min(&self) -> f64 {
        let a = self.alphas_cumprod[0];
        ((1.0 - a) / a).sqrt().into()
    }
}

fn betas(config: &SchedulerConfig, defaults: &BetaDefaults) -> Result<Vec<f32>> {
    let schedule = config.choice(
        "beta_schedule",
        defaults.schedule,
        &[
            ("linear", BetaSchedule::Linear),
            ("scaled_linear", BetaSchedule::ScaledLinear),
            ("squaredcos_cap_v2", BetaSchedule::SquaredCosine),
        ],
    )?;
    let start = config.number("beta_start", defaults.start)?;
    let end = config.number("beta_end", defaults.end)?;
    let count = config.train_timesteps()?;
    let betas = match config.numbers("trained_betas")? {
        Some(trained) if trained.len() != count => {
            let length = format!("a list of {}", trained.len());
            return Err(config.not_built("trained_betas", &length, "num_train_timesteps numbers"));
        }
        Some(trained) => trained.into_iter().map(|b| b as f32).collect(),
        None => match schedule {
            BetaSchedule::Linear => linspace_f32(start, end, count),
            BetaSchedule::ScaledLinear => {
                let roots = linspace_f32(start.sqrt(), end.sqrt(), count);
                roots.into_iter().map(|b| b * b).collect()
            }
            BetaSchedule::SquaredCosine => squared_cosine(count),
        },
    };
    // Below 1e-7 a step would add no noise at all in float32.
    match betas.iter().find(|b| !(**b > 1e-7 && **b < 1.0)) {
        Some(beta) => Err(config.not_built("beta", &beta.to_string(), "above 1e-7 and below 1")),
        None => Ok(betas),
    }
}

/// `torch.linspace(start, end, count, dtype=torch.float32)`: from both ends, fused multiply-add.
fn linspace_f32(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    let step = (end - start) / (count - 1) as f32;
    (0..count)
        .map(|i| {
            if i < count / 2 {
                step.mul_add(i as f32, start)
            } else {
                (-step).mul_add((count - 1 - i) as f32, end)
            }
        })
        .collect()
}

/// Nichol & Dhariwal 2021 (arXiv 2102.09672), betas capped at 0.999.
fn squared_cosine(count: usize) -> Vec<f32> {
    let alpha_bar = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::PI / 2.0).cos().powi(2);
    (0..count)
        .map(|i| {
            let t = |i: usize| i as f64 / count as f64;
            (1.0 - alpha_bar(t(i + 1)) / alpha_bar(t(i))).min(0.999) as f32
        })
        .collect()
}

/// `torch.cumprod(1 - betas)`: accumulated in double precision, stored in single.
fn cumulative_alphas(betas: &[f32]) -> Vec<f32> {
    let mut product = 1.0f64;
    betas
        .iter()
        .map(|beta| {
            product *= f64::from(1.0 - beta);
            product as f32
        })
        .collect()
}

/// Lin et al. 2023 (arXiv 2305.08891), algorithm 1.
fn rescale_zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let roots: Vec<f32> = cumulative_alphas(betas).iter().map(|a| a.sqrt()).collect();
    let (first, last) = (roots[0], roots[roots.len() - 1]);
    let scale = first / (first - last);
    let alpha_bars: Vec<f32> = roots.iter().map(|r| ((r - last) * scale).powi(2)).collect();
    let mut previous = 1.0;
    alpha_bars
        .into_iter()
        .map(|alpha_bar| {
            let alpha = alpha_bar / previous;
            previous = alpha_bar;
            1.0 - alpha
        })
        .collect()
}
