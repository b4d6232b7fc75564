//! `models`: what there is, whether it would load, and what made a picture.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::common::{find_model, print, surroundings, table};
use crate::cli::{ModelsCommand, Place};
use crate::fail;
use crate::media::manifest::{Content, index_of, read_manifest};
use crate::pipelines;
use crate::progress::Volume;
use crate::registry::{ModelSpec, Registry, Source};
use crate::text::{escaped, stderr_line};
use crate::weights::Report;

mod add;

/// Runs one of the commands.
///
/// # Errors
/// As each of them.
pub fn run(command: &ModelsCommand, volume: Volume) -> Result<u8> {
    match command {
        ModelsCommand::List { place, json } => list(place, *json, volume),
        ModelsCommand::Add(args) => add::run(args, volume),
        ModelsCommand::Verify {
            name,
            config_from,
            place,
            json,
        } => verify(name, config_from.as_deref(), place, *json, volume),
        ModelsCommand::Inspect { file } => inspect(file),
    }
}

/// Prints every model with its place and its routes.
///
/// # Errors
/// A models.toml that is missing or wrong.
fn list(place: &Place, as_json: bool, volume: Volume) -> Result<u8> {
    let (_, registry) = surroundings(place, volume)?;
    if as_json {
        let all: Vec<Value> = registry.models().map(|m| record(&registry, m)).collect();
        print(&format!("{}\n", json!(all)))?;
        return Ok(0);
    }
    let mut rows = vec![header()];
    rows.extend(registry.models().map(|model| row(&registry, model)));
    print(&table(&rows))?;
    match registry.file() {
        _ if volume == Volume::Quiet => {}
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

/// Checks what would load, reading only headers, and then the digest of it all.
///
/// # Errors
/// An unknown or missing model, unreadable files; `BadInput` when tensors are missing, too many or
/// mis-shaped.
fn verify(
    name: &str,
    config_from: Option<&Path>,
    place: &Place,
    as_json: bool,
    volume: Volume,
) -> Result<u8> {
    let (settings, registry) = surroundings(place, volume)?;
    let model = find_model(&registry, name, config_from)?;
    let reports = pipelines::verify(&model).with_context(|| format!("model `{}`", model.name))?;
    let clean = reports.iter().all(Report::is_clean);
    // The digest of files that would not load is of no use, and takes its time.
    let hash = match clean {
        true => Some(pipelines::model_hash(&model, Some(&settings.cache_dir))?),
        false => None,
    };
    if as_json {
        print(&format!("{}\n", verdict(&model, &reports, hash.as_deref())))?;
    } else {
        print(&account(&model, &reports, hash.as_deref()))?;
    }
    if clean {
        return Ok(0);
    }
    fail!(BadInput, "model `{}`: its tensors do not fit", model.name; "the list names each; a single file of unusual width needs --config-from")
}

fn verdict(model: &ModelSpec, reports: &[Report], hash: Option<&str>) -> Value {
    let components: Vec<Value> = reports
        .iter()
        .map(|r| {
            json!({
                "component": r.component,
                "ok": r.is_clean(),
                "tensors": r.matched,
                "bytes": r.bytes,
                "dtypes": r.dtypes,
                "missing": r.missing,
                "unused": r.unused,
                "extra": r.extra,
                "mis_shaped": r.mis_shaped,
            })
        })
        .collect();
    json!({
        "name": model.name,
        "family": model.family.name(),
        "ok": hash.is_some(),
        "components": components,
        "sha256": hash,
    })
}

/// The account for people: a row a component, then every tensor that does not fit.
fn account(model: &ModelSpec, reports: &[Report], hash: Option<&str>) -> String {
    let mut rows = vec![
        [
            "COMPONENT",
            "TENSORS",
            "BYTES",
            "DTYPE",
            "MISSING",
            "UNUSED",
            "MIS-SHAPED",
        ]
        .map(String::from)
        .to_vec(),
    ];
    rows.extend(reports.iter().map(|r| {
        vec![
            r.component.clone(),
            r.matched.to_string(),
            r.bytes.to_string(),
            r.dtypes.iter().cloned().collect::<Vec<_>>().join(" "),
            r.missing.len().to_string(),
            r.unused.len().to_string(),
            r.mis_shaped.len().to_string(),
        ]
    }));
    let mut text = table(&rows);
    for report in reports {
        for (what, names) in [
            ("missing", &report.missing),
            ("unused", &report.unused),
            ("left out", &report.extra),
            ("mis-shaped", &report.mis_shaped),
        ] {
            for name in names {
                text.push_str(&format!("{what}: {} {}\n", report.component, escaped(name)));
            }
        }
    }
    match hash {
        Some(hash) => text.push_str(&format!("{}: ok, sha256 {hash}\n", model.name)),
        None => text.push_str(&format!("{}: does not fit\n", model.name)),
    }
    text
}

/// Prints the manifest of a picture or a video as indented JSON, and on stderr which image of its job
/// it is, or what the video holds.
///
/// # Errors
/// `InputMissing` or `BadInput`, as [`read_manifest`] says.
fn inspect(file: &Path) -> Result<u8> {
    let (manifest, content) = read_manifest(file)?;
    let text = serde_json::to_string_pretty(&manifest).expect("a manifest is plain JSON");
    print(&format!("{text}\n"))?;
    match content {
        Content::Picture(frame) => match index_of(&manifest, &frame) {
            Some(index) => stderr_line(&format!(
                "image {index} of {}, pixels unchanged",
                manifest.outputs.len()
            )),
            None => {
                stderr_line("the pixels are not those that this manifest describes: the picture was changed")
            }
        },
        Content::Video(v) => stderr_line(&format!(
            "{} video of {} frames, {}x{}, {:.3} frames a second, {:.3} s",
            v.codec, v.frames, v.width, v.height, v.fps, v.duration_s
        )),
    }
    Ok(0)
}
