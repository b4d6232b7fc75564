//! One short table per checkpoint layout: from the name a model asks for to the name on disk.

use super::checkpoint::Checkpoint;
use super::origin::Origin;
use super::{names_sdxl, names_wan};

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
    /// WAN's transformer in its authors' names, see `names_wan`.
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

    /// The layout of a WAN component, told from the names in its checkpoint.
    ///
    /// `resnets_per_up_block` is the autoencoder's `num_res_blocks + 1`, which its names do not tell.
    pub fn of_wan(checkpoint: &Checkpoint, resnets_per_up_block: usize) -> Self {
        let has = |name: &str| checkpoint.get(name).is_some();
        if has("text_embedding.0.weight") {
            Self::WanTransformer { repackaged: false }
        } else if has(&format!("{}text_embedding.0.weight", names_wan::REPACKAGED)) {
            Self::WanTransformer { repackaged: true }
        } else if has("decoder.middle.0.residual.0.gamma") {
            Self::WanVae { resnets_per_up_block }
        } else if has("token_embedding.weight") {
            Self::Umt5 { original: true }
        } else if has("shared.weight") || has("encoder.embed_tokens.weight") {
            Self::Umt5 { original: false }
        } else {
            Self::Diffusers
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
                names_sdxl::unet(name).map(|n| Origin::same(format!("{}{n}", self.prefix())))
            }
            Self::RefinerUnet => {
                names_sdxl::refiner_unet(name).map(|n| Origin::same(format!("{}{n}", self.prefix())))
            }
            Self::OlderVae => Some(names_sdxl::older_vae(name)),
            Self::SingleFileVae | Self::OriginalVae => Some(names_sdxl::vae(name, self.prefix())),
            Self::OriginalControlNet { .. } => {
                names_sdxl::controlnet(name).map(|n| Origin::same(format!("{}{n}", self.prefix())))
            }
            Self::SingleFileClipL => Some(Origin::same(format!("{}{name}", self.prefix()))),
            Self::SingleFileClipG | Self::RefinerClipG => names_sdxl::open_clip(name, self.prefix()),
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
            _ => names_sdxl::is_known_extra(stored),
        };
        stored.starts_with(self.prefix()) && !is_extra
    }
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
        && !names_sdxl::is_known_extra(stored)
}
