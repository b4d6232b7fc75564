//! Reference pictures at the size of the output: aspect kept, centred on black.

use std::borrow::Cow;

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Rgb};

use super::frames::Frame;

/// The largest picture of the same aspect inside `width` x `height`, centred, black around it.
///
/// Resized with a Lanczos filter that widens when it shrinks. An odd remainder goes to the right
/// and to the bottom.
///
/// # Panics
/// If a side of the frame or of the wanted size is 0.
pub fn fit(frame: &Frame, width: u32, height: u32) -> Frame {
    if (frame.width, frame.height) == (width, height) {
        return frame.clone();
    }
    let (inner_width, inner_height) = inner_size((frame.width, frame.height), (width, height));
    let inner = resized(frame, inner_width, inner_height);
    let (left, top) = ((width - inner_width) / 2, (height - inner_height) / 2);
    let mut rgb = vec![0; width as usize * height as usize * 3];
    let row_bytes = inner_width as usize * 3;
    for (y, row) in inner.chunks_exact(row_bytes).enumerate() {
        let at = ((top as usize + y) * width as usize + left as usize) * 3;
        rgb[at..at + row_bytes].copy_from_slice(row);
    }
    Frame::new(width, height, rgb)
}

/// The side that limits is met exactly; the other is rounded, to at least one pixel.
fn inner_size(picture: (u32, u32), room: (u32, u32)) -> (u32, u32) {
    let [pw, ph, rw, rh] = [picture.0, picture.1, room.0, room.1].map(u64::from);
    assert!(
        pw > 0 && ph > 0 && rw > 0 && rh > 0,
        "sides of at least 1, got {picture:?} in {room:?}"
    );
    let rounded = |a: u64, b: u64| ((2 * a + b) / (2 * b)).max(1) as u32;
    match pw * rh >= ph * rw {
        true => (room.0, rounded(ph * rw, pw)),
        false => (rounded(pw * rh, ph), room.1),
    }
}

fn resized(frame: &Frame, width: u32, height: u32) -> Cow<'_, [u8]> {
    if (frame.width, frame.height) == (width, height) {
        return Cow::Borrowed(&frame.rgb);
    }
    let view: ImageBuffer<Rgb<u8>, &[u8]> =
        ImageBuffer::from_raw(frame.width, frame.height, &frame.rgb[..]).expect("three bytes a pixel");
    Cow::Owned(resize(&view, width, height, FilterType::Lanczos3).into_raw())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Left, top, right and bottom of what is not black.
    fn lit(frame: &Frame) -> (u32, u32, u32, u32) {
        let mut edges = (u32::MAX, u32::MAX, 0, 0);
        for y in 0..frame.height {
            for x in 0..frame.width {
                if frame.rgb[((y * frame.width + x) * 3) as usize] > 0 {
                    edges = (edges.0.min(x), edges.1.min(y), edges.2.max(x), edges.3.max(y));
                }
            }
        }
        edges
    }

    fn white(width: u32, height: u32) -> Frame {
        Frame::new(width, height, vec![255; (width * height * 3) as usize])
    }

    #[test]
    fn wide_pictures_get_bars_above_and_below_and_tall_ones_beside() {
        assert_eq!(lit(&fit(&white(40, 20), 16, 16)), (0, 4, 15, 11));
        assert_eq!(lit(&fit(&white(20, 40), 16, 16)), (4, 0, 11, 15));
        assert_eq!(lit(&fit(&white(4, 2), 16, 16)), (0, 4, 15, 11), "small ones grow");
        assert_eq!(lit(&fit(&white(1024, 1024), 48, 80)), (0, 16, 47, 63));
    }

    #[test]
    fn an_odd_remainder_goes_to_the_end() {
        // 16 wide leaves 16 * 3 / 4 = 12 rows of 17: two above, three below.
        assert_eq!(lit(&fit(&white(4, 3), 16, 17)), (0, 2, 15, 13));
    }

    #[test]
    fn the_thinnest_picture_keeps_one_line() {
        assert_eq!(lit(&fit(&white(800, 1), 16, 16)), (0, 7, 15, 7));
    }

    #[test]
    fn white_stays_white_and_the_right_size_stays_untouched() {
        assert!(fit(&white(30, 30), 16, 16).rgb.iter().all(|&v| v == 255));
        let frame = Frame::new(2, 2, (0..12).collect());
        assert_eq!(fit(&frame, 2, 2), frame);
        let padded = fit(&frame, 4, 2);
        assert_eq!(padded.rgb[3..9], frame.rgb[..6], "no resampling, only bars");
    }

    #[test]
    fn shrinking_averages_what_it_leaves_out() {
        let stripes: Vec<u8> = (0..64 * 64).flat_map(|i| [(i % 2) as u8 * 255; 3]).collect();
        let small = fit(&Frame::new(64, 64, stripes), 16, 16);
        // Picking pixels would give 0 or 255; at the borders, the filter sees less on one side.
        let grey = |v: &u8| (112..=143).contains(v);
        assert!(small.rgb.iter().all(grey), "{:?}", &small.rgb[..12]);
    }
}
