//! The spellings under which trainers name the layers of a network.
//!
//! Every spelling of every layer that the network has is written down once, so that a name in a
//! file is looked up and never taken apart: `lora_unet_…_to_out_0` could be cut in many ways.

use std::collections::BTreeMap;

use crate::weights::{NameTable, Parameters};

/// The network that a spelling belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// SDXL's denoiser.
    Unet,
    /// SDXL's first text encoder (CLIP ViT-L).
    TextEncoder,
    /// SDXL's second text encoder (OpenCLIP bigG).
    TextEncoder2,
    /// WAN's denoiser.
    WanTransformer,
}

/// Prefixes before names with dots, in the names of diffusers and transformers.
const DOTTED: &[(Part, &[&str])] = &[
    (Part::Unet, &["unet.", "", "base_model.model."]),
    (
        Part::TextEncoder,
        &[
            "text_encoder.",
            "te1.",
            "clip_l.transformer.",
            "text_encoders.clip_l.transformer.",
        ],
    ),
    (
        Part::TextEncoder2,
        &[
            "text_encoder_2.",
            "te2.",
            "clip_g.transformer.",
            "text_encoders.clip_g.transformer.",
        ],
    ),
    (
        Part::WanTransformer,
        &["transformer.", "", "base_model.model.", "diffusion_model."],
    ),
];

/// Prefixes before names with underscores instead of dots.
const FLAT: &[(Part, &[&str])] = &[
    (Part::Unet, &["lora_unet_", "lycoris_", "lora_"]),
    (Part::TextEncoder, &["lora_te1_"]),
    (Part::TextEncoder2, &["lora_te2_"]),
    (
        Part::WanTransformer,
        &["lora_unet_", "lycoris_", "lora_transformer_"],
    ),
];

/// Prefixes before names with dots, in the names of the model's authors.
const ORIGINAL: &[(Part, &[&str])] = &[
    (Part::Unet, &["diffusion_model.", "model.diffusion_model.", ""]),
    (
        Part::WanTransformer,
        &["diffusion_model.", "model.diffusion_model.", ""],
    ),
];

/// Every spelling of the layers of one network, with the parameter that each changes.
pub fn spellings(part: Part, parameters: &Parameters) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for parameter in parameters.names() {
        let Some(layer) = parameter.strip_suffix(".weight") else {
            continue;
        };
        for spelling in of_layer(part, layer) {
            table.insert(spelling, parameter.to_string());
        }
    }
    table
}

fn of_layer(part: Part, layer: &str) -> Vec<String> {
    // Newer transformers leave out the module that holds everything but the projection.
    let mut own = vec![layer.to_string()];
    own.extend(layer.strip_prefix("text_model.").map(String::from));
    let original = original(part, layer);
    let with = |table: &[(Part, &[&'static str])], name: &str| -> Vec<String> {
        let prefixes = table
            .iter()
            .filter(|(of, _)| *of == part)
            .flat_map(|(_, p)| p.iter());
        prefixes.map(|prefix| format!("{prefix}{name}")).collect()
    };
    let mut all = Vec::new();
    for name in &own {
        all.extend(with(DOTTED, name));
    }
    if let Some(name) = &original {
        all.extend(with(ORIGINAL, name));
    }
    for name in own.iter().chain(&original) {
        all.extend(with(FLAT, &name.replace('.', "_")));
    }
    all
}

/// The layer in the names of the model's authors, where they differ.
fn original(part: Part, layer: &str) -> Option<String> {
    let table = match part {
        Part::Unet => NameTable::SingleFileUnet,
        Part::WanTransformer => NameTable::WanTransformer { repackaged: false },
        Part::TextEncoder | Part::TextEncoder2 => return None,
    };
    let stored = table.origin(&format!("{layer}.weight"))?.name;
    let name = stored.strip_suffix(".weight")?;
    Some(
        name.strip_prefix("model.diffusion_model.")
            .unwrap_or(name)
            .to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn has(part: Part, layer: &str, spelling: &str) {
        let all = of_layer(part, layer);
        assert!(all.iter().any(|s| s == spelling), "{spelling} not in {all:?}");
    }

    #[test]
    fn sdxl_layers_have_the_names_of_kohya_diffusers_and_comfyui() {
        let layer = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0";
        has(
            Part::Unet,
            layer,
            "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0",
        );
        has(
            Part::Unet,
            layer,
            "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_out_0",
        );
        has(
            Part::Unet,
            layer,
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0",
        );
        has(
            Part::Unet,
            layer,
            "diffusion_model.input_blocks.4.1.transformer_blocks.0.attn1.to_out.0",
        );
        has(Part::Unet, "time_embedding.linear_1", "lora_unet_time_embed_0");
        has(Part::Unet, "add_embedding.linear_2", "lora_unet_label_emb_0_2");
        let layer = "text_model.encoder.layers.3.self_attn.q_proj";
        has(
            Part::TextEncoder,
            layer,
            "lora_te1_text_model_encoder_layers_3_self_attn_q_proj",
        );
        has(
            Part::TextEncoder2,
            layer,
            "text_encoder_2.text_model.encoder.layers.3.self_attn.q_proj",
        );
        has(
            Part::TextEncoder2,
            layer,
            "text_encoder_2.encoder.layers.3.self_attn.q_proj",
        );
    }

    #[test]
    fn wan_layers_have_the_names_of_diffusers_musubi_and_comfyui() {
        let layer = "blocks.7.attn2.to_out.0";
        has(Part::WanTransformer, layer, "transformer.blocks.7.attn2.to_out.0");
        has(Part::WanTransformer, layer, "lora_unet_blocks_7_cross_attn_o");
        has(
            Part::WanTransformer,
            layer,
            "diffusion_model.blocks.7.cross_attn.o",
        );
        has(
            Part::WanTransformer,
            "blocks.0.ffn.net.0.proj",
            "lora_unet_blocks_0_ffn_0",
        );
        has(
            Part::WanTransformer,
            "condition_embedder.time_proj",
            "diffusion_model.time_projection.1",
        );
    }
}
