//! Golden tests: is this the picture it was?

use std::path::Path;

use anyhow::Result;

use super::frames::Frame;
use super::png;
use crate::fail;
use crate::files::{Existing, write_whole};

/// Differences are shown this many times larger than they are.
const AMPLIFICATION: u16 = 8;

/// Peak signal-to-noise ratio of two frames of the same size in decibels; infinite when equal.
///
/// # Panics
/// If the sizes differ.
pub fn psnr_db(a: &Frame, b: &Frame) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height), "frames of one size");
    let sum: u64 = a
        .rgb
        .iter()
        .zip(&b.rgb)
        .map(|(&x, &y)| u64::from(x.abs_diff(y)).pow(2))
        .sum();
    let mean = sum as f64 / a.rgb.len() as f64;
    10.0 * (255.0_f64.powi(2) / mean).log10()
}

/// Compares `got` with `expected`; on a mismatch writes expected, got and their difference
/// (8 times amplified) side by side to `difference`.
///
/// # Errors
/// `GoldenMismatch` with the figures, or a failure to write the difference.
pub fn check(name: &str, min_psnr: f64, expected: &Frame, got: &Frame, difference: &Path) -> Result<()> {
    if (expected.width, expected.height) != (got.width, got.height) {
        fail!(
            GoldenMismatch,
            "expect.image `{name}` is {}x{} and the output is {}x{}",
            expected.width, expected.height, got.width, got.height;
            "compare pictures of one size: set config.width and config.height"
        );
    }
    let psnr = psnr_db(expected, got);
    if psnr >= min_psnr {
        return Ok(());
    }
    write_whole(
        difference,
        &png::encode_plain(&side_by_side(expected, got))?,
        Existing::Replace,
    )?;
    fail!(
        GoldenMismatch,
        "expect.image `{name}`: {psnr:.2} dB is below expect.min_psnr {min_psnr} dB";
        "expected, got and difference are side by side in `{}`", difference.display()
    )
}

fn side_by_side(expected: &Frame, got: &Frame) -> Frame {
    let row_bytes = expected.width as usize * 3;
    let mut rgb = Vec::with_capacity(expected.rgb.len() * 3);
    for (a, b) in expected
        .rgb
        .chunks_exact(row_bytes)
        .zip(got.rgb.chunks_exact(row_bytes))
    {
        rgb.extend_from_slice(a);
        rgb.extend_from_slice(b);
        rgb.extend(
            a.iter()
                .zip(b)
                .map(|(&x, &y)| (u16::from(x.abs_diff(y)) * AMPLIFICATION).min(255) as u8),
        );
    }
    Frame::new(expected.width * 3, expected.height, rgb)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{ErrorKind, kind_of};

    const NAME: &str = "golden.png";

    fn flat(value: u8) -> Frame {
        Frame::new(4, 4, vec![value; 48])
    }

    #[test]
    fn psnr_of_a_difference_of_one_is_48_13_db_and_of_none_is_infinite() {
        assert!((psnr_db(&flat(10), &flat(11)) - 48.130_8).abs() < 1e-3);
        assert_eq!(psnr_db(&flat(10), &flat(10)), f64::INFINITY);
    }

    #[test]
    fn a_mismatch_writes_three_panels_and_names_the_figures() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.difference.png");
        check(NAME, 48.0, &flat(10), &flat(11), &path).unwrap();
        assert!(!path.exists());
        let error = check(NAME, 50.0, &flat(10), &flat(11), &path).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::GoldenMismatch);
        assert!(error.to_string().contains("48.13 dB"), "{error}");
        let shown = png::read(&path).unwrap().frame;
        assert_eq!((shown.width, shown.height), (12, 4));
        assert_eq!(shown.rgb[24], 8);
    }

    #[test]
    fn another_size_is_a_mismatch_of_its_own() {
        let other = Frame::new(2, 2, vec![0; 12]);
        let error = check(NAME, 1.0, &flat(1), &other, Path::new("x.png")).unwrap_err();
        assert!(error.to_string().contains("4x4") && error.to_string().contains("2x2"));
    }
}
