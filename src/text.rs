//! What may be shown of text that somebody else wrote, and the one way to stderr.

use std::fmt::Write as _;
use std::io::{self, Write};

/// One line on stderr. A closed stderr is nobody's problem: there is no place left to say so.
pub fn stderr_line(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escaped(text));
}

/// Prompts and file names may hold anything; a terminal must not obey them, and one event stays one
/// line. Control and direction-changing characters are shown as escapes.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        let directs =
            matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || directs {
            let _ = write!(safe, "{}", c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_command_the_terminal_or_start_a_line() {
        assert_eq!(
            escaped("a\u{1b}[31mb\nc\u{202e}d é 灯"),
            "a\\u{1b}[31mb\\nc\\u{202e}d é 灯"
        );
    }
}
