//! LoRA and its relatives: what they add to each weight, the pictures that come out, and the way back.

use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::{DType, Device, Tensor};
use ourvidz::adapters::{Adapter, Merged, Network, Part, ScaledAdapter};
use ourvidz::device::Precision;
use ourvidz::error::{ErrorKind, hint_of, kind_of};
use ourvidz::models::clip::ClipTextModel;
use ourvidz::models::sdxl_unet::UNet;
use ourvidz::pipelines::sdxl::SdxlPipeline;
use ourvidz::pipelines::{ImagePipeline, ImageRequest, Lora};
use ourvidz::weights::vars::Mode;
use ourvidz::weights::{ModelFiles, NameTable, Parameters, Vars};

use crate::parity_models::{Case, assert_close, build, config, data};
use crate::parity_pipeline::{from_folder, psnr_to_reference};

#[derive(serde::Deserialize)]
struct LoraCase {
    name: String,
    seeds: Vec<u64>,
    scheduler: String,
    loras: Vec<(String, f64)>,
    prompt: String,
    num_inference_steps: usize,
    guidance_scale: f64,
    width: usize,
    height: usize,
}

fn cases() -> Vec<LoraCase> {
    serde_json::from_str(&std::fs::read_to_string(data("lora/cases.json")).unwrap()).unwrap()
}

fn file(name: &str) -> PathBuf {
    data("lora").join(name)
}

fn request(case: &LoraCase) -> ImageRequest {
    ImageRequest {
        prompt: case.prompt.clone(),
        loras: loras(case),
        seeds: case.seeds.clone(),
        num_inference_steps: case.num_inference_steps,
        guidance_scale: case.guidance_scale,
        width_px: case.width,
        height_px: case.height,
        scheduler: Some(case.scheduler.clone()),
        ..ImageRequest::default()
    }
}

fn loras(case: &LoraCase) -> Vec<Lora> {
    let lora = |(name, scale): &(String, f64)| Lora {
        file: file(name),
        scale: *scale,
    };
    case.loras.iter().map(lora).collect()
}

fn pipeline() -> SdxlPipeline {
    SdxlPipeline::load(&from_folder(), &Device::flex(), Precision::F32).unwrap()
}

/// The weights of the three networks that adapters change.
fn parameters() -> [(Part, &'static str, Parameters); 3] {
    let unet = build("unet", false, |vars| UNet::load(vars, config("unet")).unwrap());
    let one = build("text_encoder", false, |vars| {
        ClipTextModel::load(vars, config("text_encoder"), false).unwrap()
    });
    let two = build("text_encoder_2", false, |vars| {
        ClipTextModel::load(vars, config("text_encoder_2"), true).unwrap()
    });
    [
        (Part::Unet, "unet", unet.parameters),
        (Part::TextEncoder, "text_encoder", one.parameters),
        (Part::TextEncoder2, "text_encoder_2", two.parameters),
    ]
}

fn networks<'a>(parameters: &'a [(Part, &'static str, Parameters); 3]) -> [Network<'a>; 3] {
    parameters.each_ref().map(|(part, _, parameters)| Network {
        part: *part,
        parameters,
    })
}

fn adapter(name: &str, scale: f64) -> ScaledAdapter {
    ScaledAdapter {
        adapter: Arc::new(Adapter::open(&file(name)).unwrap()),
        scale,
    }
}

#[test]
fn every_layer_gets_what_the_reference_adds() {
    let parameters = parameters();
    let deltas = Case::open("lora/deltas.safetensors");
    for name in deltas.names() {
        let [from, part, layer] = name.splitn(3, '/').collect::<Vec<_>>().try_into().unwrap();
        let (_, _, of_part) = parameters.iter().find(|(_, p, _)| *p == part).unwrap();
        let parameter = of_part.get(&format!("{layer}.weight")).unwrap();
        let before = parameter.matrix();
        let mut merged = Merged::default();
        let unknown = merged
            .set(
                &networks(&parameters),
                "SDXL",
                &[adapter(&format!("{from}.safetensors"), 1.0)],
            )
            .unwrap();
        assert!(unknown.is_empty(), "{from}: {unknown:?}");
        let (values, _) = deltas.values(&name);
        let added = parameter.matrix() - before;
        let expected = Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape(added.dims());
        assert_close(&name, added, expected);
        merged.set(&networks(&parameters), "SDXL", &[]).unwrap();
    }
}

#[test]
fn every_picture_with_adapters_agrees_with_diffusers_without_loading_again() {
    let images = Case::open("lora/images.safetensors");
    let mut pipeline = pipeline();
    let mut failed = Vec::new();
    for case in cases() {
        let output = pipeline.text_to_image(&request(&case), &mut |_| Ok(())).unwrap();
        assert!(output.notes.is_empty(), "{}: {:?}", case.name, output.notes);
        let found = psnr_to_reference(&output.frames, &images.values(&case.name).0);
        println!("{:32} {found:.1} dB", case.name);
        if found < 50.0 {
            failed.push(format!("{}: {found:.1} dB", case.name));
        }
    }
    assert!(failed.is_empty(), "below 50 dB: {failed:?}");
}

fn all_bytes(parameters: &[(Part, &'static str, Parameters); 3]) -> Vec<Vec<u8>> {
    let of = |p: &Parameters| -> Vec<Vec<u8>> {
        let bytes = |name: &str| p.get(name).unwrap().matrix().into_data().as_bytes().to_vec();
        p.names().map(bytes).collect()
    };
    parameters.iter().flat_map(|(_, _, p)| of(p)).collect()
}

#[test]
fn weights_are_bit_for_bit_what_they_were_once_adapters_are_gone() {
    let parameters = parameters();
    let before = all_bytes(&parameters);
    let mut merged = Merged::default();
    let networks = networks(&parameters);
    let set = |merged: &mut Merged, adapters: &[ScaledAdapter]| {
        merged.set(&networks, "SDXL", adapters).unwrap();
    };
    let (kohya, dora) = (
        adapter("kohya.safetensors", 0.8),
        adapter("dora-out.safetensors", 1.0),
    );
    set(&mut merged, &[kohya.clone(), dora.clone()]);
    let both = all_bytes(&parameters);
    assert_ne!(both, before);
    set(&mut merged, std::slice::from_ref(&dora));
    let one = all_bytes(&parameters);
    assert_ne!(one, both);
    set(&mut merged, &[]);
    assert_eq!(all_bytes(&parameters), before);
    set(&mut merged, &[dora]);
    assert_eq!(
        all_bytes(&parameters),
        one,
        "nothing of the other adapter is left"
    );
}

#[test]
fn adapters_of_other_families_and_widths_are_refused_by_name_and_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let parameters = parameters();
    let before = all_bytes(&parameters);
    let unet = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k";
    for (layer, width, said) in [
        (
            "lora_unet_double_blocks_0_img_attn_proj",
            4,
            "is for FLUX; this model is SDXL",
        ),
        (
            "lora_unet_blocks_0_self_attn_q",
            4,
            "is for WAN; this model is SDXL",
        ),
        (
            "lora_te_text_model_encoder_layers_0_mlp_fc1",
            4,
            "is for SD 1.x or 2.x; this model is SDXL",
        ),
        (
            "model.layers.0.q",
            4,
            "none of its 1 layers is in this SDXL model",
        ),
        (unet, 768, "is for a model of another width"),
    ] {
        let path = folder.path().join("other.safetensors");
        write_lora(&path, layer, width);
        let other = ScaledAdapter {
            adapter: Arc::new(Adapter::open(&path).unwrap()),
            scale: 1.0,
        };
        let good = adapter("diffusers.safetensors", 1.0);
        let mut merged = Merged::default();
        let error = merged
            .set(&networks(&parameters), "SDXL", &[good, other])
            .unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::BadInput);
        assert!(error.to_string().contains(said), "{error}");
        assert!(hint_of(&error).is_some());
        assert_eq!(all_bytes(&parameters), before, "{layer}");
    }
}

#[test]
fn names_that_no_network_has_are_listed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("extra.safetensors");
    let tensors = [
        ("lora_te1_text_model_encoder_layers_0_self_attn_q_proj", 16),
        ("lora_te1_text_model_encoder_layers_99_self_attn_q_proj", 16),
    ];
    let pairs: Vec<_> = tensors
        .iter()
        .flat_map(|(layer, width)| pair(layer, *width))
        .collect();
    write(&path, &pairs);
    let request = ImageRequest {
        loras: vec![Lora {
            file: path,
            scale: 1.0,
        }],
        ..request(&cases()[0])
    };
    let notes = pipeline().text_to_image(&request, &mut |_| Ok(())).unwrap().notes;
    assert_eq!(notes.len(), 1);
    assert!(
        notes[0].contains("extra: lora_te1_text_model_encoder_layers_99"),
        "{notes:?}"
    );
}

#[test]
fn what_is_no_adapter_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    write(&path, &[("model.weight".into(), vec![2, 2])]);
    let error = Adapter::open(&path).unwrap_err();
    assert!(
        format!("{error:#}").contains("no adapter in it; its tensors are model.weight"),
        "{error:#}"
    );
    let error = Adapter::open(&folder.path().join("gone.safetensors")).unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::InputMissing);
}

fn pair(layer: &str, width: usize) -> [(String, Vec<usize>); 2] {
    [
        (format!("{layer}.lora_down.weight"), vec![2, width]),
        (format!("{layer}.lora_up.weight"), vec![16, 2]),
    ]
}

fn write_lora(path: &std::path::Path, layer: &str, width: usize) {
    write(path, &pair(layer, width));
}

/// A file of f32 tensors full of 0.5.
fn write(path: &std::path::Path, tensors: &[(String, Vec<usize>)]) {
    use safetensors::{Dtype, tensor::TensorView};
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape)| 0.5_f32.to_le_bytes().repeat(shape.iter().product()))
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape), bytes)| {
        (
            name.clone(),
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

#[test]
fn half_precision_weights_stay_in_half_precision_and_come_back_to_the_file() {
    let checkpoint = ModelFiles::Folder(data("sdxl")).checkpoint("unet").unwrap();
    let device = Device::flex();
    let vars = Vars::new(
        "unet",
        &checkpoint,
        NameTable::Diffusers,
        &device,
        None,
        Mode::Load,
    );
    let unet = UNet::load(&vars, config("unet")).unwrap();
    let name = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight";
    let weight = unet.parameters.get(name).unwrap();
    let bytes = || weight.matrix().into_data().as_bytes().to_vec();
    let before = bytes();
    assert_eq!(before, checkpoint.bytes(checkpoint.get(name).unwrap()));

    let network = [Network {
        part: Part::Unet,
        parameters: &unet.parameters,
    }];
    let mut merged = Merged::default();
    merged
        .set(&network, "SDXL", &[adapter("dora-in.safetensors", 1.0)])
        .unwrap();
    let unknown = merged
        .set(&network, "SDXL", &[adapter("kohya.safetensors", 1.0)])
        .unwrap();
    assert!(unknown.iter().all(|name| name.contains("lora_te")), "{unknown:?}");
    assert_eq!(weight.dtype(), DType::F16);
    assert_ne!(bytes(), before);
    merged.set(&network, "SDXL", &[]).unwrap();
    assert_eq!(bytes(), before);
}
