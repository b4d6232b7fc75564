//! Layers that more than one model family uses, on plain tensors.

pub mod attention;
pub mod causal_conv3d;
pub mod conv;
pub mod embeddings;
pub mod linear;
pub mod noise;
pub mod norm;
pub mod rms_norm;
pub mod rope;
pub mod rotary;
