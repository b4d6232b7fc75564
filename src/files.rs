//! The one place that opens, writes, locks and sweeps files.
//!
//! Reads are bounded and take regular files only: a FIFO or a device never blocks us and an endless
//! file never fills the memory. Writes appear whole or not at all: a part file with a random name,
//! synced, moved into place, its folder synced.

mod digest;
mod folders;
mod locks;
mod moves;
mod parts;
mod paths;
pub mod points;
mod read;
mod write;

pub use digest::{hex, sha256_hex};
pub use folders::{make_folder, sync_folder, write_error};
pub use locks::{FolderLock, Lock};
pub use moves::{move_new, move_whole, remove_if_there};
pub use parts::{Staging, sweep};
pub use paths::{folder_of, name_limit_bytes, with_suffix};
pub use read::{input_error, mark_used, open_regular, read_bounded, set_time, shown_bytes};
pub use write::{Existing, place, write_cached, write_whole};

#[cfg(test)]
mod tests;
