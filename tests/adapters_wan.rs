//! WAN's adapters in the spellings of diffusers, musubi and ComfyUI, against their formula.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use ourvidz::adapters::{Adapter, Merged, Network, Part, ScaledAdapter};
use ourvidz::device::Precision;
use ourvidz::models::sdxl_unet::{UNet, UNetConfig};
use ourvidz::models::wan_transformer::WanTransformer;
use ourvidz::pipelines::Residency;
use ourvidz::pipelines::{Lora, VideoPipeline};
use ourvidz::weights::vars::Mode;
use ourvidz::weights::{Checkpoint, ModelFiles, NameTable, Parameters, Vars};
use safetensors::{Dtype, tensor::TensorView};

use crate::full_size::{Manifest, manifest, write_sparse};
use crate::parity_models::{assert_close, data};
use crate::parity_wan::{cases, open_with, request};

/// diffusers' name, then the authors'.
const LAYERS: &[(&str, &str)] = &[
    ("blocks.0.attn1.to_q", "blocks.0.self_attn.q"),
    ("blocks.1.attn2.to_out.0", "blocks.1.cross_attn.o"),
    ("blocks.0.ffn.net.0.proj", "blocks.0.ffn.0"),
    ("blocks.1.ffn.net.2", "blocks.1.ffn.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("patch_embedding", "patch_embedding"),
];
const RANK: usize = 3;
const ALPHA: f32 = 1.5;

#[derive(Clone, Copy)]
enum Spelling {
    Diffusers,
    Musubi,
    ComfyUi,
}

fn transformer() -> Parameters {
    let files = ModelFiles::Folder(data("wan"));
    let checkpoint = files.checkpoint("transformer").unwrap();
    let device = Device::flex();
    let vars = Vars::new(
        "transformer",
        &checkpoint,
        NameTable::Diffusers,
        &device,
        Some(burn::tensor::DType::F32),
        Mode::Load,
    );
    let config = files.json("transformer/config.json").unwrap();
    WanTransformer::load(&vars, config).unwrap().parameters
}

/// Numbers that look random and are the same each time.
fn numbers(seed: usize, count: usize) -> Vec<f32> {
    let number = |i: usize| ((i * 7919 + seed * 104_729 + 13) % 1009) as f32 / 1009.0 - 0.5;
    (0..count).map(number).collect()
}

/// Down and up of a layer, each row by row.
fn factors(layer: usize, shape: &[usize]) -> [Vec<f32>; 2] {
    let inputs: usize = shape[1..].iter().product();
    [
        numbers(layer, RANK * inputs),
        numbers(layer + 50, shape[0] * RANK),
    ]
}

fn write(path: &Path, spelling: Spelling, parameters: &Parameters) {
    let mut tensors: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for (i, (own, original)) in LAYERS.iter().enumerate() {
        let shape = parameters.get(&format!("{own}.weight")).unwrap().shape().to_vec();
        let [down, up] = factors(i, &shape);
        let key = match spelling {
            Spelling::Diffusers => format!("transformer.{own}"),
            Spelling::Musubi => format!("lora_unet_{}", original.replace('.', "_")),
            Spelling::ComfyUi => format!("diffusion_model.{original}"),
        };
        let [down_name, up_name] = match spelling {
            Spelling::Musubi => ["lora_down.weight", "lora_up.weight"],
            _ => ["lora_A.weight", "lora_B.weight"],
        };
        let mut down_shape = shape.clone();
        down_shape[0] = RANK;
        tensors.push((format!("{key}.{down_name}"), down_shape, down));
        tensors.push((format!("{key}.{up_name}"), vec![shape[0], RANK], up));
        if !matches!(spelling, Spelling::Diffusers) {
            tensors.push((format!("{key}.alpha"), vec![], vec![ALPHA]));
        }
    }
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, _, values)| values.iter().flat_map(|v| v.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (
            name.clone(),
            TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap(),
        )
    });
    // PEFT keeps its alpha in the header.
    let peft = format!(r#"{{"transformer.r": {RANK}, "transformer.lora_alpha": {ALPHA}}}"#);
    let metadata = std::collections::HashMap::from([("lora_adapter_metadata".to_string(), peft)]);
    let metadata = matches!(spelling, Spelling::Diffusers).then_some(metadata);
    safetensors::serialize_to_file(views, metadata, path).unwrap();
}

/// `alpha / rank · up · down`, number by number.
fn expected(layer: usize, shape: &[usize], scale: f32) -> Tensor<2> {
    let inputs: usize = shape[1..].iter().product();
    let [down, up] = factors(layer, shape);
    let mut values = Vec::with_capacity(shape[0] * inputs);
    for o in 0..shape[0] {
        for i in 0..inputs {
            let sum: f32 = (0..RANK).map(|r| up[o * RANK + r] * down[r * inputs + i]).sum();
            values.push(sum * ALPHA / RANK as f32 * scale);
        }
    }
    Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([shape[0], inputs])
}

#[test]
fn wan_adapters_add_the_same_in_every_spelling() {
    let folder = tempfile::tempdir().unwrap();
    for spelling in [Spelling::Diffusers, Spelling::Musubi, Spelling::ComfyUi] {
        let parameters = transformer();
        let before: BTreeMap<&str, Tensor<2>> = LAYERS
            .iter()
            .map(|(own, _)| (*own, parameters.get(&format!("{own}.weight")).unwrap().matrix()))
            .collect();
        let path = folder.path().join("wan.safetensors");
        write(&path, spelling, &parameters);
        let adapter = ScaledAdapter {
            adapter: Arc::new(Adapter::open(&path).unwrap()),
            scale: 0.8,
        };
        let network = [Network {
            part: Part::WanTransformer,
            parameters: &parameters,
        }];
        let unknown = Merged::default().set(&network, "WAN", &[adapter]).unwrap();
        assert!(unknown.is_empty(), "{unknown:?}");
        for (i, (own, _)) in LAYERS.iter().enumerate() {
            let parameter = parameters.get(&format!("{own}.weight")).unwrap();
            let added = parameter.matrix() - before[own].clone();
            assert_close(own, added, expected(i, parameter.shape(), 0.8));
        }
    }
}

#[test]
fn videos_follow_adapters_and_forget_them_whether_networks_stay_or_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("wan.safetensors");
    write(&file, Spelling::Musubi, &transformer());
    let case = &cases()[0];
    let mut videos = Vec::new();
    for residency in [Residency::Keep, Residency::InTurn] {
        let mut pipeline = open_with(&data("wan"), Precision::F32, residency, None);
        for scale in [None, Some(0.8), None] {
            let loras = scale.map(|scale| Lora {
                file: file.clone(),
                scale,
            });
            let mut request = request(case);
            request.loras = loras.into_iter().collect();
            videos.push(pipeline.text_to_video(&request, &mut |_| Ok(())).unwrap().frames);
        }
    }
    assert_ne!(videos[0], videos[1]);
    assert_eq!(videos[0], videos[2], "nothing is left of the adapter");
    assert_eq!(videos[..3], videos[3..], "loading in turn changes no pixel");
}

/// kohya's usual choice of SDXL's layers: every projection of every transformer block.
fn full_size_lora(unet: &Manifest) -> Manifest {
    let mut tensors = BTreeMap::new();
    for (name, (_, shape)) in &unet.tensors {
        let Some(layer) = name.strip_suffix(".weight") else {
            continue;
        };
        if !layer.contains(".attentions.") || shape.len() != 2 {
            continue;
        }
        let key = format!("lora_unet_{}", layer.replace('.', "_"));
        let f16 = |shape| ("F16".to_string(), shape);
        tensors.insert(format!("{key}.lora_down.weight"), f16(vec![32, shape[1]]));
        tensors.insert(format!("{key}.lora_up.weight"), f16(vec![shape[0], 32]));
    }
    Manifest { tensors }
}

#[test]
#[ignore = "measures: 5 GB of sparse files, minutes"]
fn merging_at_full_size_beside_loading() {
    let folder = tempfile::tempdir().unwrap();
    let (weights, lora) = (
        folder.path().join("unet.safetensors"),
        folder.path().join("lora.safetensors"),
    );
    let unet_manifest = manifest("sdxl-unet");
    write_sparse(&weights, &unet_manifest);
    write_sparse(&lora, &full_size_lora(&unet_manifest));
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/sdxl-base/unet/config.json");
    let config: UNetConfig = serde_json::from_slice(&std::fs::read(assets).unwrap()).unwrap();

    let start = Instant::now();
    let checkpoint = Checkpoint::open(&weights).unwrap();
    let device = Device::flex();
    let vars = Vars::new(
        "unet",
        &checkpoint,
        NameTable::Diffusers,
        &device,
        None,
        Mode::Load,
    );
    let unet = UNet::load(&vars, config).unwrap();
    vars.finish().into_result().unwrap();
    println!("load   {:6.2} s", start.elapsed().as_secs_f64());

    let network = [Network {
        part: Part::Unet,
        parameters: &unet.parameters,
    }];
    let mut merged = Merged::default();
    for (what, scale) in [("merge", Some(0.8)), ("switch", Some(0.5)), ("unmerge", None)] {
        let start = Instant::now();
        let adapters: Vec<ScaledAdapter> = scale
            .map(|scale| ScaledAdapter {
                adapter: Arc::new(Adapter::open(&lora).unwrap()),
                scale,
            })
            .into_iter()
            .collect();
        let unknown = merged.set(&network, "SDXL", &adapters).unwrap();
        assert!(unknown.is_empty());
        println!("{what:7} {:6.2} s", start.elapsed().as_secs_f64());
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    for line in status
        .lines()
        .filter(|l| l.starts_with("VmHWM") || l.starts_with("RssAnon"))
    {
        println!("{line}");
    }
}
