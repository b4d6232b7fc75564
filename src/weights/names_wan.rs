//! WAN 2.1 and umT5 as their authors publish them: from diffusers' names to theirs
//! (github.com/Wan-Video/Wan2.1, `wan/modules/`).

use super::checkpoint::Checkpoint;
use super::origin::{Origin, lookup};

/// What repackagers put before the transformer's names.
pub(super) const REPACKAGED: &str = "model.diffusion_model.";

/// True when a checkpoint holds VACE's control branch, whatever its layout.
pub fn has_control_branch(checkpoint: &Checkpoint) -> bool {
    checkpoint
        .entries()
        .any(|(name, _)| name.ends_with("vace_patch_embedding.weight"))
}

const TRANSFORMER_FLAT: &[(&str, &str)] = &[
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("patch_embedding", "patch_embedding"),
    ("vace_patch_embedding", "vace_patch_embedding"),
    ("proj_out", "head.head"),
];

const TRANSFORMER_BLOCK: &[(&str, &str)] = &[
    ("attn1.to_q", "self_attn.q"),
    ("attn1.to_k", "self_attn.k"),
    ("attn1.to_v", "self_attn.v"),
    ("attn1.to_out.0", "self_attn.o"),
    ("attn1.norm_q", "self_attn.norm_q"),
    ("attn1.norm_k", "self_attn.norm_k"),
    ("attn2.to_q", "cross_attn.q"),
    ("attn2.to_k", "cross_attn.k"),
    ("attn2.to_v", "cross_attn.v"),
    ("attn2.to_out.0", "cross_attn.o"),
    ("attn2.norm_q", "cross_attn.norm_q"),
    ("attn2.norm_k", "cross_attn.norm_k"),
    ("norm2", "norm3"),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
    ("proj_in", "before_proj"),
    ("proj_out", "after_proj"),
];

/// `WanTransformer3DModel` → `wan/modules/model.py` and `vace_model.py`.
pub(super) fn transformer(name: &str, repackaged: bool) -> Option<Origin> {
    let new = match name.strip_suffix("scale_shift_table") {
        Some("") => "head.modulation".to_string(),
        Some(block) => format!("{block}modulation"),
        None => {
            let (stem, leaf) = name.rsplit_once('.')?;
            match lookup(TRANSFORMER_FLAT, stem) {
                Some(flat) => format!("{flat}.{leaf}"),
                None => {
                    let mut fields = stem.splitn(3, '.');
                    let (chain, index, layer) = (fields.next()?, fields.next()?, fields.next()?);
                    format!("{chain}.{index}.{}.{leaf}", lookup(TRANSFORMER_BLOCK, layer)?)
                }
            }
        }
    };
    Some(Origin::same(format!("{}{new}", prefix(repackaged))))
}

/// What stands before every name of a transformer.
pub(super) fn prefix(repackaged: bool) -> &'static str {
    if repackaged { REPACKAGED } else { "" }
}

const VAE_FLAT: &[(&str, &str)] = &[
    ("quant_conv", "conv1"),
    ("post_quant_conv", "conv2"),
    ("encoder.conv_in", "encoder.conv1"),
    ("encoder.norm_out", "encoder.head.0"),
    ("encoder.conv_out", "encoder.head.2"),
    ("decoder.conv_in", "decoder.conv1"),
    ("decoder.norm_out", "decoder.head.0"),
    ("decoder.conv_out", "decoder.head.2"),
];

const VAE_RESIDUAL: &[(&str, &str)] = &[
    ("norm1", "residual.0"),
    ("conv1", "residual.2"),
    ("norm2", "residual.3"),
    ("conv2", "residual.6"),
    ("conv_shortcut", "shortcut"),
];

/// `AutoencoderKLWan` → `wan/modules/vae.py`, which counts a half's layers in one row.
pub(super) fn vae(name: &str, resnets_per_up_block: usize) -> Option<Origin> {
    let (stem, leaf) = name.rsplit_once('.')?;
    if let Some(flat) = lookup(VAE_FLAT, stem) {
        return Some(Origin::same(format!("{flat}.{leaf}")));
    }
    let fields: Vec<&str> = stem.split('.').collect();
    let row = |block: &str, layer: usize| -> Option<usize> {
        Some(block.parse::<usize>().ok()? * (resnets_per_up_block + 1) + layer)
    };
    let (place, layer) = match fields.as_slice() {
        [side, "down_blocks", index, layer @ ..] => (format!("{side}.downsamples.{index}"), layer),
        [side, "mid_block", "attentions", "0", layer @ ..] => (format!("{side}.middle.1"), layer),
        [side, "mid_block", "resnets", index, layer @ ..] => {
            let index = 2 * index.parse::<usize>().ok()?;
            (format!("{side}.middle.{index}"), layer)
        }
        [side, "up_blocks", block, "resnets", index, layer @ ..] => {
            let index = row(block, index.parse().ok()?)?;
            (format!("{side}.upsamples.{index}"), layer)
        }
        [side, "up_blocks", block, "upsamplers", "0", layer @ ..] => {
            let index = row(block, resnets_per_up_block)?;
            (format!("{side}.upsamples.{index}"), layer)
        }
        _ => return None,
    };
    let layer = layer.join(".");
    let layer = lookup(VAE_RESIDUAL, &layer).unwrap_or(&layer);
    Some(Origin::same(format!("{place}.{layer}.{leaf}")))
}

const UMT5_BLOCK: &[(&str, &str)] = &[
    ("layer.0.SelfAttention.q", "attn.q"),
    ("layer.0.SelfAttention.k", "attn.k"),
    ("layer.0.SelfAttention.v", "attn.v"),
    ("layer.0.SelfAttention.o", "attn.o"),
    (
        "layer.0.SelfAttention.relative_attention_bias",
        "pos_embedding.embedding",
    ),
    ("layer.0.layer_norm", "norm1"),
    ("layer.1.layer_norm", "norm2"),
    ("layer.1.DenseReluDense.wi_0", "ffn.gate.0"),
    ("layer.1.DenseReluDense.wi_1", "ffn.fc1"),
    ("layer.1.DenseReluDense.wo", "ffn.fc2"),
];

/// `UMT5EncoderModel` → `wan/modules/t5.py`.
pub(super) fn umt5(name: &str) -> Option<Origin> {
    let new = match name {
        "shared.weight" => "token_embedding.weight".to_string(),
        "encoder.final_layer_norm.weight" => "norm.weight".to_string(),
        _ => {
            let (block, rest) = name.strip_prefix("encoder.block.")?.split_once('.')?;
            let (layer, leaf) = rest.rsplit_once('.')?;
            format!("blocks.{block}.{}.{leaf}", lookup(UMT5_BLOCK, layer)?)
        }
    };
    Some(Origin::same(new))
}

/// Stored beside umT5 by some writers: the same table once more, and the tokenizer's own file.
pub(super) fn is_umt5_extra(stored: &str) -> bool {
    ["encoder.embed_tokens.weight", "spiece_model"].contains(&stored)
}
