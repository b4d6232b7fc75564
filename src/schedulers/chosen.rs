//! What a user chose in place of what a model's file says.

use super::curves::Curve;
use super::families::Family;
use super::prediction::Prediction;
use super::spacing::Spacing;

/// What was chosen; `None` leaves it to the file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Chosen {
    pub family: Option<Family>,
    pub curve: Option<Curve>,
    pub spacing: Option<Spacing>,
    pub prediction: Option<Prediction>,
    pub rescale_zero_snr: Option<bool>,
    pub eta: Option<f64>,
    pub flow_shift: Option<f64>,
    pub given: Option<Given>,
}

/// A schedule that the user gives number by number.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Given {
    /// Training timesteps, descending; noise levels follow from them.
    Timesteps(Vec<f64>),
    /// Noise levels, descending, the one at the end included; timesteps follow from them.
    Sigmas(Vec<f64>),
}
