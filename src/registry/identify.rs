//! What a file or folder is when it is not what it was taken for: told by name, not by a list of
//! tensors that do not fit.

use std::io::Read;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

use super::header::header;
use super::{ModelFamily, ModelSpec, Source};
use crate::config::shown;
use crate::fail;
use crate::files::{open_regular, read_bounded};

/// How much of a file tells whether it is text.
const FIRST_BYTES: u64 = 512;

/// Largest configuration of a model that is looked into.
const LARGEST_CONFIG_BYTES: u64 = 16 << 20;

impl ModelSpec {
    /// Looks at what is there before anything is loaded.
    ///
    /// # Errors
    /// `BadInput` naming what the file or folder is: a pointer of Git LFS, a web page, a model of
    /// another family, a part of one, an adapter, weights in a form that is not read here. What
    /// cannot be opened is left to the loader, which has the better message.
    pub fn check_kind(&self) -> Result<()> {
        match &self.source {
            Source::SingleFile { path, .. } => check_file(path, self.family),
            Source::Folder(folder) => check_folder(folder),
            Source::Embedded => Ok(()),
        }
    }
}

/// As [`ModelSpec::check_kind`], for a folder.
pub(super) fn check_folder(folder: &Path) -> Result<()> {
    let read = |file: &str| -> Value {
        let text = read_bounded(&folder.join(file), LARGEST_CONFIG_BYTES).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    };
    let name = shown(&folder.display().to_string());
    if let Some(method) = quantization(&read("config.json"), folder) {
        fail!(
            BadInput, "model `{name}`: the weights are quantised by {method}, which is not read here";
            "use the model's bf16 release"
        );
    }
    let index = read("model_index.json");
    let second = index["transformer_2"][1].is_string();
    let halves = ["high_noise_model", "low_noise_model"];
    if second || halves.iter().all(|half| folder.join(half).is_dir()) {
        fail!(
            BadInput, "model `{name}`: it is a Wan 2.2 with two experts, and only Wan 2.1 is known here; one expert alone would draw noise";
            "use Wan2.1-T2V-1.3B-Diffusers or Wan2.1-VACE-1.3B-diffusers"
        );
    }
    Ok(())
}

/// The method by which the weights of a language model are quantised, if they are.
fn quantization(config: &Value, folder: &Path) -> Option<String> {
    let method = config["quantization_config"]["quant_method"].as_str();
    if let Some(method) = method {
        return Some(shown(&method.to_ascii_uppercase()));
    }
    let files = [("quantize_config.json", "GPTQ"), ("quant_config.json", "AWQ")];
    let found = files.iter().find(|(file, _)| folder.join(file).is_file());
    found.map(|(_, method)| method.to_string())
}

fn check_file(path: &Path, family: ModelFamily) -> Result<()> {
    let name = shown(&path.display().to_string());
    if let Some((what, fix)) = text_file(path) {
        fail!(BadInput, "model `{name}`: it is {what}, not weights"; "{fix}");
    }
    let Some(header) = header(path) else { return Ok(()) };
    let names = header.keys().map(String::as_str);
    let names: Vec<&str> = names.filter(|name| *name != "__metadata__").collect();
    if let Some((what, fix)) = other_kind(&names, family) {
        fail!(BadInput, "model `{name}`: it is {what}"; "{fix}");
    }
    Ok(())
}

/// What downloads leave behind when they did not bring the file itself.
fn text_file(path: &Path) -> Option<(&'static str, &'static str)> {
    let mut bytes = Vec::new();
    open_regular(path)
        .ok()?
        .take(FIRST_BYTES)
        .read_to_end(&mut bytes)
        .ok()?;
    let text = String::from_utf8_lossy(&bytes)
        .trim_start_matches('\u{feff}')
        .trim_start()
        .to_ascii_lowercase();
    if text.starts_with("version https://git-lfs.github.com/spec/") {
        return Some(("a pointer of Git LFS", "fetch the file itself: git lfs pull"));
    }
    if ["<!doctype html", "<html", "<?xml", "<head"]
        .iter()
        .any(|start| text.starts_with(start))
    {
        return Some((
            "a web page",
            "download the file itself, not the page about it; some need a login",
        ));
    }
    if text.starts_with("{\"error\"") || text.starts_with("invalid username or password") {
        return Some((
            "a server's error message",
            "download it again; some files need a login",
        ));
    }
    None
}

/// What a single file is by the names of its tensors, where it is no whole model of the family.
fn other_kind(names: &[&str], family: ModelFamily) -> Option<(&'static str, &'static str)> {
    let has = |part: &str| names.iter().any(|name| name.contains(part));
    const LORA: &[&str] = &[
        ".lora_up.",
        ".lora_down.",
        ".lora_A.",
        ".lora_B.",
        ".hada_w1_a",
        ".lokr_w1",
    ];
    if LORA.iter().any(|part| has(part)) {
        return Some(("a LoRA, not a model", "name it with --lora beside a model"));
    }
    if has("double_blocks.") && has("single_blocks.") {
        return Some((
            "a FLUX model; SDXL, WAN 2.1 and Qwen2.5 are known here",
            "use an SDXL checkpoint",
        ));
    }
    if has("joint_blocks.") {
        return Some((
            "a Stable Diffusion 3 model; SDXL, WAN 2.1 and Qwen2.5 are known here",
            "use an SDXL checkpoint",
        ));
    }
    if family != ModelFamily::Sdxl {
        return None;
    }
    if has("cond_stage_model.transformer.") {
        return Some(("a Stable Diffusion 1.x model, not SDXL", "use an SDXL checkpoint"));
    }
    if has("cond_stage_model.model.") {
        return Some(("a Stable Diffusion 2.x model, not SDXL", "use an SDXL checkpoint"));
    }
    if has("control_model.") || has("controlnet_cond_embedding.") || has("input_hint_block.") {
        return Some((
            "a ControlNet, not a model",
            "name it with --control beside a model",
        ));
    }
    if has("image_proj.") || has("ip_adapter.") {
        return Some((
            "an IP-Adapter, not a model",
            "name it with --ip-adapter beside a model",
        ));
    }
    part_of_sdxl(names)
}

fn part_of_sdxl(names: &[&str]) -> Option<(&'static str, &'static str)> {
    const VAE: &[&str] = &[
        "first_stage_model.",
        "encoder.",
        "decoder.",
        "quant_conv.",
        "post_quant_conv.",
        "loss.",
        "model_ema.",
    ];
    const WHOLE: &str = "use the whole checkpoint, or the model's diffusers folder";
    let has = |part: &str| names.iter().any(|name| name.contains(part));
    let unet = has("model.diffusion_model.");
    let vae = has("first_stage_model.");
    let text = has("conditioner.embedders.");
    let in_vae = |name: &&str| VAE.iter().any(|prefix| name.starts_with(prefix));
    if names.iter().all(in_vae) && has("decoder.") {
        return Some(("a VAE alone, not a model", "name it with --vae beside a model"));
    }
    if !unet && (has("input_blocks.0.0.") || has("down_blocks.0.resnets.")) {
        return Some(("a UNet alone, without text encoders and VAE", WHOLE));
    }
    if !unet && (has("text_model.encoder.layers.") || has("transformer.resblocks.")) && !vae {
        return Some(("a text encoder alone, not a model", WHOLE));
    }
    match (unet, vae, text) {
        (true, false, false) => Some(("a UNet alone, without text encoders and VAE", WHOLE)),
        (true, false, true) => Some((
            "an SDXL checkpoint without its VAE",
            "use the whole checkpoint, or the model's diffusers folder, which has one",
        )),
        (true, true, false) => Some(("an SDXL checkpoint without its text encoders", WHOLE)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, hint_of, kind_of};

    /// What is said of a file with these bytes.
    fn said(name: &str, bytes: &[u8]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let model = ModelSpec::from_path(&path, None).unwrap();
        match model.check_kind() {
            Ok(()) => String::new(),
            Err(e) => {
                assert_eq!(kind_of(&e), ErrorKind::BadInput);
                assert!(hint_of(&e).is_some(), "{e}");
                e.to_string()
            }
        }
    }

    fn tensors(names: &[&str]) -> Vec<u8> {
        let mut entries: Vec<String> = names.iter().map(|n| format!(r#""{n}": {{}}"#)).collect();
        entries.push(r#""__metadata__": {"format": "pt"}"#.into());
        let header = format!("{{{}}}", entries.join(", "));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes
    }

    #[test]
    fn files_of_other_kinds_are_told_by_name() {
        let unet = "model.diffusion_model.input_blocks.0.0.weight";
        let vae = "first_stage_model.decoder.conv_in.weight";
        for (names, what) in [
            (
                &[
                    "lora_unet_down_blocks_0.lora_up.weight",
                    "lora_unet_down_blocks_0.alpha",
                ][..],
                "a LoRA",
            ),
            (&["unet.down_blocks.0.to_q.lora_A.weight"], "a LoRA"),
            (
                &[
                    unet,
                    vae,
                    "cond_stage_model.transformer.text_model.embeddings.position_ids",
                ],
                "a Stable Diffusion 1.x",
            ),
            (
                &[
                    unet,
                    vae,
                    "cond_stage_model.model.transformer.resblocks.0.ln_1.weight",
                ],
                "a Stable Diffusion 2.x",
            ),
            (&[unet, vae], "without its text encoders"),
            (&[unet], "a UNet alone"),
            (
                &["down_blocks.0.resnets.0.conv1.weight", "conv_in.weight"],
                "a UNet alone",
            ),
            (
                &[unet, "conditioner.embedders.0.transformer.text_model.x"],
                "without its VAE",
            ),
            (
                &[
                    "encoder.conv_in.weight",
                    "decoder.conv_in.weight",
                    "quant_conv.weight",
                ],
                "a VAE alone",
            ),
            (&[vae], "a VAE alone"),
            (
                &["text_model.encoder.layers.0.mlp.fc1.weight"],
                "a text encoder alone",
            ),
            (&["control_model.input_blocks.0.0.weight"], "a ControlNet"),
            (
                &["image_proj.proj.weight", "ip_adapter.1.to_k_ip.weight"],
                "an IP-Adapter",
            ),
            (&["double_blocks.0.x", "single_blocks.0.x"], "a FLUX model"),
        ] {
            assert!(said("a.safetensors", &tensors(names)).contains(what), "{names:?}");
        }
        let whole = [
            unet,
            vae,
            "conditioner.embedders.0.transformer.x",
            "conditioner.embedders.1.model.x",
        ];
        assert_eq!(said("a.safetensors", &tensors(&whole)), "");
    }

    #[test]
    fn downloads_that_brought_something_else_are_told_by_name() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 6938078334\n";
        assert!(said("a.safetensors", pointer).contains("a pointer of Git LFS"));
        assert!(said("A.CKPT", pointer).contains("a pointer of Git LFS"));
        assert!(said("a.sft", b"\n<!DOCTYPE html><html>").contains("a web page"));
        assert_eq!(said("a.pth", b"PK\x03\x04"), "");
    }

    #[test]
    fn folders_of_other_kinds_are_told_by_name() {
        let said = |files: &[(&str, &str)]| {
            let folder = tempfile::tempdir().unwrap();
            for (name, text) in files {
                let path = folder.path().join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, text).unwrap();
            }
            ModelSpec::from_path(folder.path(), None)
                .map_err(|e| e.to_string())
                .err()
                .unwrap_or_default()
        };
        let qwen = |more: &str| format!(r#"{{"architectures": ["Qwen2ForCausalLM"]{more}}}"#);
        let awq = qwen(r#", "quantization_config": {"quant_method": "awq"}"#);
        assert!(said(&[("config.json", &awq)]).contains("quantised by AWQ"));
        let plain = qwen("");
        assert!(
            said(&[("config.json", &plain), ("quantize_config.json", "{}")]).contains("quantised by GPTQ")
        );
        assert_eq!(said(&[("config.json", &plain)]), "");
        let two =
            r#"{"_class_name": "WanPipeline", "transformer_2": ["diffusers", "WanTransformer3DModel"]}"#;
        assert!(said(&[("model_index.json", two)]).contains("Wan 2.2 with two experts"));
        assert!(
            said(&[
                ("high_noise_model/config.json", "{}"),
                ("low_noise_model/config.json", "{}")
            ])
            .contains("Wan 2.2")
        );
        let one = r#"{"_class_name": "WanPipeline", "transformer_2": [null, null]}"#;
        assert_eq!(said(&[("model_index.json", one)]), "");
    }
}
