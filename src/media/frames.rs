//! Decoded pictures: the only thing pipelines hand to the outside.

/// One picture: 8-bit sRGB, row by row from the top left, three bytes a pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub width: u32,
    pub height: u32,
    /// `height * width * 3` bytes.
    pub rgb: Vec<u8>,
}

impl Frame {
    /// # Panics
    /// If `rgb` does not hold exactly `width * height` pixels.
    pub fn new(width: u32, height: u32, rgb: Vec<u8>) -> Self {
        assert_eq!(
            rgb.len(),
            width as usize * height as usize * 3,
            "frame of {width}x{height} needs 3 bytes a pixel"
        );
        Self { width, height, rgb }
    }

    /// True when no pixel is brighter than near-black: what a broken VAE produces.
    pub fn is_all_black(&self) -> bool {
        self.rgb.iter().all(|&v| v <= 1)
    }
}
