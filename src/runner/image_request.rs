//! An image job in the pipeline's words, its pictures decoded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;

use super::inputs;
use crate::fail;
use crate::job::spec_parts::{self, IpScale, Tiling};
use crate::job::{Diffusion, Follow, Images, Job, LoraFile, Options};
use crate::media::canny::edges;
use crate::media::fit::fit;
use crate::media::frames::Frame;
use crate::media::manifest::ReferenceRecord;
use crate::media::resample::{Filter, Rounding, resize};
use crate::pipelines::image::{
    Control, FreeU, Hires, InitImage, IpAdapter, IpAdapterScale, Mask, MicroConditioning, Refiner, VaeTiling,
};
use crate::pipelines::{self, ImageRequest, Lora};

const VAE_OVERLAP: f64 = 0.25;

/// A request, and what the manifest says of its pictures and weights.
pub(super) struct Built {
    pub request: ImageRequest,
    pub references: Vec<ReferenceRecord>,
    pub weights: Vec<ReferenceRecord>,
}

/// The request for all pictures of a job.
///
/// # Errors
/// What is wrong with a picture, or with a file that cannot be read.
pub(super) fn build(job: &Job, images: &Images, cache_dir: Option<&Path>) -> Result<Built> {
    let mut pictures = Pictures::read(job)?;
    let (d, config) = (&images.diffusion, &job.spec.config);
    let size = (d.width, d.height);
    let request = ImageRequest {
        prompt: d.prompt.clone(),
        prompt_2: config.prompt_2.clone(),
        negative_prompt: d.negative_prompt.clone(),
        negative_prompt_2: config.negative_prompt_2.clone(),
        prompt_syntax: images.prompt_syntax,
        truncate_prompt: images.truncate_prompt,
        clip_skip: config.clip_skip.map(|n| n as usize),
        seeds: job.seeds.clone(),
        num_inference_steps: d.steps as usize,
        guidance_scale: d.guidance_scale,
        guidance_rescale: config.guidance_rescale.unwrap_or(0.0),
        cfg_interval: config.cfg_interval.map(|[start, end]| (start, end)),
        guided_steps: config.guided_steps.map(|n| n as usize),
        width_px: d.width as usize,
        height_px: d.height as usize,
        scheduler: d.scheduler.clone(),
        sampling: images.sampler.clone(),
        sizes: sizes(config),
        init: init(images, config, &pictures, size)?,
        denoising_start: config.denoising_start,
        denoising_end: config.denoising_end,
        loras: loras(d),
        controls: controls(images, &pictures, size)?,
        ip_adapters: ip_adapters(images, &pictures)?,
        refiner: images.refiner.clone().map(|model| Refiner {
            model,
            start: config.refiner.as_ref().map_or(0.8, |refiner| refiner.start),
        }),
        hires: config.hires.map(|hires| Hires {
            scale: hires.scale,
            strength: hires.strength,
        }),
        freeu: config.freeu.map(|f| FreeU {
            s1: f.s1,
            s2: f.s2,
            b1: f.b1,
            b2: f.b2,
        }),
        vae_tiling: config.vae_tiling.and_then(tiling),
        vae: config
            .vae
            .as_ref()
            .map(PathBuf::from)
            .or(job.model.as_ref().and_then(|model| model.sdxl.vae.clone())),
        deterministic: images.deterministic,
    };
    let mut weights = weights(&request, cache_dir)?;
    weights.extend(lora_records(d, cache_dir)?);
    Ok(Built {
        request,
        references: std::mem::take(&mut pictures.records),
        weights,
    })
}

/// Decoded inputs by what the spec calls them.
struct Pictures {
    frames: BTreeMap<String, Arc<Frame>>,
    records: Vec<ReferenceRecord>,
}

impl Pictures {
    fn read(job: &Job) -> Result<Self> {
        let mut all = Self {
            frames: BTreeMap::new(),
            records: Vec::new(),
        };
        for input in job.inputs.iter().filter(|input| input.field != "expect.image") {
            let picture = inputs::picture(input)?;
            all.frames.insert(input.source.clone(), Arc::new(picture.frame));
            all.records.push(picture.record);
        }
        Ok(all)
    }

    fn get(&self, source: &str) -> Result<Arc<Frame>> {
        match self.frames.get(source) {
            Some(frame) => Ok(frame.clone()),
            None => fail!(Internal, "a picture of the job was not read"),
        }
    }
}

fn sizes(config: &Options) -> MicroConditioning {
    let pair = |sizes: Option<[u32; 2]>| sizes.map(|pair| pair.map(|side| side as usize));
    MicroConditioning {
        original_size: pair(config.original_size),
        crops_coords_top_left: pair(config.crops_coords_top_left).unwrap_or_default(),
        target_size: pair(config.target_size),
        negative_original_size: pair(config.negative_original_size),
        negative_crops_coords_top_left: pair(config.negative_crops_coords_top_left).unwrap_or_default(),
        negative_target_size: pair(config.negative_target_size),
        aesthetic_score: config.aesthetic_score,
        negative_aesthetic_score: config.negative_aesthetic_score,
    }
}

fn init(
    images: &Images,
    config: &Options,
    pictures: &Pictures,
    (width, height): (u32, u32),
) -> Result<Option<InitImage>> {
    let (Some(Follow::Start { strength, fitted, .. }), Some(image)) = (&images.follow, &config.image) else {
        return Ok(None);
    };
    let picture = pictures.get(image)?;
    let mask = config.mask_image.as_ref().map(|mask| {
        Ok::<_, anyhow::Error>(Mask {
            picture: pictures.get(mask)?,
            paste_back: config.no_paste != Some(true),
        })
    });
    Ok(Some(InitImage {
        picture: match fitted {
            true => Arc::new(fit(&picture, width, height)),
            false => picture,
        },
        strength: *strength,
        mask: mask.transpose()?,
    }))
}

fn controls(images: &Images, pictures: &Pictures, (width, height): (u32, u32)) -> Result<Vec<Control>> {
    let control = |control: &spec_parts::Control| {
        let mut picture = pictures.get(&control.image)?;
        if control.preprocess.as_deref() == Some("canny") {
            // At the output's size, so that edges stay a pixel wide.
            let sized = resize(&picture, width, height, Filter::Lanczos, Rounding::Pillow);
            picture = Arc::new(edges(&sized));
        }
        Ok(Control {
            model: PathBuf::from(&control.model),
            picture,
            scale: control.scale,
            start: control.start,
            end: control.end,
            guess_mode: control.guess_mode,
        })
    };
    images.controls.iter().map(control).collect()
}

fn ip_adapters(images: &Images, pictures: &Pictures) -> Result<Vec<IpAdapter>> {
    let adapter = |adapter: &spec_parts::IpAdapter| {
        let frames: Result<Vec<_>> = adapter.image.iter().map(|source| pictures.get(source)).collect();
        Ok(IpAdapter {
            file: PathBuf::from(&adapter.file),
            image_encoder: PathBuf::from(&adapter.image_encoder),
            pictures: frames?,
            scale: ip_scale(&adapter.scale),
        })
    };
    images.ip_adapters.iter().map(adapter).collect()
}

fn ip_scale(scale: &IpScale) -> IpAdapterScale {
    let by_number = |blocks: &BTreeMap<String, Vec<f64>>| {
        let numbered = blocks.iter().filter_map(|(name, scales)| {
            let number = name.strip_prefix("block_")?.parse().ok()?;
            Some((number, scales.clone()))
        });
        numbered.collect()
    };
    match scale {
        IpScale::All(scale) => IpAdapterScale::All(*scale),
        IpScale::Blocks { down, mid, up } => IpAdapterScale::Blocks {
            down: by_number(down),
            mid: mid.clone(),
            up: by_number(up),
        },
    }
}

fn tiling(tiling: Tiling) -> Option<VaeTiling> {
    match tiling {
        Tiling::Switch(false) => None,
        Tiling::Switch(true) => Some(VaeTiling {
            tile_px: None,
            overlap: VAE_OVERLAP,
        }),
        Tiling::Tiles { tile, overlap } => Some(VaeTiling {
            tile_px: tile.map(|px| px as usize),
            overlap,
        }),
    }
}

/// The LoRAs in the pipeline's words.
pub(super) fn loras(d: &Diffusion) -> Vec<Lora> {
    let lora = |found: &LoraFile| Lora {
        file: found.path.clone(),
        scale: found.scale,
    };
    d.loras.iter().map(lora).collect()
}

/// Digests of the LoRAs.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn lora_records(d: &Diffusion, cache_dir: Option<&Path>) -> Result<Vec<ReferenceRecord>> {
    let record = |found: &LoraFile| -> Result<ReferenceRecord> {
        Ok(ReferenceRecord {
            field: found.field.clone(),
            sha256: pipelines::weights_hash(&found.path, cache_dir)?,
            source: found.path.display().to_string(),
        })
    };
    d.loras.iter().map(record).collect()
}

/// Digests of every file of weights beside the model's own.
fn weights(request: &ImageRequest, cache_dir: Option<&Path>) -> Result<Vec<ReferenceRecord>> {
    let mut files: Vec<(String, &Path)> = Vec::new();
    files.extend(request.vae.as_deref().map(|path| ("vae".into(), path)));
    for (i, control) in request.controls.iter().enumerate() {
        files.push((format!("controls[{i}].model"), &control.model));
    }
    for (i, adapter) in request.ip_adapters.iter().enumerate() {
        files.push((format!("ip_adapters[{i}].file"), &adapter.file));
        files.push((format!("ip_adapters[{i}].image_encoder"), &adapter.image_encoder));
    }
    let mut records = Vec::new();
    for (field, path) in files {
        records.push(ReferenceRecord {
            field: format!("config.{field}"),
            sha256: pipelines::weights_hash(path, cache_dir)?,
            source: path.display().to_string(),
        });
    }
    if let Some(refiner) = &request.refiner {
        records.push(ReferenceRecord {
            field: "config.refiner.model".into(),
            sha256: pipelines::weights_hash(refiner.model.path(), cache_dir)?,
            source: refiner.model.name.clone(),
        });
    }
    Ok(records)
}
