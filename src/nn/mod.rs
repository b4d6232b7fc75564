//! (to be written)

pub mod noise;
