//! Frame rates as the fractions that containers store.

use std::fmt;

use anyhow::Result;

use crate::fail;

/// Frames a second, as a reduced fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fps {
    frames: u32,
    seconds: u32,
}

impl Fps {
    /// The exact fraction of a rate of 1 to 120 with at most three decimals; 23.976, 29.97, 59.94
    /// and 119.88 mean the rates of NTSC, 24000/1001 and so on.
    ///
    /// # Errors
    /// `InvalidSpec` outside that range or with more decimals.
    pub fn new(fps: f64) -> Result<Self> {
        if !(1.0..=120.0).contains(&fps) {
            fail!(InvalidSpec, "fps is {fps}"; "use 1 to 120");
        }
        for whole in [24, 30, 60, 120] {
            let exact = f64::from(whole) * 1000.0 / 1001.0;
            if (fps - exact).abs() < 0.000_6 || fps == (exact * 100.0).round() / 100.0 {
                return Ok(Self::reduced(whole * 1000, 1001));
            }
        }
        let thousandths = (fps * 1000.0).round();
        if (fps * 1000.0 - thousandths).abs() > 1e-6 {
            fail!(InvalidSpec, "fps is {fps}"; "use at most three decimals");
        }
        Ok(Self::reduced(thousandths as u32, 1000))
    }

    fn reduced(frames: u32, seconds: u32) -> Self {
        let (mut a, mut b) = (frames, seconds);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        Self {
            frames: frames / a,
            seconds: seconds / a,
        }
    }

    /// The numerator: this many frames in [`Fps::seconds`].
    pub fn frames(self) -> u32 {
        self.frames
    }

    /// The denominator.
    pub fn seconds(self) -> u32 {
        self.seconds
    }

    /// The rate as a number.
    pub fn as_f64(self) -> f64 {
        f64::from(self.frames) / f64::from(self.seconds)
    }
}

impl fmt::Display for Fps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.frames, self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, kind_of};

    #[test]
    fn rates_become_reduced_fractions() {
        for (fps, shown) in [
            (16.0, "16/1"),
            (8.0, "8/1"),
            (12.5, "25/2"),
            (23.976, "24000/1001"),
            (24_000.0 / 1001.0, "24000/1001"),
            (29.97, "30000/1001"),
            (59.94, "60000/1001"),
            (23.5, "47/2"),
            (24.0, "24/1"),
            (120.0, "120/1"),
        ] {
            assert_eq!(Fps::new(fps).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn rates_out_of_range_or_too_fine_are_refused() {
        for fps in [0.0, 0.999, 120.001, -16.0, f64::NAN, f64::INFINITY, 16.000_3] {
            let error = Fps::new(fps).unwrap_err();
            assert_eq!(kind_of(&error), ErrorKind::InvalidSpec, "{fps}");
        }
    }
}
