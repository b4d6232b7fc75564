//! What `--from` is given: a file of ours, a callback that speaks of one, or what another program wrote.

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files::read_bounded;
use crate::job::foreign::{Foreign, KEYS, recognise};
use crate::job::{JobSpec, MAX_SPEC_BYTES, Origin, parse};
use crate::media::manifest::{Manifest, read_manifest};
use crate::media::papers::texts;
use crate::media::png::MANIFEST_KEY;
use crate::media::read::{FileKind, SNIFF_BYTES, sniff};

/// As large as a picture is read elsewhere.
const LARGEST_PICTURE_BYTES: u64 = 64 << 20;

/// Where the job to run stands.
pub enum Source {
    Manifest(Box<Manifest>),
    Foreign(Foreign),
}

/// Looks into a file.
///
/// # Errors
/// `InputMissing` for a missing file, `BadInput` for one that holds neither.
pub fn source(path: &Path) -> Result<Source> {
    let bytes = read_bounded(path, LARGEST_PICTURE_BYTES).unwrap_or_default();
    let start = &bytes[..bytes.len().min(SNIFF_BYTES)];
    let found = match sniff(start) {
        Some(FileKind::Png) => in_a_png(&bytes),
        Some(_) => None,
        None => in_a_text(&bytes, path)?,
    };
    match found {
        Some(found) => Ok(found),
        // It has the better messages for what is missing or broken.
        None => Ok(Source::Manifest(Box::new(read_manifest(path)?.0))),
    }
}

/// `None` for a file of ours, and for one without texts.
fn in_a_png(bytes: &[u8]) -> Option<Source> {
    let texts = texts(bytes).ok()?;
    if texts.iter().any(|(key, _)| key == MANIFEST_KEY) {
        return None;
    }
    let text = |key: &&str| texts.iter().find(|(found, _)| found == key);
    let mut found = KEYS.iter().filter_map(text);
    found.find_map(|(_, text)| recognise(text)).map(Source::Foreign)
}

fn in_a_text(bytes: &[u8], path: &Path) -> Result<Option<Source>> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Ok(None);
    };
    if bytes.is_empty() || bytes.len() > MAX_SPEC_BYTES {
        return Ok(None);
    }
    if let Some(foreign) = recognise(text) {
        return Ok(Some(Source::Foreign(foreign)));
    }
    let shown = path.display();
    match serde_json::from_str::<Value>(text) {
        Ok(callback) if callback["metadata"]["manifest"].is_object() => {
            let manifest = serde_json::from_value(callback["metadata"]["manifest"].clone());
            let manifest = manifest.map_err(|e| {
                Error::new(
                    ErrorKind::BadInput,
                    format!("`{shown}`: the manifest of this callback is broken ({e})"),
                )
                .hint("give the picture itself")
            })?;
            Ok(Some(Source::Manifest(Box::new(manifest))))
        }
        Ok(_) => {
            fail!(BadInput, "`{shown}` is JSON without a manifest: neither a callback of a finished job nor a graph that draws";
            "run a spec without --from: `ourvidz generate {shown}`")
        }
        Err(_) => Ok(None),
    }
}

/// The recognised part of another program's text as a job, with what it leaves out among its notes.
///
/// # Errors
/// `InvalidSpec` for a value that is out of range here.
pub fn job_of(foreign: &Foreign, path: &Path, names_a_model: bool) -> Result<JobSpec> {
    let name = path.display().to_string();
    let text = Value::Object(foreign.spec.clone()).to_string();
    let mut specs = parse(text.as_bytes(), &name, Origin::Replay)?;
    let Some(mut spec) = specs.pop() else {
        fail!(BadInput, "`{name}`: nothing in it draws a picture"; "give a file with a prompt in it");
    };
    spec.notes.push(format!(
        "`{name}` holds {}, and its useful part is run",
        foreign.what
    ));
    if let (Some(model), false) = (&foreign.model, names_a_model) {
        spec.notes.push(format!(
            "it was made with the model `{model}`: name yours with --model"
        ));
    }
    if !foreign.left_out.is_empty() {
        spec.notes
            .push(format!("left out: {}", foreign.left_out.join("; ")));
    }
    Ok(spec)
}

/// The error for a foreign text that was given as a spec, with what to do about it.
pub fn offer(foreign: &Foreign, name: &str) -> anyhow::Error {
    let options = foreign.spec.get("config").and_then(Value::as_object);
    let fields: Vec<&String> = foreign
        .spec
        .keys()
        .filter(|field| *field != "config")
        .chain(options.into_iter().flat_map(|options| options.keys()))
        .collect();
    let listed: Vec<&str> = fields.iter().map(|field| field.as_str()).collect();
    let rest = match foreign.left_out.as_slice() {
        [] => String::new(),
        left => format!("; left out: {}", left.join("; ")),
    };
    let how = match name {
        "stdin" => "save it to a file and run `ourvidz generate --from FILE`".into(),
        name => {
            format!("run that with `ourvidz generate --from {name}`, and look at it first with --dry-run")
        }
    };
    Error::new(
        ErrorKind::InvalidSpec,
        format!(
            "`{name}` is {}, no spec; of it can be run: {}{rest}",
            foreign.what,
            listed.join(", ")
        ),
    )
    .hint(how)
    .into()
}
