//! Networks, each written like its paper and named like its checkpoint.

pub mod clip;
pub mod clip_vision;
pub mod controlnet;
pub mod ip_adapter;
pub mod qwen2;
pub mod sdxl_unet;
pub mod sdxl_vae;
pub mod sdxl_vae_tiling;
pub mod umt5;
pub mod wan_transformer;
pub mod wan_vae;
pub mod wan_vae_tiling;
