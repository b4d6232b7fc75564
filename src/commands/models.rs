//! `models`: what there is, whether it would load, and what made a picture.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::{find_model, print, surroundings, table};
use crate::cli::Place;
use crate::fail;
use crate::media::manifest::{index_of, read_manifest};
use crate::progress::stderr_line;
use crate::registry::{ModelFamily, ModelSpec, Registry, Source};

/// Prints every model with its place and its routes.
///
/// # Errors
/// A models.toml that is missing or wrong.
pub fn list(place: &Place, as_json: bool) -> Result<u8> {
    let (_, registry) = surroundings(place)?;
    if as_json {
        let all: Vec<Value> = registry.models().map(|m| record(&registry, m)).collect();
        print(&format!("{}\n", json!(all)))?;
        return Ok(0);
    }
    let mut rows = vec![header()];
    rows.extend(registry.models().map(|model| row(&registry, model)));
    print(&table(&rows))?;
    match registry.file() {
        Some(file) => stderr_line(&format!("from {}", file.display())),
        None => stderr_line("from the binary; write a models.toml to add your own"),
    }
    Ok(0)
}

fn header() -> Vec<String> {
    ["NAME", "FAMILY", "FILES", "STATE", "ROUTES"]
        .map(String::from)
        .to_vec()
}

fn row(registry: &Registry, model: &ModelSpec) -> Vec<String> {
    vec![
        model.name.clone(),
        model.family.name().into(),
        files(model),
        state(model).into(),
        routes(registry, model).join(", "),
    ]
}

fn record(registry: &Registry, model: &ModelSpec) -> Value {
    json!({
        "name": model.name,
        "family": model.family.name(),
        "files": files(model),
        "state": state(model),
        "dtype": model.dtype,
        "scheduler": model.scheduler,
        "width": model.width,
        "height": model.height,
        "license": model.license,
        "memory_bytes": model.memory_bytes,
        "routes": routes(registry, model),
    })
}

fn files(model: &ModelSpec) -> String {
    match &model.source {
        Source::Embedded => "built in".into(),
        Source::Folder(path) | Source::SingleFile { path, .. } => path.display().to_string(),
    }
}

fn state(model: &ModelSpec) -> &'static str {
    if model.check_files().is_ok() {
        "present"
    } else {
        "missing"
    }
}

fn routes(registry: &Registry, model: &ModelSpec) -> Vec<String> {
    registry
        .routes()
        .filter(|(_, name)| *name == model.name)
        .map(|(job_type, _)| job_type.to_string())
        .collect()
}

/// Checks what would load, without loading it.
///
/// # Errors
/// An unknown or missing model, broken files, tensors that are missing, unused or mis-shaped.
pub fn verify(name: &str, config_from: Option<&Path>, place: &Place, as_json: bool) -> Result<u8> {
    let (_, registry) = surroundings(place)?;
    let model = find_model(&registry, name, config_from)?;
    if model.family != ModelFamily::Mock {
        fail!(
            NotBuilt,
            "model `{}`: family {} cannot be verified by this build",
            model.name,
            model.family.name()
        );
    }
    if as_json {
        print(&format!(
            "{}\n",
            json!({"name": model.name, "ok": true, "tensors": 0})
        ))?;
    } else {
        print(&format!("{}: ok, has no weights\n", model.name))?;
    }
    Ok(0)
}

/// Prints the manifest of a picture as indented JSON, and on stderr which image of its job it is.
///
/// # Errors
/// `InputMissing` or `BadInput`, as [`read_manifest`] says.
pub fn inspect(file: &Path) -> Result<u8> {
    let (manifest, frame) = read_manifest(file)?;
    let text = serde_json::to_string_pretty(&manifest).expect("a manifest is plain JSON");
    print(&format!("{text}\n"))?;
    match index_of(&manifest, &frame) {
        Some(index) => stderr_line(&format!(
            "image {index} of {}, pixels unchanged",
            manifest.outputs.len()
        )),
        None => stderr_line("the pixels are not those that this manifest describes: the picture was changed"),
    }
    Ok(0)
}
