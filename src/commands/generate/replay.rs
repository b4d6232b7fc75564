//! A replay beside what it replays: other weights, other pixels and other circumstances are said;
//! `--strict` makes the first two an error.
//!
//! A manifest names files as the command line of that time did. A relative path that leads nowhere from
//! the current folder is looked for from the folder of the replayed file, then from those above it.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::error::{Error, ErrorKind};
use crate::files::folder_of;
use crate::job::JobSpec;
use crate::media::manifest::{Manifest, ReferenceRecord};
use crate::pipelines::model_hash;
use crate::registry::ModelSpec;

/// Folders above the file's own in which relative paths are looked for.
const FOLDERS_ABOVE: usize = 4;

/// Makes relative paths of the manifest's spec lead to what is there, seen from the replayed file.
pub fn locate(manifest: &mut Manifest, file: &Path) {
    let Ok(folder) = folder_of(file).canonicalize() else {
        return;
    };
    // What is no spec is refused where it is parsed.
    let Ok(mut spec) = serde_json::from_value::<JobSpec>(manifest.spec.clone()) else {
        return;
    };
    let find = |path: &mut String| {
        if !leads_nowhere(path) {
            return;
        }
        let folders = folder.ancestors().take(FOLDERS_ABOVE + 1);
        if let Some(there) = folders.map(|f| f.join(&*path)).find(|there| there.exists()) {
            *path = there.display().to_string();
        }
    };
    spec.model.iter_mut().for_each(find);
    spec.config
        .pictures_mut()
        .into_iter()
        .for_each(|(_, path)| find(path));
    spec.config
        .weights_mut()
        .into_iter()
        .for_each(|(_, path)| find(path));
    if let Ok(located) = serde_json::to_value(spec) {
        manifest.spec = located;
    }
}

/// Whether a text is a relative path that leads nowhere from here; names of models and addresses are none.
fn leads_nowhere(text: &str) -> bool {
    let path = Path::new(text);
    let is_path = text.contains(['/', '\\']) || path.extension().is_some();
    is_path && path.is_relative() && !text.contains(':') && !path.exists()
}

/// What `--strict` asks before any work.
///
/// # Errors
/// `Config` when the model's weights are others than the manifest's.
pub fn check_model(earlier: &Manifest, model: &ModelSpec, cache_dir: &Path) -> Result<()> {
    let now = model_hash(model, Some(cache_dir))?;
    match now == earlier.model.hash {
        true => Ok(()),
        false => Err(strict(ErrorKind::Config, other_model(earlier, &now))),
    }
}

/// What a replay came to, beside the manifest of then.
#[derive(Debug, Default, PartialEq)]
pub struct Comparison {
    pub weights: Vec<String>,
    pub pixels: Option<String>,
    /// Build, device and number type: why pixels may differ.
    pub circumstances: Vec<String>,
}

impl Comparison {
    pub fn of(earlier: &Manifest, now: &Manifest) -> Self {
        let mut found = Self::default();
        if now.model.hash != earlier.model.hash {
            found.weights.push(other_model(earlier, &now.model.hash));
        }
        for then in &earlier.weights {
            let same = |now: &&ReferenceRecord| now.field == then.field && now.sha256 != then.sha256;
            if let Some(now) = now.weights.iter().find(same) {
                found.weights.push(format!(
                    "{} holds other weights than those that made the file: {} now, {} then",
                    then.field, now.sha256, then.sha256
                ));
            }
        }
        let build = |m: &Manifest| format!("{} {} for {}", m.build.program, m.build.version, m.build.target);
        let features = |m: &Manifest| m.build.features.join(" and ");
        for (what, now, then) in [
            ("program", build(now), build(earlier)),
            ("program's features", features(now), features(earlier)),
            ("device", now.device.clone(), earlier.device.clone()),
            ("number type", now.dtype.clone(), earlier.dtype.clone()),
        ] {
            if now != then {
                let line = format!("another {what} than the one that made the file: {now} now, {then} then");
                found.circumstances.push(line);
            }
        }
        if now.outputs != earlier.outputs && asked(now) == asked(earlier) {
            let line = "these are other pixels than the manifest says of the file";
            found.pixels = Some(line.into());
        }
        found
    }

    /// Everything, most telling first.
    pub fn lines(&self) -> impl Iterator<Item = &String> {
        let circumstances = self.circumstances.iter();
        self.weights.iter().chain(&self.pixels).chain(circumstances)
    }

    /// # Errors
    /// `Config` for other weights, `GoldenMismatch` for other pixels.
    pub fn into_strict(self) -> Result<()> {
        if let Some(line) = self.weights.into_iter().next() {
            return Err(strict(ErrorKind::Config, line));
        }
        match self.pixels {
            Some(line) => Err(strict(ErrorKind::GoldenMismatch, line)),
            None => Ok(()),
        }
    }
}

/// What was asked for. An id names no pixels, and the same model may lie elsewhere.
fn asked(manifest: &Manifest) -> Value {
    let mut spec = manifest.spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("id");
        fields.remove("model");
    }
    spec
}

fn other_model(earlier: &Manifest, now: &str) -> String {
    format!(
        "these are other weights than those that made the file: {now} now, {} then",
        earlier.model.hash
    )
}

fn strict(kind: ErrorKind, line: String) -> anyhow::Error {
    Error::new(kind, line)
        .hint("leave --strict out to be told and go on")
        .into()
}
