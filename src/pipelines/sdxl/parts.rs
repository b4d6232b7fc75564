//! SDXL's networks from a folder, a single file or the binary: one code for loading and verifying.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};
use burn::tensor::{DType, Device};
use serde::Deserialize;

use super::prompt::Encoders;
use crate::device::{Precision, is_cpu};
use crate::fail;
use crate::models::clip::{ClipTextConfig, ClipTextModel};
use crate::models::sdxl_unet::{UNet, UNetConfig};
use crate::models::sdxl_vae::{Vae, VaeConfig};
use crate::pipelines::embedded;
use crate::registry::{ModelSpec, Source};
use crate::schedulers::{PredictionType, SamplerChoice, SchedulerConfig};
use crate::tokenizers::clip::{ClipTokenizer, SpecialTokens};
use crate::weights::names::is_foreign_to_sdxl;
use crate::weights::vars::Mode;
use crate::weights::{Checkpoint, ModelFiles, NameTable, Report, Vars};

/// The components that hold weights, in the order they are loaded.
pub const COMPONENTS: [&str; 4] = ["text_encoder", "text_encoder_2", "unet", "vae"];

/// Weights up to this size are widened to the computing type once, at load. Larger ones keep
/// their stored type on the CPU and are widened layer by layer, so that memory stays near one copy.
const WIDEN_AT_LOAD_BYTES: u64 = 1 << 30;

/// What a file holds, and what to say of tensors that were left out.
pub type Noted<T> = (Rc<T>, Option<String>);

/// Where the pieces of one model are.
pub struct Layout {
    /// Configurations and tokenizers, and in the folder layout the weights too.
    pub files: ModelFiles,
    /// The checkpoint that holds all weights, in the original names.
    pub single_file: Option<PathBuf>,
}

/// `model_index.json`, as far as it decides the result.
#[derive(Debug, Deserialize)]
struct ModelIndex {
    #[serde(default = "yes")]
    force_zeros_for_empty_prompt: bool,
    /// Library and class.
    text_encoder: Option<Vec<Option<String>>>,
}

fn yes() -> bool {
    true
}

impl ModelIndex {
    /// Refiners say `"text_encoder": [null, null]`.
    fn has_first_encoder(&self) -> bool {
        let class = self.text_encoder.as_ref().map(|names| names.last());
        !matches!(class, Some(Some(None)))
    }
}

/// Everything a pipeline needs, loaded.
pub struct Parts {
    pub tokenizer: ClipTokenizer,
    pub tokenizer_2: ClipTokenizer,
    /// Refiners have only the second one.
    pub text_encoder: Option<ClipTextModel>,
    pub text_encoder_2: ClipTextModel,
    pub unet: UNet,
    pub vae: Vae,
    pub scheduler: SchedulerConfig,
    pub force_zeros_for_empty_prompt: bool,
    /// What was left out of the files.
    pub notes: Vec<String>,
}

impl Parts {
    /// What prompts are encoded with.
    pub fn encoders(&self) -> Encoders<'_> {
        Encoders {
            first: self
                .text_encoder
                .as_ref()
                .map(|encoder| (&self.tokenizer, encoder)),
            second: (&self.tokenizer_2, &self.text_encoder_2),
            force_zeros_for_empty_prompt: self.force_zeros_for_empty_prompt,
        }
    }
}

impl Layout {
    /// # Errors
    /// `Config` for a built-in name that this build does not hold.
    pub fn of(spec: &ModelSpec) -> Result<Self> {
        Ok(match &spec.source {
            Source::Embedded if spec.name == "micro-sdxl" => Self {
                files: embedded::MICRO_SDXL,
                single_file: None,
            },
            Source::Embedded => fail!(
                Config, "model `{}`: no built-in SDXL model of that name", spec.name;
                "the built-in one is micro-sdxl; give `path` or `file` for others"
            ),
            Source::Folder(path) => Self {
                files: ModelFiles::Folder(path.clone()),
                single_file: None,
            },
            Source::SingleFile { path, config_from } => Self {
                files: match config_from {
                    Some(folder) => ModelFiles::Folder(folder.clone()),
                    None if Checkpoint::open(path).is_ok_and(|file| is_refiner(&file)) => {
                        embedded::SDXL_REFINER
                    }
                    None => embedded::SDXL_BASE,
                },
                single_file: Some(path.clone()),
            },
        })
    }

    /// Both tokenizers; the vocabulary in the binary serves folders that bring none.
    ///
    /// # Errors
    /// When a vocabulary that is there cannot be read.
    pub fn tokenizers(&self) -> Result<[ClipTokenizer; 2]> {
        Ok([
            self.tokenizer("tokenizer", SpecialTokens::default())?,
            self.tokenizer("tokenizer_2", SpecialTokens::sdxl_second())?,
        ])
    }

    fn tokenizer(&self, component: &str, default: SpecialTokens) -> Result<ClipTokenizer> {
        ClipTokenizer::from_files(&|name| self.files.read(&format!("{component}/{name}")), default)
            .with_context(|| format!("tokenizer `{}`", self.files.label(component)))
    }

    /// Width and height the model was made for, in pixels.
    ///
    /// # Errors
    /// When a configuration is missing or broken.
    pub fn native_size_px(&self) -> Result<usize> {
        let unet: UNetConfig = self.files.json("unet/config.json")?;
        let vae: VaeConfig = self.files.json("vae/config.json")?;
        vae.check()?;
        Ok(unet.sample_size * vae.scale_factor())
    }

    /// The scheduler that belongs to the model, with what marks in its file say of it.
    ///
    /// # Errors
    /// When its configuration is broken, or the file's marks ask for another kind of sampling.
    pub fn scheduler(&self) -> Result<SchedulerConfig> {
        let relative = "scheduler/scheduler_config.json";
        let config = match self.files.read(relative)? {
            Some(json) => SchedulerConfig::from_json(&self.files.label(relative), &json)?,
            None => SchedulerConfig::sdxl(),
        };
        match &self.single_file {
            Some(path) => marked(&Checkpoint::open(path)?, path)?.apply(&config),
            None => Ok(config),
        }
    }

    /// Stored size of each component. In a single file the parts are not told apart.
    ///
    /// # Errors
    /// When a weight file is missing or has no readable header.
    pub fn weights_bytes(&self) -> Result<Vec<u64>> {
        let size = |component: &&str| Ok(self.checkpoint(component)?.0.size_bytes());
        match &self.single_file {
            Some(path) => Ok(vec![Checkpoint::open(path)?.size_bytes()]),
            None => self.components()?.iter().map(size).collect(),
        }
    }

    /// Those of [`COMPONENTS`] that this model has.
    ///
    /// # Errors
    /// When `model_index.json` is missing or broken.
    pub fn components(&self) -> Result<&'static [&'static str]> {
        let index: ModelIndex = self.files.json("model_index.json")?;
        let first = if index.has_first_encoder() { 0 } else { 1 };
        Ok(&COMPONENTS[first..])
    }

    fn checkpoint(&self, component: &str) -> Result<(Checkpoint, NameTable)> {
        let Some(path) = &self.single_file else {
            let checkpoint = self.files.checkpoint(component)?;
            let table = NameTable::of_component(component, &checkpoint);
            return Ok((checkpoint, table));
        };
        let checkpoint = Checkpoint::open(path)?;
        let table = match (component, is_refiner(&checkpoint)) {
            ("text_encoder", _) => NameTable::SingleFileClipL,
            ("text_encoder_2", false) => NameTable::SingleFileClipG,
            ("text_encoder_2", true) => NameTable::RefinerClipG,
            ("unet", false) => NameTable::SingleFileUnet,
            ("unet", true) => NameTable::RefinerUnet,
            _ => NameTable::SingleFileVae,
        };
        Ok((checkpoint, table))
    }

    /// Builds one component and accounts for its tensors.
    fn build<T>(
        &self,
        component: &str,
        target: &Target,
        make: impl FnOnce(&Vars) -> Result<T>,
    ) -> Result<(T, Report)> {
        let (checkpoint, table) = self.checkpoint(component)?;
        let dtype = target.stored_dtype(component, checkpoint.size_bytes());
        let vars = Vars::new(component, &checkpoint, table, &target.device, dtype, target.mode);
        let model = make(&vars).with_context(|| format!("`{}`", self.files.label(component)))?;
        Ok((model, vars.finish()))
    }

    fn text_encoder(
        &self,
        component: &str,
        projection: bool,
        target: &Target,
    ) -> Result<(ClipTextModel, Report)> {
        let config: ClipTextConfig = self.files.json(&format!("{component}/config.json"))?;
        self.build(component, target, |vars| {
            ClipTextModel::load(vars, config, projection)
        })
    }

    fn unet(&self, target: &Target) -> Result<(UNet, Report)> {
        let config: UNetConfig = self.files.json("unet/config.json")?;
        self.build("unet", target, |vars| UNet::load(vars, config))
    }

    /// The denoiser alone, from its own folder.
    ///
    /// # Errors
    /// Missing, broken or unfitting files, each named.
    pub fn bare_unet(files: ModelFiles, device: &Device, precision: Precision) -> Result<UNet> {
        let config: UNetConfig = files.json("config.json")?;
        let checkpoint = files.checkpoint("")?;
        let target = Target {
            device: device.clone(),
            precision,
            mode: Mode::Load,
        };
        let dtype = target.stored_dtype("unet", checkpoint.size_bytes());
        let table = NameTable::Diffusers;
        let vars = Vars::new("unet", &checkpoint, table, device, dtype, target.mode);
        let unet = UNet::load(&vars, config).with_context(|| format!("`{}`", files.label("")))?;
        // A refiner's folder has nothing to add to the job's notes.
        vars.finish().into_result().map(|_| unet)
    }

    fn vae(&self, target: &Target) -> Result<(Vae, Report)> {
        let config: VaeConfig = self.files.json("vae/config.json")?;
        self.build("vae", target, |vars| Vae::load(vars, config))
    }

    /// Loads everything.
    ///
    /// # Errors
    /// Missing, broken or unfitting files, each named.
    pub fn load(&self, device: &Device, precision: Precision) -> Result<Parts> {
        let target = Target {
            device: device.clone(),
            precision,
            mode: Mode::Load,
        };
        let index: ModelIndex = self.files.json("model_index.json")?;
        let [tokenizer, tokenizer_2] = self.tokenizers()?;
        let scheduler = self.scheduler()?;
        let mut notes = Vec::from_iter(self.foreign()?.into_result()?);
        let note = &mut notes;
        let parts = Parts {
            tokenizer,
            tokenizer_2,
            text_encoder: match index.has_first_encoder() {
                true => Some(checked(self.text_encoder("text_encoder", false, &target)?, note)?),
                false => None,
            },
            text_encoder_2: checked(self.text_encoder("text_encoder_2", true, &target)?, note)?,
            unet: checked(self.unet(&target)?, note)?,
            vae: checked(self.vae(&target)?, note)?,
            scheduler,
            force_zeros_for_empty_prompt: index.force_zeros_for_empty_prompt,
            notes: Vec::new(),
        };
        Ok(Parts { notes, ..parts })
    }

    /// Accounts for every tensor without reading any.
    ///
    /// # Errors
    /// When a configuration or the header of a weight file cannot be read.
    pub fn verify(&self) -> Result<Vec<Report>> {
        let target = Target {
            device: Device::flex(),
            precision: Precision::F32,
            mode: Mode::Verify,
        };
        let mut reports = Vec::new();
        if self.components()?.contains(&COMPONENTS[0]) {
            reports.push(self.text_encoder("text_encoder", false, &target)?.1);
        }
        reports.push(self.text_encoder("text_encoder_2", true, &target)?.1);
        reports.push(self.unet(&target)?.1);
        reports.push(self.vae(&target)?.1);
        let foreign = self.foreign()?;
        if !foreign.extra.is_empty() {
            reports.push(foreign);
        }
        Ok(reports)
    }

    /// Tensors of a single file that belong to no part of SDXL.
    fn foreign(&self) -> Result<Report> {
        let mut report = Report {
            component: "single file".into(),
            ..Report::default()
        };
        if let Some(path) = &self.single_file {
            let checkpoint = Checkpoint::open(path)?;
            report.extra = checkpoint
                .entries()
                .map(|(n, _)| n)
                .filter(|n| is_foreign_to_sdxl(n))
                .map(String::from)
                .collect();
        }
        Ok(report)
    }
}

/// Whether a single file is a refiner: its first and only text encoder is SDXL's second.
fn is_refiner(checkpoint: &Checkpoint) -> bool {
    checkpoint
        .get("conditioner.embedders.0.model.ln_final.weight")
        .is_some()
}

fn checked<T>((model, report): (T, Report), notes: &mut Vec<String>) -> Result<T> {
    notes.extend(report.into_result()?);
    Ok(model)
}

/// What a file says of its parametrisation: by empty tensors of these names, as trainers write them
/// and ComfyUI reads them, or in the notes of its header (the ModelSpec of Stability AI).
fn marked(checkpoint: &Checkpoint, path: &Path) -> Result<SamplerChoice> {
    let has = |name: &str| checkpoint.get(name).is_some();
    if has("edm_mean") || has("edm_vpred.sigma_max") {
        fail!(
            NotBuilt, "model `{}`: it was trained with EDM's noise levels, which this build does not sample", path.display();
            "use a checkpoint that predicts noise or v"
        );
    }
    let noted = checkpoint.metadata("modelspec.prediction_type");
    let predicts_v = has("v_pred") || matches!(noted, Some("v" | "v_prediction"));
    Ok(SamplerChoice {
        prediction_type: predicts_v.then_some(PredictionType::VPrediction),
        rescale_betas_zero_snr: (predicts_v && has("ztsnr")).then_some(true),
        ..SamplerChoice::default()
    })
}

struct Target {
    device: Device,
    precision: Precision,
    mode: Mode,
}

impl Target {
    /// What tensors become in memory; `None` keeps the stored type.
    fn stored_dtype(&self, component: &str, size_bytes: u64) -> Option<DType> {
        if is_cpu(&self.device) && size_bytes > WIDEN_AT_LOAD_BYTES {
            return None;
        }
        // The autoencoder overflows in f16: its activations are f32 always.
        Some(if component == "vae" {
            DType::F32
        } else {
            self.precision.dtype()
        })
    }
}
