//! Durations as people write them: `90`, `90s`, `15m`, `24h`, `7d`.

use std::time::Duration;

use anyhow::Result;

use super::values::shown;
use crate::error::{Error, ErrorKind};

/// Reads a whole number of seconds, or of the unit behind it.
///
/// # Errors
/// `Config` for any other text, and for more seconds than a number holds.
pub fn duration(text: &str) -> Result<Duration> {
    let text = text.trim();
    let (number, unit_s) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1),
        Some(b'm') => (&text[..text.len() - 1], 60),
        Some(b'h') => (&text[..text.len() - 1], 3600),
        Some(b'd') => (&text[..text.len() - 1], 86_400),
        _ => (text, 1),
    };
    let is_whole = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let seconds = is_whole
        .then(|| number.parse::<u64>().ok()?.checked_mul(unit_s))
        .flatten();
    match seconds {
        // As far as clocks can count from today.
        Some(seconds) if seconds <= u64::from(u32::MAX) => Ok(Duration::from_secs(seconds)),
        _ => Err(Error::new(
            ErrorKind::Config,
            format!("`{}` is no duration; write 90, 90s, 15m, 24h or 7d", shown(text)),
        )
        .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read_and_anything_else_is_refused() {
        for (text, seconds) in [
            ("90", 90),
            ("90s", 90),
            ("15m", 900),
            ("24h", 86_400),
            ("7d", 604_800),
            (" 0 ", 0),
        ] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for text in [
            "",
            "s",
            "-1",
            "1.5h",
            "1w",
            "1 h",
            "+5",
            "99999999999d",
            "５m",
            "é",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
