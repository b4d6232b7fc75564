//! IP-Adapters: pictures as prompts beside the text.

use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result};
use burn::tensor::{DType, Device, Tensor};

use super::parts::Noted;
use super::pictures;
use crate::fail;
use crate::media::frames::Frame;
use crate::models::clip_vision::{ClipVisionConfig, ClipVisionModel};
use crate::models::ip_adapter::{IpAdapter, IpAdapterKind, IpAdapterShape};
use crate::models::sdxl_unet::{CrossPlace, Part, Prepared, UNet};
use crate::pipelines::image::{self, IpAdapterScale};
use crate::weights::vars::Mode;
use crate::weights::{Checkpoint, ModelFiles, NameTable, Vars};

/// Loads an adapter for a denoiser.
///
/// # Errors
/// `InputMissing` for a file that is not there, `BadInput` for one that holds something else or was
/// made for another model.
pub fn load_adapter(path: &Path, unet: &UNet, device: &Device, dtype: DType) -> Result<Noted<IpAdapter>> {
    let label = path.display().to_string();
    let checkpoint = Checkpoint::open(path).with_context(|| format!("ip_adapter `{label}`"))?;
    let shape = IpAdapterShape::of(&checkpoint, &label)?;
    let places = unet.cross_places();
    let width = unet.config.cross_attention_dim;
    if shape.cross_attention_dim != width || shape.layers != places.len() {
        let made_for = match shape.cross_attention_dim {
            768 => "SD 1.5",
            2048 => "SDXL",
            _ => "another model",
        };
        fail!(
            BadInput,
            "ip_adapter `{label}` was made for {made_for}: context width {} and {} cross-attentions; this model has {width} and {}",
            shape.cross_attention_dim,
            shape.layers,
            places.len();
            "use an IP-Adapter made for this model"
        );
    }
    let vars = Vars::new(
        "ip_adapter",
        &checkpoint,
        NameTable::Diffusers,
        device,
        Some(dtype),
        Mode::Load,
    );
    let adapter = IpAdapter::load(&vars, shape, &places);
    let report = vars.finish();
    let note = report
        .into_result()
        .with_context(|| format!("ip_adapter `{label}`"))?;
    Ok((Rc::new(adapter), note))
}

/// Loads the encoder that adapters read pictures with.
///
/// # Errors
/// `InputMissing` or `BadInput`, naming the file.
pub fn load_encoder(folder: &Path, device: &Device, dtype: DType) -> Result<Noted<ClipVisionModel>> {
    let label = folder.display().to_string();
    if !folder.is_dir() {
        fail!(
            InputMissing, "image_encoder `{label}`: no such folder";
            "name the folder with the CLIP vision model's config.json and model.safetensors"
        );
    }
    let files = ModelFiles::Folder(folder.to_path_buf());
    let config: ClipVisionConfig = files.json("config.json")?;
    let checkpoint = files.checkpoint("")?;
    let vars = Vars::new(
        "image_encoder",
        &checkpoint,
        NameTable::Diffusers,
        device,
        Some(dtype),
        Mode::Load,
    );
    let model = ClipVisionModel::load(&vars, config).with_context(|| format!("image_encoder `{label}`"))?;
    let report = vars.finish();
    let note = report
        .into_result()
        .with_context(|| format!("image_encoder `{label}`"))?;
    Ok((Rc::new(model), note))
}

/// Lets a denoiser attend to the pictures of one adapter, beside what `prepared` has.
///
/// # Errors
/// `BadInput` when the encoder does not give what the adapter reads.
pub fn attach(
    prepared: &mut Prepared,
    asked: &image::IpAdapter,
    adapter: &IpAdapter,
    encoder: &ClipVisionModel,
    places: &[CrossPlace],
    guided: bool,
) -> Result<()> {
    check_encoder(asked, adapter, encoder)?;
    let scales = scales(&asked.scale, places)?;
    let dtype = prepared.added().dtype();
    let [negative, positive] = embeds(
        adapter,
        encoder,
        &asked.pictures,
        &prepared.added().device(),
        dtype,
    );
    let mut rows = vec![adapter.tokens(positive)];
    if guided {
        rows.insert(0, adapter.tokens(negative));
    }
    let tokens = Tensor::cat(rows, 0);
    let layers = scales.iter().enumerate();
    prepared.add_pictures(
        layers
            .map(|(place, &scale)| (scale != 0.0).then(|| (adapter.keys_values(place, &tokens), scale)))
            .collect(),
    );
    Ok(())
}

/// What the adapter reads of no picture, and of these. The negative is zeros for plain adapters, and
/// the encoder's view of zeros for plus ones.
fn embeds(
    adapter: &IpAdapter,
    encoder: &ClipVisionModel,
    frames: &[std::sync::Arc<Frame>],
    device: &Device,
    dtype: DType,
) -> [Tensor<3>; 2] {
    let side = encoder.config.image_size;
    let pixels = frames.iter().map(|frame| pictures::to_clip(frame, side, device));
    let pixels = Tensor::cat(pixels.collect(), 0).cast(dtype);
    match adapter.shape.kind {
        IpAdapterKind::Plain { .. } => {
            let embeds = encoder.forward(pixels).image_embeds.unsqueeze_dim::<3>(1);
            [embeds.zeros_like(), embeds]
        }
        IpAdapterKind::Plus { .. } => {
            [pixels.zeros_like(), pixels].map(|pixels| encoder.forward(pixels).penultimate)
        }
    }
}

fn check_encoder(asked: &image::IpAdapter, adapter: &IpAdapter, encoder: &ClipVisionModel) -> Result<()> {
    let given = match adapter.shape.kind {
        IpAdapterKind::Plain { .. } => encoder.config.projection_dim,
        IpAdapterKind::Plus { .. } => encoder.config.hidden_size,
    };
    if given != adapter.shape.input_dim {
        fail!(
            BadInput,
            "ip_adapter `{}` reads {} channels of an image encoder; `{}` gives {given}",
            asked.file.display(),
            adapter.shape.input_dim,
            asked.image_encoder.display();
            "use the encoder that the adapter was made with: adapters named vit-h need CLIP ViT-H, others ViT-bigG"
        );
    }
    if asked.pictures.is_empty() {
        fail!(InvalidSpec, "ip_adapter `{}` has no image", asked.file.display(); "give at least one");
    }
    Ok(())
}

/// The scale at each cross-attention.
///
/// # Errors
/// `InvalidSpec` for a block or a number of layers that the denoiser does not have.
fn scales(scale: &IpAdapterScale, places: &[CrossPlace]) -> Result<Vec<f64>> {
    let (down, mid, up) = match scale {
        IpAdapterScale::All(scale) => return Ok(vec![*scale; places.len()]),
        IpAdapterScale::Blocks { down, mid, up } => (down, mid, up),
    };
    let layers = |part: Part, block: usize| {
        let inside = places.iter().filter(|p| p.part == part && p.block == block);
        inside.map(|p| p.layer + 1).max().unwrap_or(0)
    };
    let mid = (!mid.is_empty()).then_some((Part::Mid, 0, mid));
    let named = down.iter().map(|(b, s)| (Part::Down, *b, s));
    let named = named.chain(up.iter().map(|(b, s)| (Part::Up, *b, s))).chain(mid);
    let mut all = vec![0.0; places.len()];
    for (part, block, scales) in named {
        let has = layers(part, block);
        if scales.len() != has {
            fail!(
                InvalidSpec,
                "ip_adapter scale: {}.block_{block} has {} numbers; this model has {has} attention layers there",
                format!("{part:?}").to_lowercase(),
                scales.len()
            );
        }
        for (place, scale) in places.iter().zip(&mut all) {
            if place.part == part && place.block == block {
                *scale = scales[place.layer];
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places() -> Vec<CrossPlace> {
        let place = |(part, block, layer)| CrossPlace {
            part,
            block,
            layer,
            channels: 1,
            heads: 1,
        };
        [
            (Part::Down, 2, 0),
            (Part::Down, 2, 1),
            (Part::Mid, 0, 0),
            (Part::Up, 0, 0),
            (Part::Up, 0, 1),
            (Part::Up, 0, 1),
            (Part::Up, 0, 2),
        ]
        .map(place)
        .to_vec()
    }

    #[test]
    fn style_and_layout_reach_one_layer_each() {
        let style = scales(&IpAdapterScale::style(0.5), &places()).unwrap();
        assert_eq!(style, [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0]);
        let layout = scales(&IpAdapterScale::layout(0.5), &places()).unwrap();
        assert_eq!(layout, [0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn scales_for_blocks_that_are_not_there_are_refused() {
        let wrong = IpAdapterScale::Blocks {
            down: [(1, vec![1.0])].into(),
            mid: Vec::new(),
            up: [].into(),
        };
        let error = scales(&wrong, &places()).unwrap_err().to_string();
        assert!(
            error.contains("down.block_1") && error.contains("0 attention"),
            "{error}"
        );
    }
}
