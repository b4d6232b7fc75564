//! Pictures to tensors and back.

use anyhow::{Context, Result};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::fail;
use crate::media::frames::Frame;
use crate::media::resample::{Filter, Rounding, resize};
use crate::models::clip_vision::{normalised, scaled_and_cropped};

/// A frame at a size, as diffusers' `VaeImageProcessor` resizes.
pub fn at_size(frame: &Frame, [height, width]: [usize; 2]) -> Frame {
    resize(
        frame,
        width as u32,
        height as u32,
        Filter::Lanczos,
        Rounding::Pillow,
    )
}

/// # Shapes
/// → `[1, 3, height, width]` in 0…1, f32.
pub fn to_unit(frame: &Frame, device: &Device) -> Tensor<4> {
    let (height, width) = (frame.height as usize, frame.width as usize);
    let values: Vec<f32> = frame.rgb.iter().map(|&v| f32::from(v) / 255.0).collect();
    let rows = Tensor::<4>::from_data(
        TensorData::new(values, [1, height, width, 3]),
        (device, DType::F32),
    );
    rows.permute([0, 3, 1, 2])
}

/// As [`to_unit`], in the autoencoder's −1…1.
pub fn to_signed(frame: &Frame, device: &Device) -> Tensor<4> {
    to_unit(frame, device) * 2.0 - 1.0
}

/// A picture as CLIP's vision encoder of side `side` takes it.
///
/// # Shapes
/// → `[1, 3, side, side]`, f32.
pub fn to_clip(frame: &Frame, side: usize, device: &Device) -> Tensor<4> {
    let ([width, height], [left, top]) = scaled_and_cropped(frame.width, frame.height, side as u32);
    let scaled = resize(frame, width, height, Filter::Bicubic, Rounding::Torch);
    let row_bytes = 3 * width as usize;
    let mut rgb = Vec::with_capacity(3 * side * side);
    for row in scaled.rgb.chunks_exact(row_bytes).skip(top as usize).take(side) {
        rgb.extend(&row[3 * left as usize..][..3 * side]);
    }
    normalised(&rgb, side, device)
}

/// Which pixels of a picture are repainted.
pub struct Repaint {
    /// Row by row.
    on: Vec<bool>,
    height: usize,
    width: usize,
}

impl Repaint {
    /// From half of white on; a mask of another size is resized.
    pub fn of(mask: &Frame, size: [usize; 2]) -> Self {
        let mask = at_size(mask, size);
        Self {
            on: mask.rgb.chunks_exact(3).map(|p| luma(p) >= 128).collect(),
            height: size[0],
            width: size[1],
        }
    }

    /// 1 where it is repainted.
    ///
    /// # Shapes
    /// → `[1, 1, height / scale, width / scale]`, f32, each from the first pixel of its square.
    pub fn tensor(&self, scale: usize, device: &Device) -> Tensor<4> {
        let (rows, columns) = (self.height / scale, self.width / scale);
        let at = |i: usize| self.on[(i / columns * self.width + i % columns) * scale];
        let values: Vec<f32> = (0..rows * columns).map(|i| f32::from(at(i))).collect();
        Tensor::from_data(
            TensorData::new(values, [1, 1, rows, columns]),
            (device, DType::F32),
        )
    }

    /// `painted` with the kept pixels of `original`, which has its size.
    pub fn paste(&self, painted: &Frame, original: &Frame) -> Frame {
        let pixels = painted.rgb.chunks_exact(3).zip(original.rgb.chunks_exact(3));
        let rgb = pixels
            .zip(&self.on)
            .flat_map(|((new, old), on)| if *on { new } else { old });
        Frame::new(painted.width, painted.height, rgb.copied().collect())
    }
}

/// Grey of a pixel by ITU-R 601-2, with Pillow's rounding.
fn luma(pixel: &[u8]) -> u32 {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    (19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16
}

/// # Shapes
/// `image: [1, 3, height, width]`, about −1…1.
///
/// # Errors
/// `BadOutput` when a value is not a number.
pub fn to_frame(image: Tensor<4>) -> Result<Frame> {
    let [_, channels, height, width] = image.dims();
    assert_eq!(channels, 3, "the autoencoder decodes to RGB");
    let values: Vec<f32> = image
        .permute([0, 2, 3, 1])
        .try_into_vec_as::<f32>()
        .context("reading the decoded picture")?;
    if values.iter().any(|v| !v.is_finite()) {
        fail!(
            BadOutput, "the decoded picture holds values that are not numbers";
            "try --dtype f32; if it stays, verify the weights with `ourvidz models verify`"
        );
    }
    let rgb = values
        .iter()
        .map(|v| ((v / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8)
        .collect();
    Ok(Frame::new(width as u32, height as u32, rgb))
}
