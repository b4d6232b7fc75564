//! Checkpoints as people have them: the small model in other clothes draws the same picture.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::f16;
use ourvidz::device::Precision;
use ourvidz::media::frames::Frame;
use ourvidz::pipelines::{ImageOutput, ImageRequest, LoadOptions, open};
use ourvidz::registry::{ModelFamily, ModelSpec, Source};
use ourvidz::schedulers::{PredictionType, SamplerChoice};
use ourvidz::weights::Checkpoint;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::parity_models::data;
use crate::pickles::{Content, state_dict, write_zip};

/// A tensor as it will be stored.
type Tensor = (Dtype, Vec<usize>, Vec<u8>);

type Tensors = BTreeMap<String, Tensor>;

fn read(path: &Path) -> Tensors {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors = file.tensors().into_iter();
    tensors
        .map(|(name, t)| (name, (t.dtype(), t.shape().to_vec(), t.data().to_vec())))
        .collect()
}

fn single_file() -> Tensors {
    read(&data("sdxl/single-file.safetensors"))
}

fn write(path: &Path, tensors: &Tensors) {
    let views = tensors.iter().map(|(name, (dtype, shape, bytes))| {
        let view = TensorView::new(*dtype, shape.clone(), bytes).unwrap();
        (name.clone(), view)
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

fn drawn(source: Source, sampling: SamplerChoice) -> ImageOutput {
    let spec = ModelSpec::new("brought", ModelFamily::Sdxl, source);
    let options = LoadOptions {
        device: burn::tensor::Device::flex(),
        precision: Some(Precision::F32),
        cache_dir: None,
    };
    let request = ImageRequest {
        prompt: "a red circle".into(),
        seeds: vec![7],
        num_inference_steps: 3,
        guidance_scale: 1.0,
        width_px: 64,
        height_px: 64,
        sampling,
        ..ImageRequest::default()
    };
    let mut pipeline = open(&spec, &options, &mut |_| Ok(())).unwrap();
    pipeline.text_to_image(&request, &mut |_| Ok(())).unwrap()
}

fn of_file(path: PathBuf) -> ImageOutput {
    let config_from = Some(data("sdxl"));
    drawn(Source::SingleFile { path, config_from }, SamplerChoice::default())
}

/// What a file of these tensors draws.
fn of(name: &str, tensors: &Tensors) -> ImageOutput {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    write(&path, tensors);
    of_file(path)
}

fn pixels(output: &ImageOutput) -> &[u8] {
    let frame: &Frame = &output.frames[0];
    &frame.rgb
}

#[test]
fn tensors_without_a_place_are_noted_and_change_nothing() {
    let mut tensors = single_file();
    let plain = of("A.SafeTensors", &tensors);
    assert!(plain.notes.is_empty(), "{:?}", plain.notes);
    let zero = || (Dtype::F16, vec![1], vec![0, 0]);
    tensors.insert("first_stage_model.decoder.surplus".into(), zero());
    tensors.insert("somebody.else".into(), zero());
    tensors.insert("model_ema.decay".into(), zero());
    let more = of("a.sft", &tensors);
    assert_eq!(pixels(&plain), pixels(&more));
    assert_eq!(more.notes.len(), 2, "{:?}", more.notes);
    let notes = more.notes.join(" ");
    assert!(
        notes.contains("somebody.else") && notes.contains("decoder.surplus"),
        "{notes}"
    );
}

#[test]
fn marks_of_v_prediction_decide_how_a_file_is_sampled() {
    let mut tensors = single_file();
    let zero = || (Dtype::F32, vec![0], vec![]);
    tensors.insert("v_pred".into(), zero());
    let marked = of("v.safetensors", &tensors);
    tensors.insert("ztsnr".into(), zero());
    let zero_snr = of("z.safetensors", &tensors);
    assert!(zero_snr.notes.is_empty(), "{:?}", zero_snr.notes);

    let asked = |zero_snr| {
        let source = Source::SingleFile {
            path: data("sdxl/single-file.safetensors"),
            config_from: Some(data("sdxl")),
        };
        let choice = SamplerChoice {
            prediction_type: Some(PredictionType::VPrediction),
            rescale_betas_zero_snr: zero_snr,
            ..SamplerChoice::default()
        };
        drawn(source, choice)
    };
    assert_eq!(pixels(&marked), pixels(&asked(None)));
    assert_eq!(pixels(&zero_snr), pixels(&asked(Some(true))));
    assert_ne!(pixels(&marked), pixels(&zero_snr));
    assert_ne!(pixels(&marked), pixels(&of("p.safetensors", &single_file())));
}

/// Every number of the 8-bit type, by its bits; NaN as 0.
fn eight_bit_values(dtype: Dtype) -> Vec<f32> {
    (0..=255_u8)
        .map(|bits| {
            let sign = if bits >= 128 { -1.0 } else { 1.0 };
            let (exponent_bits, bias) = if dtype == Dtype::F8_E4M3 { (4, 7) } else { (5, 15) };
            let fraction_bits = 7 - exponent_bits;
            let exponent = i32::from(bits & 127) >> fraction_bits;
            let fraction = f32::from(bits & ((1 << fraction_bits) - 1)) / f32::from(1_u8 << fraction_bits);
            let is_special = match dtype {
                Dtype::F8_E4M3 => bits & 127 == 127,
                _ => exponent == 31,
            };
            match exponent {
                _ if is_special => 0.0,
                0 => sign * fraction * 2_f32.powi(1 - bias),
                _ => sign * (1.0 + fraction) * 2_f32.powi(exponent - bias),
            }
        })
        .collect()
}

/// The denoiser's matrices in eight bits, and the same numbers in f32.
fn in_eight_bits(dtype: Dtype, scale_name: Option<&str>) -> (Tensors, Tensors) {
    let table = eight_bit_values(dtype);
    let (mut small, mut wide) = (single_file(), single_file());
    for (name, (_, shape, bytes)) in single_file() {
        let Some(stem) = name.strip_suffix("weight") else {
            continue;
        };
        if !name.starts_with("model.diffusion_model.") || shape.len() < 2 {
            continue;
        }
        let scale = scale_name.map_or(1.0, |_| 0.0117);
        let values = bytes
            .as_chunks::<2>()
            .0
            .iter()
            .map(|b| f16::from_le_bytes(*b).to_f32());
        let nearest = |value: f32| {
            let distance = |bits: &u8| (table[usize::from(*bits)] - value / scale).abs();
            (0..=255_u8)
                .min_by(|a, b| distance(a).total_cmp(&distance(b)))
                .unwrap()
        };
        let bits: Vec<u8> = values.map(nearest).collect();
        let exact = bits
            .iter()
            .flat_map(|b| (table[usize::from(*b)] * scale).to_le_bytes());
        wide.insert(name.clone(), (Dtype::F32, shape.clone(), exact.collect()));
        small.insert(name.clone(), (dtype, shape, bits));
        if let Some(scale_name) = scale_name {
            let scale = scale.to_le_bytes().to_vec();
            small.insert(format!("{stem}{scale_name}"), (Dtype::F32, vec![], scale));
        }
    }
    if scale_name.is_some() {
        small.insert(
            "model.diffusion_model.scaled_fp8".into(),
            (Dtype::F8_E4M3, vec![2], vec![0, 0]),
        );
    }
    (small, wide)
}

#[test]
fn eight_bit_checkpoints_draw_what_their_numbers_in_f32_draw() {
    for (dtype, scale_name) in [
        (Dtype::F8_E4M3, None),
        (Dtype::F8_E5M2, None),
        (Dtype::F8_E4M3, Some("scale_weight")),
        (Dtype::F8_E5M2, Some("weight_scale")),
    ] {
        let (small, wide) = in_eight_bits(dtype, scale_name);
        let drawn = of("small.safetensors", &small);
        assert!(drawn.notes.is_empty(), "{:?}", drawn.notes);
        assert_eq!(
            pixels(&drawn),
            pixels(&of("wide.safetensors", &wide)),
            "{dtype:?}"
        );
    }
}

#[test]
fn a_checkpoint_in_a_pickle_draws_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.CKPT");
    let tensors = single_file();
    let list: Vec<_> = tensors
        .iter()
        .map(|(name, (_, shape, _))| (name.clone(), "HalfStorage".to_string(), shape.clone()))
        .collect();
    let mut members = vec![("m/data.pkl".to_string(), Content::Bytes(state_dict(&list)))];
    members.extend(
        tensors
            .values()
            .enumerate()
            .map(|(key, (_, _, bytes))| (format!("m/data/{key}"), Content::Bytes(bytes.clone()))),
    );
    write_zip(&path, &members);
    assert_eq!(
        pixels(&of_file(path)),
        pixels(&of_file(data("sdxl/single-file.safetensors")))
    );
}

/// A copy of the model's folder whose autoencoder is stored under other names.
fn folder_with_vae(name: &str, renamed: impl Fn(&str) -> String) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in walkdir(&data("sdxl")) {
        let to = folder.path().join(file.strip_prefix(data("sdxl")).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(file, to).unwrap();
    }
    let old = folder.path().join("vae/diffusion_pytorch_model.safetensors");
    let tensors: Tensors = read(&old)
        .into_iter()
        .map(|(name, tensor)| (renamed(&name), tensor))
        .collect();
    std::fs::remove_file(&old).unwrap();
    write(&folder.path().join("vae").join(name), &tensors);
    folder
}

fn walkdir(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(walkdir(&path)),
            false => found.push(path),
        }
    }
    found
}

#[test]
fn an_autoencoder_in_diffusers_older_names_decodes_the_same() {
    let older = folder_with_vae("diffusion_pytorch_model.fp16.safetensors", |name| {
        let attention = name.contains(".attentions.");
        let name = if attention {
            name.replace("to_out.0", "proj_attn")
        } else {
            name.to_string()
        };
        name.replace("to_q", "query")
            .replace("to_k", "key")
            .replace("to_v", "value")
    });
    let names: Vec<String> = {
        let path = older.path().join("vae/diffusion_pytorch_model.fp16.safetensors");
        let checkpoint = Checkpoint::open(&path).unwrap();
        checkpoint.entries().map(|(name, _)| name.to_string()).collect()
    };
    assert!(names.contains(&"decoder.mid_block.attentions.0.proj_attn.weight".to_string()));
    let choice = SamplerChoice::default;
    let output = drawn(Source::Folder(older.path().into()), choice());
    let plain = drawn(Source::Folder(data("sdxl")), choice());
    assert_eq!(pixels(&output), pixels(&plain));
}

/// Files that are cut off or bent anywhere are refused or read, and nothing else happens.
#[test]
fn no_bent_file_makes_a_reader_panic() {
    let folder = tempfile::tempdir().unwrap();
    let small: Tensors = single_file().into_iter().take(3).collect();
    let list: Vec<_> = small
        .iter()
        .map(|(name, (_, shape, _))| (name.clone(), "HalfStorage".to_string(), shape.clone()))
        .collect();
    let good = folder.path().join("good.safetensors");
    write(&good, &small);
    let pickle = folder.path().join("good.pth");
    let mut members = vec![("m/data.pkl".to_string(), Content::Bytes(state_dict(&list)))];
    members.extend((0..3).map(|key| (format!("m/data/{key}"), Content::Bytes(vec![0; 64]))));
    write_zip(&pickle, &members);
    for (file, ending) in [(good, "safetensors"), (pickle, "pth")] {
        let bytes = std::fs::read(&file).unwrap();
        let bent = folder.path().join(format!("bent.{ending}"));
        // The header or the program, and the directory at the end.
        let places: Vec<usize> = (0..bytes.len().min(1500))
            .chain(bytes.len().saturating_sub(600)..bytes.len())
            .collect();
        for place in places {
            for change in [0x00, 0xff, bytes[place] ^ 0x10, bytes[place].wrapping_add(1)] {
                let mut copy = bytes.clone();
                copy[place] = change;
                std::fs::write(&bent, &copy).unwrap();
                let _ = Checkpoint::open(&bent);
            }
            std::fs::write(&bent, &bytes[..place]).unwrap();
            assert!(Checkpoint::open(&bent).is_err(), "cut off at {place}");
        }
    }
}
