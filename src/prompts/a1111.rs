//! The notation of AUTOMATIC1111's web UI (and Forge): `(x)` is 1.1 times as strong, `[x]` as much
//! weaker, `(x:1.3)` 1.3 times; they nest and multiply; a backslash takes the meaning from a
//! bracket; brackets that are not closed reach to the end; `BREAK` begins a new chunk.

use super::piece::Piece;

const STEP: f64 = 1.1;

/// A prompt's sections, which `BREAK` parts, each as pieces; there is at least one section.
pub fn parse(prompt: &str) -> Vec<Vec<Piece>> {
    let mut parser = Parser::default();
    let mut rest = prompt;
    while let Some(c) = rest.chars().next() {
        rest = parser.take(c, rest);
    }
    parser.finish()
}

#[derive(Default)]
struct Parser {
    /// `None` is a `BREAK`.
    pieces: Vec<Option<Piece>>,
    /// Where each open bracket began.
    round: Vec<usize>,
    square: Vec<usize>,
}

impl Parser {
    /// Reads what begins with `c` and returns what is left.
    fn take<'a>(&mut self, c: char, rest: &'a str) -> &'a str {
        let after = &rest[c.len_utf8()..];
        match c {
            '\\' => match after.chars().next() {
                Some(escaped @ ('(' | ')' | '[' | ']' | '\\')) => {
                    self.push(&escaped.to_string());
                    &after[1..]
                }
                // Any other backslash vanishes.
                _ => {
                    self.push("");
                    after
                }
            },
            '(' => self.open(after, |parser| &mut parser.round),
            '[' => self.open(after, |parser| &mut parser.square),
            ')' => self.close(after, c, STEP, |parser| &mut parser.round),
            ']' => self.close(after, c, 1.0 / STEP, |parser| &mut parser.square),
            ':' => match closing_weight(rest) {
                Some((weight, after)) => match self.round.pop() {
                    Some(start) => {
                        self.scale(start, weight);
                        after
                    }
                    None => {
                        self.text(&rest[..rest.len() - after.len()]);
                        after
                    }
                },
                None => {
                    self.text(":");
                    after
                }
            },
            _ => {
                let end = rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len());
                self.text(&rest[..end]);
                &rest[end..]
            }
        }
    }

    fn open<'a>(&mut self, after: &'a str, stack: fn(&mut Self) -> &mut Vec<usize>) -> &'a str {
        let start = self.pieces.len();
        stack(self).push(start);
        after
    }

    fn close<'a>(
        &mut self,
        after: &'a str,
        bracket: char,
        factor: f64,
        stack: fn(&mut Self) -> &mut Vec<usize>,
    ) -> &'a str {
        match stack(self).pop() {
            Some(start) => self.scale(start, factor),
            None => self.push(&bracket.to_string()),
        }
        after
    }

    fn scale(&mut self, start: usize, factor: f64) {
        for piece in self.pieces[start..].iter_mut().flatten() {
            piece.weight *= factor;
        }
    }

    fn push(&mut self, text: &str) {
        self.pieces.push(Some(Piece::new(text, 1.0)));
    }

    /// Text that may hold `BREAK`, which takes the white space around it along.
    fn text(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = find_break(rest) {
            self.push(rest[..at].trim_end());
            self.pieces.push(None);
            rest = rest[at + BREAK.len()..].trim_start();
        }
        self.push(rest);
    }

    fn finish(mut self) -> Vec<Vec<Piece>> {
        for start in std::mem::take(&mut self.round) {
            self.scale(start, STEP);
        }
        for start in std::mem::take(&mut self.square) {
            self.scale(start, 1.0 / STEP);
        }
        let mut sections = vec![Vec::<Piece>::new()];
        for piece in self.pieces {
            let section = sections.last_mut().expect("begins with one");
            match piece {
                None => sections.push(Vec::new()),
                Some(piece) => match section.last_mut() {
                    // Neighbours of one weight are encoded as one text.
                    Some(last) if last.weight == piece.weight => last.text.push_str(&piece.text),
                    _ => section.push(piece),
                },
            }
        }
        sections
    }
}

const BREAK: &str = "BREAK";

/// The first `BREAK` that is a word of its own.
fn find_break(text: &str) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(BREAK).map(|(at, _)| at).find(|&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + BREAK.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// `: 1.3 )` at the start of a text: the number, and what follows.
fn closing_weight(text: &str) -> Option<(f64, &str)> {
    let inner = text.strip_prefix(':')?.trim_start();
    let sign = usize::from(inner.starts_with(['+', '-']));
    let digits = inner[sign..]
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(inner.len() - sign);
    let (number, rest) = inner.split_at(sign + digits);
    let after = rest.trim_start().strip_prefix(')')?;
    Some((number.parse().ok()?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(prompt: &str) -> Vec<(String, f64)> {
        let round = |w: f64| (w * 1e6).round() / 1e6;
        let pieces = parse(prompt).into_iter().flatten();
        pieces.map(|p| (p.text, round(p.weight))).collect()
    }

    fn is(prompt: &str, pieces: &[(&str, f64)]) {
        let wanted: Vec<_> = pieces.iter().map(|(t, w)| (t.to_string(), *w)).collect();
        assert_eq!(flat(prompt), wanted, "{prompt}");
    }

    #[test]
    fn brackets_nest_and_multiply() {
        is("a ((b))", &[("a ", 1.0), ("b", 1.21)]);
        is("a (b (c:1.5))", &[("a ", 1.0), ("b ", 1.1), ("c", 1.65)]);
        is("[a]", &[("a", 0.909091)]);
        is("(a:.5)b", &[("a", 0.5), ("b", 1.0)]);
        is("( a : 1.4 )", &[(" a ", 1.4)]);
    }

    #[test]
    fn what_opens_or_closes_nothing_is_text_or_reaches_to_the_end() {
        is("a) b] :1.3) c", &[("a) b] :1.3) c", 1.0)]);
        is("(a [b", &[("a ", 1.1), ("b", 1.0)]);
        is("12:30", &[("12:30", 1.0)]);
        is("(a:1.2.3)", &[("a:1.2.3", 1.1)]);
        is("", &[]);
    }

    #[test]
    fn backslashes_escape_brackets_and_otherwise_vanish() {
        is(r"a \(b\) \c \\", &[(r"a (b) c \", 1.0)]);
    }

    #[test]
    fn break_is_a_word_that_parts_sections() {
        let sections = parse("a red cat BREAK (big:1.2)\nBREAK\nUNBREAKABLE");
        assert_eq!(sections.len(), 3);
        assert_eq!(sections[0][0].text, "a red cat");
        assert_eq!(
            sections[1],
            [Piece::new("", 1.0), Piece::new("big", 1.2), Piece::new("", 1.0)]
        );
        assert_eq!(sections[2][0].text, "UNBREAKABLE");
    }
}
