//! The LoRAs that a job names, in `loras` and as `<lora:NAME:SCALE>` in its prompt, as files.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::config::{Settings, nearest, shown};
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::job::origin::Trust;
use crate::job::parse::loras::checked;
use crate::job::settled::LoraFile;
use crate::job::spec_parts::LoraSpec;
use crate::prompts::tags::LoraTag;

/// Extensions that a name may leave out, in the order they are tried.
const EXTENSIONS: &[&str] = &["safetensors", "sft", "pt", "ckpt"];

/// Finds every LoRA of a job: those of the spec, then those of the prompt.
///
/// # Errors
/// `InputMissing` for one that is not there, `InvalidSpec` for a path from somebody who may name
/// none and for a scale out of range.
pub fn find(
    specs: &[LoraSpec],
    tags: &[LoraTag],
    trust: Trust,
    settings: &Settings,
) -> Result<Vec<LoraFile>> {
    let of_spec = specs.iter().enumerate();
    let of_spec =
        of_spec.map(|(i, spec)| (format!("config.loras[{i}].file"), spec.file.as_str(), spec.scale));
    let of_prompt = tags.iter();
    let of_prompt = of_prompt.map(|tag| (format!("<lora:{}>", tag.name), tag.name.as_str(), tag.scale));
    of_spec
        .chain(of_prompt)
        .map(|(field, name, scale)| {
            if let Err(what) = checked(name, scale) {
                fail!(InvalidSpec, "{} {what}", shown(&field));
            }
            let path = find_one(name, trust, settings)?;
            Ok(LoraFile { field, path, scale })
        })
        .collect()
}

fn find_one(name: &str, trust: Trust, settings: &Settings) -> Result<PathBuf> {
    let is_path = name.contains(['/', '\\']);
    if is_path && !trust.models {
        fail!(
            InvalidSpec, "lora is `{}`, a path, which this spec may not name", shown(name);
            "{}", trust.cure
        );
    }
    if trust.models && Path::new(name).is_file() {
        return Ok(name.into());
    }
    if !is_path && name != ".." {
        let inside = settings.lora_dir.join(name);
        let extended = EXTENSIONS
            .iter()
            .map(|extension| settings.lora_dir.join(format!("{name}.{extension}")));
        if let Some(found) = std::iter::once(inside)
            .chain(extended)
            .find(|path| path.is_file())
        {
            return Ok(found);
        }
    }
    Err(missing(name, &settings.lora_dir).into())
}

fn missing(name: &str, folder: &Path) -> Error {
    let names: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_string_lossy().into_owned()))
        .collect();
    let error = Error::new(
        ErrorKind::InputMissing,
        format!(
            "lora `{}`: no such file, and none in `{}`",
            shown(name),
            folder.display()
        ),
    );
    match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => error.hint(format!("did you mean `{near}`?")),
        None => error.hint("name a file, or set lora_dir in config.toml to the folder of your loras"),
    }
}
