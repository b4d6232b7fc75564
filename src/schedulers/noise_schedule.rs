//! The noise schedule that a model was trained with: betas, cumulative alphas, sigmas.
//!
//! Ho et al. 2020 (arXiv 2006.11239); roundings as torch makes them in diffusers'
//! `scheduling_euler_discrete.py`.

use anyhow::Result;

use super::config::SchedulerConfig;

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

#[derive(Debug, Clone, Copy)]
enum BetaSchedule {
    Linear,
    ScaledLinear,
    SquaredCosine,
}

/// What a class does about schedules that end in pure noise (arXiv 2305.08891).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum ZeroSnr {
    /// The class has no such option.
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
        let rescale = zero_snr != ZeroSnr::Ignored && config.flag("rescale_betas_zero_snr", false)?;
        if rescale {
            betas = rescale_zero_terminal_snr(&betas);
        }
        let mut alphas_cumprod = cumulative_alphas(&betas);
        if rescale && zero_snr == ZeroSnr::NearlyZero {
            let last = alphas_cumprod.last_mut().expect("at least two betas");
            *last = 2f32.powi(-24);
        }
        Ok(Self { alphas_cumprod })
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
    let count = config.integer("num_train_timesteps", 1000)?;
    if !(2..=100_000).contains(&count) {
        return Err(config.not_built("num_train_timesteps", &count.to_string(), "2 to 100000"));
    }
    let count = count as usize;
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
