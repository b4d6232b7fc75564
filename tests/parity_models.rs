//! Model code at tiny size against what diffusers and transformers compute with the same weights.
//!
//! The data under `tests/data/sdxl` is cut from the reference cases that
//! `tests/data/make_reference.py` makes (its README there says how): embedding rows that no case
//! uses are zero, and the final images are stored as float16.

use std::path::PathBuf;

use burn::tensor::{DType, Device, Tensor, TensorData};
use ourvidz::models::clip::{ClipTextConfig, ClipTextModel};
use ourvidz::models::sdxl_unet::{Conditioning, UNet, UNetConfig};
use ourvidz::models::sdxl_vae::{Vae, VaeConfig};
use ourvidz::weights::vars::Mode;
use ourvidz::weights::{Checkpoint, ModelFiles, NameTable, Vars};
use safetensors::{Dtype, SafeTensors};

pub fn data(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(relative)
}

/// The tensors of a small reference file, as f32.
pub struct Case(Vec<u8>);

impl Case {
    pub fn open(relative: &str) -> Self {
        Self(std::fs::read(data(relative)).unwrap_or_else(|e| panic!("{relative}: {e}")))
    }

    /// The name of every tensor.
    pub fn names(&self) -> Vec<String> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        file.names().iter().map(|name| name.to_string()).collect()
    }

    pub fn values(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let bytes = view.data();
        let values = match view.dtype() {
            Dtype::F32 => bytes
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
                .collect(),
            Dtype::F16 => bytes
                .chunks_exact(2)
                .map(|b| half::f16::from_le_bytes(b.try_into().unwrap()).to_f32())
                .collect(),
            Dtype::U8 => bytes.iter().map(|&b| f32::from(b)).collect(),
            Dtype::I64 => bytes
                .chunks_exact(8)
                .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32)
                .collect(),
            other => panic!("{name}: {other:?}"),
        };
        (values, view.shape().to_vec())
    }

    pub fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        let (values, shape) = self.values(name);
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    pub fn ids(&self, name: &str) -> Vec<Vec<u32>> {
        let (values, shape) = self.values(name);
        values
            .chunks(shape[1])
            .map(|row| row.iter().map(|&v| v as u32).collect())
            .collect()
    }
}

/// Largest difference relative to the largest reference value.
pub fn relative_error<const D: usize>(ours: Tensor<D>, reference: Tensor<D>) -> f32 {
    assert_eq!(ours.dims(), reference.dims());
    let scale: f32 = reference.clone().abs().max().into_scalar();
    let difference: f32 = (ours - reference).abs().max().into_scalar();
    difference / scale
}

pub fn assert_close<const D: usize>(what: &str, ours: Tensor<D>, reference: Tensor<D>) {
    let error = relative_error(ours, reference);
    assert!(error <= 1e-4, "{what}: relative error {error:.2e}");
}

/// Builds a model from a component, from the folder or from the single file.
pub fn build<T>(component: &str, single: bool, make: impl Fn(&Vars) -> T) -> T {
    let files = ModelFiles::Folder(data("sdxl"));
    let (checkpoint, table) = if single {
        let table = match component {
            "unet" => NameTable::SingleFileUnet,
            "vae" => NameTable::SingleFileVae,
            "text_encoder" => NameTable::SingleFileClipL,
            _ => NameTable::SingleFileClipG,
        };
        (
            Checkpoint::open(&data("sdxl/single-file.safetensors")).unwrap(),
            table,
        )
    } else {
        (
            files.checkpoint(component).unwrap(),
            NameTable::of_component(component, &files.checkpoint(component).unwrap()),
        )
    };
    let dtype = Some(DType::F32);
    let vars = Vars::new(component, &checkpoint, table, &Device::flex(), dtype, Mode::Load);
    let model = make(&vars);
    vars.finish().into_result().unwrap();
    model
}

pub fn config<T: serde::de::DeserializeOwned>(component: &str) -> T {
    ModelFiles::Folder(data("sdxl"))
        .json(&format!("{component}/config.json"))
        .unwrap()
}

#[test]
fn text_encoders_agree_with_transformers_from_folder_and_single_file() {
    let case = Case::open("sdxl/modules/text.safetensors");
    for single in [false, true] {
        let first = build("text_encoder", single, |vars| {
            ClipTextModel::load(vars, config::<ClipTextConfig>("text_encoder"), false).unwrap()
        });
        let second = build("text_encoder_2", single, |vars| {
            ClipTextModel::load(vars, config::<ClipTextConfig>("text_encoder_2"), true).unwrap()
        });
        let one = first.forward(&case.ids("ids"), 0, &Device::flex(), DType::F32);
        let two = second.forward(&case.ids("ids_2"), 0, &Device::flex(), DType::F32);
        assert_close("penultimate_1", one.penultimate, case.tensor("penultimate_1"));
        assert_close("penultimate_2", two.penultimate, case.tensor("penultimate_2"));
        assert_close("pooled", two.text_embeds.unwrap(), case.tensor("pooled"));
    }
}

#[test]
fn the_unet_agrees_with_diffusers_from_folder_and_single_file() {
    let case = Case::open("sdxl/modules/unet.safetensors");
    let time_ids = case
        .values("time_ids")
        .0
        .chunks_exact(6)
        .map(<[f32]>::to_vec)
        .collect();
    let conditioning = Conditioning {
        encoder_hidden_states: case.tensor("context"),
        text_embeds: case.tensor("pooled"),
        time_ids,
        guidance: None,
    };
    for single in [false, true] {
        let unet = build("unet", single, |vars| {
            UNet::load(vars, config::<UNetConfig>("unet")).unwrap()
        });
        let prepared = unet.prepare(&conditioning);
        let output = unet.forward(
            case.tensor("sample"),
            &case.values("timesteps").0,
            &prepared,
            None,
        );
        assert_close("unet", output, case.tensor("output"));
    }
}

#[test]
fn the_autoencoder_agrees_with_diffusers_from_folder_and_single_file() {
    let case = Case::open("sdxl/modules/vae.safetensors");
    for single in [false, true] {
        let vae = build("vae", single, |vars| {
            Vae::load(vars, config::<VaeConfig>("vae")).unwrap()
        });
        let latents = vae.encode(case.tensor("image"));
        assert_close("mean", latents.mean, case.tensor("mean"));
        assert_close("logvar", latents.logvar, case.tensor("logvar"));
        assert_close(
            "decoded",
            vae.decode(case.tensor("latents")),
            case.tensor("decoded"),
        );
    }
}
