//! Files that leave the program, pictures and videos with their manifest; the frames they are made
//! from; and reference pictures that come in.

pub mod canny;
pub mod fit;
pub mod frames;
pub mod golden;
pub mod load;
pub mod manifest;
pub mod marks;
pub mod papers;
pub mod png;
pub mod read;
pub mod resample;
pub mod sheet;
pub mod thumb;
pub mod video;
