//! Writing in which letters are spelled by their numbers, or hidden between marks of some notation:
//! undone for a whole text, before it is taken apart.

/// How often a writing within another is undone.
const DEPTH: usize = 3;

/// The text as it reads once its notations are undone. What only another way of looking at it shows
/// (letters drawn from lines, right to left, invisible tags) stands behind it, line by line.
pub(super) fn decoded(text: &str) -> String {
    let mut text = text.to_string();
    for _ in 0..DEPTH {
        let before = text.len();
        if text.contains('&') {
            text = without_entities(&text);
        }
        if text.contains('%') {
            text = without_percents(&text);
        }
        if text.contains('\\') {
            text = without_escapes(&text);
        }
        if text.len() == before {
            break;
        }
    }
    let mut more = String::new();
    for seen in [tags(&text), overridden(&text), drawn(&text)]
        .into_iter()
        .flatten()
    {
        more.push('\n');
        more.push_str(&seen);
    }
    let mut text = without_markup(&text);
    text.push_str(&more);
    text
}

/// HTML entities, numeric ones also without their semicolon.
fn without_entities(text: &str) -> String {
    let text = html_escape::decode_html_entities(text);
    if !text.contains("&#") {
        return text.into_owned();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_ref();
    while let Some(at) = rest.find("&#") {
        out.push_str(&rest[..at]);
        let digits = &rest[at + 2..];
        let (digits, radix) = match digits.strip_prefix(['x', 'X']) {
            Some(hex) => (hex, 16),
            None => (digits, 10),
        };
        let length = digits.chars().take(8).take_while(|c| c.is_digit(radix)).count();
        match letter(&digits[..length], radix) {
            Some(c) => {
                out.push(c);
                rest = digits[length..].trim_start_matches(';');
            }
            None => {
                out.push_str("&#");
                rest = &rest[at + 2..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// `%6e` as in addresses, where the bytes are letters.
fn without_percents(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let mut run = Vec::new();
        let mut end = at;
        while let Some(byte) = percent(bytes, end) {
            run.push(byte);
            end += 3;
        }
        if run.is_empty() || std::str::from_utf8(&run).is_err() {
            out.push(bytes[at]);
            at += 1;
        } else {
            out.append(&mut run);
            at = end;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn percent(bytes: &[u8], at: usize) -> Option<u8> {
    let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%')?;
    let digit = |b: u8| (b as char).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

/// `\u006e`, `\u{6e}`, `\U0000006e` and `\x6e` as in source code.
fn without_escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        match escaped(escape) {
            Some((c, length)) => {
                out.push(c);
                rest = &escape[length..];
            }
            None => {
                out.push('\\');
                rest = escape;
            }
        }
    }
    out.push_str(rest);
    out
}

/// The letter of an escape and the length of what stands behind its backslash.
fn escaped(escape: &str) -> Option<(char, usize)> {
    let digits =
        |from: usize, count: usize| Some((letter(escape.get(from..from + count)?, 16)?, from + count));
    if let Some(inner) = escape.strip_prefix("u{") {
        let length = inner.bytes().take(7).position(|b| b == b'}')?;
        return Some((letter(&inner[..length], 16)?, length + 3));
    }
    match escape.as_bytes().first()? {
        b'u' => digits(1, 4),
        b'U' => digits(1, 8),
        b'x' => digits(1, 2),
        _ => None,
    }
}

fn letter(digits: &str, radix: u32) -> Option<char> {
    u32::from_str_radix(digits, radix)
        .ok()
        .and_then(char::from_u32)
        .filter(|c| !c.is_control())
}

/// Tags and comments within words, weights of prompt notation, and `<18`.
fn without_markup(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['<', ':', ')', '≤', '~']) {
        out.push_str(&rest[..at]);
        let here = &rest[at..];
        let (length, seen) = match here.as_bytes()[0] {
            b'<' => match tag(here) {
                Some(length) => (length, "_"),
                None => less(here),
            },
            b':' => (weight(here), ""),
            b')' => (1 + behind_bracket(&here[1..]), ")"),
            b'~' => match here[1..].trim_start().starts_with(|c: char| c.is_ascii_digit()) {
                true => (1, " around "),
                false => (1, "~"),
            },
            _ => less(here),
        };
        match length {
            0 => {
                out.push(':');
                rest = &here[1..];
            }
            _ => {
                out.push_str(seen);
                rest = &here[length..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// The length of a tag or comment.
fn tag(here: &str) -> Option<usize> {
    const LONGEST: usize = 64;
    if let Some(comment) = here.strip_prefix("<!--") {
        let mut ends = comment.as_bytes().windows(3).take(LONGEST);
        return ends.position(|end| end == b"-->").map(|n| n + 7);
    }
    let named = here[1..].starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let end = here.bytes().take(LONGEST).position(|b| b == b'>')?;
    named.then_some(end + 1)
}

/// `<18` is read as it is spoken.
fn less(here: &str) -> (usize, &'static str) {
    let sign = here.chars().next().map_or(1, char::len_utf8);
    match here[sign..]
        .trim_start_matches(['=', ' '])
        .starts_with(|c: char| c.is_ascii_digit())
    {
        true => (sign, " under "),
        false => (sign, "<"),
    }
}

/// The length of `:1.2` before a closing bracket; 0 where there is no weight.
fn weight(here: &str) -> usize {
    let number = here[1..].trim_start_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ' ');
    let length = here.len() - number.len();
    match length > 1 && number.starts_with([')', ']']) {
        true => length,
        false => 0,
    }
}

/// The length of `++` or `1.3` behind a closing bracket.
fn behind_bracket(rest: &str) -> usize {
    let signs = rest.len() - rest.trim_start_matches(['+', '-']).len();
    if signs > 0 {
        return signs;
    }
    let number = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = &rest[..rest.len() - number.len()];
    match number.contains('.') && number.len() <= 5 {
        true => number.len(),
        false => 0,
    }
}

/// What is written in Unicode's invisible tags.
fn tags(text: &str) -> Option<String> {
    let seen: String = text
        .chars()
        .filter(|c| ('\u{e0020}'..='\u{e007e}').contains(c))
        .filter_map(|c| char::from_u32(c as u32 - 0xe0000))
        .collect();
    (!seen.is_empty()).then_some(seen)
}

/// What stands under a right-to-left override, as it is shown.
fn overridden(text: &str) -> Option<String> {
    let (_, behind) = text.split_once('\u{202e}')?;
    Some(behind.chars().rev().collect())
}

/// Letters drawn from lines, the longest first.
const DRAWN: &[(&str, &str)] = &[
    ("/\\/\\", "m"),
    ("|\\/|", "m"),
    ("|v|", "m"),
    ("\\/\\/", "w"),
    ("|\\|", "n"),
    ("/-\\", "a"),
    ("|_|", "u"),
    ("|-|", "h"),
    ("]-[", "h"),
    ("/\\", "a"),
    ("\\/", "v"),
    ("|<", "k"),
    ("|)", "d"),
    ("|>", "p"),
    ("|3", "b"),
    ("|2", "r"),
    ("|=", "f"),
    ("_|", "j"),
    ("|_", "l"),
    ("><", "x"),
    ("()", "o"),
    ("[]", "o"),
];

fn drawn(text: &str) -> Option<String> {
    let mut out: Option<String> = None;
    for (lines, letter) in DRAWN {
        let now = out.as_deref().unwrap_or(text);
        if now.contains(lines) {
            out = Some(now.replace(lines, letter));
        }
    }
    out.map(|text| text.replace('(', "c"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_by_number_are_letters() {
        for text in [
            "castle",
            "c&#97;stle",
            "&#99&#97&#115&#116&#108&#101",
            "c&amp;#x61;stle",
            "%63%61stle",
            "%2563astle",
            "\\u0063ast\\x6c\\u{65}",
            "c\\U00000061stle",
        ] {
            assert_eq!(decoded(text), "castle", "{text}");
        }
    }

    #[test]
    fn what_is_no_notation_stays() {
        for text in [
            "50% off",
            "100%25",
            "C:\\new\\users",
            "a & b",
            "&#; and &#x;",
            "3 > 2",
            "12:30 (noon)",
            "a ratio of 16:9, \\u12",
        ] {
            assert_eq!(
                decoded(text).replace('%', ""),
                text.replace("%25", "").replace('%', ""),
                "{text}"
            );
        }
    }

    #[test]
    fn marks_within_words_are_seen_through() {
        assert_eq!(decoded("ca<b>st</b>le"), "ca_st_le");
        assert_eq!(decoded("ca<!-- x -->stle"), "ca_stle");
        assert_eq!(decoded("ca(st:1.2)le"), "ca(st)le");
        assert_eq!(decoded("ca(st)++le, (a)1.3"), "ca(st)le, (a)");
        assert_eq!(decoded("<18"), " under 18");
        assert_eq!(decoded("~15"), " around 15");
    }

    #[test]
    fn what_another_look_shows_stands_behind_the_text() {
        assert_eq!(decoded("\u{202e}eltsac").lines().last(), Some("castle"));
        assert_eq!(
            decoded("x\u{e0063}\u{e0061}\u{e0074}").lines().last(),
            Some("cat")
        );
        assert_eq!(decoded("/\\()u|\\|tain").lines().last(), Some("aountain"));
        assert_eq!(decoded("|<ing").lines().last(), Some("king"));
    }
}
