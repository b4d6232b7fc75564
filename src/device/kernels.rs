//! Settings of the libraries that compile and keep a GPU's kernels.

use std::path::Path;

use burn::BurnConfig;
use cubecl::config::autotune::AutotuneLevel;
use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

/// Settings from here alone: left to themselves the libraries read files named cubecl.toml and
/// burn.toml in whatever folder the program runs, and environment variables. `name` tells apart what
/// is kept for different cards and drivers.
pub fn configure(name: &str, cache_dir: Option<&Path>) {
    BurnConfig::try_set(BurnConfig::default());
    let mut config = CubeClRuntimeConfig::default();
    // Candidates are tried until one is near enough to the card's peak; the rest is never compiled.
    config.autotune.level = AutotuneLevel::Minimal;
    if let Some(folder) = cache_dir {
        config.compilation.cache = true;
        config.environment.name = name.into();
        config.environment.path = CacheConfig::Directory(folder.join("kernels"));
    } else {
        config.autotune.disable_cache = true;
        config.throughput.disable_cache = true;
    }
    // The first device decides for the process.
    CubeClRuntimeConfig::try_set(config);
}
