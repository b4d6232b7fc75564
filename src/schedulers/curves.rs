//! Noise levels that follow a curve instead of the training schedule.

/// Where noise levels come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Curve {
    /// The training schedule, at the timesteps.
    Table,
    /// Karras et al. 2022 (arXiv 2206.00364), equation 5 with rho 7.
    Karras,
    /// Even in the logarithm.
    Exponential,
    /// Lee et al. 2024 (arXiv 2407.12173): quantiles of a beta distribution with both parameters 0.6.
    Beta,
    /// Even in lambda (Lu et al. 2022, arXiv 2206.00927), as diffusers' `use_lu_lambdas`.
    Lu,
    /// Even in the arc tangent, as ComfyUI's `kl_optimal` (Sabour et al. 2024, arXiv 2404.14507).
    KlOptimal,
}

const BETA_PARAMETER: f64 = 0.6;
/// B(0.6, 0.6) = Gamma(0.6)^2 / Gamma(1.2).
const BETA_FUNCTION: f64 = 2.415_344_208_002_472_3;

impl Curve {
    /// Our name for it; the training schedule has none.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Curve::Table => None,
            Curve::Karras => Some("karras"),
            Curve::Exponential => Some("exponential"),
            Curve::Beta => Some("beta"),
            Curve::Lu => Some("lu"),
            Curve::KlOptimal => Some("kl-optimal"),
        }
    }

    /// `n` noise levels from `max` down to `min`, both above 0.
    ///
    /// # Panics
    /// For the training schedule, which is no curve.
    pub fn sigmas(self, max: f64, min: f64, n: usize) -> Vec<f64> {
        let ramp = super::spacing::linspace(0.0, 1.0, n).into_iter();
        match self {
            Curve::Table => panic!("the training schedule is no curve"),
            Curve::Karras => {
                const RHO: f64 = 7.0;
                let (max_root, min_root) = (max.powf(1.0 / RHO), min.powf(1.0 / RHO));
                ramp.map(|r| (max_root + r * (min_root - max_root)).powf(RHO))
                    .collect()
            }
            Curve::Exponential => {
                let logs = super::spacing::linspace(max.ln(), min.ln(), n);
                logs.into_iter().map(f64::exp).collect()
            }
            Curve::Lu => {
                let (first, last) = (max.ln(), min.ln());
                ramp.map(|r| (first + r * (last - first)).exp()).collect()
            }
            Curve::Beta => ramp.map(|r| min + beta_quantile(1.0 - r) * (max - min)).collect(),
            Curve::KlOptimal => {
                let (first, last) = (max.atan(), min.atan());
                ramp.map(|r| (r * last + (1.0 - r) * first).tan()).collect()
            }
        }
    }
}

/// The quantile function of the beta distribution with both parameters 0.6.
///
/// Newton's method between brackets, on the half where the distribution function is well conditioned.
fn beta_quantile(p: f64) -> f64 {
    if p > 0.5 {
        return 1.0 - beta_quantile(1.0 - p);
    }
    if p <= 0.0 {
        return 0.0;
    }
    let (mut low, mut high) = (0.0f64, 0.5f64);
    let mut x = 0.25f64;
    for _ in 0..100 {
        let excess = beta_below_half(x) - p;
        if excess > 0.0 {
            high = x
        } else {
            low = x
        }
        let density = beta_density(x);
        let newton = x - excess / density;
        let next = if newton > low && newton < high {
            newton
        } else {
            (low + high) / 2.0
        };
        if (next - x).abs() <= 1e-16 * x {
            return next;
        }
        x = next;
    }
    x
}

/// The density's value at `x` of (0, 1).
fn beta_density(x: f64) -> f64 {
    (x * (1.0 - x)).powf(BETA_PARAMETER - 1.0) / BETA_FUNCTION
}

/// The distribution function up to 0.5: the power series of the incomplete beta function
/// (Abramowitz & Stegun 26.5.4 expanded), which converges like `x^k`.
fn beta_below_half(x: f64) -> f64 {
    let a = BETA_PARAMETER;
    let mut term = 1.0;
    let mut sum = 1.0 / a;
    for k in 1..200 {
        let k = f64::from(k);
        term *= (k - a) / k * x;
        let add = term / (a + k);
        sum += add;
        if add < 1e-17 * sum {
            break;
        }
    }
    x.powf(a) * sum / BETA_FUNCTION
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beta_function_makes_the_distribution_symmetric() {
        assert!(
            (beta_below_half(0.5) - 0.5).abs() < 1e-14,
            "B is {}",
            beta_below_half(0.5) * 2.0 * BETA_FUNCTION
        );
    }

    const QUANTILES: [(f64, f64); 9] = [
        (0.0, 0.0),
        (0.001, 1.855873851745199e-05),
        (0.05, 0.012554456873611399),
        (0.1, 0.03958440558878085),
        (0.3, 0.23401700387523572),
        (0.7, 0.7659829961247643),
        (0.95, 0.9874455431263885),
        (0.999, 0.9999814412614826),
        (1.0, 1.0),
    ];

    /// Values of scipy.stats.beta.ppf(p, 0.6, 0.6).
    #[test]
    fn quantiles_are_those_of_scipy() {
        for (p, expected) in QUANTILES {
            let ours = beta_quantile(p);
            assert!((ours - expected).abs() <= 1e-13, "{p}: {ours} {expected}");
        }
    }

    #[test]
    fn every_curve_goes_from_most_to_least_noise() {
        for curve in [
            Curve::Karras,
            Curve::Exponential,
            Curve::Beta,
            Curve::Lu,
            Curve::KlOptimal,
        ] {
            for n in [1, 2, 3, 30, 150] {
                let sigmas = curve.sigmas(14.6, 0.03, n);
                assert!((sigmas[0] - 14.6).abs() < 1e-12, "{curve:?} {n}: {sigmas:?}");
                assert!(
                    n == 1 || (sigmas[n - 1] - 0.03).abs() < 1e-12,
                    "{curve:?} {n}: {sigmas:?}"
                );
                assert!(
                    sigmas.windows(2).all(|w| w[0] > w[1]),
                    "{curve:?} {n}: {sigmas:?}"
                );
            }
        }
    }
}
