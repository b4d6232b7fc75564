//! Which training timesteps are visited, and the noise levels that belong to them.
//!
//! Timestep spacings after table 2 of arXiv 2305.08891; numpy's arithmetic as in diffusers, since
//! roundings matter.

/// How timesteps are spread.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Spacing {
    /// Both ends and evenly between; `normal` in ComfyUI.
    Linspace,
    /// Multiples of a whole step from below; `ddim_uniform` in ComfyUI.
    Leading,
    /// Multiples from above; `sgm_uniform` in ComfyUI.
    Trailing,
    /// As trailing, but every timestep is rounded up instead of to the nearest; `simple` in ComfyUI.
    Simple,
}

/// diffusers' `timestep_spacing`.
pub(super) const SPACINGS: &[(&str, Spacing)] = &[
    ("linspace", Spacing::Linspace),
    ("leading", Spacing::Leading),
    ("trailing", Spacing::Trailing),
];

impl Spacing {
    pub fn name(self) -> &'static str {
        match self {
            Spacing::Linspace => "linspace",
            Spacing::Leading => "leading",
            Spacing::Trailing => "trailing",
            Spacing::Simple => "simple",
        }
    }
}

/// `numpy.linspace(start, stop, count)`.
pub(super) fn linspace(start: f64, stop: f64, count: usize) -> Vec<f64> {
    let step = (stop - start) / (count.max(2) - 1) as f64;
    let mut values: Vec<f64> = (0..count).map(|i| i as f64 * step + start).collect();
    if count > 1 {
        values[count - 1] = stop;
    }
    values
}

/// `count` multiples of `ratio` from the highest down, plus `offset`.
pub(super) fn leading(ratio: usize, count: usize, offset: i64) -> Vec<f64> {
    (0..count)
        .rev()
        .map(|i| ((i * ratio) as i64 + offset) as f64)
        .collect()
}

/// `numpy.arange(last, 0, -train / n).round() - 1`, at most `n` values.
///
/// For a few step counts (61, 103, 121, …) numpy's rounding yields one value more, which becomes
/// the impossible timestep -1; diffusers runs it, we do not.
pub(super) fn trailing(last: usize, train: usize, n: usize) -> Vec<f64> {
    let ratio = train as f64 / n as f64;
    let last = last as f64;
    let count = ((last / ratio).ceil() as usize).min(n);
    let delta = (last - ratio) - last;
    (0..count)
        .map(|i| (last + i as f64 * delta).round_ties_even() - 1.0)
        .collect()
}

/// Timesteps of ComfyUI's `simple`: every `train / n`-th from the highest down.
pub(super) fn simple(train: usize, n: usize) -> Vec<f64> {
    let ratio = train as f64 / n as f64;
    (0..n)
        .map(|i| (train - 1) as f64 - (i as f64 * ratio).floor())
        .collect()
}

/// The training schedule's sigmas as a function of the timestep, and back.
#[derive(Debug, Clone)]
pub(super) struct SigmaTable {
    sigmas: Vec<f32>,
    log_sigmas: Vec<f32>,
}

impl SigmaTable {
    pub fn new(sigmas: Vec<f32>) -> Self {
        let log_sigmas = sigmas.iter().map(|s| ln_as_numpy(*s)).collect();
        Self { sigmas, log_sigmas }
    }

    /// The first and last entry: most noise, least noise.
    pub fn ends(&self) -> [f64; 2] {
        [self.sigmas[self.sigmas.len() - 1].into(), self.sigmas[0].into()]
    }

    /// `numpy.interp(timestep, arange(len), sigmas)`.
    pub fn at(&self, timestep: f64) -> f64 {
        let last = self.sigmas.len() - 1;
        if timestep <= 0.0 {
            return self.sigmas[0].into();
        }
        if timestep >= last as f64 {
            return self.sigmas[last].into();
        }
        let low = timestep as usize;
        let (a, b) = (f64::from(self.sigmas[low]), f64::from(self.sigmas[low + 1]));
        (b - a) * (timestep - low as f64) + a
    }

    /// The (fractional) timestep whose sigma this is.
    pub fn timestep_of(&self, sigma: f64) -> f64 {
        let log_sigma = sigma.max(1e-10).ln();
        let above = self.log_sigmas.partition_point(|l| f64::from(*l) <= log_sigma);
        let low = above.saturating_sub(1).min(self.log_sigmas.len() - 2);
        let (low_log, high_log) = (self.log_sigmas[low], self.log_sigmas[low + 1]);
        let weight = (f64::from(low_log) - log_sigma) / f64::from(low_log - high_log);
        let weight = weight.clamp(0.0, 1.0);
        (1.0 - weight) * low as f64 + weight * (low + 1) as f64
    }
}

/// `numpy.log` of a positive, normal float32, bit for bit.
///
/// numpy does not round correctly here, and its last bit decides the last bit of a fractional
/// timestep: a rational approximation of `ln(1 + x)` around 1, coefficients of numpy 2's
/// `numpy/_core/src/umath/npy_simd_data.h`.
fn ln_as_numpy(value: f32) -> f32 {
    const NUMERATOR: [f32; 6] = [0.0, 1.0, 2.112_677_5, 1.480_000_6, 0.380_883_77, 0.025_899_792];
    const DENOMINATOR: [f32; 6] = [
        1.0,
        2.612_677_5,
        2.453_006,
        0.986_494_3,
        0.154_647_64,
        0.005_875_095_4,
    ];
    let bits = value.to_bits();
    let mut exponent = (bits >> 23) as i32 - 127;
    let mut mantissa = f32::from_bits((bits & 0x007f_ffff) | 1f32.to_bits());
    if mantissa > std::f32::consts::SQRT_2 {
        exponent += 1;
        mantissa *= 0.5;
    }
    let x = mantissa - 1.0;
    let polynomial = |c: &[f32; 6]| c[..5].iter().rev().fold(c[5], |sum, c| sum.mul_add(x, *c));
    let ln_mantissa = polynomial(&NUMERATOR) / polynomial(&DENOMINATOR);
    (exponent as f32).mul_add(std::f32::consts::LN_2, ln_mantissa)
}

/// To single precision and back, as a schedule is stored.
pub(super) fn to_f32(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    values.into_iter().map(|v| f64::from(v as f32)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_never_yields_a_timestep_below_zero() {
        for n in 1..=1000 {
            let timesteps = trailing(1000, 1000, n);
            assert_eq!(timesteps.len(), n);
            assert_eq!(timesteps[0], 999.0);
            assert!(timesteps[n - 1] >= 0.0, "{n} steps");
        }
    }

    #[test]
    fn the_logarithm_is_within_three_units_in_the_last_place() {
        for i in 1..100_000u32 {
            let value = i as f32 * 2e-4;
            let (ours, exact) = (f64::from(ln_as_numpy(value)), f64::from(value).ln());
            assert!(
                (ours - exact).abs() <= 3e-7 * exact.abs().max(1e-3),
                "{value}: {ours} {exact}"
            );
        }
    }

    #[test]
    fn a_sigma_of_the_table_maps_back_to_its_timestep() {
        let table = SigmaTable::new((1..=10).map(|i| i as f32).collect());
        for t in 0..10 {
            assert!((table.timestep_of(table.at(f64::from(t))) - f64::from(t)).abs() < 1e-6);
        }
        assert_eq!(table.timestep_of(0.0), 0.0);
        assert_eq!(table.timestep_of(100.0), 9.0);
        assert_eq!(table.ends(), [10.0, 1.0]);
    }
}
