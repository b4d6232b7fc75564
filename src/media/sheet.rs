//! A contact sheet: many pictures small on one, each with its seed below.

use super::frames::Frame;
use super::resample::{Filter, Rounding, resize};

/// The longer side of a picture on the sheet.
const CELL_PX: u32 = 320;
const GAP_PX: u32 = 8;
/// One dot of a digit.
const DOT_PX: u32 = 2;
const DIGIT_DOTS: (u32, u32) = (3, 5);
/// Below each picture.
const LABEL_PX: u32 = DIGIT_DOTS.1 * DOT_PX + GAP_PX;
const GROUND: u8 = 24;
const INK: u8 = 220;

/// The digits, row by row, three dots each.
const DIGITS: [[u8; 5]; 10] = [
    [0b111, 0b101, 0b101, 0b101, 0b111],
    [0b010, 0b110, 0b010, 0b010, 0b111],
    [0b111, 0b001, 0b111, 0b100, 0b111],
    [0b111, 0b001, 0b111, 0b001, 0b111],
    [0b101, 0b101, 0b111, 0b001, 0b001],
    [0b111, 0b100, 0b111, 0b001, 0b111],
    [0b111, 0b100, 0b111, 0b101, 0b111],
    [0b111, 0b001, 0b010, 0b010, 0b010],
    [0b111, 0b101, 0b111, 0b101, 0b111],
    [0b111, 0b101, 0b111, 0b001, 0b111],
];

/// A picture on its way to the sheet.
#[derive(Debug, Clone)]
pub struct Cell {
    small: Frame,
    seed: u64,
}

impl Cell {
    pub fn of(frame: &Frame, seed: u64) -> Self {
        let longer = frame.width.max(frame.height);
        let side = |px: u32| (u64::from(px) * u64::from(CELL_PX) / u64::from(longer)).max(1) as u32;
        let small = match longer > CELL_PX {
            true => resize(
                frame,
                side(frame.width),
                side(frame.height),
                Filter::Bicubic,
                Rounding::Pillow,
            ),
            false => frame.clone(),
        };
        Self { small, seed }
    }
}

/// The sheet, about as many columns as rows; `None` for no pictures.
pub fn sheet(cells: &[Cell]) -> Option<Frame> {
    let width = cells.iter().map(|cell| cell.small.width).max()?;
    let height = cells.iter().map(|cell| cell.small.height).max()?;
    let columns = (1..).find(|n| n * n >= cells.len()).unwrap_or(1) as u32;
    let rows = (cells.len() as u32).div_ceil(columns);
    let (step_x, step_y) = (width + GAP_PX, height + LABEL_PX + GAP_PX);
    let (all_x, all_y) = (columns * step_x + GAP_PX, rows * step_y + GAP_PX);
    let rgb = vec![GROUND; all_x as usize * all_y as usize * 3];
    let mut sheet = Frame::new(all_x, all_y, rgb);
    for (index, cell) in (0..).zip(cells) {
        let (left, top) = (
            GAP_PX + index % columns * step_x,
            GAP_PX + index / columns * step_y,
        );
        // A smaller picture stands at the foot of its cell, above its seed.
        put(&mut sheet, &cell.small, left, top + height - cell.small.height);
        label(&mut sheet, cell.seed, left, top + height + GAP_PX / 2, width);
    }
    Some(sheet)
}

fn put(sheet: &mut Frame, picture: &Frame, left: u32, top: u32) {
    let row_bytes = picture.width as usize * 3;
    for (y, row) in (0..).zip(picture.rgb.chunks_exact(row_bytes)) {
        let at = ((top + y) as usize * sheet.width as usize + left as usize) * 3;
        sheet.rgb[at..at + row_bytes].copy_from_slice(row);
    }
}

/// The number as far as it fits.
fn label(sheet: &mut Frame, number: u64, left: u32, top: u32, width: u32) {
    let advance = (DIGIT_DOTS.0 + 1) * DOT_PX;
    let digits = number.to_string();
    let places = (0..)
        .step_by(advance as usize)
        .take_while(|x| x + advance <= width);
    for (x, digit) in places.zip(digits.bytes()) {
        for (row, dots) in (0..).zip(DIGITS[usize::from(digit - b'0')]) {
            for column in (0..DIGIT_DOTS.0).filter(|column| (dots >> (DIGIT_DOTS.0 - 1 - column)) & 1 == 1) {
                dot(sheet, left + x + column * DOT_PX, top + row * DOT_PX);
            }
        }
    }
}

fn dot(sheet: &mut Frame, left: u32, top: u32) {
    for y in top..top + DOT_PX {
        let at = (y as usize * sheet.width as usize + left as usize) * 3;
        sheet.rgb[at..at + DOT_PX as usize * 3].fill(INK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(width: u32, height: u32, value: u8) -> Frame {
        Frame::new(width, height, vec![value; (width * height * 3) as usize])
    }

    #[test]
    fn every_picture_and_its_seed_are_on_the_sheet() {
        let cells: Vec<Cell> = (0..5)
            .map(|i| Cell::of(&flat(64, 32, 100 + i), u64::from(i)))
            .collect();
        let sheet = sheet(&cells).unwrap();
        assert_eq!(sheet.width, 3 * (64 + GAP_PX) + GAP_PX);
        assert_eq!(sheet.height, 2 * (32 + LABEL_PX + GAP_PX) + GAP_PX);
        for i in 0..5u8 {
            let count = sheet.rgb.iter().filter(|v| **v == 100 + i).count();
            assert_eq!(count, 64 * 32 * 3, "picture {i}");
        }
        let ink = sheet.rgb.iter().filter(|v| **v == INK).count();
        let dots: u32 = DIGITS[..5].iter().flatten().map(|row| row.count_ones()).sum();
        assert_eq!(ink as u32, dots * DOT_PX * DOT_PX * 3);
    }

    #[test]
    fn large_pictures_are_made_small_and_a_long_seed_stays_in_its_cell() {
        let cells = [
            Cell::of(&flat(2048, 1024, 9), u64::MAX),
            Cell::of(&flat(4, 4, 9), u64::MAX),
        ];
        let made = sheet(&cells).unwrap();
        assert_eq!(made.width, 2 * (CELL_PX + GAP_PX) + GAP_PX);
        sheet(&cells[1..]).unwrap();
        assert!(sheet(&[]).is_none());
    }
}
