//! An adapter's file: which layers it names, with which factors, at which scale.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use safetensors::Dtype;
use serde_json::{Map, Value};

use super::factors::{Factor, Factors, Role};
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::weights::Checkpoint;
use crate::weights::Entry;

/// Where PEFT's configuration stands in the header, see diffusers' `lora_base.py`.
const PEFT_CONFIG: &str = "lora_adapter_metadata";

/// One adapter, its header read and its tensors left in the file.
#[derive(Debug)]
pub struct Adapter {
    pub path: PathBuf,
    /// What changes each layer, in the file's spelling of its name.
    pub layers: BTreeMap<String, Layer>,
    /// Tensors that belong to no kind of adapter known here.
    pub unknown: Vec<String>,
    checkpoint: Checkpoint,
}

/// What a file has for one layer.
#[derive(Debug)]
pub struct Layer {
    pub factors: Factors,
    /// What the product of the factors is multiplied by: alpha over rank.
    pub scale: f64,
    /// DoRA's magnitudes (Liu et al. 2024).
    pub magnitude: Option<Factor>,
}

impl Adapter {
    /// Reads the header.
    ///
    /// # Errors
    /// `InputMissing` without the file, `BadInput` when it is broken or holds no adapter.
    pub fn open(path: &Path) -> Result<Self> {
        let name = || format!("lora `{}`", path.display());
        let checkpoint = Checkpoint::open(path).with_context(name)?;
        let (groups, mut unknown) = grouped(&checkpoint);
        let peft = Peft::of(&checkpoint).with_context(name)?;
        let mut layers = BTreeMap::new();
        for (key, group) in groups {
            match Layer::of(&key, &group, &checkpoint, &peft).with_context(name)? {
                Some(layer) => drop(layers.insert(key, layer)),
                None => unknown.extend(group.into_values().map(|(name, _)| name.to_string())),
            }
        }
        if layers.is_empty() {
            let first: Vec<&str> = unknown.iter().take(3).map(String::as_str).collect();
            fail!(
                BadInput, "lora `{}`: no adapter in it; its tensors are {}", path.display(), first.join(", ");
                "LoRA, LoCon, DoRA, LoHa and LoKr are read; a whole model goes to --model"
            );
        }
        unknown.sort();
        Ok(Self {
            path: path.to_path_buf(),
            layers,
            unknown,
            checkpoint,
        })
    }

    /// The file that the numbers of [`Layer::factors`] are in.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The file's name without folder and extension, as `<lora:NAME:1>` spells it.
    pub fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or_default();
        stem.to_string_lossy().into_owned()
    }
}

/// The tensors of one layer by what they are, each with its full name.
type Group<'a> = BTreeMap<Role, (&'a str, &'a Entry)>;

/// The tensors by layer, and the names that no role ends.
fn grouped(checkpoint: &Checkpoint) -> (BTreeMap<String, Group<'_>>, Vec<String>) {
    let (mut groups, mut unknown) = (BTreeMap::<String, Group>::new(), Vec::new());
    for (name, entry) in checkpoint.entries() {
        match Role::of(name) {
            Some((layer, role)) => {
                groups
                    .entry(plain_layer(layer))
                    .or_default()
                    .insert(role, (name, entry));
            }
            None => unknown.push(name.to_string()),
        }
    }
    (groups, unknown)
}

/// The layer that diffusers' former attention processors mean: `attn1.processor.to_q_lora` is
/// `attn1.to_q`, and `to_out_lora` the first layer of `to_out`.
fn plain_layer(layer: &str) -> String {
    match layer.strip_suffix("_lora") {
        Some(stem) => {
            let stem = stem.replace(".processor.", ".");
            if stem.ends_with("to_out") {
                format!("{stem}.0")
            } else {
                stem
            }
        }
        None => layer.to_string(),
    }
}

impl Layer {
    /// `None` when the tensors make no adapter known here.
    fn of(key: &str, group: &Group, checkpoint: &Checkpoint, peft: &Peft) -> Result<Option<Self>> {
        for (name, entry) in group.values() {
            let is_scalar = group.get(&Role::Alpha).is_some_and(|(alpha, _)| alpha == name);
            if !is_scalar && !matches!(entry.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32) {
                fail!(
                    BadInput, "tensor `{name}` is {:?}; adapters are read in F16, BF16 and F32", entry.dtype;
                    "save the file in one of these types"
                );
            }
        }
        let factor = |role: Role| {
            group.get(&role).map(|(_, entry)| Factor {
                entry: (*entry).clone(),
            })
        };
        let Some(factors) = Factors::of(&factor) else {
            return Ok(None);
        };
        let scale = match factors.rank() {
            None => 1.0,
            Some(rank) => {
                let alpha = match group.get(&Role::Alpha) {
                    Some((name, entry)) => Some(scalar(checkpoint, name, entry)?),
                    None => None,
                };
                peft.scale(key, alpha, rank)
            }
        };
        Ok(Some(Self {
            factors,
            scale,
            magnitude: factor(Role::Magnitude),
        }))
    }
}

/// One number, in whatever type a trainer stored it.
fn scalar(checkpoint: &Checkpoint, name: &str, entry: &Entry) -> Result<f64> {
    let bytes = checkpoint.bytes(entry);
    let value = match entry.dtype {
        Dtype::I64 => bytes.try_into().ok().map(|b| i64::from_le_bytes(b) as f64),
        Dtype::I32 => bytes.try_into().ok().map(|b| f64::from(i32::from_le_bytes(b))),
        Dtype::F64 => bytes.try_into().ok().map(f64::from_le_bytes),
        _ => match checkpoint.floats(entry).as_deref() {
            Some([one]) => Some(f64::from(*one)),
            _ => None,
        },
    };
    match value {
        Some(value) if value.is_finite() => Ok(value),
        _ => Err(Error::new(ErrorKind::BadInput, format!("tensor `{name}` must be one number")).into()),
    }
}

/// What PEFT's configuration says of alpha, for files that have no alpha of their own.
#[derive(Debug, Default)]
struct Peft(Map<String, Value>);

impl Peft {
    fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let Some(text) = checkpoint.metadata(PEFT_CONFIG) else {
            return Ok(Self::default());
        };
        let map = serde_json::from_str(text).map_err(|e| {
            Error::new(ErrorKind::BadInput, format!("`{PEFT_CONFIG}` in the header: {e}"))
                .hint("fetch the file again")
        })?;
        Ok(Self(map))
    }

    /// Alpha over rank, or over its root where the file says rsLoRA (Kalajdzievski 2023).
    fn scale(&self, key: &str, own_alpha: Option<f64>, rank: usize) -> f64 {
        let rank = rank as f64;
        if let Some(alpha) = own_alpha {
            return alpha / rank;
        }
        let (component, layer) = key.split_once('.').unwrap_or(("", key));
        let field = |name: &str| {
            self.0
                .get(&format!("{component}.{name}"))
                .or_else(|| self.0.get(name))
        };
        let pattern = field("alpha_pattern").and_then(Value::as_object);
        let special = pattern.and_then(|pattern| {
            let fits = |suffix: &str| layer == suffix || layer.ends_with(&format!(".{suffix}"));
            pattern.iter().find(|(suffix, _)| fits(suffix))
        });
        let alpha = special
            .map(|(_, value)| value)
            .or_else(|| field("lora_alpha"))
            .and_then(Value::as_f64);
        let by = match field("use_rslora").and_then(Value::as_bool) {
            Some(true) => rank.sqrt(),
            _ => rank,
        };
        alpha.map_or(1.0, |alpha| alpha / by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn former_attention_processors_name_the_layers_they_stand_beside() {
        let old = "unet.mid_block.attentions.0.attn1.processor.to_out_lora";
        assert_eq!(plain_layer(old), "unet.mid_block.attentions.0.attn1.to_out.0");
        assert_eq!(plain_layer("unet.attn2.processor.to_k_lora"), "unet.attn2.to_k");
        assert_eq!(plain_layer("lora_unet_mid"), "lora_unet_mid");
    }

    #[test]
    fn alpha_comes_from_the_layer_then_from_the_header_then_from_the_rank() {
        let peft = |json: Value| Peft(json.as_object().unwrap().clone());
        let header = peft(serde_json::json!({
            "unet.lora_alpha": 2, "unet.alpha_pattern": {"attn2.to_k": 8}, "lora_alpha": 1
        }));
        assert_eq!(header.scale("unet.a.attn1.to_k", Some(3.0), 4), 0.75);
        assert_eq!(header.scale("unet.a.attn1.to_k", None, 4), 0.5);
        assert_eq!(header.scale("unet.a.attn2.to_k", None, 4), 2.0);
        assert_eq!(header.scale("transformer.a", None, 4), 0.25);
        assert_eq!(Peft::default().scale("unet.a", None, 4), 1.0);
        let stable = peft(serde_json::json!({"lora_alpha": 8, "use_rslora": true}));
        assert_eq!(stable.scale("unet.a", None, 16), 2.0);
    }
}
