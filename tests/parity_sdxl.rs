//! SDXL beyond text to image, module by module, against diffusers and transformers; the data is cut
//! from the reference cases by `tests/data/sdxl-complete/pack.py`.

use burn::tensor::{DType, Device, Tensor};
use ourvidz::media::frames::Frame;
use ourvidz::media::load::load_reference;
use ourvidz::models::clip_vision::ClipVisionModel;
use ourvidz::models::controlnet::{ControlNet, ControlNetConfig};
use ourvidz::models::ip_adapter::{IpAdapter, IpAdapterShape};
use ourvidz::models::sdxl_unet::{Conditioning, FreeU, Prepared, UNet, UNetConfig};
use ourvidz::models::sdxl_vae::{Vae, VaeConfig};
use ourvidz::models::sdxl_vae_tiling::Tiling;
use ourvidz::nn::noise::TorchGenerator;
use ourvidz::pipelines::sdxl::pictures;
use ourvidz::weights::vars::Mode;
use ourvidz::weights::{Checkpoint, ModelFiles, NameTable, Vars};

use crate::parity_models::{Case, assert_close, data, relative_error};

fn load<T>(checkpoint: &Checkpoint, make: impl FnOnce(&Vars) -> T) -> T {
    let device = Device::flex();
    let vars = Vars::new(
        "part",
        checkpoint,
        NameTable::Diffusers,
        &device,
        Some(DType::F32),
        Mode::Load,
    );
    let model = make(&vars);
    vars.finish().into_result().unwrap();
    model
}

fn folder(relative: &str) -> ModelFiles {
    ModelFiles::Folder(data(relative))
}

fn unet(relative: &str) -> UNet {
    let files = folder(relative);
    let config: UNetConfig = files.json("config.json").unwrap();
    load(&files.checkpoint("").unwrap(), |vars| {
        UNet::load(vars, config).unwrap()
    })
}

fn vae() -> Vae {
    let files = folder("sdxl/vae");
    let config: VaeConfig = files.json("config.json").unwrap();
    load(&files.checkpoint("").unwrap(), |vars| {
        Vae::load(vars, config).unwrap()
    })
}

fn conditioning(case: &Case, prefix: &str) -> Conditioning {
    let (ids, shape) = case.values(&format!("{prefix}time_ids"));
    Conditioning {
        encoder_hidden_states: case.tensor(&format!("{prefix}context")),
        text_embeds: case.tensor(&format!("{prefix}pooled")),
        time_ids: ids.chunks_exact(shape[1]).map(<[f32]>::to_vec).collect(),
        guidance: None,
    }
}

/// Data that is stored in half precision.
fn assert_close_to_half(what: &str, ours: Tensor<4>, reference: Tensor<4>) {
    let error = relative_error(ours, reference);
    assert!(error <= 1e-3, "{what}: relative error {error:.2e}");
}

/// A picture of the reference cases.
pub fn picture(relative: &str) -> Frame {
    let bytes = std::fs::read(data(&format!("sdxl-complete/{relative}"))).unwrap();
    load_reference("image", &bytes).unwrap()
}

#[test]
fn posteriors_are_drawn_and_scaled_as_in_diffusers() {
    let case = Case::open("sdxl-complete/img2img/modules.safetensors");
    let vae = vae();
    let posterior = vae.encode(case.tensor("image"));
    assert_close("mean", posterior.mean.clone(), case.tensor("mean"));
    assert_close("logvar", posterior.logvar.clone(), case.tensor("logvar"));
    let mut generator = TorchGenerator::new(42);
    let shape = posterior.mean.dims();
    let device = Device::flex();
    let sample = posterior.sample(generator.randn_like_shape(shape, &device));
    assert_close("sample", sample.clone(), case.tensor("sample"));
    assert_close("latents", vae.scale(sample.clone()), case.tensor("latents"));
    assert_close("unscaled", vae.unscale(vae.scale(sample.clone())), sample);
    let noise = generator.randn_like_shape(shape, &device);
    assert_close("noise", noise, case.tensor("noise"));
}

#[test]
fn pictures_of_any_size_are_resized_as_pillow_does() {
    let case = Case::open("sdxl-complete/img2img/modules.safetensors");
    let device = Device::flex();
    let odd = pictures::at_size(&picture("img2img/odd.png"), [136, 96]);
    assert_close_to_half("odd", pictures::to_signed(&odd, &device), case.tensor("odd"));
}

#[test]
fn masks_are_cut_at_one_half_and_taken_to_the_latents_by_their_corners() {
    let case = Case::open("sdxl-complete/inpaint/modules.safetensors");
    let device = Device::flex();
    let repaint = pictures::Repaint::of(&picture("inpaint/mask.png"), [96, 96]);
    assert_close("mask", repaint.tensor(1, &device), case.tensor("mask"));
    assert_close(
        "latent_mask",
        repaint.tensor(8, &device),
        case.tensor("latent_mask"),
    );
    let init = pictures::to_signed(&picture("inpaint/image.png"), &device);
    assert_close_to_half("init", init, case.tensor("init"));
}

#[test]
fn clip_sees_pictures_as_its_image_processor_gives_them() {
    let case = Case::open("sdxl-complete/ip-adapter/modules.safetensors");
    for name in ["reference", "tall", "small"] {
        let pixels = pictures::to_clip(&picture(&format!("ip-adapter/{name}.png")), 56, &Device::flex());
        assert_close(name, pixels, case.tensor(&format!("pixels/{name}")));
    }
}

fn image_encoder() -> ClipVisionModel {
    let files = folder("sdxl-complete/ip-adapter/image_encoder");
    let config = files.json("config.json").unwrap();
    load(&files.checkpoint("").unwrap(), |vars| {
        ClipVisionModel::load(vars, config).unwrap()
    })
}

#[test]
fn the_vision_encoder_agrees_with_transformers() {
    let case = Case::open("sdxl-complete/ip-adapter/modules.safetensors");
    let output = image_encoder().forward(case.tensor("pixels/reference"));
    assert_close("image_embeds", output.image_embeds, case.tensor("image_embeds"));
    assert_close("penultimate", output.penultimate, case.tensor("penultimate"));
}

#[test]
fn ip_adapters_agree_with_diffusers() {
    let case = Case::open("sdxl-complete/ip-adapter/modules.safetensors");
    let unet = unet("sdxl/unet");
    let places = unet.cross_places();
    for (kind, file) in [
        ("plain", "ip-adapter_sdxl.safetensors"),
        ("plus", "ip-adapter-plus_sdxl_vit-h.safetensors"),
    ] {
        let path = data(&format!("sdxl-complete/ip-adapter/sdxl_models/{file}"));
        let checkpoint = Checkpoint::open(&path).unwrap();
        let shape = IpAdapterShape::of(&checkpoint, file).unwrap();
        let adapter = load(&checkpoint, |vars| IpAdapter::load(vars, shape, &places));
        let embeds = |half: &str| {
            let (values, shape) = case.values(&format!("{kind}/{half}"));
            let rows = values.len() / shape[shape.len() - 1];
            Tensor::<1>::from_floats(values.as_slice(), &Device::flex()).reshape([
                1,
                rows,
                values.len() / rows,
            ])
        };
        let tokens = Tensor::cat(
            vec![
                adapter.tokens(embeds("negative")),
                adapter.tokens(embeds("positive")),
            ],
            0,
        );
        let reference = case.tensor::<4>(&format!("{kind}/tokens")).squeeze_dim::<3>(1);
        assert_close(kind, tokens.clone(), reference);
        let mut prepared = unet.prepare(&conditioning(&case, "unet/"));
        let pictures = (0..places.len()).map(|place| Some((adapter.keys_values(place, &tokens), 0.6)));
        prepared.add_pictures(pictures.collect());
        let output = unet.forward(case.tensor("unet/sample"), &[501.0], &prepared, None);
        assert_close(kind, output, case.tensor(&format!("unet/{kind}")));
    }
}

fn controlnet() -> ControlNet {
    let files = folder("sdxl-complete/controlnet/model");
    let config: ControlNetConfig = files.json("config.json").unwrap();
    load(&files.checkpoint("").unwrap(), |vars| {
        ControlNet::load(vars, config).unwrap()
    })
}

#[test]
fn controlnet_agrees_with_diffusers_with_and_without_guess_mode() {
    let case = Case::open("sdxl-complete/controlnet/modules.safetensors");
    let net = controlnet();
    let shared = conditioning(&case, "");
    let timesteps = case.values("timesteps").0;
    let control = net.embed(case.tensor("control"));
    let prepared = net.prepare(&shared);
    let run = || net.forward(case.tensor("sample"), &timesteps, &prepared, &control);
    let residuals = run().scaled(0.7, false);
    assert_eq!(residuals.down.len(), 9);
    for (i, residual) in residuals.down.iter().enumerate() {
        assert_close("down", residual.clone(), case.tensor(&format!("down/{i:02}")));
    }
    assert_close("mid", residuals.mid.clone(), case.tensor("mid"));
    let guess = run().scaled(0.7, true);
    assert_close("guess 0", guess.down[0].clone(), case.tensor("guess/down/00"));
    assert_close("guess 1", guess.down[1].clone(), case.tensor("guess/down/01"));
    assert_close("guess mid", guess.mid, case.tensor("guess/mid"));
    let unet = unet("sdxl/unet");
    let output = unet.forward(
        case.tensor("sample"),
        &timesteps,
        &unet.prepare(&shared),
        Some(&residuals),
    );
    assert_close("unet", output, case.tensor("unet_output"));
}

#[test]
fn a_guidance_embedding_and_the_refiners_five_sizes_agree_with_diffusers() {
    let case = Case::open("sdxl-complete/variants/modules.safetensors");
    let lcm = unet("sdxl-complete/variants/unet-lcm");
    let mut shared = conditioning(&case, "lcm/");
    shared.guidance = Some(vec![7.0, 2.0]);
    let output = lcm.forward(
        case.tensor("lcm/sample"),
        &[801.0, 13.0],
        &lcm.prepare(&shared),
        None,
    );
    assert_close("lcm", output, case.tensor("lcm/output"));

    let refiner = unet("sdxl-complete/variants/unet-refiner");
    let mut shared = conditioning(&case, "refiner/");
    shared.text_embeds = case.tensor("refiner/pooled");
    let prepared = refiner.prepare(&shared);
    let output = refiner.forward(case.tensor("refiner/sample"), &[199.0, 13.0], &prepared, None);
    assert_close("refiner", output, case.tensor("refiner/output"));
}

#[test]
fn freeu_agrees_with_diffusers() {
    let case = Case::open("sdxl-complete/extras/modules.safetensors");
    let unet = unet("sdxl/unet");
    let mut prepared: Prepared = unet.prepare(&conditioning(&case, "freeu/"));
    prepared.set_freeu(FreeU::new([0.6, 0.4], [1.1, 1.2]));
    let output = unet.forward(case.tensor("freeu/sample"), &[801.0, 13.0], &prepared, None);
    assert_close("freeu", output, case.tensor("freeu/output"));
}

#[test]
fn tiles_are_encoded_and_decoded_as_in_diffusers() {
    let case = Case::open("sdxl-complete/extras/modules.safetensors");
    let vae = vae();
    let tiling = Tiling::new(96, 0.25, 8);
    let decoded = vae.decode_tiled(case.tensor("tiling/latents"), tiling);
    assert_close_to_half("decoded", decoded, case.tensor("tiling/decoded"));
    let image = pictures::to_signed(&picture("extras/tiling.png"), &Device::flex());
    let mean = vae.encode_tiled(image.clone(), tiling).mean;
    assert_close("mean", mean, case.tensor("tiling/mean"));
    assert_close(
        "whole mean",
        vae.encode(image).mean,
        case.tensor("tiling/whole_mean"),
    );
}
