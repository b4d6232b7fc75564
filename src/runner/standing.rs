//! What a process that runs jobs for others tells of itself: its device, and what it holds.

use std::collections::BTreeMap;

use anyhow::Result;

use super::run::Runner;

impl Runner {
    /// Opens the device now, instead of with the first job, and names it.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be opened.
    pub fn open_device(&mut self) -> Result<String> {
        self.loader.open_device()
    }

    /// Bytes of every model in memory.
    pub fn models_in_memory(&self) -> BTreeMap<String, u64> {
        self.loader.in_memory()
    }
}
