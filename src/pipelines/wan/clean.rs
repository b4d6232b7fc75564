//! Prompts as WAN's reference code cleans them before they become tokens: what `ftfy.fix_text`
//! mends, HTML entities decoded twice, runs of white space as one space
//! (Wan2.1 `wan/modules/tokenizers.py`, diffusers `WanPipeline.prompt_clean`).

use unicode_normalization::UnicodeNormalization;

/// The prompt that the tokenizer sees.
pub(super) fn clean(text: &str) -> String {
    let mended: String = text.split_inclusive('\n').map(mend_line).collect();
    let decoded = unescaped(&unescaped(&mended));
    decoded.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// ftfy's fixes of a line, in its order.
fn mend_line(line: &str) -> String {
    // What looks like HTML keeps its entities at first, as ftfy has it.
    let mut text = if line.contains('<') {
        line.to_string()
    } else {
        unescaped(line)
    };
    text = decoded_again(&text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        mend_char(c, &mut out);
    }
    without_controls(&without_escapes(&out)).nfc().collect()
}

fn unescaped(text: &str) -> String {
    html_escape::decode_html_entities(text).into_owned()
}

/// Ligatures, full width, curly quotes, C1 controls of Windows-1252 and line ends.
fn mend_char(c: char, out: &mut String) {
    match c {
        '\u{80}'..='\u{9f}' => out.push(from_windows(c as u8)),
        'ĳ' => out.push_str("ij"),
        'Ĳ' => out.push_str("IJ"),
        'ŉ' => out.push_str("ʼn"),
        'Ǆ' => out.push_str("DŽ"),
        'ǅ' => out.push_str("Dž"),
        'ǆ' => out.push_str("dž"),
        'Ǉ' => out.push_str("LJ"),
        'ǈ' => out.push_str("Lj"),
        'ǉ' => out.push_str("lj"),
        'Ǌ' => out.push_str("NJ"),
        'ǋ' => out.push_str("Nj"),
        'ǌ' => out.push_str("nj"),
        'Ǳ' => out.push_str("DZ"),
        'ǲ' => out.push_str("Dz"),
        'ǳ' => out.push_str("dz"),
        'ﬀ'..='ﬆ' | '\u{ff01}'..='\u{ffef}' => out.extend(std::iter::once(c).nfkc()),
        '\u{3000}' => out.push(' '),
        '\u{2bc}' | '\u{2018}'..='\u{201b}' => out.push('\''),
        '\u{201c}'..='\u{201f}' => out.push('"'),
        '\r' | '\u{2028}' | '\u{2029}' => out.push('\n'),
        other => out.push(other),
    }
}

/// Without the colours and movements of terminals: `ESC [ 1;31 m`.
fn without_escapes(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut out = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        match rest.strip_prefix(|c: char| c.is_ascii_alphabetic()) {
            Some(rest) => out.push_str(rest),
            None => {
                out.push_str("\u{1b}[");
                out.push_str(part);
            }
        }
    }
    out
}

fn without_controls(text: &str) -> String {
    let is_control = |c: char| matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{e}'..='\u{1f}' | '\u{7f}' | '\u{206a}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffc}');
    text.replace(is_control, "")
}

/// Text whose UTF-8 was once read as Windows-1252 (`cafÃ©`), read again: each such row of
/// characters becomes the one that its bytes are.
fn decoded_again(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        match misread(&chars[at..]) {
            Some((c, length)) => {
                out.push(c);
                at += length;
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    // It may have happened more than once.
    if out != text { decoded_again(&out) } else { out }
}

/// The character whose UTF-8 bytes begin the row, and how many characters they are.
fn misread(row: &[char]) -> Option<(char, usize)> {
    let length = match to_windows(*row.first()?)? {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let bytes: Vec<u8> = row
        .iter()
        .take(length)
        .map(|c| to_windows(*c))
        .collect::<Option<_>>()?;
    let text = std::str::from_utf8(&bytes).ok()?;
    text.chars().next().map(|c| (c, length))
}

/// What Windows-1252 has in place of the C1 controls; five of them it has not, and keeps.
const WINDOWS: &str = "€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8d}Ž\u{8f}\u{90}‘’“”•–—˜™š›œ\u{9d}žŸ";

fn to_windows(c: char) -> Option<u8> {
    let index = WINDOWS.chars().position(|w| w == c);
    index
        .map(|i| 0x80 + i as u8)
        .or_else(|| u8::try_from(u32::from(c)).ok())
}

fn from_windows(byte: u8) -> char {
    WINDOWS
        .chars()
        .nth(usize::from(byte) - 0x80)
        .unwrap_or(char::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The right sides are what ftfy 6 with `html.unescape` twice gives.
    #[test]
    fn prompts_are_cleaned_as_the_reference_does() {
        for (text, expected) in CASES {
            assert_eq!(clean(text), *expected, "{text:?}");
        }
    }

    const CASES: &[(&str, &str)] = &[
        ("  a  cat\t on\n\n a mat ", "a cat on a mat"),
        ("“a cat’s” — hat", "\"a cat's\" — hat"),
        ("cafÃ© at night", "café at night"),
        ("the catâ€™s hat", "the cat's hat"),
        ("ﬁsh &amp; chips", "fish & chips"),
        ("a &amp;amp; b", "a & b"),
        ("&lt;b&gt;cat&lt;/b&gt;", "<b>cat</b>"),
        ("a <b> &amp; c", "a <b> & c"),
        ("ＦＵＬＬ　ｗｉｄｔｈ！", "FULL width!"),
        ("cafe\u{301}", "café"),
        ("bell\u{7} and \u{1b}[31mred\u{1b}[0m", "bell and red"),
        ("\u{feff}a cat", "a cat"),
        ("a\u{85}b", "a…b"),
        (
            "naïve façade, Ærøskøbing, 50 °C",
            "naïve façade, Ærøskøbing, 50 °C",
        ),
        ("雪山下的寺庙，黄昏。", "雪山下的寺庙,黄昏。"),
        ("ein Mädchen ﬂiegt", "ein Mädchen fliegt"),
        ("a&nbsp;b", "a b"),
        ("&quot;hat&quot; &#39;s", "\"hat\" 's"),
        ("ÃƒÂ©tude", "étude"),
    ];
}
