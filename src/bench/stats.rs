//! A handful of measurements in words: median, spread, and whether two handfuls differ.

/// What is said of a series.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    /// Standard deviation over mean.
    pub spread: f64,
}

/// How a newer series compares with an older one of the same thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ratio {
    /// Newer over older: above 1 is slower.
    pub ratio: f64,
    /// 95 % confidence interval; all of the line where a series has one value only.
    pub low: f64,
    pub high: f64,
}

impl Summary {
    /// # Panics
    /// Without samples.
    pub fn of(samples: &[f64]) -> Self {
        assert!(!samples.is_empty(), "a summary of nothing");
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            0 => (sorted[middle - 1] + sorted[middle]) / 2.0,
            _ => sorted[middle],
        };
        let (mean, variance) = moments(samples);
        Self {
            median,
            min: sorted[0],
            max: sorted[sorted.len() - 1],
            spread: if mean > 0.0 { variance.sqrt() / mean } else { 0.0 },
        }
    }
}

impl Ratio {
    /// The ratio of two geometric means with Welch's interval on logarithms, since times are
    /// positive and their noise is rather relative than absolute.
    ///
    /// # Panics
    /// Without samples.
    pub fn of(newer: &[f64], older: &[f64]) -> Self {
        let logs = |samples: &[f64]| -> Vec<f64> { samples.iter().map(|s| s.max(1e-12).ln()).collect() };
        let (newer, older) = (logs(newer), logs(older));
        let ((mean_new, var_new), (mean_old, var_old)) = (moments(&newer), moments(&older));
        let difference = mean_new - mean_old;
        let half = if newer.len() < 2 || older.len() < 2 {
            f64::INFINITY
        } else {
            let (a, b) = (var_new / newer.len() as f64, var_old / older.len() as f64);
            let freedom = (a + b).powi(2)
                / (a.powi(2) / (newer.len() - 1) as f64 + b.powi(2) / (older.len() - 1) as f64);
            student_t(if freedom.is_finite() { freedom } else { 30.0 }) * (a + b).sqrt()
        };
        Self {
            ratio: difference.exp(),
            low: (difference - half).exp(),
            high: (difference + half).exp(),
        }
    }

    /// Slower by more than `threshold` (0.05 for 5 %), and not by noise.
    pub fn is_slower(&self, threshold: f64) -> bool {
        self.ratio > 1.0 + threshold && (self.low > 1.0 || self.low == 0.0)
    }
}

/// Mean and sample variance.
fn moments(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count;
    let squares: f64 = samples.iter().map(|s| (s - mean).powi(2)).sum();
    (mean, if count > 1.0 { squares / (count - 1.0) } else { 0.0 })
}

/// The 97.5 % quantile of Student's t distribution, from the usual table.
fn student_t(freedom: f64) -> f64 {
    const TABLE: &[(f64, f64)] = &[
        (1.0, 12.71),
        (2.0, 4.303),
        (3.0, 3.182),
        (4.0, 2.776),
        (5.0, 2.571),
        (6.0, 2.447),
        (7.0, 2.365),
        (8.0, 2.306),
        (9.0, 2.262),
        (10.0, 2.228),
        (15.0, 2.131),
        (20.0, 2.086),
        (30.0, 2.042),
    ];
    TABLE
        .iter()
        .rev()
        .find(|(known, _)| freedom >= *known)
        .map_or(12.71, |(_, quantile)| *quantile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_holds_the_middle_and_the_ends() {
        let summary = Summary::of(&[3.0, 1.0, 2.0, 10.0]);
        assert_eq!((summary.median, summary.min, summary.max), (2.5, 1.0, 10.0));
        assert_eq!(Summary::of(&[4.0]).spread, 0.0);
    }

    #[test]
    fn noise_is_no_difference_and_a_difference_is() {
        let noisy = [1.0, 1.3, 0.8, 1.1, 0.9];
        let alike = Ratio::of(&[1.05, 1.2, 0.9, 1.15, 0.95], &noisy);
        assert!(
            alike.low < 1.0 && alike.high > 1.0 && !alike.is_slower(0.01),
            "{alike:?}"
        );
        let slower = Ratio::of(&[1.5, 1.52, 1.49, 1.51, 1.5], &[1.0, 1.01, 0.99, 1.0, 1.0]);
        assert!(slower.is_slower(0.05) && slower.low > 1.4, "{slower:?}");
        let faster = Ratio::of(&[1.0, 1.01, 0.99], &[1.5, 1.52, 1.49]);
        assert!(!faster.is_slower(0.05) && faster.high < 1.0);
    }

    #[test]
    fn one_value_a_side_has_no_interval_but_still_a_ratio() {
        let ratio = Ratio::of(&[2.0], &[1.0]);
        assert!((ratio.ratio - 2.0).abs() < 1e-9 && ratio.high.is_infinite() && ratio.low == 0.0);
        assert!(ratio.is_slower(0.05));
    }
}
