//! What several commands do alike.

use std::io::{self, Write};

use anyhow::Result;

use crate::cli::Place;
use crate::config::Settings;
use crate::error::{Error, ErrorKind};
use crate::progress::Volume;
use crate::registry::{ModelSpec, Registry};
use crate::text::{escaped, stderr_line};

/// Settings and models with the flags laid over them. Those who ask for more are told which files
/// were read.
///
/// # Errors
/// `Config` for either, `InputMissing` for a models.toml that is not there.
pub fn surroundings(place: &Place, volume: Volume) -> Result<(Settings, Registry)> {
    let mut settings = Settings::load()?;
    if let Some(device) = &place.device {
        settings.device.clone_from(device);
    }
    let registry = Registry::load(place.models.as_deref(), &settings)?;
    if volume >= Volume::Verbose {
        let config = settings.config_file();
        let absent = if config.is_file() { "" } else { " (not there)" };
        stderr_line(&format!("settings: {}{absent}", config.display()));
        let models = registry.file().map(|file| file.display().to_string());
        stderr_line(&format!(
            "models: {}",
            models.unwrap_or("those in the binary".into())
        ));
    }
    Ok((settings, registry))
}

/// A model by name, or by path with the folder its configuration comes from.
///
/// # Errors
/// `InputMissing` or `BadInput` for what is no model.
pub fn find_model(
    registry: &Registry,
    name: &str,
    config_from: Option<&std::path::Path>,
) -> Result<ModelSpec> {
    match config_from {
        Some(folder) => ModelSpec::from_path(name.as_ref(), Some(folder)),
        None => registry.find(name),
    }
}

/// Writes data to stdout. A reader that left early is no error.
///
/// # Errors
/// `Io` when stdout fails otherwise.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Io, format!("standard output: writing failed ({e})")).into())
        }
        _ => Ok(()),
    }
}

/// Rows in columns, two spaces between them, for people.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        rows.iter()
            .filter_map(|r| r.get(c))
            .map(|t| t.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{:width$}", escaped(cell)))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}
