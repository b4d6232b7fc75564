//! What producers send with `compel_enabled`: A1111's `(word:1.3)` in the prompt and in
//! `compel_weights`, as compel writes it.

/// How many terms of `compel_weights` count.
const MOST_TERMS: usize = 6;

/// `(word:1.3)` as compel writes it, `(word)1.3`; everything else as it is.
pub fn to_compel(prompt: &str) -> String {
    let mut text = String::with_capacity(prompt.len());
    let mut rest = prompt;
    while let Some(at) = rest.find(['\\', ':']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(escaped) = rest.strip_prefix('\\') {
            let length = 1 + escaped.chars().next().map_or(0, char::len_utf8);
            text.push_str(&rest[..length]);
            rest = &rest[length..];
        } else if let Some((number, after)) = closing(rest) {
            text.push(')');
            text.push_str(number);
            rest = after;
        } else {
            text.push(':');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    text
}

/// `:1.3)` at the start of a text: the number, and what follows.
fn closing(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix(':')?.trim_start();
    let digits = inner
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(inner.len());
    let (number, rest) = inner.split_at(digits);
    let after = rest.trim_start().strip_prefix(')')?;
    number.parse::<f64>().ok().map(|_| (number, after))
}

/// A prompt with the terms of `compel_weights` behind it: separated by commas, each once, at most
/// six of them.
pub fn with_weights(prompt: &str, compel_weights: &str) -> String {
    let mut terms: Vec<&str> = Vec::new();
    for term in split_terms(compel_weights) {
        if terms.len() < MOST_TERMS && !terms.contains(&term) {
            terms.push(term);
        }
    }
    let parts = std::iter::once(prompt.trim_end()).chain(terms);
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join(", ")
}

/// The terms between commas that stand in no brackets.
fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut depth) = (Vec::new(), 0, 0_i64);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            ',' if depth <= 0 => {
                terms.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(text[start..].trim());
    terms.retain(|term| !term.is_empty());
    terms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_behind_colons_go_behind_the_bracket() {
        for (theirs, compel) in [
            ("a (red cat:1.3) on a hill", "a (red cat)1.3 on a hill"),
            ("((a:1.2) b: 0.5 )", "((a)1.2 b)0.5"),
            ("time 12:30", "time 12:30"),
            (r"a \(b:1.3\)", r"a \(b:1.3\)"),
            ("a++ (b)1.2", "a++ (b)1.2"),
        ] {
            assert_eq!(to_compel(theirs), compel);
        }
    }

    #[test]
    fn terms_are_appended_once_and_at_most_six() {
        assert_eq!(
            with_weights("a cat", "(fog:0.8), (fog:0.8), b"),
            "a cat, (fog:0.8), b"
        );
        assert_eq!(with_weights("a", "(b, c:1.2),d"), "a, (b, c:1.2), d");
        assert_eq!(with_weights("x", "a,b,c,d,e,f,g,h"), "x, a, b, c, d, e, f");
        assert_eq!(with_weights("x", " , "), "x");
        assert_eq!(with_weights("", "a"), "a");
    }
}
