//! SDXL as its authors publish it: from the names of diffusers and transformers to theirs.

use super::origin::{Origin, lookup};

/// Stored by some writers, computed by everybody: position indices and training-time scalars.
pub(super) fn is_known_extra(stored: &str) -> bool {
    const LEAVES: &[&str] = &[
        "position_ids",
        "logit_scale",
        "mask",
        "num_batches_tracked",
        // Marks of 8-bit files, and what their inputs could be scaled by.
        "scaled_fp8",
        "scale_input",
        "input_scale",
    ];
    LEAVES.iter().any(|leaf| stored.rsplit('.').next() == Some(leaf))
}

const RESNET: &[(&str, &str)] = &[
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
    ("time_emb_proj", "emb_layers.1"),
    ("conv_shortcut", "skip_connection"),
];

const UNET_FLAT: &[(&str, &str)] = &[
    ("time_embedding.linear_1", "time_embed.0"),
    ("time_embedding.linear_2", "time_embed.2"),
    ("add_embedding.linear_1", "label_emb.0.0"),
    ("add_embedding.linear_2", "label_emb.0.2"),
    ("conv_in", "input_blocks.0.0"),
    ("conv_norm_out", "out.0"),
    ("conv_out", "out.2"),
];

/// diffusers' UNet name → generative-models' `openaimodel.py` name, for two layers a block.
pub(super) fn unet(name: &str) -> Option<String> {
    let (stem, leaf) = name.rsplit_once('.')?;
    if let Some(new) = lookup(UNET_FLAT, stem) {
        return Some(format!("{new}.{leaf}"));
    }
    let resnet = |prefix: String, rest: &str| {
        let (layer, leaf) = rest.rsplit_once('.')?;
        Some(format!("{prefix}.{}.{leaf}", lookup(RESNET, layer)?))
    };
    let (place, rest) = name.split_once('.')?;
    let mut fields = rest.splitn(if place == "mid_block" { 3 } else { 4 }, '.');
    let block: usize = if place == "mid_block" {
        0
    } else {
        fields.next()?.parse().ok()?
    };
    let kind = fields.next()?;
    let layer: usize = fields.next()?.parse().ok()?;
    let tail = fields.next()?;
    match (place, kind) {
        ("down_blocks", "resnets") => resnet(format!("input_blocks.{}.0", 3 * block + layer + 1), tail),
        ("down_blocks", "attentions") => Some(format!("input_blocks.{}.1.{tail}", 3 * block + layer + 1)),
        ("down_blocks", "downsamplers") => Some(format!(
            "input_blocks.{}.0.op.{}",
            3 * (block + 1),
            tail.strip_prefix("conv.")?
        )),
        ("mid_block", "resnets") => resnet(format!("middle_block.{}", 2 * layer), tail),
        ("mid_block", "attentions") => Some(format!("middle_block.1.{tail}")),
        ("up_blocks", "resnets") => resnet(format!("output_blocks.{}.0", 3 * block + layer), tail),
        ("up_blocks", "attentions") => Some(format!("output_blocks.{}.1.{tail}", 3 * block + layer)),
        // In SDXL every block that is enlarged has attention, which takes place 1.
        ("up_blocks", "upsamplers") => Some(format!("output_blocks.{}.2.{tail}", 3 * block + 2)),
        _ => None,
    }
}

/// The same for the refiner: its first enlarged block has no attention in place 1.
pub(super) fn refiner_unet(name: &str) -> Option<String> {
    match name.strip_prefix("up_blocks.0.upsamplers.0.") {
        Some(tail) => Some(format!("output_blocks.2.1.{tail}")),
        None => unet(name),
    }
}

/// diffusers' ControlNet name → its authors' (`cldm.py`).
pub(super) fn controlnet(name: &str) -> Option<String> {
    let number = |text: &str| text.parse::<usize>().ok();
    let fields: Vec<&str> = name.split('.').collect();
    match fields.as_slice() {
        ["controlnet_cond_embedding", "conv_in", leaf] => Some(format!("input_hint_block.0.{leaf}")),
        ["controlnet_cond_embedding", "conv_out", leaf] => Some(format!("input_hint_block.14.{leaf}")),
        ["controlnet_cond_embedding", "blocks", i, leaf] => {
            Some(format!("input_hint_block.{}.{leaf}", 2 * (number(i)? + 1)))
        }
        ["controlnet_down_blocks", i, leaf] => Some(format!("zero_convs.{i}.0.{leaf}")),
        ["controlnet_mid_block", leaf] => Some(format!("middle_block_out.0.{leaf}")),
        _ => unet(name),
    }
}

const VAE_ATTENTION: &[(&str, &str)] = &[
    ("group_norm", "norm"),
    ("to_q", "q"),
    ("to_k", "k"),
    ("to_v", "v"),
    ("to_out.0", "proj_out"),
];

/// diffusers' VAE name → latent-diffusion's `first_stage_model.*` name (four levels).
pub(super) fn vae(name: &str, prefix: &str) -> Origin {
    let renamed = name
        .replace("conv_shortcut", "nin_shortcut")
        .replace("conv_norm_out", "norm_out");
    let (side, rest) = renamed.split_once('.').unwrap_or((&renamed, ""));
    let fields: Vec<&str> = rest.split('.').collect();
    let inner = match fields.as_slice() {
        ["mid_block", "attentions", "0", layer @ .., leaf] => {
            let layer = layer.join(".");
            format!(
                "mid.attn_1.{}.{leaf}",
                lookup(VAE_ATTENTION, &layer).unwrap_or(&layer)
            )
        }
        ["mid_block", "resnets", index, tail @ ..] => {
            let block = if *index == "0" { 1 } else { 2 };
            format!("mid.block_{block}.{}", tail.join("."))
        }
        ["down_blocks", block, "resnets", tail @ ..] => format!("down.{block}.block.{}", tail.join(".")),
        ["down_blocks", block, "downsamplers", "0", tail @ ..] => {
            format!("down.{block}.downsample.{}", tail.join("."))
        }
        ["up_blocks", block, "resnets", tail @ ..] => {
            format!("up.{}.block.{}", mirrored(block), tail.join("."))
        }
        ["up_blocks", block, "upsamplers", "0", tail @ ..] => {
            format!("up.{}.upsample.{}", mirrored(block), tail.join("."))
        }
        _ => rest.to_string(),
    };
    Origin {
        pointwise: inner.starts_with("mid.attn_1"),
        ..Origin::same(format!("{prefix}{side}.{inner}"))
    }
}

/// diffusers' VAE name → what it was before attention layers were renamed.
pub(super) fn older_vae(name: &str) -> Origin {
    const OLDER: &[(&str, &str)] = &[
        ("to_q", "query"),
        ("to_k", "key"),
        ("to_v", "value"),
        ("to_out.0", "proj_attn"),
    ];
    let renamed = name.split_once(".attentions.0.").and_then(|(place, layer)| {
        let (layer, leaf) = layer.rsplit_once('.')?;
        Some(format!("{place}.attentions.0.{}.{leaf}", lookup(OLDER, layer)?))
    });
    Origin {
        pointwise: name.contains(".attentions."),
        ..Origin::same(renamed.unwrap_or_else(|| name.to_string()))
    }
}

/// latent-diffusion counts the decoder's four levels from the picture's side.
fn mirrored(block: &str) -> usize {
    3_usize.saturating_sub(block.parse().unwrap_or(0))
}

const OPEN_CLIP_LAYER: &[(&str, &str)] = &[
    ("self_attn.out_proj", "attn.out_proj"),
    ("layer_norm1", "ln_1"),
    ("layer_norm2", "ln_2"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
];

/// transformers' CLIP name → open_clip's, whose attention projections are fused and whose text
/// projection is stored transposed.
pub(super) fn open_clip(name: &str, prefix: &str) -> Option<Origin> {
    let at = |new: String| Some(Origin::same(format!("{prefix}{new}")));
    let inner = name.strip_prefix("text_model.").unwrap_or(name);
    match inner {
        "embeddings.token_embedding.weight" => return at("token_embedding.weight".into()),
        "embeddings.position_embedding.weight" => return at("positional_embedding".into()),
        "final_layer_norm.weight" => return at("ln_final.weight".into()),
        "final_layer_norm.bias" => return at("ln_final.bias".into()),
        "text_projection.weight" => {
            return Some(Origin {
                transposed: true,
                ..at("text_projection".into())?
            });
        }
        _ => {}
    }
    let (layer, tail) = inner.strip_prefix("encoder.layers.")?.split_once('.')?;
    let (stem, leaf) = tail.rsplit_once('.')?;
    let block = format!("transformer.resblocks.{layer}");
    if let Some(part) = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]
        .iter()
        .position(|p| *p == stem)
    {
        return Some(Origin {
            part: Some((part, 3)),
            ..at(format!("{block}.attn.in_proj_{leaf}"))?
        });
    }
    at(format!("{block}.{}.{leaf}", lookup(OPEN_CLIP_LAYER, stem)?))
}
