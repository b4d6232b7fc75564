//! Files that leave the program: PNG with its manifest, and the frames they are made from.

pub mod files;
pub mod frames;
pub mod golden;
pub mod manifest;
pub mod png;
