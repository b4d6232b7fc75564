//! Checkpoints to tensors: files, name tables and a strict account of every name.

pub mod checkpoint;
pub mod files;
pub mod names;
mod names_sdxl;
pub mod names_wan;
mod origin;
pub mod param;
pub mod pickle;
mod pytorch;
mod source;
pub mod stored;
pub mod vars;
mod zip_archive;

pub use checkpoint::Checkpoint;
pub use files::ModelFiles;
pub use names::NameTable;
pub use origin::Origin;
pub use param::{Param, Parameters};
pub use source::Entry;
pub use vars::{Report, Vars};
