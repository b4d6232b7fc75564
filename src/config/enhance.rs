//! `[enhance]`: the operator's limits for prompt enhancement.

use std::time::Duration;

use anyhow::Result;

use super::values::{in_variable, on_or_off, shown};

use super::toml_file::Section;
use crate::error::{Error, ErrorKind};

/// Longest time for one answer that can be set, in seconds.
const LONGEST_S: u64 = 3600;

/// Largest bound of the cache that can be set, in megabytes.
const LARGEST_MB: u64 = 1_000_000;

/// `None` keeps the built-in value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EnhanceSettings {
    /// For one answer of the model; loading does not count.
    pub time_limit: Option<Duration>,
    /// Bound of the answers kept on disk.
    pub cache_bytes: Option<u64>,
    /// Reports `enhancement_source` in the words of older producers.
    pub legacy_names: bool,
}

impl EnhanceSettings {
    pub(super) fn read_file(&mut self, section: &Section<'_, '_>) -> Result<()> {
        section.only(&["time_limit", "cache_mb", "legacy_names"])?;
        if let Some(v) = section.integer("time_limit")? {
            self.time_limit = Some(section.checked("time_limit", seconds(v))?);
        }
        if let Some(v) = section.integer("cache_mb")? {
            self.cache_bytes = Some(section.checked("cache_mb", megabytes(v))?);
        }
        if let Some(v) = section.bool("legacy_names")? {
            self.legacy_names = v;
        }
        Ok(())
    }

    pub(super) fn read_env(&mut self, read: &dyn Fn(&str) -> Option<String>) -> Result<()> {
        if let Some(v) = read("OURVIDZ_ENHANCE_TIME_LIMIT") {
            let value = whole(&v).and_then(seconds);
            self.time_limit = Some(in_variable("OURVIDZ_ENHANCE_TIME_LIMIT", value)?);
        }
        if let Some(v) = read("OURVIDZ_ENHANCE_CACHE_MB") {
            let value = whole(&v).and_then(megabytes);
            self.cache_bytes = Some(in_variable("OURVIDZ_ENHANCE_CACHE_MB", value)?);
        }
        if let Some(v) = read("OURVIDZ_ENHANCE_LEGACY_NAMES") {
            self.legacy_names = in_variable("OURVIDZ_ENHANCE_LEGACY_NAMES", on_or_off(&v))?;
        }
        Ok(())
    }
}

fn whole(text: &str) -> Result<u64> {
    text.trim()
        .parse()
        .map_err(|_| wrong(format!("`{}` is no whole number", shown(text))))
}

fn seconds(value: u64) -> Result<Duration> {
    if value > LONGEST_S {
        return Err(wrong(format!("is {value}; allowed are 0 to {LONGEST_S} seconds")));
    }
    Ok(Duration::from_secs(value))
}

fn megabytes(value: u64) -> Result<u64> {
    if !(1..=LARGEST_MB).contains(&value) {
        return Err(wrong(format!(
            "is {value}; allowed are 1 to {LARGEST_MB} megabytes"
        )));
    }
    Ok(value * 1_000_000)
}

fn wrong(message: String) -> anyhow::Error {
    Error::new(ErrorKind::Config, message).into()
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    fn settings(file: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.toml"), file).unwrap();
        let home = folder.path().display().to_string();
        Settings::load_with(&|name| match name {
            "OURVIDZ_CONFIG_DIR" | "OURVIDZ_CACHE_DIR" => Some(home.clone()),
            _ => variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.to_string()),
        })
    }

    #[test]
    fn limits_come_from_the_file_and_the_environment_wins() {
        let file = "[enhance]\ntime_limit = 5\ncache_mb = 2\nlegacy_names = true\n";
        let read = settings(file, &[]).unwrap().enhance;
        let expected = EnhanceSettings {
            time_limit: Some(Duration::from_secs(5)),
            cache_bytes: Some(2_000_000),
            legacy_names: true,
        };
        assert_eq!(read, expected);
        let env = [
            ("OURVIDZ_ENHANCE_TIME_LIMIT", "0"),
            ("OURVIDZ_ENHANCE_CACHE_MB", "3"),
            ("OURVIDZ_ENHANCE_LEGACY_NAMES", "false"),
        ];
        let read = settings(file, &env).unwrap().enhance;
        assert_eq!(
            (read.time_limit, read.cache_bytes, read.legacy_names),
            (Some(Duration::ZERO), Some(3_000_000), false)
        );
    }

    #[test]
    fn impossible_limits_name_key_and_range() {
        for (file, words) in [
            ("[enhance]\ntime_limit = 4000", "enhance.time_limit: is 4000"),
            ("[enhance]\ncache_mb = 0", "1 to 1000000 megabytes"),
            ("[enhance]\ntime_limits = 4", "unknown key `enhance.time_limits`"),
        ] {
            let e = settings(file, &[]).unwrap_err().to_string();
            assert!(e.contains(words), "{e}");
        }
        let e = settings("", &[("OURVIDZ_ENHANCE_TIME_LIMIT", "soon")]).unwrap_err();
        assert!(e.to_string().contains("`soon` is no whole number"), "{e}");
    }
}
