//! Floating-point operations and weight bytes, counted from the shapes of a network.
//!
//! A multiplication and an addition count as two. Norms and activations are left out: they are
//! bound by memory. What a kernel really executes may be more.

use super::synthetic::Wanted;
use crate::models::sdxl_unet::UNetConfig;
use crate::models::sdxl_vae::VaeConfig;
use crate::models::wan_transformer::WanTransformerConfig;

/// Tokens of an SDXL prompt in one chunk.
const TEXT_TOKENS: u64 = 77;
/// Tokens that WAN pads its prompt to.
const WAN_TEXT_TOKENS: u64 = 512;

/// Elements of all tensors.
pub fn parameters(tensors: &[Wanted]) -> u64 {
    tensors.iter().map(|(_, shape)| elements(shape)).sum()
}

fn elements(shape: &[usize]) -> u64 {
    shape.iter().product::<usize>() as u64
}

/// Whether a tensor is the matrix or the filter of a product.
fn multiplies(shape: &[usize]) -> bool {
    shape.len() >= 2
}

/// One forward of a text model over `tokens`, whose embedding tables are only looked up.
pub fn text_encoder(tensors: &[Wanted], tokens: u64) -> u64 {
    tensors
        .iter()
        .filter(|(name, shape)| multiplies(shape) && !name.contains("embed") && !name.starts_with("shared"))
        .map(|(_, shape)| 2 * elements(shape) * tokens)
        .sum()
}

/// One forward of SDXL's UNet over one row of latents, `[height, width]`.
pub fn unet(tensors: &[Wanted], config: &UNetConfig, latents: [u64; 2]) -> u64 {
    let levels = config.block_out_channels.len();
    let mut total = 0;
    for (name, shape) in tensors.iter().filter(|(_, shape)| multiplies(shape)) {
        let level = level_of(name, levels);
        let positions = match () {
            () if name.contains("time_emb") || name.contains("embedding") => 1,
            () if name.contains("attn2.to_k") || name.contains("attn2.to_v") => TEXT_TOKENS,
            () => (latents[0] >> level) * (latents[1] >> level),
        };
        total += 2 * elements(shape) * positions;
        if name.ends_with("attn1.to_q.weight") {
            total += 4 * positions * positions * shape[0] as u64;
        }
        if name.ends_with("attn2.to_q.weight") {
            total += 4 * positions * TEXT_TOKENS * shape[0] as u64;
        }
    }
    total
}

/// How often the latents are halved where a layer of the UNet works.
fn level_of(name: &str, levels: usize) -> usize {
    let index = || {
        let digits = name.split('.').nth(1);
        digits.and_then(|d| d.parse::<usize>().ok()).unwrap_or(0)
    };
    match name.split('.').next() {
        Some("down_blocks") if name.contains("downsamplers") => index() + 1,
        Some("down_blocks") => index(),
        Some("mid_block") => levels - 1,
        Some("up_blocks") if name.contains("upsamplers") => (levels - 1 - index()).saturating_sub(1),
        Some("up_blocks") => levels - 1 - index(),
        _ => 0,
    }
}

/// One decoding of SDXL's autoencoder from latents of `[height, width]`.
pub fn vae_decode(tensors: &[Wanted], config: &VaeConfig, latents: [u64; 2]) -> u64 {
    let last = config.block_out_channels.len() - 1;
    let mut total = 0;
    for (name, shape) in tensors {
        let decodes = name.starts_with("decoder.") || name.starts_with("post_quant_conv");
        if !decodes || !multiplies(shape) {
            continue;
        }
        // Each up block but the last doubles the size behind its last layer.
        let level = match name.strip_prefix("decoder.up_blocks.") {
            Some(rest) => {
                let index: usize = rest.split('.').next().and_then(|d| d.parse().ok()).unwrap_or(0);
                (index + usize::from(rest.contains("upsamplers"))).min(last)
            }
            None if name.starts_with("decoder.conv_out") => last,
            None => 0,
        };
        let positions = (latents[0] << level) * (latents[1] << level);
        total += 2 * elements(shape) * positions;
        if name.ends_with("to_q.weight") {
            total += 4 * positions * positions * shape[0] as u64;
        }
    }
    total
}

/// One forward of WAN's transformer over one row of `tokens` (after patching).
pub fn wan_transformer(tensors: &[Wanted], config: &WanTransformerConfig, tokens: u64) -> u64 {
    let width = (config.num_attention_heads * config.attention_head_dim) as u64;
    let mut total = 0;
    for (name, shape) in tensors
        .iter()
        .filter(|(name, shape)| multiplies(shape) && !name.contains("scale_shift"))
    {
        let positions = match () {
            () if name.contains("text_embedder") => WAN_TEXT_TOKENS,
            () if name.contains("time_") => 1,
            () if name.contains("attn2.to_k") || name.contains("attn2.to_v") => WAN_TEXT_TOKENS,
            () => tokens,
        };
        total += 2 * elements(shape) * positions;
        if name.ends_with("attn1.to_q.weight") {
            total += 4 * tokens * tokens * width;
        }
        if name.ends_with("attn2.to_q.weight") {
            total += 4 * tokens * WAN_TEXT_TOKENS * width;
        }
    }
    total
}

/// Tokens that WAN's transformer sees of a video.
pub fn wan_tokens(frames: u64, width_px: u64, height_px: u64) -> u64 {
    ((frames - 1) / 4 + 1) * (width_px / 16) * (height_px / 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::synthetic::Synthetic;
    use crate::pipelines::embedded::SDXL_BASE;

    fn tensors(model: &str, folder: &str) -> Vec<Wanted> {
        let components = Synthetic::named(model).unwrap().components().unwrap();
        components
            .into_iter()
            .find(|c| c.folder == folder)
            .unwrap()
            .tensors
    }

    /// Within two per cent of a count made with another program.
    #[track_caller]
    fn near(flop: u64, tera: f64) {
        let ratio = flop as f64 / (tera * 1e12);
        assert!((0.98..1.02).contains(&ratio), "{flop} is {ratio} of {tera} T");
    }

    #[test]
    fn sdxl_at_1024_takes_what_is_known_of_it() {
        let unet_config: UNetConfig = SDXL_BASE.json("unet/config.json").unwrap();
        near(2 * unet(&tensors("sdxl", "unet"), &unet_config, [128, 128]), 13.5);
        let vae_config: VaeConfig = SDXL_BASE.json("vae/config.json").unwrap();
        near(vae_decode(&tensors("sdxl", "vae"), &vae_config, [128, 128]), 10.5);
    }

    #[test]
    fn wan_takes_what_is_known_of_it() {
        let model = Synthetic::named("wan-1.3b").unwrap();
        let tokens = wan_tokens(81, 832, 480);
        assert_eq!(tokens, 32_760);
        near(
            wan_transformer(&tensors("wan-1.3b", "transformer"), &model.transformer(), tokens),
            283.0,
        );
        near(text_encoder(&tensors("wan-1.3b", "text_encoder"), 512), 4.8);
    }

    #[test]
    fn a_language_model_reads_its_weights_for_each_token() {
        let bytes = 2 * parameters(&tensors("qwen-7b", ""));
        assert!((15.0e9..15.5e9).contains(&(bytes as f64)), "{bytes}");
    }
}
