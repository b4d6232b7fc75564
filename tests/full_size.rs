//! Full-size checkpoints by name and shape: sparse files with a real header and no data.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use ourvidz::pipelines::verify;
use ourvidz::registry::{ModelFamily, ModelSpec, Source};
use serde_json::{Value, json};

use crate::parity_models::data;

#[derive(serde::Deserialize)]
pub struct Manifest {
    pub tensors: BTreeMap<String, (String, Vec<usize>)>,
}

pub fn manifest(name: &str) -> Manifest {
    let file = File::open(data(&format!("manifests/{name}.json.gz"))).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Writes a safetensors file whose data is a hole.
pub fn write_sparse(path: &Path, manifest: &Manifest) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, (dtype, shape)) in &manifest.tensors {
        let bytes = shape.iter().product::<usize>() * if dtype == "F32" { 4 } else { 2 };
        header.insert(
            name.clone(),
            json!({"dtype": dtype, "shape": shape, "data_offsets": [end, end + bytes]}),
        );
        end += bytes;
    }
    let mut header = Value::Object(header).to_string();
    header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    file.set_len(8 + header.len() as u64 + end as u64).unwrap();
}

fn spec(source: Source) -> ModelSpec {
    ModelSpec::new("full-size", ModelFamily::Sdxl, source)
}

/// SDXL base's configuration as it lies in assets, beside sparse weights in the folder layout.
fn write_folder(root: &Path) {
    let assets = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/sdxl-base");
    for name in ["model_index.json", "scheduler/scheduler_config.json"] {
        std::fs::create_dir_all(root.join("scheduler")).unwrap();
        std::fs::copy(assets.join(name), root.join(name)).unwrap();
    }
    for (component, file) in [
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
        ("text_encoder_2", "model"),
    ] {
        let weights = root.join(component).join(format!("{file}.fp16.safetensors"));
        write_sparse(&weights, &manifest(&format!("sdxl-{component}")));
        let config = format!("{component}/config.json");
        std::fs::copy(assets.join(&config), root.join(&config)).unwrap();
    }
}

#[test]
fn every_tensor_of_full_size_sdxl_is_accounted_for_in_the_folder_layout() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let reports = verify(&spec(Source::Folder(folder.path().into()))).unwrap();
    assert_eq!(reports.len(), 4);
    for report in &reports {
        assert!(report.is_clean(), "{report:?}");
    }
    assert_eq!(reports[2].matched, manifest("sdxl-unet").tensors.len());
}

#[test]
fn every_tensor_of_full_size_sdxl_is_accounted_for_in_the_single_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sdxl.safetensors");
    write_sparse(&path, &manifest("sdxl-single-file"));
    let reports = verify(&spec(Source::SingleFile {
        path,
        config_from: None,
    }))
    .unwrap();
    for report in &reports {
        assert!(report.is_clean(), "{report:?}");
    }
}

#[test]
fn missing_unused_and_mis_shaped_tensors_are_listed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sdxl.safetensors");
    let mut manifest = manifest("sdxl-single-file");
    let gone = "model.diffusion_model.input_blocks.0.0.weight";
    let bent = "model.diffusion_model.out.2.weight";
    manifest.tensors.remove(gone).unwrap();
    manifest.tensors.get_mut(bent).unwrap().1[0] += 1;
    manifest.tensors.insert(
        "first_stage_model.decoder.surplus".into(),
        ("F16".into(), vec![2]),
    );
    manifest
        .tensors
        .insert("lora.surplus".into(), ("F16".into(), vec![2]));
    write_sparse(&path, &manifest);
    let reports = verify(&spec(Source::SingleFile {
        path,
        config_from: None,
    }))
    .unwrap();
    let of = |component: &str| reports.iter().find(|r| r.component == component).unwrap();
    assert_eq!(of("unet").missing, [gone]);
    assert_eq!(of("unet").mis_shaped.len(), 1);
    assert!(
        of("unet").mis_shaped[0].starts_with(bent),
        "{:?}",
        of("unet").mis_shaped
    );
    // Tensors of no kind that the model has change nothing.
    assert_eq!(of("vae").extra, ["first_stage_model.decoder.surplus"]);
    assert_eq!(of("single file").extra, ["lora.surplus"]);
    assert!(of("vae").is_clean() && of("vae").note().unwrap().contains("1 tensors"));
}
