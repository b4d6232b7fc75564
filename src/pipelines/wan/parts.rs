//! WAN's networks from a diffusers folder, the original release's folder or a repackaged file:
//! one code for loading and verifying.

use std::path::PathBuf;

use anyhow::{Context, Result};
use burn::tensor::{DType, Device};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::device::{Precision, is_cpu};
use crate::fail;
use crate::models::umt5::{Umt5Config, Umt5Encoder};
use crate::models::wan_transformer::{WanTransformer, WanTransformerConfig};
use crate::models::wan_vae::{WanVae, WanVaeConfig};
use crate::pipelines::embedded::MICRO_WAN;
use crate::registry::{ModelSpec, Source};
use crate::schedulers::SchedulerConfig;
use crate::tokenizers::json::JsonTokenizer;
use crate::weights::names_wan::has_control_branch;
use crate::weights::vars::Mode;
use crate::weights::{Checkpoint, ModelFiles, NameTable, Report, Vars};

/// The components that hold weights, in the order they are used.
pub const COMPONENTS: [&str; 3] = ["text_encoder", "transformer", "vae"];

/// Weights up to this size are widened to the computing type once, at load. Larger ones keep
/// their stored type on the CPU and are widened layer by layer, so that memory stays near one copy.
const WIDEN_AT_LOAD_BYTES: u64 = 1 << 30;

/// The original release's names of the files beside its transformer, and those of repackagers.
const TEXT_ENCODER_FILES: &[&str] = &[
    "models_t5_umt5-xxl-enc-bf16.pth",
    "models_t5_umt5-xxl-enc-bf16.safetensors",
    "umt5_xxl_fp16.safetensors",
    "umt5-xxl-enc-bf16.safetensors",
];
const VAE_FILES: &[&str] = &[
    "Wan2.1_VAE.pth",
    "Wan2.1_VAE.safetensors",
    "wan_2.1_vae.safetensors",
];
const TOKENIZER_FILES: &[&str] = &[
    "tokenizer/tokenizer.json",
    "google/umt5-xxl/tokenizer.json",
    "tokenizer.json",
];

/// Where the pieces of one model are.
pub struct Layout {
    pub files: ModelFiles,
    /// A transformer that is not the folder's own.
    transformer_file: Option<PathBuf>,
}

/// The configurations of the three networks.
#[derive(Debug, Clone)]
pub struct Configs {
    pub text_encoder: Umt5Config,
    pub transformer: WanTransformerConfig,
    pub vae: WanVaeConfig,
}

impl Layout {
    /// # Errors
    /// `Config` for a built-in name that this build does not hold.
    pub fn of(spec: &ModelSpec) -> Result<Self> {
        Ok(match &spec.source {
            Source::Embedded if spec.name == "micro-wan" => Self {
                files: MICRO_WAN,
                transformer_file: None,
            },
            Source::Embedded => fail!(
                Config, "model `{}`: this build holds no WAN model of that name", spec.name;
                "the one in the binary is `micro-wan`; give `path` or `file` for others"
            ),
            Source::Folder(path) => Self {
                files: ModelFiles::Folder(path.clone()),
                transformer_file: None,
            },
            // Text encoder, autoencoder and tokenizer lie beside the file, or where the entry says.
            Source::SingleFile { path, config_from } => Self {
                files: ModelFiles::Folder(match config_from {
                    Some(folder) => folder.clone(),
                    None => path.parent().map(PathBuf::from).unwrap_or_default(),
                }),
                transformer_file: Some(path.clone()),
            },
        })
    }

    /// # Errors
    /// `InputMissing` without a `tokenizer.json`, `BadInput` for a broken one.
    pub fn tokenizer(&self) -> Result<JsonTokenizer> {
        for name in TOKENIZER_FILES {
            if let Some(json) = self.files.read(name)? {
                return JsonTokenizer::from_json(&self.files.label(name), &json);
            }
        }
        fail!(
            InputMissing, "no tokenizer.json in `{}`", self.files.label("");
            "expected one of {}; the diffusers folder of the model has it", TOKENIZER_FILES.join(", ")
        );
    }

    /// The scheduler that belongs to the model; UniPC with shift 5 where its files do not say.
    ///
    /// # Errors
    /// When its configuration is broken.
    pub fn scheduler(&self) -> Result<SchedulerConfig> {
        let relative = "scheduler/scheduler_config.json";
        match self.files.read(relative)? {
            Some(json) => SchedulerConfig::from_json(&self.files.label(relative), &json),
            None => SchedulerConfig::from_json(
                "the built-in WAN scheduler configuration",
                br#"{"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction",
                    "use_flow_sigmas": true, "flow_shift": 5.0, "num_train_timesteps": 1000}"#,
            ),
        }
    }

    /// # Errors
    /// When one of the configurations is broken, or a checkpoint that must tell cannot be read.
    pub fn configs(&self) -> Result<Configs> {
        let configs = Configs {
            text_encoder: self.config("text_encoder")?.unwrap_or_else(Umt5Config::xxl),
            transformer: self.transformer_config()?,
            vae: self.config("vae")?.unwrap_or_else(WanVaeConfig::wan_2_1),
        };
        configs.text_encoder.check()?;
        configs.transformer.check()?;
        configs.vae.check()?;
        configs.check_together()?;
        Ok(configs)
    }

    fn config<T: DeserializeOwned>(&self, component: &str) -> Result<Option<T>> {
        let relative = format!("{component}/config.json");
        if self.files.has(&relative) {
            self.files.json(&relative).map(Some)
        } else {
            Ok(None)
        }
    }

    fn transformer_config(&self) -> Result<WanTransformerConfig> {
        if let Some(config) = self.config("transformer")? {
            return Ok(config);
        }
        let base = WanTransformerConfig::wan_1_3b(has_control_branch(&self.checkpoint("transformer")?));
        if self.transformer_file.is_none() && self.files.has("config.json") {
            let original: OriginalConfig = self.files.json("config.json")?;
            return original.over(base);
        }
        Ok(base)
    }

    /// The weights of a component, wherever its layout keeps them.
    ///
    /// # Errors
    /// `InputMissing` when they are nowhere, and whatever is wrong with the files.
    pub fn checkpoint(&self, component: &str) -> Result<Checkpoint> {
        match (&self.transformer_file, &self.files) {
            (Some(path), _) if component == "transformer" => Checkpoint::open(path),
            (_, ModelFiles::Folder(root)) => {
                let names = self.weight_files(component)?;
                Checkpoint::open_all(&names.iter().map(|name| root.join(name)).collect::<Vec<_>>())
            }
            (_, embedded) => embedded.checkpoint(component),
        }
    }

    /// The weight files of a component of the folder, relative to it: diffusers' own, or those
    /// that the original release and repackagers put beside each other.
    fn weight_files(&self, component: &str) -> Result<Vec<String>> {
        let missing = match self.files.weight_files(component) {
            Ok(names) => return Ok(names),
            Err(error) => error,
        };
        let beside: &[&str] = match component {
            "transformer" => return self.files.weight_files(".").map_err(|_| missing),
            "text_encoder" => TEXT_ENCODER_FILES,
            _ => VAE_FILES,
        };
        match beside.iter().find(|name| self.files.has(name)) {
            Some(name) => Ok(vec![(*name).to_string()]),
            None => Err(missing.context(format!("none of {} there either", beside.join(", ")))),
        }
    }

    /// Every file of the folder that decides what these components compute.
    ///
    /// # Errors
    /// When a component has no weights.
    pub fn deciding(&self, components: &[&str]) -> Result<Vec<String>> {
        let mut names: Vec<String> = ["scheduler/scheduler_config.json", "config.json"]
            .iter()
            .chain(TOKENIZER_FILES)
            .map(|name| (*name).to_string())
            .chain(components.iter().map(|c| format!("{c}/config.json")))
            .filter(|name| self.files.has(name))
            .collect();
        for component in components {
            if *component != "transformer" || self.transformer_file.is_none() {
                names.extend(self.weight_files(component)?);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Builds one component and accounts for its tensors.
    fn build<T>(
        &self,
        component: &str,
        target: &Target,
        resnets_per_up_block: usize,
        make: impl FnOnce(&Vars) -> Result<T>,
    ) -> Result<(T, Report)> {
        let checkpoint = self.checkpoint(component)?;
        let table = NameTable::of_wan(&checkpoint, resnets_per_up_block);
        let dtype = target.stored_dtype(component, checkpoint.size_bytes());
        let vars = Vars::new(component, &checkpoint, table, &target.device, dtype, target.mode);
        let model = make(&vars).with_context(|| format!("`{}`", self.files.label(component)))?;
        Ok((model, vars.finish()))
    }

    /// # Errors
    /// Missing, broken or unfitting files, each named.
    pub fn text_encoder(&self, configs: &Configs, target: &Target) -> Result<(Umt5Encoder, Report)> {
        let config = configs.text_encoder.clone();
        self.build("text_encoder", target, 0, |vars| Umt5Encoder::load(vars, config))
    }

    /// # Errors
    /// As [`Layout::text_encoder`].
    pub fn transformer(&self, configs: &Configs, target: &Target) -> Result<(WanTransformer, Report)> {
        let config = configs.transformer.clone();
        self.build("transformer", target, 0, |vars| {
            WanTransformer::load(vars, config)
        })
    }

    /// # Errors
    /// As [`Layout::text_encoder`].
    pub fn vae(&self, configs: &Configs, target: &Target) -> Result<(WanVae, Report)> {
        let config = configs.vae.clone();
        self.build("vae", target, config.num_res_blocks + 1, |vars| {
            WanVae::load(vars, config)
        })
    }

    /// Accounts for every tensor without reading any.
    ///
    /// # Errors
    /// When a configuration or the header of a weight file cannot be read.
    pub fn verify(&self) -> Result<Vec<Report>> {
        let configs = self.configs()?;
        let target = Target {
            device: Device::flex(),
            precision: Precision::F32,
            mode: Mode::Verify,
        };
        Ok(vec![
            self.text_encoder(&configs, &target)?.1,
            self.transformer(&configs, &target)?.1,
            self.vae(&configs, &target)?.1,
        ])
    }
}

impl Configs {
    /// # Errors
    /// `BadInput` when the networks do not fit each other.
    fn check_together(&self) -> Result<()> {
        let (text, dit, vae) = (&self.text_encoder, &self.transformer, &self.vae);
        let control = 2 * vae.z_dim + vae.scale_factor_spatial().pow(2);
        if text.d_model != dit.text_dim {
            fail!(
                BadInput,
                "transformer config: text_dim is {}, the text encoder's d_model {}",
                dit.text_dim,
                text.d_model
            );
        }
        if dit.in_channels != vae.z_dim || dit.out_channels != vae.z_dim {
            fail!(
                BadInput, "transformer config: in_channels {} and out_channels {} must be the vae's z_dim {}",
                dit.in_channels, dit.out_channels, vae.z_dim;
                "this is for text-to-video and VACE models; image-to-video models have more channels"
            );
        }
        if dit.vace_layers.is_some() && dit.vace_in_channels != control {
            fail!(
                BadInput,
                "transformer config: vace_in_channels is {}; this vae makes {control}",
                dit.vace_in_channels
            );
        }
        Ok(())
    }
}

/// `config.json` of the original release.
#[derive(Debug, Deserialize)]
struct OriginalConfig {
    dim: usize,
    ffn_dim: usize,
    freq_dim: usize,
    in_dim: usize,
    out_dim: usize,
    num_heads: usize,
    num_layers: usize,
    eps: f64,
    vace_layers: Option<Vec<usize>>,
}

impl OriginalConfig {
    fn over(self, base: WanTransformerConfig) -> Result<WanTransformerConfig> {
        if self.num_heads == 0 {
            fail!(BadInput, "config.json: num_heads is 0");
        }
        Ok(WanTransformerConfig {
            num_attention_heads: self.num_heads,
            attention_head_dim: self.dim / self.num_heads,
            in_channels: self.in_dim,
            out_channels: self.out_dim,
            freq_dim: self.freq_dim,
            ffn_dim: self.ffn_dim,
            num_layers: self.num_layers,
            eps: self.eps,
            vace_layers: base
                .vace_layers
                .clone()
                .and(self.vace_layers.or(base.vace_layers)),
            ..base
        })
    }
}

/// What to load for.
#[derive(Debug, Clone)]
pub struct Target {
    pub device: Device,
    pub precision: Precision,
    pub mode: Mode,
}

impl Target {
    /// The type that a component computes in.
    ///
    /// The autoencoder needs f32; umT5's activations overflow in f16, so that bf16 stands in.
    pub fn dtype(&self, component: &str) -> DType {
        match (component, self.precision) {
            ("vae", _) => DType::F32,
            ("text_encoder", Precision::F16) => DType::BF16,
            (_, precision) => precision.dtype(),
        }
    }

    /// What tensors become in memory; `None` keeps the stored type.
    fn stored_dtype(&self, component: &str, size_bytes: u64) -> Option<DType> {
        let widen = !is_cpu(&self.device) || size_bytes <= WIDEN_AT_LOAD_BYTES;
        widen.then(|| self.dtype(component))
    }
}

/// A model's networks: where they come from and where they go. Each is loaded when its stage begins.
pub(super) struct Networks {
    pub layout: Layout,
    pub configs: Configs,
    pub target: Target,
}

impl Networks {
    /// # Errors
    /// Of the files, and for tensors that do not fit.
    pub fn text_encoder(&self) -> Result<Umt5Encoder> {
        let (encoder, report) = self.layout.text_encoder(&self.configs, &self.target)?;
        report.into_result()?;
        Ok(encoder)
    }

    /// As [`Self::text_encoder`].
    pub fn transformer(&self) -> Result<WanTransformer> {
        let (transformer, report) = self.layout.transformer(&self.configs, &self.target)?;
        report.into_result()?;
        Ok(transformer)
    }

    /// As [`Self::text_encoder`].
    pub fn vae(&self) -> Result<WanVae> {
        let (vae, report) = self.layout.vae(&self.configs, &self.target)?;
        report.into_result()?;
        Ok(vae)
    }
}
