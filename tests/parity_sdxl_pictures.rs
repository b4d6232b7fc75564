//! SDXL beyond text to image, whole pictures against diffusers': every case of the reference folders
//! but those of single samplers, LoRA and prompt weights, which have tests of their own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ourvidz::media::frames::Frame;
use ourvidz::pipelines::image::{
    Control, FreeU, InitImage, IpAdapter, IpAdapterScale, Mask, MicroConditioning, Refiner, VaeTiling,
};
use ourvidz::pipelines::{ImagePipeline, ImageRequest};
use ourvidz::registry::{ModelFamily, ModelSpec, Source};
use ourvidz::schedulers::{PredictionType, SamplerChoice};
use serde_json::Value;

use crate::micro::load;
use crate::parity_models::{Case, data};
use crate::parity_pipeline::psnr_to_reference;
use crate::parity_sdxl::picture;

/// One case of a folder of `tests/data/sdxl-complete`.
pub struct PictureCase {
    pub folder: PathBuf,
    pub fields: Value,
}

pub fn cases(group: &str) -> Vec<PictureCase> {
    let folder = data(&format!("sdxl-complete/{group}"));
    let text = std::fs::read_to_string(folder.join("cases.json")).unwrap();
    let all: Vec<Value> = serde_json::from_str(&text).unwrap();
    let case = |fields| PictureCase {
        folder: folder.clone(),
        fields,
    };
    all.into_iter().map(case).collect()
}

impl PictureCase {
    pub fn name(&self) -> &str {
        self.text("name").unwrap()
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.fields[field].as_str()
    }

    fn number(&self, field: &str) -> Option<f64> {
        self.fields[field].as_f64()
    }

    fn pair(&self, field: &str) -> Option<[usize; 2]> {
        let value = |i: usize| self.fields[field][i].as_u64().map(|v| v as usize);
        Some([value(0)?, value(1)?])
    }

    fn picture(&self, name: &str) -> Arc<Frame> {
        let group = self.folder.file_name().unwrap().to_str().unwrap();
        Arc::new(picture(&format!("{group}/{name}")))
    }

    fn sampling(&self) -> (String, SamplerChoice) {
        let name = self.text("scheduler_used").or(self.text("scheduler")).unwrap();
        let timesteps = self.fields["timesteps"].as_array();
        let mut choice = SamplerChoice {
            eta: self.number("eta"),
            timesteps: timesteps.map(|all| all.iter().filter_map(Value::as_f64).collect()),
            ..SamplerChoice::default()
        };
        let Some(plain) = name.strip_suffix("-vpred-zsnr") else {
            return (name.into(), choice);
        };
        choice.prediction_type = Some(PredictionType::VPrediction);
        choice.rescale_betas_zero_snr = Some(true);
        (format!("{plain}-trailing"), choice)
    }

    fn sizes(&self) -> MicroConditioning {
        MicroConditioning {
            original_size: self.pair("original_size"),
            crops_coords_top_left: self.pair("crops_coords_top_left").unwrap_or_default(),
            target_size: self.pair("target_size"),
            negative_original_size: self.pair("negative_original_size"),
            negative_crops_coords_top_left: self.pair("negative_crops_coords_top_left").unwrap_or_default(),
            negative_target_size: self.pair("negative_target_size"),
            aesthetic_score: self.number("aesthetic_score"),
            negative_aesthetic_score: self.number("negative_aesthetic_score"),
        }
    }

    fn init(&self) -> Option<InitImage> {
        let mask = self.text("mask_image").map(|name| Mask {
            picture: self.picture(name),
            paste_back: false,
        });
        Some(InitImage {
            picture: self.picture(self.text("image")?),
            strength: self.number("strength").unwrap(),
            mask,
        })
    }

    fn controls(&self) -> Vec<Control> {
        let control = |name: &str| Control {
            model: self.folder.join("model"),
            picture: self.picture(name),
            scale: self.number("controlnet_conditioning_scale").unwrap(),
            start: self.number("control_guidance_start").unwrap_or(0.0),
            end: self.number("control_guidance_end").unwrap_or(1.0),
            guess_mode: self.fields["guess_mode"].as_bool().unwrap_or(false),
        };
        self.text("control_image").map(control).into_iter().collect()
    }

    fn ip_adapters(&self) -> Vec<IpAdapter> {
        let adapters = self.fields["adapters"].as_array().into_iter().flatten();
        let adapter = |fields: &Value| IpAdapter {
            file: self
                .folder
                .join("sdxl_models")
                .join(fields["file"].as_str().unwrap()),
            image_encoder: self.folder.join("image_encoder"),
            pictures: vec![self.picture(fields["image"].as_str().unwrap())],
            scale: scale(&fields["scale"]),
        };
        adapters.map(adapter).collect()
    }

    fn refiner(&self) -> Option<Refiner> {
        let folder = self.folder.join(self.text("refiner")?);
        Some(Refiner {
            model: ModelSpec::new("refiner", ModelFamily::Sdxl, Source::Folder(folder)),
            start: self.number("denoising_end")?,
        })
    }

    pub fn request(&self) -> ImageRequest {
        let (scheduler, sampling) = self.sampling();
        let init = self.init();
        let side = |field: &str, of: fn(&Frame) -> u32| match self.number(field) {
            Some(side) => side as usize,
            None => of(&init.as_ref().unwrap().picture) as usize / 8 * 8,
        };
        let freeu = &self.fields["freeu"];
        let factor = |name: &str| freeu[name].as_f64().unwrap();
        let text = |field: &str| self.text(field).map(String::from);
        ImageRequest {
            prompt: text("prompt").unwrap(),
            prompt_2: text("prompt_2"),
            negative_prompt: text("negative_prompt"),
            negative_prompt_2: text("negative_prompt_2"),
            clip_skip: self.number("clip_skip").map(|n| n as usize),
            seeds: self.fields["seeds"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_u64)
                .collect(),
            num_inference_steps: self.number("num_inference_steps").unwrap() as usize,
            guidance_scale: self.number("guidance_scale").unwrap(),
            guidance_rescale: self.number("guidance_rescale").unwrap_or(0.0),
            guided_steps: self.number("guided_steps").map(|n| n as usize),
            width_px: side("width", |frame| frame.width),
            height_px: side("height", |frame| frame.height),
            scheduler: Some(scheduler),
            sampling,
            sizes: self.sizes(),
            init,
            controls: self.controls(),
            ip_adapters: self.ip_adapters(),
            refiner: self.refiner(),
            freeu: freeu.is_object().then(|| FreeU {
                s1: factor("s1"),
                s2: factor("s2"),
                b1: factor("b1"),
                b2: factor("b2"),
            }),
            vae_tiling: self.number("tile_sample_min_size").map(|tile| VaeTiling {
                tile_px: Some(tile as usize),
                overlap: self.number("tile_overlap_factor").unwrap(),
            }),
            ..ImageRequest::default()
        }
    }

    /// The base model, with the denoiser that the case names.
    pub fn model(&self, room: &Path) -> PathBuf {
        let alone = self.number("denoising_start").is_none();
        match (self.text("unet"), self.text("refiner")) {
            (Some(unet), _) if !unet.contains("..") => with_denoiser(room, &self.folder.join(unet), false),
            (_, Some(unet)) if alone => with_denoiser(room, &self.folder.join(unet), true),
            _ => data("sdxl"),
        }
    }
}

fn scale(value: &Value) -> IpAdapterScale {
    let Some(parts) = value.as_object() else {
        return IpAdapterScale::All(value.as_f64().unwrap());
    };
    let blocks = |part: &str| -> BTreeMap<usize, Vec<f64>> {
        let named = parts.get(part).and_then(Value::as_object).into_iter().flatten();
        let one = |(name, scales): (&String, &Value)| {
            let number = name.strip_prefix("block_").unwrap().parse().unwrap();
            (
                number,
                scales
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter_map(Value::as_f64)
                    .collect(),
            )
        };
        named.map(one).collect()
    };
    IpAdapterScale::Blocks {
        down: blocks("down"),
        mid: Vec::new(),
        up: blocks("up"),
    }
}

/// The tiny model with another denoiser; a refiner has no first text encoder.
fn with_denoiser(room: &Path, unet: &Path, is_refiner: bool) -> PathBuf {
    let folder = room.join(unet.file_name().unwrap());
    copy(&data("sdxl"), &folder, &|name| {
        name != "unet" && name != "single-file.safetensors" && !(is_refiner && name == "text_encoder")
    });
    copy(unet, &folder.join("unet"), &|_| true);
    if is_refiner {
        let index = folder.join("model_index.json");
        let mut fields: Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
        fields["text_encoder"] = serde_json::json!([null, null]);
        fields["tokenizer"] = serde_json::json!([null, null]);
        fields["force_zeros_for_empty_prompt"] = false.into();
        std::fs::write(&index, fields.to_string()).unwrap();
    }
    folder
}

fn copy(from: &Path, to: &Path, wanted: &dyn Fn(&str) -> bool) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_string();
        if !wanted(&name) {
            continue;
        }
        match path.is_dir() {
            true => copy(&path, &to.join(name), wanted),
            false => drop(std::fs::copy(&path, to.join(name)).unwrap()),
        }
    }
}

pub fn open(folder: PathBuf) -> Box<dyn ImagePipeline> {
    load(&ModelSpec::new("tiny", ModelFamily::Sdxl, Source::Folder(folder)))
}

fn check_all(group: &str) {
    let images = Case::open(&format!("sdxl-complete/{group}/images.safetensors"));
    let room = tempfile::tempdir().unwrap();
    let mut pipelines: BTreeMap<PathBuf, Box<dyn ImagePipeline>> = BTreeMap::new();
    let mut failed = Vec::new();
    for case in cases(group) {
        let folder = case.model(room.path());
        let pipeline = pipelines.entry(folder.clone()).or_insert_with(|| open(folder));
        let made = pipeline.text_to_image(&case.request(), &mut |_| Ok(()));
        let found = match made {
            Ok(output) => {
                let (reference, shape) = images.values(case.name());
                assert_eq!(shape[0], output.frames.len());
                let reference: Vec<f32> = reference.iter().map(|v| v / 255.0).collect();
                psnr_to_reference(&output.frames, &reference)
            }
            Err(error) => {
                println!("{}: {error:#}", case.name());
                0.0
            }
        };
        println!("{group}/{:32} {found:.1} dB", case.name());
        if found < 50.0 {
            failed.push(format!("{}: {found:.1} dB", case.name()));
        }
    }
    assert!(failed.is_empty(), "{group}, below 50 dB: {failed:?}");
}

#[test]
fn image_to_image_agrees_with_diffusers() {
    check_all("img2img");
}

#[test]
fn inpainting_agrees_with_diffusers_for_four_and_nine_channels() {
    check_all("inpaint");
}

#[test]
fn controlnets_agree_with_diffusers() {
    check_all("controlnet");
}

#[test]
fn ip_adapters_agree_with_diffusers() {
    check_all("ip-adapter");
}

#[test]
fn variants_agree_with_diffusers() {
    check_all("variants");
}

#[test]
fn freeu_tiling_and_partial_guidance_agree_with_diffusers() {
    check_all("extras");
}
