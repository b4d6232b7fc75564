//! The files that are compiled into the binary: micro models and SDXL base's architecture.

use crate::weights::ModelFiles;

macro_rules! embed {
    ($root:literal: $($path:literal),+ $(,)?) => {
        &[$(($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/", $root, "/", $path)) as &[u8])),+]
    };
}

/// The small model that draws coloured shapes; see assets/micro/README.md.
pub const MICRO_SDXL: ModelFiles = ModelFiles::Embedded(embed!("micro/sdxl":
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "text_encoder_2/config.json",
    "text_encoder_2/model.safetensors",
    "tokenizer/merges.txt",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer_2/merges.txt",
    "tokenizer_2/special_tokens_map.json",
    "tokenizer_2/tokenizer_config.json",
    "tokenizer_2/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
));

/// The small model that moves coloured shapes; see assets/micro/README.md.
pub const MICRO_WAN: ModelFiles = ModelFiles::Embedded(embed!("micro/wan":
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/special_tokens_map.json",
    "tokenizer/tokenizer.json",
    "tokenizer/tokenizer_config.json",
    "transformer/config.json",
    "transformer/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
));

/// SDXL base's configuration, for single files that come without one.
pub const SDXL_BASE: ModelFiles = ModelFiles::Embedded(embed!("sdxl-base":
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder_2/config.json",
    "unet/config.json",
    "vae/config.json",
));

/// The refiner's, which shares the rest with SDXL base.
pub const SDXL_REFINER: ModelFiles = ModelFiles::Embedded(&[
    (
        "model_index.json",
        include_bytes!("../../assets/sdxl-refiner/model_index.json"),
    ),
    (
        "unet/config.json",
        include_bytes!("../../assets/sdxl-refiner/unet/config.json"),
    ),
    (
        "scheduler/scheduler_config.json",
        include_bytes!("../../assets/sdxl-base/scheduler/scheduler_config.json"),
    ),
    (
        "text_encoder_2/config.json",
        include_bytes!("../../assets/sdxl-base/text_encoder_2/config.json"),
    ),
    (
        "vae/config.json",
        include_bytes!("../../assets/sdxl-base/vae/config.json"),
    ),
]);

/// The small model that enriches prompts for coloured shapes; see assets/micro/README.md.
pub const MICRO_QWEN: ModelFiles = ModelFiles::Embedded(embed!("micro/qwen":
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
));
