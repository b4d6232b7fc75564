//! A finished picture in the terminal: in kitty's or iTerm2's protocol where the terminal is known to
//! have one, in coloured half blocks elsewhere. Not inside tmux and screen, which keep the protocols
//! to themselves: there it is blocks.
//!
//! Sources: kitty's "Terminal graphics protocol" and iTerm2's "Images" documentation.

use std::fmt::Write as _;
use std::io::{self, IsTerminal};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::media::frames::Frame;
use crate::media::resample::{Filter, Rounding, resize};

/// What a terminal is fed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Kitty,
    Iterm,
    /// `▀` in 24-bit colours, or in the 256 of xterm.
    Blocks {
        true_colour: bool,
    },
}

/// Letters and lines of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cells {
    pub columns: u32,
    pub rows: u32,
}

/// The largest preview.
const MOST: Cells = Cells {
    columns: 80,
    rows: 40,
};
/// Kitty takes a picture in pieces of this size.
const PIECE_BYTES: usize = 4096;

impl Protocol {
    /// By what the terminal says of itself in the environment.
    pub fn of(env: impl Fn(&str) -> Option<String>) -> Self {
        let (term, program) = (
            env("TERM").unwrap_or_default(),
            env("TERM_PROGRAM").unwrap_or_default(),
        );
        let colours = env("COLORTERM").unwrap_or_default();
        let blocks = Self::Blocks {
            true_colour: ["truecolor", "24bit"].contains(&colours.as_str()),
        };
        if env("TMUX").is_some() || term.starts_with("screen") || term.starts_with("tmux") {
            return blocks;
        }
        if env("KITTY_WINDOW_ID").is_some() || term.contains("kitty") || term.contains("ghostty") {
            return Self::Kitty;
        }
        match program.as_str() {
            "iTerm.app" | "WezTerm" | "rio" => Self::Iterm,
            "ghostty" => Self::Kitty,
            _ => blocks,
        }
    }
}

/// The size of the terminal behind stderr; `None` when it is none.
pub fn terminal() -> Option<Cells> {
    if !io::stderr().is_terminal() {
        return None;
    }
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stderr())
        && size.ws_col > 0
        && size.ws_row > 0
    {
        return Some(Cells {
            columns: size.ws_col.into(),
            rows: size.ws_row.into(),
        });
    }
    Some(Cells {
        columns: 80,
        rows: 24,
    })
}

/// What to write to a terminal for a picture, with its file for the protocols that take one.
pub fn drawing(frame: &Frame, png: &[u8], protocol: Protocol, terminal: Cells) -> String {
    let size = fitted(frame, terminal);
    match protocol {
        Protocol::Kitty => kitty(png, size),
        Protocol::Iterm => format!(
            "\u{1b}]1337;File=inline=1;size={};width={};height={};preserveAspectRatio=1:{}\u{7}\n",
            png.len(),
            size.columns,
            size.rows,
            STANDARD.encode(png)
        ),
        Protocol::Blocks { true_colour } => blocks(frame, size, true_colour),
    }
}

/// As large as fits, with the picture's aspect: a letter is about twice as high as wide.
fn fitted(frame: &Frame, terminal: Cells) -> Cells {
    let most = Cells {
        columns: terminal.columns.saturating_sub(1).clamp(1, MOST.columns),
        // What was typed and said stays in sight.
        rows: terminal.rows.saturating_sub(4).clamp(1, MOST.rows),
    };
    let (width, height) = (f64::from(frame.width), f64::from(frame.height));
    let scale = (f64::from(most.columns) / width).min(f64::from(most.rows) * 2.0 / height);
    Cells {
        columns: ((width * scale).round() as u32).clamp(1, most.columns),
        rows: ((height * scale / 2.0).round() as u32).clamp(1, most.rows),
    }
}

fn kitty(png: &[u8], size: Cells) -> String {
    let text = STANDARD.encode(png);
    let mut pieces = text.as_bytes().chunks(PIECE_BYTES).peekable();
    let mut drawing = String::new();
    // q=2: the terminal answers nothing that a shell would read as typed.
    let mut keys = format!("a=T,f=100,q=2,c={},r={},", size.columns, size.rows);
    while let Some(piece) = pieces.next() {
        let more = u8::from(pieces.peek().is_some());
        let piece = String::from_utf8_lossy(piece);
        let _ = write!(drawing, "\u{1b}_G{keys}m={more};{piece}\u{1b}\\");
        keys.clear();
    }
    drawing.push('\n');
    drawing
}

fn blocks(frame: &Frame, size: Cells, true_colour: bool) -> String {
    let small = resize(
        frame,
        size.columns,
        size.rows * 2,
        Filter::Bicubic,
        Rounding::Pillow,
    );
    let row_bytes = small.width as usize * 3;
    let rows: Vec<&[u8]> = small.rgb.chunks_exact(row_bytes).collect();
    let mut drawing = String::new();
    for pair in rows.chunks_exact(2) {
        for (top, bottom) in pair[0].chunks_exact(3).zip(pair[1].chunks_exact(3)) {
            let (top, bottom) = (colour(top, true_colour), colour(bottom, true_colour));
            let _ = write!(drawing, "\u{1b}[38;{top};48;{bottom}m▀");
        }
        drawing.push_str("\u{1b}[0m\n");
    }
    drawing
}

/// A colour in 24 bits, or the nearest of xterm's cube of 6x6x6.
fn colour(rgb: &[u8], true_colour: bool) -> String {
    if true_colour {
        return format!("2;{};{};{}", rgb[0], rgb[1], rgb[2]);
    }
    // Its levels are 0, 95, 135, 175, 215 and 255.
    let level = |value: u8| match value {
        0..=47 => 0,
        48..=114 => 1,
        other => (u32::from(other) - 35) / 40,
    };
    let [r, g, b] = [level(rgb[0]), level(rgb[1]), level(rgb[2])];
    format!("5;{}", 16 + 36 * r + 6 * g + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        Frame::new(64, 64, [255, 0, 0].repeat(64 * 64))
    }

    #[test]
    fn terminals_are_known_by_their_environment() {
        let of = |pairs: &[(&str, &str)]| {
            Protocol::of(|name| {
                let found = pairs.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.to_string())
            })
        };
        let plain = Protocol::Blocks { true_colour: false };
        assert_eq!(of(&[("TERM", "xterm-256color")]), plain);
        assert_eq!(
            of(&[("COLORTERM", "truecolor")]),
            Protocol::Blocks { true_colour: true }
        );
        assert_eq!(of(&[("TERM", "xterm-kitty")]), Protocol::Kitty);
        assert_eq!(of(&[("TERM_PROGRAM", "iTerm.app")]), Protocol::Iterm);
        assert_eq!(of(&[("TERM", "screen"), ("KITTY_WINDOW_ID", "1")]), plain);
    }

    #[test]
    fn a_square_is_square_and_fits() {
        let cells = fitted(
            &frame(),
            Cells {
                columns: 200,
                rows: 24,
            },
        );
        assert_eq!(
            cells,
            Cells {
                columns: 40,
                rows: 20
            }
        );
        let wide = Frame::new(4096, 8, vec![0; 4096 * 8 * 3]);
        assert_eq!(
            fitted(
                &wide,
                Cells {
                    columns: 40,
                    rows: 24
                }
            ),
            Cells { columns: 39, rows: 1 }
        );
        assert_eq!(fitted(&frame(), Cells { columns: 1, rows: 1 }).rows, 1);
    }

    #[test]
    fn blocks_hold_the_picture_and_end_every_line_without_colour() {
        let terminal = Cells { columns: 9, rows: 8 };
        let text = drawing(&frame(), b"", Protocol::Blocks { true_colour: true }, terminal);
        assert_eq!(text.lines().count(), 4);
        assert!(
            text.lines()
                .all(|line| line.matches('▀').count() == 8 && line.ends_with("\u{1b}[0m")),
            "{text:?}"
        );
        assert!(text.starts_with("\u{1b}[38;2;255;0;0;48;2;255;0;0m"), "{text:?}");
        let text = drawing(&frame(), b"", Protocol::Blocks { true_colour: false }, terminal);
        assert!(text.starts_with("\u{1b}[38;5;196;48;5;196m"), "{text:?}");
    }

    #[test]
    fn a_file_goes_to_kitty_in_pieces_that_make_it_whole() {
        let png = vec![7; 10_000];
        let text = drawing(
            &frame(),
            &png,
            Protocol::Kitty,
            Cells {
                columns: 80,
                rows: 24,
            },
        );
        let pieces: Vec<&str> = text
            .trim_end()
            .split("\u{1b}\\")
            .filter(|piece| !piece.is_empty())
            .collect();
        let payload: String = pieces
            .iter()
            .map(|piece| piece.split_once(';').unwrap().1)
            .collect();
        assert_eq!(STANDARD.decode(payload).unwrap(), png);
        assert!(pieces.iter().rev().skip(1).all(|piece| piece.contains("m=1;")));
        assert!(pieces.last().unwrap().contains("m=0;"));
        assert!(pieces.iter().all(|piece| piece.len() <= PIECE_BYTES + 100));
    }
}
