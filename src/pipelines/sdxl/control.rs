//! ControlNets: from a file to a network that works along with the denoiser.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use burn::tensor::{DType, Device, Tensor};

use super::guidance::within;
use super::parts::Noted;
use super::pictures;
use crate::fail;
use crate::models::controlnet::{ControlNet, ControlNetConfig};
use crate::models::sdxl_unet::{Conditioning, Prepared, Residuals, UNetConfig};
use crate::pipelines::embedded;
use crate::pipelines::image::Control;
use crate::weights::vars::Mode;
use crate::weights::{Checkpoint, ModelFiles, NameTable, Vars};

/// One net with its picture, ready for the loop.
pub struct ActiveControl<'a> {
    net: &'a ControlNet,
    pub prepared: Prepared,
    embedded: Tensor<4>,
    scale: f64,
    part: (f64, f64),
    pub guess_mode: bool,
}

impl<'a> ActiveControl<'a> {
    /// `conditioning` is the denoiser's; `size` the output's, `[height, width]` in pixels.
    pub fn new(
        net: &'a ControlNet,
        control: &Control,
        conditioning: &Conditioning,
        size: [usize; 2],
        dtype: DType,
    ) -> Self {
        let device = conditioning.encoder_hidden_states.device();
        let picture = pictures::to_unit(&pictures::at_size(&control.picture, size), &device);
        Self {
            net,
            prepared: net.prepare(conditioning),
            embedded: net.embed(picture.cast(dtype)),
            scale: control.scale,
            part: (control.start, control.end),
            guess_mode: control.guess_mode,
        }
    }

    pub fn is_on(&self, call: usize, calls: usize) -> bool {
        within(call, calls, self.part.0, self.part.1) && self.scale != 0.0
    }

    pub fn residuals(&self, input: Tensor<4>, t: f32, prepared: &Prepared) -> Residuals {
        self.net
            .forward(input, &[t], prepared, &self.embedded)
            .scaled(self.scale, self.guess_mode)
    }
}

/// Loads a ControlNet for a denoiser: a diffusers folder, or one file in diffusers' names or in those
/// of the original.
///
/// # Errors
/// `InputMissing` for files that are not there, `BadInput` for those that hold something else, or a
/// net that was made for another model.
pub fn load(path: &Path, unet: &UNetConfig, device: &Device, dtype: DType) -> Result<Noted<ControlNet>> {
    let label = path.display().to_string();
    let (checkpoint, config) = open(path, &label)?;
    recognise(&checkpoint, &label)?;
    check_family(&config, unet, &label)?;
    let table = NameTable::of_controlnet(&checkpoint);
    let vars = Vars::new("controlnet", &checkpoint, table, device, Some(dtype), Mode::Load);
    let net = ControlNet::load(&vars, config).with_context(|| format!("controlnet `{label}`"))?;
    let report = vars.finish();
    let note = report
        .into_result()
        .with_context(|| format!("controlnet `{label}`"))?;
    Ok((Rc::new(net), note))
}

/// The weights, and the configuration beside them or that of SDXL base.
fn open(path: &Path, label: &str) -> Result<(Checkpoint, ControlNetConfig)> {
    if path.is_dir() {
        let files = ModelFiles::Folder(path.to_path_buf());
        return Ok((files.checkpoint("")?, files.json("config.json")?));
    }
    let checkpoint = Checkpoint::open(path).with_context(|| format!("controlnet `{label}`"))?;
    let beside = path
        .parent()
        .map(|folder| ModelFiles::Folder(folder.to_path_buf()));
    let config = match beside {
        Some(files) if files.has("config.json") => files.json("config.json")?,
        _ => embedded::SDXL_BASE.json("unet/config.json")?,
    };
    Ok((checkpoint, config))
}

/// Tells by name what is no ControlNet.
fn recognise(checkpoint: &Checkpoint, label: &str) -> Result<()> {
    let has = |part: &str| checkpoint.entries().any(|(name, _)| name.contains(part));
    let what = if has("lora_controlnet") {
        "a Control-LoRA"
    } else if has("control_add_embedding") || has("task_embedding") {
        "a ControlNet Union"
    } else if has("adapter.body.") || has("body.0.resnets") {
        "a T2I-Adapter"
    } else if has("lora_unet_") || has(".lora_A.") || has(".lora_down.") {
        "a LoRA"
    } else if has("ip_adapter.") {
        "an IP-Adapter"
    } else if has("controlnet_") || has("zero_convs.") {
        return Ok(());
    } else {
        "no ControlNet"
    };
    fail!(
        BadInput, "controlnet `{label}` holds {what}";
        "name a ControlNet for SDXL: a diffusers folder, or its .safetensors file"
    );
}

fn check_family(config: &ControlNetConfig, unet: &UNetConfig, label: &str) -> Result<()> {
    let net = &config.unet;
    let made_for = match (net.addition_embed_type.as_deref(), net.cross_attention_dim) {
        (Some("text_time"), width) if width == unet.cross_attention_dim => "",
        (_, 768) => "SD 1.5",
        (_, 1024) => "SD 2",
        _ => "another model",
    };
    if !made_for.is_empty() {
        fail!(
            BadInput,
            "controlnet `{label}` was made for {made_for} (cross_attention_dim {}); this model has {}",
            net.cross_attention_dim,
            unet.cross_attention_dim;
            "use a ControlNet made for SDXL"
        );
    }
    if net.block_out_channels != unet.block_out_channels || net.layers_per_block != unet.layers_per_block {
        fail!(
            BadInput,
            "controlnet `{label}` was made for a denoiser of widths {:?}; this model has {:?}",
            net.block_out_channels,
            unet.block_out_channels;
            "use a ControlNet made for this model"
        );
    }
    Ok(())
}
