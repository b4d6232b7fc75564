//! WAN 2.1's networks at tiny size against what diffusers, transformers and Wan2.1's own code
//! compute with the same weights, in diffusers' folder and in the original release's files.

use burn::tensor::{DType, Device, Tensor};
use ourvidz::models::umt5::{Umt5Config, Umt5Encoder};
use ourvidz::models::wan_transformer::{WanTransformer, WanTransformerConfig};
use ourvidz::models::wan_vae::{WanVae, WanVaeConfig};
use ourvidz::weights::names_wan::detect;
use ourvidz::weights::vars::Mode;
use ourvidz::weights::{Checkpoint, ModelFiles, Vars};

use crate::parity_models::{Case, assert_close, data, relative_error};

fn load<T>(component: &str, checkpoint: &Checkpoint, make: impl Fn(&Vars) -> T) -> T {
    let table = detect(checkpoint, 2);
    let dtype = Some(DType::F32);
    let vars = Vars::new(component, checkpoint, table, &Device::flex(), dtype, Mode::Load);
    let model = make(&vars);
    vars.finish().into_result().unwrap();
    model
}

fn folder(component: &str) -> Checkpoint {
    ModelFiles::Folder(data("wan")).checkpoint(component).unwrap()
}

fn original(file: &str) -> Checkpoint {
    Checkpoint::open(&data(&format!("wan-original/{file}"))).unwrap()
}

fn config<T: serde::de::DeserializeOwned>(component: &str) -> T {
    ModelFiles::Folder(data("wan"))
        .json(&format!("{component}/config.json"))
        .unwrap()
}

fn check_text(encoder: &Umt5Encoder, case: &Case) {
    let ids = case.ids("ids").remove(0);
    let attended = case.values("mask").0.iter().filter(|&&m| m > 0.0).count();
    let reference: Tensor<3> = case.tensor("hidden");
    let padded = encoder.forward(&ids, attended, &Device::flex(), DType::F32);
    report("umt5", padded, reference.clone());
    let cut = encoder.forward(&ids[..attended], attended, &Device::flex(), DType::F32);
    assert_close("umt5 without padding", cut, reference.narrow(1, 0, attended));
}

fn report<const D: usize>(what: &str, ours: Tensor<D>, reference: Tensor<D>) {
    println!(
        "{what}: {:.1e}",
        relative_error(ours.clone(), reference.clone())
    );
    assert_close(what, ours, reference);
}

#[test]
fn umt5_agrees_with_transformers_and_with_the_original() {
    let config: Umt5Config = config("text_encoder");
    let cases = [
        (folder("text_encoder"), "wan/modules/text.safetensors", 74),
        (
            original("models_t5_umt5-xxl-enc-bf16.pth"),
            "wan-original/text.safetensors",
            64,
        ),
    ];
    for (checkpoint, case, vocab_size) in cases {
        let config = Umt5Config {
            vocab_size,
            ..config.clone()
        };
        let encoder = load("text_encoder", &checkpoint, |vars| {
            Umt5Encoder::load(vars, config.clone()).unwrap()
        });
        check_text(&encoder, &Case::open(case));
    }
}

fn run_transformer(model: &WanTransformer, case: &Case, context: Tensor<3>) -> Tensor<5> {
    let sample: Tensor<4> = {
        let (_, shape) = case.values("sample");
        case.tensor::<5>("sample")
            .reshape([shape[1], shape[2], shape[3], shape[4]])
    };
    let sample = sample.unsqueeze::<5>();
    let [_, _, frames, height, width] = sample.dims();
    let rope = model.rope([frames, height, width], &Device::flex()).unwrap();
    let text = model.text_cache(context, DType::F32);
    let control = model.config.vace_layers.is_some().then(|| {
        let scales: Vec<f64> = case
            .values("control_scale")
            .0
            .iter()
            .map(|&s| f64::from(s))
            .collect();
        model.control(case.tensor("control"), &scales, DType::F32)
    });
    let timestep = case.values("timestep").0[0];
    model.forward(sample, timestep, &rope, &text, control.as_ref(), DType::F32)
}

#[test]
fn the_transformer_agrees_with_diffusers() {
    let case = Case::open("wan/modules/transformer.safetensors");
    let model = load("transformer", &folder("transformer"), |vars| {
        WanTransformer::load(vars, config("transformer")).unwrap()
    });
    let output = run_transformer(&model, &case, case.tensor("context"));
    report("transformer", output, case.tensor("output"));
}

#[test]
fn the_transformer_agrees_with_the_original_from_its_names() {
    let case = Case::open("wan-original/transformer.safetensors");
    let checkpoint = original("diffusion_pytorch_model.safetensors");
    let model = load("transformer", &checkpoint, |vars| {
        WanTransformer::load(vars, config("transformer")).unwrap()
    });
    let context: Tensor<2> = case.tensor("context");
    let [length, width] = context.dims();
    let zeros = Tensor::zeros([512 - length, width], &Device::flex());
    let context = Tensor::cat(vec![context, zeros], 0).unsqueeze::<3>();
    let sample = case.tensor::<4>("sample").unsqueeze::<5>();
    let [_, _, frames, height, width] = sample.dims();
    let rope = model.rope([frames, height, width], &Device::flex()).unwrap();
    let text = model.text_cache(context, DType::F32);
    let timestep = case.values("timestep").0[0];
    let output = model.forward(sample, timestep, &rope, &text, None, DType::F32);
    report(
        "original transformer",
        output,
        case.tensor::<4>("output").unsqueeze(),
    );
}

#[test]
fn vace_agrees_with_diffusers() {
    let case = Case::open("wan/modules/vace.safetensors");
    let model = load("transformer", &folder("vace_transformer"), |vars| {
        WanTransformer::load(vars, config::<WanTransformerConfig>("vace_transformer")).unwrap()
    });
    let output = run_transformer(&model, &case, case.tensor("context"));
    report("vace", output, case.tensor("output"));
}

fn check_vae(vae: &WanVae, case: &str) {
    let file = Case::open(case);
    report(
        &format!("{case} encode"),
        vae.encode(file.tensor("video")),
        file.tensor("mean"),
    );
    report(
        &format!("{case} decode"),
        vae.decode(file.tensor("latents")),
        file.tensor("decoded"),
    );
}

#[test]
fn the_autoencoder_agrees_with_diffusers() {
    let vae = load("vae", &folder("vae"), |vars| {
        WanVae::load(vars, config::<WanVaeConfig>("vae")).unwrap()
    });
    for frames in [1, 5, 13] {
        check_vae(&vae, &format!("wan/modules/vae-{frames}.safetensors"));
    }
}

#[test]
fn the_autoencoder_agrees_with_the_original_from_its_pth() {
    let vae = load("vae", &original("Wan2.1_VAE.pth"), |vars| {
        WanVae::load(vars, config::<WanVaeConfig>("vae")).unwrap()
    });
    check_vae(&vae, "wan-original/vae-5.safetensors");
}

#[test]
fn frames_come_out_as_soon_as_their_latent_is_decoded() {
    let vae = load("vae", &folder("vae"), |vars| {
        WanVae::load(vars, config::<WanVaeConfig>("vae")).unwrap()
    });
    let latents: Tensor<5> = Case::open("wan/modules/vae-13.safetensors").tensor("latents");
    let mut counts = Vec::new();
    let stopped = vae.decode_each(latents, &mut |chunk| {
        counts.push(chunk.dims()[2]);
        anyhow::ensure!(counts.len() < 3, "enough");
        Ok(())
    });
    assert_eq!(counts, [1, 4, 4]);
    assert_eq!(stopped.unwrap_err().to_string(), "enough");
}
