//! The notation of ComfyUI: `(x)` is 1.1 times as strong as what is around it, `(x:1.3)` is exactly
//! 1.3, whatever is around it; `\(` and `\)` are text, and so are square brackets.

use super::piece::Piece;

/// Stand for escaped brackets while the text is taken apart; prompts hold no such characters.
const OPENING: char = '\u{1}';
const CLOSING: char = '\u{2}';

const STEP: f64 = 1.1;

/// How deep brackets are followed; deeper ones are text.
const DEEPEST: usize = 100;

/// A prompt as pieces, in order; none for an empty prompt.
pub fn parse(prompt: &str) -> Vec<Piece> {
    let hidden = prompt
        .replace("\\)", &CLOSING.to_string())
        .replace("\\(", &OPENING.to_string());
    let mut pieces = Vec::new();
    weigh(&hidden, 1.0, 0, &mut pieces);
    for piece in &mut pieces {
        piece.text = piece.text.replace(CLOSING, ")").replace(OPENING, "(");
    }
    pieces
}

fn weigh(text: &str, weight: f64, depth: usize, pieces: &mut Vec<Piece>) {
    for part in outermost(text) {
        let inner = part.strip_prefix('(').and_then(|p| p.strip_suffix(')'));
        match inner.filter(|_| depth < DEEPEST) {
            None => pieces.push(Piece::new(part, weight)),
            Some(inner) => {
                let own = inner.rfind(':').filter(|at| *at > 0).and_then(|at| {
                    let number = inner[at + 1..].trim().parse::<f64>().ok()?;
                    Some((&inner[..at], number))
                });
                let (inner, weight) = own.unwrap_or((inner, weight * STEP));
                weigh(inner, weight, depth + 1, pieces);
            }
        }
    }
}

/// Cuts a text before and behind its outermost brackets.
fn outermost(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_i64);
    for (at, c) in text.char_indices() {
        match c {
            '(' => {
                if depth == 0 && start < at {
                    parts.push(&text[start..at]);
                    start = at;
                }
                depth += 1;
            }
            ')' => {
                depth -= 1;
                if depth == 0 {
                    parts.push(&text[start..=at]);
                    start = at + 1;
                }
            }
            _ => {}
        }
    }
    if start < text.len() {
        parts.push(&text[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(prompt: &str, pieces: &[(&str, f64)]) {
        let wanted: Vec<_> = pieces.iter().map(|(t, w)| Piece::new(*t, *w)).collect();
        assert_eq!(parse(prompt), wanted, "{prompt}");
    }

    #[test]
    fn numbers_set_and_bare_brackets_multiply() {
        is("a ((b:1.3) c)", &[("a ", 1.0), ("b", 1.3), (" c", 1.1)]);
        is("((b))", &[("b", 1.1 * 1.1)]);
        is("(b: 1.3 )", &[("b", 1.3)]);
        is("(a:b)", &[("a:b", 1.1)]);
    }

    #[test]
    fn everything_else_is_text() {
        is("a [b] c", &[("a [b] c", 1.0)]);
        is(r"a \(b\)", &[("a (b)", 1.0)]);
        is("a (b", &[("a ", 1.0), ("(b", 1.0)]);
        is("", &[]);
    }

    #[test]
    fn thousands_of_brackets_do_not_end_the_program() {
        let deep = format!("{}a{}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(parse(&deep).len(), 1);
    }
}
