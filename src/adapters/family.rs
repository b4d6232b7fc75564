//! Which family of models an adapter was made for, told from the names that do not fit.

/// Parts of names that only one family has; the first that is found decides.
///
/// Names are compared with dots, so that both ways of writing them match.
const MARKS: &[(&str, &[&str])] = &[
    (
        "FLUX",
        &["double.blocks.", "single.blocks.", "single.transformer.blocks."],
    ),
    (
        "Stable Diffusion 3",
        &["joint.blocks.", "attn.add.q.proj", "context.embedder"],
    ),
    ("Stable Cascade", &["lora.prior."]),
    (
        "HunyuanVideo",
        &["txt.in.individual.token.refiner", "refiner.blocks."],
    ),
    (
        "PixArt or another T5 image model",
        &["caption.projection", "adaln.single"],
    ),
    (
        "WAN",
        &[
            "self.attn.",
            "cross.attn.",
            ".ffn.0",
            ".ffn.2",
            "ffn.net.0",
            "text.embedding.",
            "time.projection",
        ],
    ),
    (
        "SD 1.x or 2.x",
        &[
            "lora.te.text.model",
            "down.blocks.0.attentions",
            "up.blocks.3.attentions",
            "input.blocks.1.1.",
            "output.blocks.9.1.",
        ],
    ),
    (
        "SDXL",
        &[
            "lora.te1.",
            "lora.te2.",
            "text.encoder.2.",
            "down.blocks.",
            "up.blocks.",
            "mid.block.",
            "input.blocks.",
            "output.blocks.",
            "middle.block.",
        ],
    ),
];

/// Text encoder layers contain `self_attn` in every family, so they tell nothing of WAN.
fn is_text_encoder(name: &str) -> bool {
    name.contains("text.model.") || name.contains("encoder.layers.")
}

/// The family that names of layers point to, if any.
pub fn of_names<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    let found = |marks: &[&str], is_wan: bool| {
        names.clone().any(|name| {
            let dotted = name.replace('_', ".");
            !(is_wan && is_text_encoder(&dotted)) && marks.iter().any(|mark| dotted.contains(mark))
        })
    };
    MARKS
        .iter()
        .find(|(family, marks)| found(marks, *family == "WAN"))
        .map(|(family, _)| *family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_told_from_the_names_of_their_layers() {
        for (name, family) in [
            ("lora_unet_double_blocks_0_img_attn_qkv", "FLUX"),
            ("transformer.single_transformer_blocks.3.attn.to_q", "FLUX"),
            (
                "transformer.transformer_blocks.0.attn.add_q_proj",
                "Stable Diffusion 3",
            ),
            (
                "lora_te_text_model_encoder_layers_0_self_attn_q_proj",
                "SD 1.x or 2.x",
            ),
            ("lora_unet_down_blocks_0_attentions_0_proj_in", "SD 1.x or 2.x"),
            ("lora_unet_blocks_0_self_attn_q", "WAN"),
            ("diffusion_model.blocks.39.ffn.0", "WAN"),
            ("lora_te2_text_model_encoder_layers_0_self_attn_q_proj", "SDXL"),
            ("unet.mid_block.attentions.0.proj_in", "SDXL"),
        ] {
            assert_eq!(of_names([name].into_iter()), Some(family), "{name}");
        }
        assert_eq!(of_names(["something_else"].into_iter()), None);
    }
}
