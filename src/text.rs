//! What may be shown of text that somebody else wrote, and the one way to stderr.

use std::fmt::Write as _;
use std::io::{self, Write};

use url::Url;

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

/// An address without what may be secret in it: user, password and what follows `?` or `#`. A `data:`
/// address is all content, of which the kind alone stays.
pub fn without_secrets(address: &str) -> String {
    if address
        .get(..5)
        .is_some_and(|start| start.eq_ignore_ascii_case("data:"))
    {
        let end = address.find([',', ';']).unwrap_or("data:".len());
        return address[..end].into();
    }
    match Url::parse(address) {
        Ok(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            // Fails for addresses that cannot have them.
            let _ = url.set_username("").and_then(|()| url.set_password(None));
            url.into()
        }
        Err(_) => address.split(['/', '?', '#']).next().unwrap_or_default().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_its_secrets() {
        for (address, shown) in [
            (
                "https://u:p@example.com/a.png?X-Amz-Signature=s#f",
                "https://example.com/a.png",
            ),
            ("HTTPS://example.com/a.png?sig=s", "https://example.com/a.png"),
            ("data:image/png;base64,AAAA", "data:image/png"),
            ("DATA:,secret", "DATA:"),
            ("https:///?sig=s", "https:"),
        ] {
            let said = without_secrets(address);
            assert!(said.starts_with(shown), "{address}: {said}");
            assert!(!said.contains("sig=s") && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn text_cannot_command_the_terminal_or_start_a_line() {
        assert_eq!(
            escaped("a\u{1b}[31mb\nc\u{202e}d é 灯"),
            "a\\u{1b}[31mb\\nc\\u{202e}d é 灯"
        );
    }
}
