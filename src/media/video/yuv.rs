//! RGB to YUV 4:2:0 as H.264 and VP9 store it: BT.709, limited range, chroma beside the left column.

use crate::media::frames::Frame;

/// Bits behind the point in the integer arithmetic below.
const BITS: u32 = 16;
const ONE: f64 = (1 << BITS) as f64;

// Rec. ITU-R BT.709-6, items 3.2 and 3.3: luma weights, and colour differences scaled to ±1/2.
const KR: f64 = 0.2126;
const KB: f64 = 0.0722;
const KG: f64 = 1.0 - KR - KB;

/// Item 3.4 for 8 bits: luma spans 16 to 235 and colour differences 16 to 240.
const LUMA: f64 = 219.0 / 255.0 * ONE;
const CHROMA: f64 = 224.0 / 255.0 * ONE;

const LUMA_R: i32 = (KR * LUMA + 0.5) as i32;
const LUMA_G: i32 = (KG * LUMA + 0.5) as i32;
const LUMA_B: i32 = (KB * LUMA + 0.5) as i32;

/// The weights of one colour difference; they add up to zero, so that grey has none of it.
#[derive(Clone, Copy)]
pub struct Chroma {
    r: i32,
    g: i32,
    b: i32,
}

/// Blue minus luma.
pub const CB: Chroma = {
    let half = (CHROMA / 2.0 + 0.5) as i32;
    let r = -((KR / (1.0 - KB) * CHROMA / 2.0 + 0.5) as i32);
    Chroma {
        r,
        g: -half - r,
        b: half,
    }
};

/// Red minus luma.
pub const CR: Chroma = {
    let half = (CHROMA / 2.0 + 0.5) as i32;
    let b = -((KB / (1.0 - KR) * CHROMA / 2.0 + 0.5) as i32);
    Chroma {
        r: half,
        g: -half - b,
        b,
    }
};

/// Fills a luma plane of `height` rows that are `stride` bytes apart.
pub fn luma(frame: &Frame, plane: &mut [u8], stride: usize) {
    let width = frame.width as usize;
    for (row, out) in frame.rgb.chunks_exact(width * 3).zip(plane.chunks_mut(stride)) {
        for (pixel, y) in row.chunks_exact(3).zip(out) {
            let sum =
                LUMA_R * i32::from(pixel[0]) + LUMA_G * i32::from(pixel[1]) + LUMA_B * i32::from(pixel[2]);
            *y = (16 + ((sum + (1 << (BITS - 1))) >> BITS)) as u8;
        }
    }
}

/// Fills a chroma plane of half the width and half the height.
///
/// A sample lies on every second column, between two rows (the position that players assume for
/// 4:2:0), so it is the mean of both rows, weighted 1, 2, 1 over the column and its neighbours.
pub fn chroma(frame: &Frame, weights: Chroma, plane: &mut [u8], stride: usize) {
    let width = frame.width as usize;
    let row_bytes = width * 3;
    for (pair, out) in frame
        .rgb
        .chunks_exact(row_bytes * 2)
        .zip(plane.chunks_mut(stride))
    {
        let (upper, lower) = pair.split_at(row_bytes);
        for (i, sample) in out.iter_mut().take(width / 2).enumerate() {
            let here = i * 6;
            let (left, right) = (here.saturating_sub(3), here + 3);
            let mixed = |channel: usize| {
                let column = |at: usize| i32::from(upper[at + channel]) + i32::from(lower[at + channel]);
                column(left) + 2 * column(here) + column(right)
            };
            let sum = weights.r * mixed(0) + weights.g * mixed(1) + weights.b * mixed(2);
            // Eight weights in all: three more bits.
            *sample = (128 + ((sum + (1 << (BITS + 2))) >> (BITS + 3))) as u8;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planes(rgb: [u8; 3]) -> (u8, u8, u8) {
        let frame = Frame::new(4, 2, rgb.repeat(8));
        let (mut y, mut cb, mut cr) = (vec![0; 16], vec![0; 8], vec![0; 8]);
        luma(&frame, &mut y, 8);
        chroma(&frame, CB, &mut cb, 8);
        chroma(&frame, CR, &mut cr, 8);
        assert_eq!((y[0], y[11], y[4]), (y[0], y[0], 0), "rows are a stride apart");
        assert_eq!((cb[1], cr[1]), (cb[0], cr[0]));
        (y[0], cb[0], cr[0])
    }

    #[test]
    fn the_colour_bars_have_the_values_of_bt_709() {
        // 100 % bars, 8 bits, as every broadcast table lists them.
        assert_eq!(planes([255, 255, 255]), (235, 128, 128));
        assert_eq!(planes([0, 0, 0]), (16, 128, 128));
        assert_eq!(planes([255, 0, 0]), (63, 102, 240));
        assert_eq!(planes([0, 255, 0]), (173, 42, 26));
        assert_eq!(planes([0, 0, 255]), (32, 240, 118));
        assert_eq!(planes([255, 255, 0]), (219, 16, 138));
    }

    #[test]
    fn every_grey_is_without_colour() {
        for value in 0..=255 {
            let (_, cb, cr) = planes([value; 3]);
            assert_eq!((cb, cr), (128, 128), "grey {value}");
        }
    }

    #[test]
    fn chroma_is_centred_on_the_even_column() {
        // Column 2 alone is blue: sample 1 lies on it and takes half, sample 0 is two columns away.
        let mut rgb = vec![0; 24];
        rgb[8] = 255;
        rgb[20] = 255;
        let mut cb = [0; 2];
        chroma(&Frame::new(4, 2, rgb), CB, &mut cb, 2);
        assert_eq!(cb, [128, 128 + 56]);
    }
}
