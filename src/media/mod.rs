//! Files that leave the program: PNG with its manifest, and the frames they are made from.

pub mod frames;
