//! One short table per checkpoint layout: from the name a model asks for to the name on disk.

use super::{Checkpoint, names_wan};

/// Where a variable comes from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Origin {
    /// The name on disk.
    pub name: String,
    /// The `i`-th of `n` equal blocks of rows, for fused projections.
    pub part: Option<(usize, usize)>,
    /// Stored `[in, out]` instead of `[out, in]`.
    pub transposed: bool,
    /// Stored as a 1×1 convolution `[out, in, 1, 1]` instead of `[out, in]`.
    pub pointwise: bool,
}

impl Origin {
    pub(super) fn same(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }

    /// The shape on disk of a variable that the model sees as `shape`.
    pub fn stored_shape(&self, shape: &[usize]) -> Vec<usize> {
        let mut stored = shape.to_vec();
        if let Some((_, n)) = self.part {
            stored[0] *= n;
        }
        if self.transposed {
            stored.reverse();
        }
        if self.pointwise && shape.len() == 2 {
            stored.extend([1, 1]);
        }
        stored
    }

    /// True when `found` holds the same numbers in the same order as `shape` would: a linear
    /// layer may be stored as a 1×1 convolution and the other way round.
    pub fn accepts(&self, found: &[usize], shape: &[usize]) -> bool {
        let expected = self.stored_shape(shape);
        let trimmed = |s: &[usize]| match s {
            [out, input, 1, 1] => vec![*out, *input],
            other => other.to_vec(),
        };
        self.pointwise && trimmed(found) == trimmed(&expected)
    }

    /// The share of the stored bytes that belongs to this variable.
    pub fn byte_range(&self, len: usize) -> std::ops::Range<usize> {
        match self.part {
            None => 0..len,
            Some((i, n)) => len / n * i..len / n * (i + 1),
        }
    }

    /// How many variables share the stored tensor.
    pub fn parts(&self) -> usize {
        self.part.map_or(1, |(_, n)| n)
    }

    /// True for the variable after which the stored tensor is no longer needed.
    pub fn is_last_part(&self) -> bool {
        self.part.is_none_or(|(i, n)| i + 1 == n)
    }
}

/// The layout of a component inside its checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameTable {
    /// The names of diffusers and transformers.
    Diffusers,
    /// A transformers text encoder, whose `text_model.` prefix some writers leave out.
    Transformers { prefixed: bool },
    /// `model.diffusion_model.*` of an SDXL single file (Stability's generative-models).
    SingleFileUnet,
    /// The same of SDXL's refiner, whose innermost blocks have no attention.
    RefinerUnet,
    /// `first_stage_model.*`
    SingleFileVae,
    /// The same names in a file of its own, without the prefix.
    OriginalVae,
    /// diffusers' names before its version 0.18 (`query`, `proj_attn`).
    OlderVae,
    /// A ControlNet in its authors' names, in a checkpoint below `control_model.`.
    OriginalControlNet { prefixed: bool },
    /// `conditioner.embedders.0.transformer.*`
    SingleFileClipL,
    /// `conditioner.embedders.1.model.*` (open_clip's names)
    SingleFileClipG,
    /// The same of the refiner, which has no other text encoder: `conditioner.embedders.0.model.*`
    RefinerClipG,
    /// WAN's transformer in its authors' names, see [`names_wan`].
    WanTransformer { repackaged: bool },
    /// WAN's autoencoder in its authors' names.
    WanVae { resnets_per_up_block: usize },
    /// umT5 in transformers' names, or in those of WAN's authors.
    Umt5 { original: bool },
}

impl NameTable {
    /// The table for a component of a diffusers folder.
    pub fn of_component(component: &str, checkpoint: &Checkpoint) -> Self {
        if component == "vae" {
            return Self::of_vae(checkpoint).unwrap_or(Self::Diffusers);
        }
        if !component.starts_with("text_encoder") {
            return Self::Diffusers;
        }
        Self::Transformers {
            prefixed: checkpoint
                .entries()
                .any(|(name, _)| name.starts_with("text_model.")),
        }
    }

    /// The table for a ControlNet's file.
    pub fn of_controlnet(checkpoint: &Checkpoint) -> Self {
        let has = |start: &str| checkpoint.entries().any(|(name, _)| name.starts_with(start));
        match (has("control_model."), has("zero_convs.")) {
            (true, _) => Self::OriginalControlNet { prefixed: true },
            (false, true) => Self::OriginalControlNet { prefixed: false },
            _ => Self::Diffusers,
        }
    }

    /// The table for an autoencoder's file; `None` when it holds none.
    pub fn of_vae(checkpoint: &Checkpoint) -> Option<Self> {
        let has = |name: &str| checkpoint.get(name).is_some();
        if has("decoder.mid_block.attentions.0.query.weight") {
            Some(Self::OlderVae)
        } else if has("decoder.up_blocks.0.resnets.0.conv1.weight") {
            Some(Self::Diffusers)
        } else if has("decoder.up.0.block.0.conv1.weight") {
            Some(Self::OriginalVae)
        } else if has("first_stage_model.decoder.up.0.block.0.conv1.weight") {
            Some(Self::SingleFileVae)
        } else {
            None
        }
    }

    /// The origin of a variable in diffusers' or transformers' name; `None` if the layout has none.
    pub fn origin(&self, name: &str) -> Option<Origin> {
        match self {
            Self::Diffusers => Some(Origin {
                pointwise: name.contains(".attentions."),
                ..Origin::same(name)
            }),
            Self::Transformers { prefixed: true } => Some(Origin::same(name)),
            Self::Transformers { prefixed: false } => {
                Some(Origin::same(name.strip_prefix("text_model.").unwrap_or(name)))
            }
            Self::SingleFileUnet => {
                unet_original(name).map(|n| Origin::same(format!("{}{n}", self.prefix())))
            }
            Self::RefinerUnet => {
                refiner_original(name).map(|n| Origin::same(format!("{}{n}", self.prefix())))
            }
            Self::OlderVae => Some(older_vae(name)),
            Self::SingleFileVae | Self::OriginalVae => Some(vae_original(name, self.prefix())),
            Self::OriginalControlNet { .. } => {
                controlnet_original(name).map(|n| Origin::same(format!("{}{n}", self.prefix())))
            }
            Self::SingleFileClipL => Some(Origin::same(format!("{}{name}", self.prefix()))),
            Self::SingleFileClipG | Self::RefinerClipG => open_clip(name, self.prefix()),
            Self::WanTransformer { repackaged } => names_wan::transformer(name, *repackaged),
            Self::WanVae { resnets_per_up_block } => names_wan::vae(name, *resnets_per_up_block),
            Self::Umt5 { original: true } => names_wan::umt5(name),
            Self::Umt5 { original: false } => Some(Origin::same(name)),
        }
    }

    fn prefix(&self) -> &'static str {
        match self {
            Self::Diffusers | Self::Transformers { .. } | Self::WanVae { .. } | Self::Umt5 { .. } => "",
            Self::WanTransformer { repackaged } => names_wan::prefix(*repackaged),
            Self::SingleFileUnet | Self::RefinerUnet => "model.diffusion_model.",
            Self::SingleFileVae => "first_stage_model.",
            Self::OriginalVae | Self::OlderVae => "",
            Self::OriginalControlNet { prefixed: true } => "control_model.",
            Self::OriginalControlNet { prefixed: false } => "",
            Self::SingleFileClipL => "conditioner.embedders.0.transformer.",
            Self::SingleFileClipG => "conditioner.embedders.1.model.",
            Self::RefinerClipG => "conditioner.embedders.0.model.",
        }
    }

    /// True when a stored tensor belongs to this component and must be asked for by it.
    pub fn owns(&self, stored: &str) -> bool {
        let is_extra = match self {
            Self::Umt5 { .. } => names_wan::is_umt5_extra(stored),
            _ => is_known_extra(stored),
        };
        stored.starts_with(self.prefix()) && !is_extra
    }
}

/// Stored by some writers, computed by everybody: position indices and training-time scalars.
fn is_known_extra(stored: &str) -> bool {
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

/// True for tensors of a single file that no part of SDXL inference reads.
pub fn is_foreign_to_sdxl(stored: &str) -> bool {
    let parts = [
        NameTable::SingleFileUnet,
        NameTable::SingleFileVae,
        NameTable::SingleFileClipL,
        NameTable::SingleFileClipG,
        NameTable::RefinerClipG,
    ];
    const TRAINING: &[&str] = &[
        "model_ema.",
        "denoiser.",
        "loss.",
        "alphas_cumprod",
        "betas",
        "sqrt_",
        "log_one",
        "v_pred",
        "ztsnr",
    ];
    !parts.iter().any(|t| stored.starts_with(t.prefix()))
        && !TRAINING.iter().any(|t| stored.starts_with(t))
        && !is_known_extra(stored)
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
fn unet_original(name: &str) -> Option<String> {
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
fn refiner_original(name: &str) -> Option<String> {
    match name.strip_prefix("up_blocks.0.upsamplers.0.") {
        Some(tail) => Some(format!("output_blocks.2.1.{tail}")),
        None => unet_original(name),
    }
}

/// diffusers' ControlNet name → its authors' (`cldm.py`).
fn controlnet_original(name: &str) -> Option<String> {
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
        _ => unet_original(name),
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
fn vae_original(name: &str, prefix: &str) -> Origin {
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
fn older_vae(name: &str) -> Origin {
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
fn open_clip(name: &str, prefix: &str) -> Option<Origin> {
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

fn lookup<'a>(table: &[(&str, &'a str)], key: &str) -> Option<&'a str> {
    table.iter().find(|(from, _)| *from == key).map(|(_, to)| *to)
}
