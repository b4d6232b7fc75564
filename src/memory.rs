//! One memory budget for all model families of a process.
//!
//! Sizes are measured when models load and work, and remembered. Before a model loads or a job
//! starts, [`Budget::make_room`] unloads idle models, least recently used first. When the device
//! runs out all the same, [`Budget::rescue`] lists what to try, in the order of the contract.

use std::collections::BTreeMap;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

const GIB: u64 = 1 << 30;

/// What a device says of its memory, in bytes.
pub trait DeviceMemory {
    fn total_bytes(&self) -> u64;
    /// Not in use by anybody, other processes included.
    fn available_bytes(&self) -> u64;
    /// What grows when a model is loaded.
    fn in_use_bytes(&self) -> u64 {
        self.total_bytes().saturating_sub(self.available_bytes())
    }
}

/// Which of the three residents a model is; in the order in which rescue unloads them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resident {
    Chat,
    Wan,
    Sdxl,
}

/// What a model takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// As long as it is loaded.
    pub weights_bytes: u64,
    /// On top, while a job runs.
    pub work_bytes: u64,
}

impl Need {
    fn total(self) -> u64 {
        self.weights_bytes.saturating_add(self.work_bytes)
    }
}

/// How scarce memory is. The bounds 5, 10 and 15 GB hold for a card of 48 GB and scale with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pressure {
    Low,
    Medium,
    High,
    Critical,
}

impl Pressure {
    /// The level for what is available on a card.
    pub fn of(available_bytes: u64, total_bytes: u64) -> Self {
        let below = |gib: u64| u128::from(available_bytes) * 48 < u128::from(gib) * u128::from(total_bytes);
        if below(5) {
            Self::Critical
        } else if below(10) {
            Self::High
        } else if below(15) {
            Self::Medium
        } else {
            Self::Low
        }
    }
}

/// What a caller must give back; it returns once the device has the memory again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// Pooled pages and kept buffers that hold nothing.
    Caches,
    /// A model by name.
    Model(String),
}

/// One thing to try after an out-of-memory failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rescue {
    Release(Release),
    /// Decode pictures in tiles.
    VaeTiling,
    /// Run the batch in parts of this size.
    SmallerBatch(usize),
}

/// The job that ran out of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running<'a> {
    pub model: &'a str,
    /// True when its pictures could be decoded in tiles and are not yet.
    pub can_tile: bool,
    /// Items computed together.
    pub batch: usize,
}

#[derive(Debug, Clone)]
struct Loaded {
    resident: Resident,
    /// Higher is more recent.
    used: u64,
}

/// The account of a device.
#[derive(Debug, Clone)]
pub struct Budget {
    buffer_bytes: u64,
    loaded: BTreeMap<String, Loaded>,
    needs: BTreeMap<String, Need>,
    clock: u64,
}

/// The budget in numbers, for `admin_utilities` and `doctor`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    pub total_bytes: u64,
    pub available_bytes: u64,
    pub buffer_bytes: u64,
    pub pressure: Pressure,
    pub models: Vec<ModelReport>,
}

/// One model of a [`Report`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelReport {
    pub name: String,
    pub loaded: bool,
    #[serde(flatten)]
    pub need: Need,
    /// Whether a job of it could start now without unloading another model.
    pub fits_now: bool,
    /// Whether it could once every other model is unloaded.
    pub fits_alone: bool,
}

impl Budget {
    /// The safety buffer is 2 GB, or 5 % of a card on which that is less.
    pub fn new(total_bytes: u64) -> Self {
        Self {
            buffer_bytes: (2 * GIB).min(total_bytes / 20),
            loaded: BTreeMap::new(),
            needs: BTreeMap::new(),
            clock: 0,
        }
    }

    /// Kept free always.
    pub fn buffer_bytes(&self) -> u64 {
        self.buffer_bytes
    }

    /// Gives a need that is known beforehand (from models.toml, or from file sizes); a measured one
    /// stays.
    pub fn expect(&mut self, model: &str, need: Need) {
        self.needs.entry(model.into()).or_insert(need);
    }

    /// Every known need, to be remembered for the next run.
    pub fn needs(&self) -> &BTreeMap<String, Need> {
        &self.needs
    }

    /// What a model takes, as far as known.
    pub fn need(&self, model: &str) -> Need {
        self.needs.get(model).copied().unwrap_or_default()
    }

    /// Whether it fits on the device when everything else is unloaded.
    pub fn fits_alone(&self, device: &dyn DeviceMemory, need: Need) -> bool {
        need.total().saturating_add(self.buffer_bytes) <= device.total_bytes()
    }

    pub fn is_loaded(&self, model: &str) -> bool {
        self.loaded.contains_key(model)
    }

    /// Makes sure that a job of `model` fits, by unloading idle models, least recently used first.
    /// Nothing is unloaded when even that would not be enough.
    ///
    /// # Errors
    /// `GpuOom` with the sizes when it cannot fit, and whatever `release` returns.
    pub fn make_room(
        &mut self,
        device: &dyn DeviceMemory,
        model: &str,
        release: &mut dyn FnMut(&Release) -> Result<()>,
    ) -> Result<()> {
        let need = self.still_needed(model);
        if self.fits(device, need) {
            return Ok(());
        }
        release(&Release::Caches)?;
        let mut idle: Vec<(u64, String)> = self
            .loaded
            .iter()
            .filter(|(name, _)| *name != model)
            .map(|(name, loaded)| (loaded.used, name.clone()))
            .collect();
        idle.sort();
        let reclaimable: u64 = idle.iter().map(|(_, name)| self.need(name).weights_bytes).sum();
        if !self.fits(device, need.saturating_sub(reclaimable)) {
            return Err(self.too_large(device, model, need, reclaimable));
        }
        for (_, name) in idle {
            if self.fits(device, need) {
                return Ok(());
            }
            release(&Release::Model(name.clone()))?;
            self.loaded.remove(&name);
        }
        if self.fits(device, need) {
            return Ok(());
        }
        Err(self.too_large(device, model, need, 0))
    }

    /// Runs `load` and remembers how much memory it took.
    ///
    /// # Errors
    /// Whatever `load` returns; the model then counts as not loaded.
    pub fn load<T>(
        &mut self,
        device: &dyn DeviceMemory,
        model: &str,
        resident: Resident,
        load: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        let before = device.in_use_bytes();
        let loaded = load()?;
        let weights_bytes = device.in_use_bytes().saturating_sub(before);
        self.needs.entry(model.into()).or_default().weights_bytes = weights_bytes;
        self.clock += 1;
        let used = self.clock;
        self.loaded.insert(model.into(), Loaded { resident, used });
        Ok(loaded)
    }

    /// Sets the weights of a loaded model that reads them only with its first job, so that
    /// [`Budget::load`] could not measure them.
    pub fn weighs(&mut self, model: &str, weights_bytes: u64) {
        self.needs.entry(model.into()).or_default().weights_bytes = weights_bytes;
    }

    /// Notes that a job of `model` starts: it is the most recently used one.
    pub fn touch(&mut self, model: &str) {
        self.clock += 1;
        if let Some(loaded) = self.loaded.get_mut(model) {
            loaded.used = self.clock;
        }
    }

    /// Notes the most memory that a job took on top of the weights; the largest is remembered.
    pub fn worked(&mut self, model: &str, work_bytes: u64) {
        let need = self.needs.entry(model.into()).or_default();
        need.work_bytes = need.work_bytes.max(work_bytes);
    }

    /// Notes that a model was unloaded outside [`Budget::make_room`].
    pub fn unloaded(&mut self, model: &str) {
        self.loaded.remove(model);
    }

    /// What to try after running out of memory, in order: caches, idle models (chat, WAN, SDXL;
    /// least recently used first within a family), tiles, half the batch. After the last one the job fails.
    pub fn rescue(&self, running: &Running<'_>) -> Vec<Rescue> {
        let mut idle: Vec<(Resident, u64, &String)> = self
            .loaded
            .iter()
            .filter(|(name, _)| *name != running.model)
            .map(|(name, loaded)| (loaded.resident, loaded.used, name))
            .collect();
        idle.sort();
        let models = idle
            .into_iter()
            .map(|(_, _, name)| Rescue::Release(Release::Model(name.clone())));
        std::iter::once(Rescue::Release(Release::Caches))
            .chain(models)
            .chain(running.can_tile.then_some(Rescue::VaeTiling))
            .chain((running.batch > 1).then_some(Rescue::SmallerBatch(running.batch / 2)))
            .collect()
    }

    /// The error of a job that rescue could not save.
    pub fn exhausted(&self, device: &dyn DeviceMemory, model: &str) -> Error {
        self.oom(device, model, self.need(model).total())
    }

    /// The level of pressure now.
    pub fn pressure(&self, device: &dyn DeviceMemory) -> Pressure {
        Pressure::of(device.available_bytes(), device.total_bytes())
    }

    /// Every model with a known need, loaded or not.
    pub fn report(&self, device: &dyn DeviceMemory) -> Report {
        let models = self.needs.iter().map(|(name, need)| ModelReport {
            name: name.clone(),
            loaded: self.is_loaded(name),
            need: *need,
            fits_now: self.fits(device, self.still_needed(name)),
            fits_alone: self.fits_alone(device, *need),
        });
        Report {
            total_bytes: device.total_bytes(),
            available_bytes: device.available_bytes(),
            buffer_bytes: self.buffer_bytes,
            pressure: self.pressure(device),
            models: models.collect(),
        }
    }

    fn still_needed(&self, model: &str) -> u64 {
        let need = self.need(model);
        if self.is_loaded(model) {
            need.work_bytes
        } else {
            need.total()
        }
    }

    fn fits(&self, device: &dyn DeviceMemory, need: u64) -> bool {
        need.saturating_add(self.buffer_bytes) <= device.available_bytes()
    }

    fn too_large(
        &self,
        device: &dyn DeviceMemory,
        model: &str,
        need: u64,
        reclaimable: u64,
    ) -> anyhow::Error {
        let mut error = self.oom(device, model, need);
        if reclaimable > 0 {
            error.message += &format!("; unloading all others would free {}", gib(reclaimable));
        }
        error.into()
    }

    fn oom(&self, device: &dyn DeviceMemory, model: &str, need: u64) -> Error {
        Error::new(
            ErrorKind::GpuOom,
            format!(
                "model `{model}` needs {}; {} of {} are available, {} of them are kept as a buffer",
                gib(need),
                gib(device.available_bytes()),
                gib(device.total_bytes()),
                gib(self.buffer_bytes)
            ),
        )
        .hint("close other programs on this device, lower the size, or use a smaller dtype or model")
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / GIB as f64)
}

#[cfg(test)]
mod tests;
