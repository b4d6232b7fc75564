//! How long each stage of a request took.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use burn::tensor::Device;

use crate::device;

/// Time by stage; a stage that comes twice is added up.
#[derive(Default)]
pub(super) struct Timings(pub BTreeMap<&'static str, Duration>);

impl Timings {
    /// Does the work of a stage and waits for the device.
    pub fn time<T>(
        &mut self,
        stage: &'static str,
        device: &Device,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let start = Instant::now();
        let result = work()?;
        device::sync(device).context(stage)?;
        *self.0.entry(stage).or_default() += start.elapsed();
        Ok(result)
    }
}
