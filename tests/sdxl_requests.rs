//! What requests to SDXL mean beyond the reference cases: relations that hold for any weights, and
//! refusals.

use std::path::Path;
use std::sync::Arc;

use ourvidz::error::{ErrorKind, hint_of, kind_of};
use ourvidz::media::frames::Frame;
use ourvidz::media::resample::{Filter, Rounding, resize};
use ourvidz::pipelines::image::{
    Control, Hires, InitImage, IpAdapter, IpAdapterScale, Mask, Refiner, VaeTiling,
};
use ourvidz::pipelines::{ImagePipeline, ImageRequest};
use ourvidz::registry::{ModelFamily, ModelSpec, Source};
use ourvidz::weights::NameTable;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors, serialize_to_file};

use crate::parity_models::data;
use crate::parity_pipeline::psnr_to_reference;
use crate::parity_sdxl_pictures::{cases, open};

fn request() -> ImageRequest {
    ImageRequest {
        prompt: "a castle on a hill".into(),
        seeds: vec![42],
        num_inference_steps: 4,
        guidance_scale: 6.0,
        width_px: 64,
        height_px: 64,
        scheduler: Some("euler".into()),
        ..ImageRequest::default()
    }
}

fn tiny() -> Box<dyn ImagePipeline> {
    open(data("sdxl"))
}

fn draw(pipeline: &mut dyn ImagePipeline, request: &ImageRequest) -> Frame {
    let output = pipeline.text_to_image(request, &mut |_| Ok(()));
    output.unwrap().frames.remove(0)
}

fn db(a: &Frame, b: &Frame) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let pixels = (b.width * b.height) as usize;
    let planar: Vec<f32> = (0..3)
        .flat_map(|c| (0..pixels).map(move |p| 3 * p + c))
        .map(|i| f32::from(b.rgb[i]) / 255.0)
        .collect();
    psnr_to_reference(std::slice::from_ref(a), &planar)
}

fn picture(relative: &str) -> Arc<Frame> {
    Arc::new(crate::parity_sdxl::picture(relative))
}

fn init(strength: f64, mask: Option<Mask>) -> Option<InitImage> {
    Some(InitImage {
        picture: picture("inpaint/image.png"),
        strength,
        mask,
    })
}

fn control(model: &Path) -> Control {
    Control {
        model: model.to_path_buf(),
        picture: picture("controlnet/control.png"),
        scale: 0.7,
        start: 0.0,
        end: 1.0,
        guess_mode: false,
    }
}

fn adapter(file: &Path, pictures: Vec<Arc<Frame>>) -> IpAdapter {
    IpAdapter {
        file: file.to_path_buf(),
        image_encoder: data("sdxl-complete/ip-adapter/image_encoder"),
        pictures,
        scale: IpAdapterScale::All(0.6),
    }
}

#[test]
fn hires_is_the_first_picture_enlarged_and_refined() {
    let mut pipeline = tiny();
    let both = ImageRequest {
        hires: Some(Hires {
            scale: 1.5,
            strength: 0.5,
        }),
        ..request()
    };
    let made = draw(&mut *pipeline, &both);
    let small = draw(&mut *pipeline, &request());
    let enlarged = resize(&small, 96, 96, Filter::Lanczos, Rounding::Pillow);
    let second = ImageRequest {
        width_px: 96,
        height_px: 96,
        init: Some(InitImage {
            picture: Arc::new(enlarged),
            strength: 0.5,
            mask: None,
        }),
        ..request()
    };
    assert_eq!(made, draw(&mut *pipeline, &second));
}

#[test]
fn a_refiner_that_is_the_base_model_changes_nothing() {
    let mut pipeline = tiny();
    let refined = ImageRequest {
        refiner: Some(Refiner {
            model: ModelSpec::new("same", ModelFamily::Sdxl, Source::Folder(data("sdxl"))),
            start: 0.5,
        }),
        ..request()
    };
    let output = pipeline.text_to_image(&refined, &mut |_| Ok(())).unwrap();
    assert_eq!(output.effective_steps, 4, "two and two");
    assert_eq!(output.frames[0], draw(&mut *pipeline, &request()));
}

#[test]
fn the_kept_part_is_pasted_back_unless_told_otherwise() {
    let mut pipeline = tiny();
    let inpainted = |paste_back| ImageRequest {
        width_px: 96,
        height_px: 96,
        init: init(
            0.8,
            Some(Mask {
                picture: picture("inpaint/mask.png"),
                paste_back,
            }),
        ),
        ..request()
    };
    let (original, mask) = (picture("inpaint/image.png"), picture("inpaint/mask.png"));
    let kept = |frame: &Frame| {
        let pixels = frame
            .rgb
            .chunks(3)
            .zip(original.rgb.chunks(3))
            .zip(mask.rgb.chunks(3));
        let outside = pixels.filter(|(_, m)| m[0] < 128);
        outside.filter(|((new, old), _)| new != old).count()
    };
    let pasted = draw(&mut *pipeline, &inpainted(true));
    assert_eq!(kept(&pasted), 0, "every kept pixel is the picture's own");
    let raw = draw(&mut *pipeline, &inpainted(false));
    assert!(kept(&raw) > 1000, "the autoencoder changes a little everywhere");
    let repainted = |frame: &Frame| -> Vec<u8> {
        let pixels = frame.rgb.chunks(3).zip(mask.rgb.chunks(3));
        pixels
            .filter(|(_, m)| m[0] >= 128)
            .flat_map(|(p, _)| p.to_vec())
            .collect()
    };
    assert_eq!(repainted(&pasted), repainted(&raw));
}

#[test]
fn pictures_of_a_batch_without_a_mask_are_those_of_their_seeds() {
    let mut pipeline = tiny();
    let batch = ImageRequest {
        seeds: vec![5, 6],
        scheduler: Some("euler-ancestral".into()),
        width_px: 96,
        height_px: 96,
        init: init(0.6, None),
        controls: vec![control(&data("sdxl-complete/controlnet/model"))],
        ..request()
    };
    let frames = pipeline.text_to_image(&batch, &mut |_| Ok(())).unwrap().frames;
    for (frame, seed) in frames.iter().zip([5, 6]) {
        let single = ImageRequest {
            seeds: vec![seed],
            ..batch.clone()
        };
        let found = db(frame, &draw(&mut *pipeline, &single));
        assert!(found >= 60.0, "seed {seed}: {found:.1} dB");
    }
}

#[test]
fn two_controlnets_add_up_and_one_of_scale_0_does_nothing() {
    let mut pipeline = tiny();
    let net = data("sdxl-complete/controlnet/model");
    let with = |scales: &[f64]| ImageRequest {
        controls: scales
            .iter()
            .map(|&scale| Control {
                scale,
                ..control(&net)
            })
            .collect(),
        ..request()
    };
    let plain = draw(&mut *pipeline, &request());
    assert_eq!(draw(&mut *pipeline, &with(&[0.0])), plain);
    let one = draw(&mut *pipeline, &with(&[0.7]));
    let two = draw(&mut *pipeline, &with(&[0.4, 0.3]));
    assert!(db(&one, &two) > 60.0 && db(&one, &plain) < 40.0);
}

#[test]
fn the_same_picture_twice_prompts_like_once_and_another_one_differs() {
    let mut pipeline = tiny();
    let file = data("sdxl-complete/ip-adapter/sdxl_models/ip-adapter_sdxl.safetensors");
    let one = picture("ip-adapter/reference.png");
    let with = |pictures| ImageRequest {
        ip_adapters: vec![adapter(&file, pictures)],
        ..request()
    };
    let once = draw(&mut *pipeline, &with(vec![one.clone()]));
    let twice = draw(&mut *pipeline, &with(vec![one.clone(), one.clone()]));
    let mixed = draw(&mut *pipeline, &with(vec![one, picture("ip-adapter/tall.png")]));
    assert!(db(&once, &twice) > 60.0 && db(&once, &mixed) < 45.0);
}

#[test]
fn another_autoencoder_takes_the_place_of_the_models_own() {
    let mut pipeline = tiny();
    let plain = draw(&mut *pipeline, &request());
    let with = |vae| ImageRequest {
        vae: Some(vae),
        ..request()
    };
    for same in [
        "sdxl/vae",
        "sdxl",
        "sdxl/vae/diffusion_pytorch_model.safetensors",
        "sdxl/single-file.safetensors",
    ] {
        assert_eq!(draw(&mut *pipeline, &with(data(same))), plain, "{same}");
    }
    refused(
        &mut *pipeline,
        with(data("sdxl/unet/diffusion_pytorch_model.safetensors")),
        "no autoencoder",
    );
}

#[test]
fn a_tile_as_large_as_the_picture_changes_nothing() {
    let mut pipeline = tiny();
    let tiled = |tile_px| ImageRequest {
        vae_tiling: Some(VaeTiling {
            tile_px,
            overlap: 0.25,
        }),
        ..request()
    };
    let plain = draw(&mut *pipeline, &request());
    assert_eq!(
        draw(&mut *pipeline, &tiled(None)),
        plain,
        "its native size is larger"
    );
    let larger = |request| ImageRequest {
        width_px: 96,
        ..request
    };
    let whole = draw(&mut *pipeline, &larger(request()));
    assert_ne!(draw(&mut *pipeline, &larger(tiled(Some(64)))), whole);
}

fn refused(pipeline: &mut dyn ImagePipeline, request: ImageRequest, says: &str) -> ErrorKind {
    let error = pipeline.text_to_image(&request, &mut |_| Ok(())).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains(says), "`{text}` does not say `{says}`");
    let kind = kind_of(&error);
    assert!(
        kind == ErrorKind::InvalidSpec || hint_of(&error).is_some(),
        "`{text}` names no fix"
    );
    kind
}

/// A safetensors file with tensors of these names and shapes, all zeros.
fn zeros(path: &Path, tensors: &[(&str, &[usize])]) {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape)| vec![0; 4 * shape.iter().product::<usize>()])
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap();
        (name.to_string(), view)
    });
    serialize_to_file(views, None, path).unwrap();
}

#[test]
fn networks_of_another_family_or_kind_are_refused_by_name() {
    let mut pipeline = tiny();
    let room = tempfile::tempdir().unwrap();
    let net = room.path().join("sd15");
    std::fs::create_dir(&net).unwrap();
    let source = data("sdxl-complete/controlnet/model/config.json");
    let mut config: serde_json::Value = serde_json::from_slice(&std::fs::read(source).unwrap()).unwrap();
    config["cross_attention_dim"] = 768.into();
    config["addition_embed_type"] = serde_json::Value::Null;
    std::fs::write(net.join("config.json"), config.to_string()).unwrap();
    let weights = net.join("diffusion_pytorch_model.safetensors");
    zeros(&weights, &[("controlnet_mid_block.weight", &[8, 8, 1, 1])]);
    let with = |model: &Path| ImageRequest {
        controls: vec![control(model)],
        ..request()
    };
    assert_eq!(refused(&mut *pipeline, with(&net), "SD 1.5"), ErrorKind::BadInput);
    for (name, tensor, says) in [
        ("lora", "lora_unet_down.lora_down.weight", "a LoRA"),
        ("ip", "ip_adapter.1.to_k_ip.weight", "an IP-Adapter"),
        ("t2i", "adapter.body.0.weight", "a T2I-Adapter"),
        ("other", "weight", "no ControlNet"),
    ] {
        let file = room.path().join(format!("{name}.safetensors"));
        zeros(&file, &[(tensor, &[2, 2])]);
        assert_eq!(refused(&mut *pipeline, with(&file), says), ErrorKind::BadInput);
    }
    let missing = refused(&mut *pipeline, with(&room.path().join("none")), "none");
    assert_eq!(missing, ErrorKind::InputMissing);
}

#[test]
fn ip_adapters_of_another_width_or_for_another_encoder_are_refused() {
    let mut pipeline = tiny();
    let room = tempfile::tempdir().unwrap();
    let file = room.path().join("sd15.safetensors");
    let plain = |context: usize, input: usize| {
        let shapes: [(&str, &[usize]); 5] = [
            ("image_proj.proj.weight", &[4 * context, input]),
            ("image_proj.proj.bias", &[4 * context]),
            ("image_proj.norm.weight", &[context]),
            ("image_proj.norm.bias", &[context]),
            ("ip_adapter.1.to_k_ip.weight", &[16, context]),
        ];
        zeros(&file, &shapes);
    };
    let with = |file: &Path| ImageRequest {
        ip_adapters: vec![adapter(file, vec![picture("ip-adapter/small.png")])],
        ..request()
    };
    plain(768, 24);
    assert_eq!(
        refused(&mut *pipeline, with(&file), "SD 1.5"),
        ErrorKind::BadInput
    );
    plain(40, 24);
    assert_eq!(
        refused(&mut *pipeline, with(&file), "1 cross-attentions"),
        ErrorKind::BadInput
    );
    zeros(&file, &[("image_proj.proj.0.weight", &[2, 2])]);
    assert_eq!(
        refused(&mut *pipeline, with(&file), "FaceID"),
        ErrorKind::BadInput
    );
    zeros(&file, &[("weight", &[2, 2])]);
    assert_eq!(
        refused(&mut *pipeline, with(&file), "no IP-Adapter"),
        ErrorKind::BadInput
    );

    // An encoder of another width: plus adapters read its states.
    let plus = data("sdxl-complete/ip-adapter/sdxl_models/ip-adapter-plus_sdxl_vit-h.safetensors");
    let mut other = with(&plus);
    other.ip_adapters[0].image_encoder = data("sdxl/text_encoder");
    assert_eq!(refused(&mut *pipeline, other, "image_size"), ErrorKind::BadInput);
    let mut none = with(&plus);
    none.ip_adapters[0].pictures.clear();
    refused(&mut *pipeline, none, "no image");
}

#[test]
fn options_that_contradict_each_other_or_the_model_are_refused() {
    let mut pipeline = tiny();
    let mask = || {
        Some(Mask {
            picture: picture("inpaint/mask.png"),
            paste_back: true,
        })
    };
    let refiner = || {
        Some(Refiner {
            model: ModelSpec::new("same", ModelFamily::Sdxl, Source::Folder(data("sdxl"))),
            start: 0.5,
        })
    };
    let cases: [(ImageRequest, &str); 8] = [
        (
            ImageRequest {
                init: init(0.5, mask()),
                refiner: refiner(),
                ..request()
            },
            "refiner and mask_image",
        ),
        (
            ImageRequest {
                denoising_end: Some(0.7),
                refiner: refiner(),
                ..request()
            },
            "refiner and denoising_end",
        ),
        (
            ImageRequest {
                denoising_start: Some(0.7),
                ..request()
            },
            "denoising_start is given without image",
        ),
        (
            ImageRequest {
                clip_skip: Some(99),
                ..request()
            },
            "clip_skip is 99",
        ),
        (
            ImageRequest {
                guidance_rescale: 1.5,
                ..request()
            },
            "guidance_rescale is 1.5",
        ),
        (
            ImageRequest {
                cfg_interval: Some((0.8, 0.2)),
                ..request()
            },
            "cfg_interval's start is 0.8",
        ),
        (
            ImageRequest {
                init: init(1.5, None),
                ..request()
            },
            "strength is 1.5",
        ),
        (
            ImageRequest {
                hires: Some(Hires {
                    scale: 0.5,
                    strength: 0.5,
                }),
                ..request()
            },
            "hires.scale is 0.5",
        ),
    ];
    for (request, says) in cases {
        assert_eq!(refused(&mut *pipeline, request, says), ErrorKind::InvalidSpec);
    }
    let (_room, inpainting) = cases_model("nine-1.0");
    let mut pipeline = open(inpainting);
    refused(&mut *pipeline, request(), "inpainting model");
}

/// The tiny refiner as one file in the original names.
fn refiner_file(to: &Path) {
    let read = |path: &Path| std::fs::read(path).unwrap();
    let base = read(&data("sdxl/single-file.safetensors"));
    let unet = read(&data(
        "sdxl-complete/variants/unet-refiner/diffusion_pytorch_model.safetensors",
    ));
    let base = SafeTensors::deserialize(&base).unwrap();
    let unet = SafeTensors::deserialize(&unet).unwrap();
    let mut tensors = Vec::new();
    for (name, tensor) in base.tensors() {
        let other = ["conditioner.embedders.0.", "model.diffusion_model."];
        if !other.iter().any(|start| name.starts_with(start)) {
            tensors.push((name.replace("embedders.1.", "embedders.0."), tensor));
        }
    }
    for (name, tensor) in unet.tensors() {
        let origin = NameTable::RefinerUnet.origin(&name).unwrap();
        tensors.push((origin.name, tensor));
    }
    for name in [
        "input_blocks.9.0.op.weight",
        "input_blocks.11.0.in_layers.2.weight",
        "middle_block.1.transformer_blocks.0.attn2.to_k.weight",
        "output_blocks.2.1.conv.weight",
        "output_blocks.5.2.conv.weight",
        "output_blocks.11.0.skip_connection.weight",
        "label_emb.0.2.bias",
    ] {
        let stored = format!("model.diffusion_model.{name}");
        assert!(tensors.iter().any(|(found, _)| *found == stored), "{name}");
    }
    serialize_to_file(tensors, None, to).unwrap();
}

/// A folder of the refiner with these links: to files of the base model, and its own denoiser.
fn refiner_folder(room: &Path, names: &[&str]) {
    for name in names {
        let from = match *name {
            "unet" => data("sdxl-complete/variants/unet-refiner"),
            _ => data("sdxl").join(name),
        };
        std::os::unix::fs::symlink(from, room.join(name)).unwrap();
    }
    let index = r#"{"force_zeros_for_empty_prompt": false, "text_encoder": [null, null]}"#;
    std::fs::write(room.join("model_index.json"), index).unwrap();
}

#[test]
fn a_refiner_in_one_file_draws_what_its_folder_draws() {
    let room = tempfile::tempdir().unwrap();
    refiner_folder(
        room.path(),
        &["unet", "vae", "scheduler", "text_encoder_2", "tokenizer_2"],
    );
    let file = room.path().join("refiner.safetensors");
    refiner_file(&file);
    let single = Source::SingleFile {
        path: file,
        config_from: Some(room.path().to_path_buf()),
    };
    let with = |source| ImageRequest {
        refiner: Some(Refiner {
            model: ModelSpec::new("refiner", ModelFamily::Sdxl, source),
            start: 0.5,
        }),
        ..request()
    };
    let mut pipeline = tiny();
    let whole = draw(&mut *pipeline, &with(Source::Folder(room.path().to_path_buf())));
    assert_eq!(draw(&mut *pipeline, &with(single)), whole);
    assert_ne!(draw(&mut *pipeline, &request()), whole);
}

#[test]
fn a_refiner_with_the_text_encoders_of_a_base_model_is_refused_with_the_fix() {
    let room = tempfile::tempdir().unwrap();
    let (base, refiner) = (data("sdxl"), data("sdxl-complete/variants/unet-refiner"));
    for entry in std::fs::read_dir(&base).unwrap() {
        let name = entry.unwrap().file_name();
        let from = match name == "unet" {
            true => refiner.clone(),
            false => base.join(&name),
        };
        std::os::unix::fs::symlink(from, room.path().join(name)).unwrap();
    }
    let mut pipeline = open(room.path().to_path_buf());
    let kind = refused(&mut *pipeline, request(), "the second text encoder only");
    assert_eq!(kind, ErrorKind::BadInput);
}

/// The model of an inpainting case, with the folder that keeps it.
fn cases_model(name: &str) -> (tempfile::TempDir, std::path::PathBuf) {
    let room = tempfile::tempdir().unwrap();
    let case = cases("inpaint")
        .into_iter()
        .find(|case| case.name() == name)
        .unwrap();
    let folder = case.model(room.path());
    (room, folder)
}
