//! WAN's full-size checkpoints by name and shape, in each layout they are published in.

use std::path::Path;

use ourvidz::pipelines::verify;
use ourvidz::registry::{ModelFamily, ModelSpec, Source};
use ourvidz::weights::Report;

use crate::full_size::{Manifest, manifest, write_sparse};
use crate::parity_models::data;
use crate::pickles::{Content, state_dict, write_zip};

const T2V_CONFIG: &str = r#"{"_class_name": "WanModel", "dim": 1536, "eps": 1e-06, "ffn_dim": 8960, "freq_dim": 256,
    "in_dim": 16, "model_type": "t2v", "num_heads": 12, "num_layers": 30, "out_dim": 16, "text_len": 512}"#;

fn verified(source: Source) -> Vec<Report> {
    let reports = verify(&ModelSpec::new("full-size", ModelFamily::Wan, source)).unwrap();
    let components: Vec<&str> = reports.iter().map(|r| r.component.as_str()).collect();
    assert_eq!(components, ["text_encoder", "transformer", "vae"]);
    reports
}

fn assert_all_accounted(reports: &[Report], manifests: [&str; 3]) {
    for (report, name) in reports.iter().zip(manifests) {
        assert!(report.is_clean(), "{report:?}");
        assert_eq!(report.matched, manifest(name).tensors.len(), "{name}");
    }
}

/// The same file as PyTorch would write it.
fn write_sparse_pth(path: &Path, manifest: &Manifest) {
    let storage = |dtype: &str| match dtype {
        "BF16" => ("BFloat16Storage", 2),
        _ => ("FloatStorage", 4),
    };
    let tensors: Vec<_> = manifest
        .tensors
        .iter()
        .map(|(name, (dtype, shape))| (name.clone(), storage(dtype).0.to_string(), shape.clone()))
        .collect();
    let mut members = vec![(
        "archive/data.pkl".to_string(),
        Content::Bytes(state_dict(&tensors)),
    )];
    for (key, (dtype, shape)) in manifest.tensors.values().enumerate() {
        let bytes = shape.iter().product::<usize>() * storage(dtype).1;
        members.push((format!("archive/data/{key}"), Content::Hole(bytes as u64)));
    }
    write_zip(path, &members);
}

#[test]
fn every_tensor_of_full_size_wan_is_accounted_for_in_the_diffusers_folder() {
    for transformer in ["wan-t2v-1.3b-diffusers", "wan-vace-1.3b-diffusers"] {
        let folder = tempfile::tempdir().unwrap();
        let manifests = ["umt5-xxl-encoder", transformer, "wan-vae-diffusers"];
        for (file, name) in [
            "text_encoder/model.safetensors",
            "transformer/diffusion_pytorch_model.safetensors",
            "vae/diffusion_pytorch_model.safetensors",
        ]
        .iter()
        .zip(manifests)
        {
            write_sparse(&folder.path().join(file), &manifest(name));
        }
        let reports = verified(Source::Folder(folder.path().into()));
        assert_all_accounted(&reports, manifests);
    }
}

#[test]
fn every_tensor_of_full_size_wan_is_accounted_for_in_the_original_release() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    std::fs::write(root.join("config.json"), T2V_CONFIG).unwrap();
    write_sparse(
        &root.join("diffusion_pytorch_model.safetensors"),
        &manifest("wan-t2v-1.3b-original"),
    );
    write_sparse_pth(&root.join("Wan2.1_VAE.pth"), &manifest("wan-vae-original"));
    // Over 4 GiB: sizes and offsets take 64 bits.
    write_sparse_pth(
        &root.join("models_t5_umt5-xxl-enc-bf16.pth"),
        &manifest("umt5-xxl-original"),
    );
    assert_all_accounted(
        &verified(Source::Folder(root.into())),
        ["umt5-xxl-original", "wan-t2v-1.3b-original", "wan-vae-original"],
    );
}

#[test]
fn every_tensor_of_repackaged_files_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut repackaged = manifest("wan-t2v-1.3b-original");
    repackaged.tensors = std::mem::take(&mut repackaged.tensors)
        .into_iter()
        .map(|(name, tensor)| (format!("model.diffusion_model.{name}"), tensor))
        .collect();
    let path = root.join("wan2.1_t2v_1.3B.safetensors");
    write_sparse(&path, &repackaged);
    write_sparse(
        &root.join("wan_2.1_vae.safetensors"),
        &manifest("wan-vae-original"),
    );
    let mut text_encoder = manifest("umt5-xxl-encoder");
    text_encoder
        .tensors
        .insert("spiece_model".into(), ("BF16".into(), vec![16]));
    write_sparse(&root.join("umt5_xxl_fp16.safetensors"), &text_encoder);
    let source = Source::SingleFile {
        path,
        config_from: None,
    };
    assert_all_accounted(
        &verified(source),
        ["umt5-xxl-encoder", "wan-t2v-1.3b-original", "wan-vae-original"],
    );
}

#[test]
fn the_tiny_original_release_is_accounted_for_with_its_own_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for file in [
        "diffusion_pytorch_model.safetensors",
        "Wan2.1_VAE.pth",
        "models_t5_umt5-xxl-enc-bf16.pth",
    ] {
        std::fs::copy(data(&format!("wan-original/{file}")), root.join(file)).unwrap();
    }
    for component in ["transformer", "text_encoder", "vae"] {
        let config = format!("{component}/config.json");
        let json = std::fs::read_to_string(data(&format!("wan/{config}"))).unwrap();
        std::fs::create_dir(root.join(component)).unwrap();
        // The original's tiny networks have another vocabulary and more residual blocks.
        let json = json
            .replace("\"vocab_size\": 74", "\"vocab_size\": 64")
            .replace("\"num_res_blocks\": 1", "\"num_res_blocks\": 2");
        std::fs::write(root.join(config), json).unwrap();
    }
    for report in verified(Source::Folder(root.into())) {
        assert!(report.is_clean(), "{report:?}");
    }
}

#[test]
fn missing_and_extra_tensors_of_wan_are_listed_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let mut transformer = manifest("wan-t2v-1.3b-original");
    transformer
        .tensors
        .remove("blocks.7.cross_attn.norm_k.weight")
        .unwrap();
    transformer
        .tensors
        .insert("blocks.7.img_emb.weight".into(), ("F32".into(), vec![2]));
    write_sparse(&root.join("diffusion_pytorch_model.safetensors"), &transformer);
    write_sparse(
        &root.join("wan_2.1_vae.safetensors"),
        &manifest("wan-vae-original"),
    );
    write_sparse(
        &root.join("umt5_xxl_fp16.safetensors"),
        &manifest("umt5-xxl-encoder"),
    );
    let reports = verified(Source::Folder(root.into()));
    assert_eq!(reports[1].missing, ["blocks.7.cross_attn.norm_k.weight"]);
    assert_eq!(reports[1].extra, ["blocks.7.img_emb.weight"]);
}
