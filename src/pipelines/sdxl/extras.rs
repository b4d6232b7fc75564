//! What a job loads beside the model: ControlNets, IP-Adapters, another autoencoder, a refiner. They
//! stay until a job comes that does not name them.

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::SystemTime;

use anyhow::{Context, Result};
use burn::tensor::{DType, Device};

use super::parts::{Layout, Noted, Parts};
use super::prompt::Encoders;
use super::{control, image_prompt};
use crate::device::Precision;
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::models::clip_vision::ClipVisionModel;
use crate::models::controlnet::ControlNet;
use crate::models::ip_adapter::IpAdapter;
use crate::models::sdxl_unet::UNet;
use crate::models::sdxl_vae::{Vae, VaeConfig};
use crate::pipelines::image::ImageRequest;
use crate::registry::{ModelSpec, Source};
use crate::weights::vars::Mode;
use crate::weights::{Checkpoint, ModelFiles, NameTable, Vars};

/// The networks of one request.
pub struct Extras {
    pub controls: Vec<Rc<ControlNet>>,
    pub adapters: Vec<(Rc<IpAdapter>, Rc<ClipVisionModel>)>,
    pub vae: Option<Rc<Vae>>,
    pub refiner: Option<Rc<RefinerParts>>,
    /// What was left out of their files.
    pub notes: Vec<String>,
}

/// A second denoiser, with whatever else its folder has.
pub enum RefinerParts {
    Whole(Box<Parts>),
    /// A `unet` folder alone; text encoder and autoencoder are the base model's.
    Denoiser(Box<UNet>),
}

impl RefinerParts {
    pub fn unet(&self) -> &UNet {
        match self {
            Self::Whole(parts) => &parts.unet,
            Self::Denoiser(unet) => unet,
        }
    }

    pub fn vae<'a>(&'a self, base: &'a Parts) -> &'a Vae {
        match self {
            Self::Whole(parts) => &parts.vae,
            Self::Denoiser(_) => &base.vae,
        }
    }

    /// Refiners read only the second text encoder, and encode the empty negative prompt.
    pub fn encoders<'a>(&'a self, base: &'a Parts) -> Encoders<'a> {
        match self {
            Self::Whole(parts) => parts.encoders(),
            Self::Denoiser(_) => Encoders {
                first: None,
                force_zeros_for_empty_prompt: false,
                ..base.encoders()
            },
        }
    }
}

/// Loaded networks by path.
#[derive(Default)]
pub struct ExtrasCache {
    controls: Shelf<ControlNet>,
    adapters: Shelf<IpAdapter>,
    encoders: Shelf<ClipVisionModel>,
    vaes: Shelf<Vae>,
    refiners: Shelf<RefinerParts>,
}

impl ExtrasCache {
    /// Loads what the request names and is not there yet; drops what it does not name.
    ///
    /// # Errors
    /// Missing, broken or unfitting files, each named.
    pub fn load(
        &mut self,
        request: &ImageRequest,
        parts: &Parts,
        device: &Device,
        precision: Precision,
    ) -> Result<Extras> {
        let dtype = precision.dtype();
        self.keep(request);
        let mut controls = Vec::new();
        for control in &request.controls {
            let load = |path: &Path| control::load(path, &parts.unet.config, device, dtype);
            let net = self.controls.get(&control.model, load)?;
            if net.config.scale_factor() != parts.vae.config.scale_factor() {
                fail!(BadInput, "controlnet `{}` shrinks its picture by {}, this model's autoencoder by {}",
                    control.model.display(), net.config.scale_factor(), parts.vae.config.scale_factor();
                    "use a ControlNet made for this model");
            }
            controls.push(net);
        }
        let mut adapters = Vec::new();
        for adapter in &request.ip_adapters {
            let load = |path: &Path| image_prompt::load_adapter(path, &parts.unet, device, dtype);
            let loaded = self.adapters.get(&adapter.file, load)?;
            let load = |path: &Path| image_prompt::load_encoder(path, device, dtype);
            adapters.push((loaded, self.encoders.get(&adapter.image_encoder, load)?));
        }
        let vae = request.vae.as_ref().map(|path| {
            self.vaes
                .get(path, |path| load_vae(path, &parts.vae.config, device))
        });
        let refiner = request.refiner.as_ref().map(|refiner| {
            let path = refiner.model.path();
            self.refiners
                .get(path, |_| load_refiner(&refiner.model, device, precision))
        });
        Ok(Extras {
            controls,
            adapters,
            vae: vae.transpose()?,
            refiner: refiner.transpose()?,
            notes: self.notes(),
        })
    }

    fn notes(&self) -> Vec<String> {
        let shelves = [
            self.controls.notes(),
            self.adapters.notes(),
            self.encoders.notes(),
            self.vaes.notes(),
        ];
        shelves.concat()
    }

    fn keep(&mut self, request: &ImageRequest) {
        let controls = &request.controls;
        let adapters = &request.ip_adapters;
        self.controls
            .keep(|path| controls.iter().any(|c| c.model == path));
        self.adapters.keep(|path| adapters.iter().any(|a| a.file == path));
        self.encoders
            .keep(|path| adapters.iter().any(|a| a.image_encoder == path));
        self.vaes.keep(|path| request.vae.as_deref() == Some(path));
        let refiner = request.refiner.as_ref().map(|r| r.model.path());
        self.refiners.keep(|path| refiner == Some(path));
    }
}

/// Networks of one kind, each with the time its file was written.
struct Shelf<T>(Vec<(PathBuf, Option<SystemTime>, Noted<T>)>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Shelf<T> {
    fn keep(&mut self, wanted: impl Fn(&Path) -> bool) {
        self.0
            .retain(|(path, written, _)| wanted(path) && *written == time_written(path));
    }

    fn notes(&self) -> Vec<String> {
        self.0
            .iter()
            .filter_map(|(_, _, (_, note))| note.clone())
            .collect()
    }

    fn get(&mut self, path: &Path, load: impl FnOnce(&Path) -> Result<Noted<T>>) -> Result<Rc<T>> {
        if let Some((_, _, (found, _))) = self.0.iter().find(|(known, _, _)| known == path) {
            return Ok(found.clone());
        }
        let written = time_written(path);
        let loaded = load(path)?;
        self.0.push((path.to_path_buf(), written, loaded.clone()));
        Ok(loaded.0)
    }
}

fn time_written(path: &Path) -> Option<SystemTime> {
    std::fs::metadata(path).and_then(|m| m.modified()).ok()
}

fn load_refiner(spec: &ModelSpec, device: &Device, precision: Precision) -> Result<Noted<RefinerParts>> {
    let named = || format!("refiner `{}`", spec.name);
    if let Source::Folder(path) = &spec.source {
        let files = ModelFiles::Folder(path.clone());
        if !files.has("model_index.json") && files.has("config.json") {
            let unet = Layout::bare_unet(files, device, precision).with_context(named)?;
            return Ok((Rc::new(RefinerParts::Denoiser(Box::new(unet))), None));
        }
    }
    let parts = Layout::of(spec)
        .and_then(|layout| layout.load(device, precision))
        .with_context(named)?;
    Ok((Rc::new(RefinerParts::Whole(Box::new(parts))), None))
}

/// An autoencoder from its folder, or from a file in diffusers' or the original names.
fn load_vae(path: &Path, base: &VaeConfig, device: &Device) -> Result<Noted<Vae>> {
    let label = path.display().to_string();
    let (checkpoint, config) = if path.is_dir() {
        let folder = match path.join("config.json").is_file() {
            true => path.to_path_buf(),
            false => path.join("vae"),
        };
        let files = ModelFiles::Folder(folder);
        (files.checkpoint("")?, files.json("config.json")?)
    } else {
        let checkpoint = Checkpoint::open(path).with_context(|| format!("vae `{label}`"))?;
        (checkpoint, base.clone())
    };
    let Some(table) = NameTable::of_vae(&checkpoint) else {
        return Err(Error::new(
            ErrorKind::BadInput,
            format!("vae `{label}` holds no autoencoder of SDXL's kind"),
        )
        .hint("name a file such as sdxl_vae.safetensors, or a folder in the diffusers layout")
        .into());
    };
    let vars = Vars::new("vae", &checkpoint, table, device, Some(DType::F32), Mode::Load);
    let vae = Vae::load(&vars, config).with_context(|| format!("vae `{label}`"))?;
    let report = vars.finish();
    let note = report.into_result().with_context(|| format!("vae `{label}`"))?;
    Ok((Rc::new(vae), note))
}
