//! Layers that more than one model family uses, on plain tensors.

pub mod attention;
pub mod conv;
pub mod embeddings;
pub mod linear;
pub mod noise;
pub mod norm;
