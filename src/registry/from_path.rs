//! A model named by its path: what is it?

use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::header::header;
use super::identify::check_folder;
use super::{ModelFamily, ModelSpec, Source};
use crate::config::{at_home, shown};
use crate::fail;
use crate::files::read_bounded;

/// Files by which the original release of WAN 2.1 is known.
const WAN_FILES: &[&str] = &[
    "Wan2.1_VAE.pth",
    "Wan2.1_VAE.safetensors",
    "models_t5_umt5-xxl-enc-bf16.pth",
    "models_t5_umt5-xxl-enc-bf16.safetensors",
];
/// Tensors that every WAN transformer has, in the original's and in diffusers' names.
const WAN_TENSORS: &[&str] = &[
    "text_embedding.0.weight",
    "condition_embedder.text_embedder.linear_1.weight",
];
/// Largest configuration of a model that is read for its family.
const LARGEST_CONFIG_BYTES: u64 = 16 << 20;

impl ModelSpec {
    /// A model named by its path: a folder, whose files tell the family, or a single checkpoint
    /// file: WAN where its tensors say so, SDXL otherwise.
    ///
    /// `.ckpt` and `.pth` files are accepted here, so that loading can refuse them with its reason.
    ///
    /// # Errors
    /// `InputMissing` when there is nothing at `path` or at `config_from`, `BadInput` when a folder
    /// is no model or a file no checkpoint.
    pub fn from_path(path: &Path, config_from: Option<&Path>) -> Result<Self> {
        let path = &at_home(&path.to_string_lossy());
        let config_from = config_from.map(|folder| at_home(&folder.to_string_lossy()));
        let config_from = config_from.as_deref();
        let name = path.display().to_string();
        if !path.exists() {
            fail!(InputMissing, "model `{}`: no such file or folder", shown(&name));
        }
        if let Some(folder) = config_from.filter(|f| !f.is_dir()) {
            fail!(InputMissing, "config folder `{}` not found", folder.display());
        }
        if path.is_dir() {
            if config_from.is_some() {
                fail!(Usage, "model `{name}` is a folder and brings its own configuration";
                    "leave --config-from out");
            }
            return Ok(Self::new(
                &name,
                folder_family(path)?,
                Source::Folder(path.into()),
            ));
        }
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if !["safetensors", "sft", "ckpt", "pth", "pt", "bin"]
            .contains(&extension.to_ascii_lowercase().as_str())
        {
            fail!(
                BadInput,
                "model `{name}` is no checkpoint: its name ends in neither .safetensors, .sft, .ckpt nor .pth"
            );
        }
        let source = Source::SingleFile {
            path: path.into(),
            config_from: config_from.map(Path::to_path_buf),
        };
        Ok(Self::new(&name, file_family(path), source))
    }
}

fn folder_family(folder: &Path) -> Result<ModelFamily> {
    check_folder(folder)?;
    let read = |file: &str| -> Option<Value> {
        let text = read_bounded(&folder.join(file), LARGEST_CONFIG_BYTES).ok()?;
        serde_json::from_slice(&text).ok()
    };
    let shown_folder = folder.display();
    if let Some(index) = read("model_index.json") {
        let class = index["_class_name"].as_str().unwrap_or_default();
        return match class {
            c if c.starts_with("StableDiffusionXL") => Ok(ModelFamily::Sdxl),
            c if c.starts_with("Wan") => Ok(ModelFamily::Wan),
            other => fail!(
                BadInput,
                "model `{shown_folder}`: pipeline `{}` is neither SDXL nor WAN",
                shown(other)
            ),
        };
    }
    if let Some(config) = read("config.json") {
        let architecture = config["architectures"][0].as_str().unwrap_or_default();
        if architecture.starts_with("Qwen2") {
            return Ok(ModelFamily::Qwen);
        }
    }
    if WAN_FILES.iter().any(|name| folder.join(name).is_file()) {
        return Ok(ModelFamily::Wan);
    }
    fail!(BadInput, "model `{shown_folder}`: the folder holds no readable model_index.json, nor the files of the original WAN release or of a Qwen2 model";
        "name the folder that holds model_index.json")
}

/// A file that cannot be read is left to the loader, which has the better message.
fn file_family(path: &Path) -> ModelFamily {
    let is_wan = tensor_names(path).is_some_and(|names| {
        names
            .iter()
            .any(|name| WAN_TENSORS.iter().any(|known| name.ends_with(known)))
    });
    if is_wan {
        ModelFamily::Wan
    } else {
        ModelFamily::Sdxl
    }
}

fn tensor_names(path: &Path) -> Option<Vec<String>> {
    Some(header(path)?.keys().cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(files: &[(&str, &[u8])]) -> Result<ModelFamily> {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        ModelSpec::from_path(folder.path(), None).map(|model| model.family)
    }

    #[test]
    fn folders_are_known_by_their_files() {
        let index = br#"{"_class_name": "WanVACEPipeline"}"#;
        assert_eq!(family(&[("model_index.json", index)]).unwrap(), ModelFamily::Wan);
        assert_eq!(family(&[("Wan2.1_VAE.pth", b"")]).unwrap(), ModelFamily::Wan);
        let config = br#"{"architectures": ["Qwen2ForCausalLM"]}"#;
        assert_eq!(family(&[("config.json", config)]).unwrap(), ModelFamily::Qwen);
        assert!(family(&[("readme.txt", b"")]).is_err());
    }

    #[test]
    fn single_files_are_known_by_their_tensors() {
        let family = |header: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.safetensors");
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            std::fs::write(&path, bytes).unwrap();
            ModelSpec::from_path(&path, None).unwrap().family
        };
        assert_eq!(
            family(r#"{"model.diffusion_model.text_embedding.0.weight": {}}"#),
            ModelFamily::Wan
        );
        assert_eq!(family(r#"{"first_stage_model.x": {}}"#), ModelFamily::Sdxl);
        assert_eq!(family("nonsense"), ModelFamily::Sdxl);
    }
}
