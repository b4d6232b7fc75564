//! Edges of a picture, white on black, as ControlNets for Canny edges were trained on (Canny 1986).

use image::GrayImage;
use imageproc::edges::canny;

use super::frames::Frame;

/// ControlNets were trained on `cv2.Canny(picture, 100, 200)`, which does not smooth. The library
/// smooths first, which leaves 0.57 of the gradient of a sharp edge.
const LOW: f32 = 57.0;
const HIGH: f32 = 114.0;

/// The edges of a frame, of its size.
pub fn edges(frame: &Frame) -> Frame {
    let grey = frame.rgb.chunks_exact(3).map(luma).collect();
    let grey = GrayImage::from_raw(frame.width, frame.height, grey).expect("a byte a pixel");
    // The filter looks one pixel to every side.
    if frame.width < 3 || frame.height < 3 {
        return Frame::new(frame.width, frame.height, vec![0; frame.rgb.len()]);
    }
    let found = canny(&grey, LOW, HIGH);
    let rgb = found.into_raw().into_iter().flat_map(|v| [v; 3]).collect();
    Frame::new(frame.width, frame.height, rgb)
}

/// ITU-R 601-2.
fn luma(pixel: &[u8]) -> u8 {
    let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
    ((19595 * r + 38470 * g + 7471 * b + 0x8000) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    fn halves(width: u32, height: u32, right: u8) -> Frame {
        let at = |i: u32| if i % width < width / 2 { 0 } else { right };
        Frame::new(
            width,
            height,
            (0..width * height).flat_map(|i| [at(i); 3]).collect(),
        )
    }

    fn lit_columns(frame: &Frame) -> Vec<usize> {
        let row = frame.rgb.chunks(3 * frame.width as usize).nth(8).expect("a row");
        (0..frame.width as usize).filter(|x| row[3 * x] == 255).collect()
    }

    #[test]
    fn a_sharp_edge_is_one_thin_line_and_a_faint_one_none() {
        let strong = lit_columns(&edges(&halves(32, 16, 255)));
        // Between two pixels, both are equally near.
        let is_thin = |columns: &[usize]| (1..=2).contains(&columns.len());
        assert!(is_thin(&strong) && (15..=16).contains(&strong[0]), "{strong:?}");
        // cv2 finds an edge of 60 grey levels (gradient 240), and none of 20 (80).
        assert!(is_thin(&lit_columns(&edges(&halves(32, 16, 60)))));
        assert!(lit_columns(&edges(&halves(32, 16, 20))).is_empty());
    }

    #[test]
    fn the_smallest_pictures_have_no_edges() {
        for (width, height) in [(1, 1), (2, 9), (3, 3)] {
            let frame = Frame::new(width, height, vec![200; (width * height * 3) as usize]);
            assert!(edges(&frame).rgb.iter().all(|&v| v == 0));
        }
    }
}
