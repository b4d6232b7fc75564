//! Checkpoints to tensors: files, name tables and a strict account of every name.

pub mod checkpoint;
pub mod files;
pub mod names;
pub mod names_wan;
pub mod param;
pub mod pickle;
mod pytorch;
pub mod stored;
pub mod vars;
mod zip_archive;

pub use checkpoint::Checkpoint;
pub use files::ModelFiles;
pub use names::{NameTable, Origin};
pub use param::{Param, Parameters};
pub use vars::{Report, Vars};
