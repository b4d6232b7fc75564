//! LoRA and its relatives (Hu et al. 2021): names → deltas → merged weights.
//!
//! A file is grouped by the layers that it names ([`file`]); each layer's tensors become factors
//! ([`factors`]); the layer is found in a network by the spellings that trainers use ([`names`]);
//! and what the factors multiply to is added to the weight ([`merge`]). A file that fits no layer
//! is told by the family of model that it was made for ([`family`]).

pub mod factors;
pub mod family;
pub mod file;
pub mod merge;
pub mod names;

pub use factors::Factors;
pub use file::Adapter;
pub use merge::{Merged, Network, ScaledAdapter};
pub use names::Part;
