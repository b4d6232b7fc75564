//! Full-size models with random weights, written to disk once, so that a machine can be judged
//! before anything is fetched.
//!
//! The networks themselves say which tensors they want ([`Mode::List`]); values are normal with a
//! deviation of 0.02, scales of norms 1 and biases 0, so that activations stay finite.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use burn::tensor::Device;
use half::{bf16, f16};
use safetensors::{Dtype, View};

use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files;
use crate::models::clip::ClipTextModel;
use crate::models::qwen2::Qwen2;
use crate::models::sdxl_unet::UNet;
use crate::models::sdxl_vae::Vae;
use crate::models::umt5::{Umt5Config, Umt5Encoder};
use crate::models::wan_transformer::{WanTransformer, WanTransformerConfig};
use crate::models::wan_vae::{WanVae, WanVaeConfig};
use crate::pipelines::embedded::{MICRO_QWEN, MICRO_WAN, SDXL_BASE};
use crate::registry::{ModelFamily, ModelSpec, Source};
use crate::weights::vars::Mode;
use crate::weights::{Checkpoint, ModelFiles, NameTable, Vars};

/// The deviation of random weights.
const DEVIATION: f32 = 0.02;
/// Random numbers are made once and repeated: more of them would only take longer.
const DISTINCT: usize = 1 << 22;

/// A full-size architecture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Synthetic {
    pub name: &'static str,
    pub family: ModelFamily,
    /// What its usual job asks for.
    pub steps: u32,
    pub guidance_scale: f64,
    pub size_px: [u32; 2],
}

/// Every one there is.
pub const SYNTHETIC: &[Synthetic] = &[
    Synthetic {
        name: "sdxl",
        family: ModelFamily::Sdxl,
        steps: 4,
        guidance_scale: 6.0,
        size_px: [1024, 1024],
    },
    Synthetic {
        name: "sdxl-turbo",
        family: ModelFamily::Sdxl,
        steps: 1,
        guidance_scale: 0.0,
        size_px: [512, 512],
    },
    Synthetic {
        name: "wan-1.3b",
        family: ModelFamily::Wan,
        steps: 2,
        guidance_scale: 6.5,
        size_px: [832, 480],
    },
    Synthetic {
        name: "wan-vace-1.3b",
        family: ModelFamily::Wan,
        steps: 2,
        guidance_scale: 6.5,
        size_px: [832, 480],
    },
    Synthetic {
        name: "qwen-0.5b",
        family: ModelFamily::Qwen,
        steps: 0,
        guidance_scale: 0.0,
        size_px: [0, 0],
    },
    Synthetic {
        name: "qwen-7b",
        family: ModelFamily::Qwen,
        steps: 0,
        guidance_scale: 0.0,
        size_px: [0, 0],
    },
];

/// A tensor's name and shape.
pub type Wanted = (String, Vec<usize>);

/// One network of a model: its folder inside the model's, its weight file, and what it wants.
pub struct Component {
    pub folder: &'static str,
    pub file: &'static str,
    pub tensors: Vec<Wanted>,
}

impl Synthetic {
    /// # Errors
    /// `Usage` for an unknown name, with the known ones.
    pub fn named(name: &str) -> Result<Self> {
        match SYNTHETIC.iter().find(|s| s.name == name) {
            Some(found) => Ok(*found),
            None => {
                let known: Vec<&str> = SYNTHETIC.iter().map(|s| s.name).collect();
                fail!(Usage, "--synthetic `{name}`: no such model"; "known are {}", known.join(", "))
            }
        }
    }

    /// The model on disk, below `cache_dir`; built if it is not there.
    ///
    /// # Errors
    /// `CannotWrite` when the disk has no room for it.
    pub fn ensure(&self, cache_dir: &Path) -> Result<ModelSpec> {
        let folder = cache_dir.join("synthetic").join(self.name);
        if !folder.is_dir() {
            self.build(&folder)?;
        }
        let mut spec = ModelSpec::new(
            format!("synthetic-{}", self.name),
            self.family,
            Source::Folder(folder),
        );
        spec.auto_negative = Some(String::new());
        Ok(spec)
    }

    fn build(&self, folder: &Path) -> Result<()> {
        let components = self.components()?;
        let bytes: u64 = components.iter().map(Component::bytes).sum();
        let parent = files::folder_of(folder);
        files::make_folder(parent)?;
        check_room(parent, bytes)?;
        // Whole under its name, or not there at all.
        let part = tempfile_folder(parent, self.name)?;
        for (name, content) in self.small_files() {
            let path = part.join(name);
            files::make_folder(files::folder_of(&path))?;
            files::write_whole(&path, &content, files::Existing::Replace)?;
        }
        let filler = Filler::new(self.dtype(), &components);
        for component in &components {
            let path = part.join(component.folder).join(component.file);
            files::make_folder(files::folder_of(&path))?;
            component
                .write(&path, &filler)
                .map_err(|e| no_room(&path, bytes, &e))?;
        }
        files::move_whole(&part, folder).map_err(|e| files::write_error(folder, e))?;
        Ok(())
    }

    /// The type its published weights have.
    pub fn dtype(&self) -> Dtype {
        match self.family {
            ModelFamily::Sdxl => Dtype::F16,
            _ => Dtype::BF16,
        }
    }

    /// Every network with the tensors that it asks for.
    ///
    /// # Errors
    /// Never for the models of [`SYNTHETIC`]: their configurations are sound.
    pub fn components(&self) -> Result<Vec<Component>> {
        match self.family {
            ModelFamily::Sdxl => sdxl(),
            ModelFamily::Wan => wan(&self.transformer()),
            _ => Ok(vec![Component {
                folder: "",
                file: "model.safetensors",
                tensors: list(|vars| Qwen2::load(vars, serde_json::from_str(self.qwen_config())?).map(drop))?,
            }]),
        }
    }

    /// The transformer of a WAN model.
    pub fn transformer(&self) -> WanTransformerConfig {
        WanTransformerConfig::wan_1_3b(self.name == "wan-vace-1.3b")
    }

    /// `config.json` of a language model, as published.
    pub fn qwen_config(&self) -> &'static str {
        match self.name {
            "qwen-0.5b" => {
                r#"{"vocab_size": 151936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
                "num_attention_heads": 14, "num_key_value_heads": 2, "max_position_embeddings": 32768,
                "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": true, "hidden_act": "silu",
                "eos_token_id": 1}"#
            }
            _ => {
                r#"{"vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28,
                "num_attention_heads": 28, "num_key_value_heads": 4, "max_position_embeddings": 32768,
                "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": false, "hidden_act": "silu",
                "eos_token_id": 1}"#
            }
        }
    }

    /// Configurations and tokenizers, by path inside the model's folder.
    pub fn small_files(&self) -> Vec<(String, Vec<u8>)> {
        let of = |files: &ModelFiles| match files {
            ModelFiles::Embedded(list) => list
                .iter()
                .filter(|(name, _)| !name.ends_with(".safetensors"))
                .map(|(name, bytes)| (name.to_string(), bytes.to_vec()))
                .collect(),
            ModelFiles::Folder(_) => Vec::new(),
        };
        let mut files: Vec<(String, Vec<u8>)> = match self.family {
            ModelFamily::Sdxl => of(&SDXL_BASE),
            ModelFamily::Wan => of(&MICRO_WAN)
                .into_iter()
                .filter(|(name, _)| name.starts_with("tokenizer/"))
                .collect(),
            _ => of(&MICRO_QWEN),
        };
        if self.family == ModelFamily::Qwen {
            files.retain(|(name, _)| name != "config.json" && name != "generation_config.json");
            files.push(("config.json".into(), self.qwen_config().into()));
        }
        if self.name == "sdxl-turbo" {
            files.retain(|(name, _)| name != "scheduler/scheduler_config.json");
            files.push(("scheduler/scheduler_config.json".into(), TURBO_SCHEDULER.into()));
        }
        files
    }
}

/// SDXL-Turbo's scheduler, as published.
const TURBO_SCHEDULER: &str = r#"{"_class_name": "EulerAncestralDiscreteScheduler", "beta_start": 0.00085,
"beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "timestep_spacing": "trailing",
"prediction_type": "epsilon"}"#;

fn sdxl() -> Result<Vec<Component>> {
    let files = SDXL_BASE;
    let encoder = |folder: &'static str, projection: bool| -> Result<Component> {
        let config = files.json(&format!("{folder}/config.json"))?;
        Ok(Component {
            folder,
            file: "model.safetensors",
            tensors: list(|vars| ClipTextModel::load(vars, config, projection).map(drop))?,
        })
    };
    let (unet, vae) = (files.json("unet/config.json")?, files.json("vae/config.json")?);
    Ok(vec![
        encoder("text_encoder", false)?,
        encoder("text_encoder_2", true)?,
        Component {
            folder: "unet",
            file: "diffusion_pytorch_model.safetensors",
            tensors: list(|vars| UNet::load(vars, unet).map(drop))?,
        },
        Component {
            folder: "vae",
            file: "diffusion_pytorch_model.safetensors",
            tensors: list(|vars| Vae::load(vars, vae).map(drop))?,
        },
    ])
}

fn wan(transformer: &WanTransformerConfig) -> Result<Vec<Component>> {
    Ok(vec![
        Component {
            folder: "text_encoder",
            file: "model.safetensors",
            tensors: list(|vars| Umt5Encoder::load(vars, Umt5Config::xxl()).map(drop))?,
        },
        Component {
            folder: "transformer",
            file: "diffusion_pytorch_model.safetensors",
            tensors: list(|vars| WanTransformer::load(vars, transformer.clone()).map(drop))?,
        },
        Component {
            folder: "vae",
            file: "diffusion_pytorch_model.safetensors",
            tensors: list(|vars| WanVae::load(vars, WanVaeConfig::wan_2_1()).map(drop))?,
        },
    ])
}

/// What a constructor asks for, once each.
fn list(load: impl FnOnce(&Vars<'_>) -> Result<()>) -> Result<Vec<Wanted>> {
    let nothing = Checkpoint::default();
    let vars = Vars::new(
        "synthetic",
        &nothing,
        NameTable::Diffusers,
        &Device::flex(),
        None,
        Mode::List,
    );
    load(&vars)?;
    let mut tensors = vars.listed();
    tensors.sort();
    tensors.dedup();
    Ok(tensors)
}

impl Component {
    fn bytes(&self) -> u64 {
        let elements = |(_, shape): &Wanted| shape.iter().product::<usize>() as u64 * 2;
        self.tensors.iter().map(elements).sum()
    }

    fn write(&self, path: &Path, filler: &Filler) -> Result<(), safetensors::SafeTensorError> {
        let tensors = self
            .tensors
            .iter()
            .map(|(name, shape)| (name.clone(), filler.tensor(name, shape)));
        safetensors::serialize_to_file(tensors, None, path)
    }
}

/// Numbers for tensors of any size, shared by all of them.
struct Filler {
    dtype: Dtype,
    normal: Vec<u8>,
    ones: Vec<u8>,
    zeros: Vec<u8>,
}

/// A tensor whose bytes lie in a [`Filler`].
struct Filled<'a> {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: &'a [u8],
}

impl View for Filled<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

impl Filler {
    fn new(dtype: Dtype, components: &[Component]) -> Self {
        let sizes = components.iter().flat_map(|c| &c.tensors);
        let elements = |shape: &Vec<usize>| shape.iter().product::<usize>();
        let largest = sizes.clone().map(|(_, shape)| elements(shape)).max().unwrap_or(0);
        let longest = sizes
            .filter(|(_, s)| s.len() == 1)
            .map(|(_, s)| s[0])
            .max()
            .unwrap_or(0);
        let convert = |value: f32| match dtype {
            Dtype::F16 => f16::from_f32(value).to_bits().to_le_bytes(),
            _ => bf16::from_f32(value).to_bits().to_le_bytes(),
        };
        let distinct: Vec<u8> = normals(DISTINCT.min(largest))
            .flat_map(|v| convert(v * DEVIATION))
            .collect();
        Self {
            dtype,
            normal: distinct.iter().copied().cycle().take(largest * 2).collect(),
            ones: convert(1.0).repeat(longest),
            zeros: convert(0.0).repeat(longest),
        }
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Filled<'_> {
        let bytes = shape.iter().product::<usize>() * 2;
        let source = match shape {
            [_] if name.ends_with("bias") => &self.zeros,
            [_] => &self.ones,
            _ => &self.normal,
        };
        Filled {
            dtype: self.dtype,
            shape: shape.to_vec(),
            bytes: &source[..bytes],
        }
    }
}

/// Normal numbers from a small generator: nothing depends on their quality.
fn normals(count: usize) -> impl Iterator<Item = f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut uniform = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 24) as f32
    };
    // A sum of twelve uniform numbers has mean 6 and deviation 1.
    (0..count).map(move |_| (0..12).map(|_| uniform()).sum::<f32>() - 6.0)
}

/// An empty folder under a name of its own.
fn tempfile_folder(parent: &Path, name: &str) -> Result<PathBuf> {
    let folder = parent.join(format!(".{name}-{}.part", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&folder).map_err(|e| files::write_error(&folder, e))?;
    Ok(folder)
}

#[cfg(unix)]
fn check_room(folder: &Path, bytes: u64) -> Result<()> {
    let stat = rustix::fs::statvfs(folder)
        .with_context(|| format!("asking `{}` for its free space", folder.display()))?;
    let free = stat.f_bavail * stat.f_frsize;
    if free < bytes + (1 << 30) {
        fail!(
            CannotWrite, "`{}`: {:.1} GB are free, the synthetic model takes {:.1} GB", folder.display(), free as f64 / 1e9, bytes as f64 / 1e9;
            "free some space, or name another place with OURVIDZ_CACHE_DIR"
        );
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_room(_folder: &Path, _bytes: u64) -> Result<()> {
    Ok(())
}

fn no_room(path: &Path, bytes: u64, e: &safetensors::SafeTensorError) -> anyhow::Error {
    Error::new(
        ErrorKind::CannotWrite,
        format!("`{}`: cannot be written ({e})", path.display()),
    )
    .hint(format!(
        "the model takes {:.1} GB; free some space, or name another place with OURVIDZ_CACHE_DIR",
        bytes as f64 / 1e9
    ))
    .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(name: &str) -> Vec<(&'static str, u64)> {
        let components = Synthetic::named(name).unwrap().components().unwrap();
        components.iter().map(|c| (c.folder, c.bytes() / 2)).collect()
    }

    #[test]
    fn the_networks_have_their_published_number_of_parameters() {
        let millions = |name: &str| -> Vec<(&str, u64)> {
            parameters(name)
                .into_iter()
                .map(|(n, p)| (n, p / 1_000_000))
                .collect()
        };
        assert_eq!(
            millions("sdxl"),
            [
                ("text_encoder", 123),
                ("text_encoder_2", 694),
                ("unet", 2567),
                ("vae", 83)
            ]
        );
        assert_eq!(
            millions("wan-1.3b"),
            [("text_encoder", 5680), ("transformer", 1418), ("vae", 126)]
        );
        assert_eq!(millions("qwen-0.5b"), [("", 494)]);
        assert_eq!(millions("qwen-7b"), [("", 7615)]);
    }

    #[test]
    fn random_weights_have_mean_0_and_deviation_1() {
        let values: Vec<f32> = normals(100_000).collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let square = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
        assert!(
            mean.abs() < 0.02 && (square.sqrt() - 1.0).abs() < 0.02,
            "{mean} {square}"
        );
    }
}
