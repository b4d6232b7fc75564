//! WAN 2.1's networks at tiny size against what diffusers, transformers and Wan2.1's own code
//! compute with the same weights, in diffusers' folder and in the original release's files.

use std::path::Path;

use burn::tensor::{DType, Device, Tensor};
use ourvidz::device::Precision;
use ourvidz::error::{ErrorKind, hint_of, kind_of};
use ourvidz::media::frames::Frame;
use ourvidz::models::umt5::{Umt5Config, Umt5Encoder};
use ourvidz::models::wan_transformer::{WanTransformer, WanTransformerConfig};
use ourvidz::models::wan_vae::{WanVae, WanVaeConfig};
use ourvidz::models::wan_vae_tiling::Tiling;
use ourvidz::pipelines::Residency;
use ourvidz::pipelines::wan::WanPipeline;
use ourvidz::pipelines::{
    Event, LoadOptions, References, VideoPipeline, VideoRequest, model_hash, token_counter,
};
use ourvidz::registry::{ModelFamily, ModelSpec, Source};
use ourvidz::weights::vars::Mode;
use ourvidz::weights::{Checkpoint, ModelFiles, NameTable, Vars};

use crate::parity_models::{Case, assert_close, data, relative_error};

fn load<T>(component: &str, checkpoint: &Checkpoint, make: impl Fn(&Vars) -> T) -> T {
    // Wan's own code builds its autoencoder with two residual blocks a level, the decoder one more.
    let table = NameTable::of_wan(checkpoint, 3);
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
    println!("{what}: {:.1e}", relative_error(ours.clone(), reference.clone()));
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
        file.tensor::<5>("decoded").clamp(-1.0, 1.0),
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
        let config = WanVaeConfig {
            num_res_blocks: 2,
            ..config("vae")
        };
        WanVae::load(vars, config).unwrap()
    });
    // Wan's own autoencoder leaves the clamping to its caller.
    check_vae(&vae, "wan-original/vae-5.safetensors");
}

#[test]
fn tiles_are_cut_and_blended_as_in_diffusers() {
    let case = Case::open("wan/modules/vae-tiled.safetensors");
    let vae = load("vae", &folder("vae"), |vars| {
        WanVae::load(vars, config::<WanVaeConfig>("vae")).unwrap()
    });
    let tiling = Tiling {
        tile_px: 32,
        stride_px: 24,
    };
    let tiled = vae.decode_tiled(case.tensor("latents"), tiling);
    report("vae in tiles", tiled, case.tensor("decoded"));
    let one_tile = vae.decode_tiled(case.tensor("latents"), Tiling::default());
    assert_close("one tile", one_tile, vae.decode(case.tensor("latents")));
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

// ---------------------------------------------------------------- whole pipelines

#[derive(serde::Deserialize)]
pub struct PipelineCase {
    name: String,
    scheduler: String,
    seed: u64,
    vace: bool,
    prompt: String,
    #[serde(default)]
    negative_prompt: Option<String>,
    num_inference_steps: usize,
    guidance_scale: f64,
    width: usize,
    height: usize,
    num_frames: usize,
    first_frame: Option<String>,
    last_frame: Option<String>,
    #[serde(default)]
    subject: Option<String>,
    #[serde(default = "one")]
    scale: f64,
}

fn one() -> f64 {
    1.0
}

pub fn cases() -> Vec<PipelineCase> {
    let text = std::fs::read_to_string(data("wan/pipeline/cases.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn picture(name: &str) -> Frame {
    let picture = image::open(data(&format!("wan/pipeline/{name}")))
        .unwrap()
        .into_rgb8();
    Frame::new(picture.width(), picture.height(), picture.into_raw())
}

pub fn request(case: &PipelineCase) -> VideoRequest {
    let (scheduler, shift) = case.scheduler.split_once("-shift").unwrap();
    VideoRequest {
        prompt: case.prompt.clone(),
        negative_prompt: case.negative_prompt.clone(),
        seed: case.seed,
        num_frames: case.num_frames,
        num_inference_steps: case.num_inference_steps,
        guidance_scale: case.guidance_scale,
        width_px: case.width,
        height_px: case.height,
        scheduler: Some(scheduler.into()),
        flow_shift: Some(shift.parse().unwrap()),
        references: References {
            first_frame: case.first_frame.as_deref().map(picture),
            last_frame: case.last_frame.as_deref().map(picture),
            subject: case.subject.as_deref().map(picture),
            scale: case.scale,
        },
        loras: Vec::new(),
        vae_tiling: false,
    }
}

fn spec(root: &Path) -> ModelSpec {
    ModelSpec::new("tiny", ModelFamily::Wan, Source::Folder(root.into()))
}

pub fn open_with(
    root: &Path,
    precision: Precision,
    residency: Residency,
    cache: Option<&Path>,
) -> WanPipeline {
    let options = LoadOptions {
        device: Device::flex(),
        precision: Some(precision),
        cache_dir: cache.map(Path::to_path_buf),
    };
    WanPipeline::open(&spec(root), &options, residency).unwrap()
}

fn open(root: &Path, residency: Residency) -> WanPipeline {
    open_with(root, Precision::F32, residency, None)
}

/// The reference folder with VACE as its transformer.
pub fn vace_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (from, to) in [
        ("text_encoder", "text_encoder"),
        ("tokenizer", "tokenizer"),
        ("vae", "vae"),
        ("scheduler", "scheduler"),
        ("vace_transformer", "transformer"),
    ] {
        std::fs::create_dir(folder.path().join(to)).unwrap();
        for entry in std::fs::read_dir(data("wan").join(from)).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), folder.path().join(to).join(entry.file_name())).unwrap();
        }
    }
    folder
}

/// The reference's frames, 8 bits a channel, as `[frame][channel][row][column]`.
pub fn reference(name: &str) -> Vec<u8> {
    let bytes = std::fs::read(data("wan/pipeline/videos.safetensors")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    file.tensor(name).unwrap().data().to_vec()
}

fn psnr(errors: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = errors.fold((0.0, 0.0), |(sum, count), e| (sum + e * e, count + 1.0));
    -10.0 * (sum / count).log10()
}

pub fn psnr_to_reference(frames: &[Frame], reference: &[u8]) -> f64 {
    let pixels = (frames[0].width * frames[0].height) as usize;
    assert_eq!(reference.len(), frames.len() * 3 * pixels);
    psnr(frames.iter().enumerate().flat_map(|(i, frame)| {
        (0..3 * pixels).map(move |k| {
            let (pixel, channel) = (k / 3, k % 3);
            let expected = reference[(i * 3 + channel) * pixels + pixel];
            (f64::from(frame.rgb[k]) - f64::from(expected)) / 255.0
        })
    }))
}

fn check_all(pipeline: &mut WanPipeline, vace: bool) {
    let mut failed = Vec::new();
    for case in cases().iter().filter(|case| case.vace == vace) {
        let output = pipeline.text_to_video(&request(case), &mut |_| Ok(())).unwrap();
        let found = psnr_to_reference(&output.frames, &reference(&case.name));
        println!("{:16} {found:.1} dB", case.name);
        if found < 50.0 {
            failed.push(format!("{}: {found:.1} dB", case.name));
        }
    }
    assert!(failed.is_empty(), "below 50 dB: {failed:?}");
}

#[test]
fn every_text_to_video_case_agrees_with_diffusers() {
    check_all(&mut open(&data("wan"), Residency::Keep), false);
}

#[test]
fn every_case_with_reference_frames_agrees_with_diffusers() {
    check_all(&mut open(vace_folder().path(), Residency::InTurn), true);
}

#[test]
fn residency_changes_memory_and_stages_but_no_pixel() {
    let case = &cases()[0];
    let mut videos = Vec::new();
    for residency in [Residency::Keep, Residency::InTurn] {
        let mut pipeline = open(&data("wan"), residency);
        let mut stages = Vec::new();
        for _ in 0..2 {
            let output = pipeline
                .text_to_video(&request(case), &mut |event| {
                    if let Event::Stage(stage) = event {
                        stages.push(stage);
                    }
                    Ok(())
                })
                .unwrap();
            videos.push(output.frames);
        }
        let loads = stages.iter().filter(|s| **s == "load").count();
        // The second job's texts are known, so that its encoder is not loaded again.
        assert_eq!(
            loads,
            if residency == Residency::Keep { 3 } else { 5 },
            "{stages:?}"
        );
    }
    assert!(videos.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn an_observer_stops_the_work_between_two_steps() {
    let mut pipeline = open(&data("wan"), Residency::Keep);
    let mut steps = 0;
    let error = pipeline
        .text_to_video(&request(&cases()[0]), &mut |event| {
            if let Event::Step { done, total } = event {
                assert_eq!(total, 5);
                steps = done;
                anyhow::ensure!(done < 2, "stopped");
            }
            Ok(())
        })
        .unwrap_err();
    assert_eq!((steps, error.to_string().as_str()), (2, "stopped"));
}

#[test]
fn impossible_requests_are_refused_with_the_way_out() {
    let mut plain = open(&data("wan"), Residency::Keep);
    let base = request(&cases()[1]);
    let mut message = |change: &dyn Fn(&mut VideoRequest)| {
        let mut request = base.clone();
        change(&mut request);
        let error = plain.text_to_video(&request, &mut |_| Ok(())).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::InvalidSpec, "{error}");
        format!("{error} | {}", hint_of(&error).unwrap_or_default())
    };
    let frames = message(&|r| r.num_frames = 82);
    assert!(
        frames.contains("frames is 82") && frames.contains("81 and 85"),
        "{frames}"
    );
    assert!(message(&|r| r.num_frames = 0).contains("1 and 5"));
    assert!(message(&|r| r.width_px = 72).contains("multiple of 16"));
    assert!(message(&|r| r.height_px = 0).contains("height is 0"));
    assert!(message(&|r| r.width_px = 16 * 65).contains("64 positions"));
    assert!(message(&|r| r.num_inference_steps = 0).contains("steps is 0"));
    assert!(message(&|r| r.scheduler = Some("ddim".into())).contains("flow-unipc"));
    let vace = message(&|r| r.references.first_frame = Some(picture("first.png")));
    assert!(vace.contains("first_frame") && vace.contains("VACE"), "{vace}");

    let mut with_references = open(vace_folder().path(), Residency::Keep);
    let mut request = base.clone();
    request.references.first_frame = Some(Frame::new(16, 16, vec![0; 768]));
    let error = with_references
        .text_to_video(&request, &mut |_| Ok(()))
        .unwrap_err();
    assert!(error.to_string().contains("first_frame is 16x16"), "{error}");
}

#[test]
fn half_precision_makes_nearly_the_same_video() {
    let folder = vace_folder();
    for (vace, root) in [(false, data("wan")), (true, folder.path().to_path_buf())] {
        let case = cases().into_iter().find(|case| case.vace == vace).unwrap();
        for (precision, least_db) in [(Precision::F16, 40.0), (Precision::Bf16, 25.0)] {
            let mut pipeline = open_with(&root, precision, Residency::InTurn, None);
            let output = pipeline.text_to_video(&request(&case), &mut |_| Ok(())).unwrap();
            let found = psnr_to_reference(&output.frames, &reference(&case.name));
            println!("{} in {}: {found:.1} dB", case.name, precision.name());
            assert!(found >= least_db, "{}: {found:.1} dB", precision.name());
        }
    }
}

#[test]
fn texts_that_an_earlier_run_encoded_are_not_encoded_again() {
    let cache = tempfile::tempdir().unwrap();
    let case = &cases()[0];
    let run = |prompt: &str| {
        let mut pipeline = open_with(
            &data("wan"),
            Precision::F32,
            Residency::InTurn,
            Some(cache.path()),
        );
        let mut loads = 0;
        let request = VideoRequest {
            prompt: prompt.into(),
            num_inference_steps: 2,
            ..request(case)
        };
        let output = pipeline
            .text_to_video(&request, &mut |event| {
                loads += usize::from(event == Event::Stage("load"));
                Ok(())
            })
            .unwrap();
        (loads, output.frames)
    };
    let first = run(&case.prompt);
    let again = run(&case.prompt);
    assert_eq!((first.0, again.0), (3, 2));
    assert_eq!(first.1, again.1);
    // Spaces do not count, other words do.
    assert_eq!(run(&format!("  {}\n", case.prompt)).0, 2);
    assert_eq!(run("a blue square").0, 3);
}

#[test]
fn a_wan_model_has_a_digest_and_a_token_count() {
    let folder = vace_folder();
    let hash = |root: &Path| model_hash(&spec(root), None).unwrap();
    assert_eq!(hash(&data("wan")).len(), 64);
    assert_ne!(hash(&data("wan")), hash(folder.path()));
    let count = token_counter(&spec(&data("wan"))).unwrap();
    assert_eq!(count("a red circle").unwrap(), 3);
}

#[test]
fn texts_longer_than_the_model_reads_are_cut_and_said_so() {
    let mut pipeline = open(&data("wan"), Residency::Keep);
    let request = VideoRequest {
        prompt: "red ".repeat(600),
        num_inference_steps: 1,
        ..request(&cases()[1])
    };
    let output = pipeline.text_to_video(&request, &mut |_| Ok(())).unwrap();
    let tiled = VideoRequest {
        vae_tiling: true,
        ..request.clone()
    };
    let tiled = pipeline.text_to_video(&tiled, &mut |_| Ok(())).unwrap();
    assert_eq!(tiled.frames, output.frames, "the picture fits one tile");
    assert_eq!(output.prompt_tokens, 512);
    assert!(
        output.notes[0].contains("cut at 512 tokens"),
        "{:?}",
        output.notes
    );
}
