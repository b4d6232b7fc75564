//! compel's grammar as functions that try to read one thing at a place: `None` means that it does
//! not stand there, and the next choice is tried.

use std::cell::RefCell;
use std::collections::HashMap;

use super::error::wrong;
use crate::error::Error;

/// Text, or nodes with a weight that multiplies theirs.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Weighted(f64, Vec<Node>),
}

/// `(…, …).name(…)` around a whole prompt.
#[derive(Debug)]
pub(super) struct Call {
    pub name: &'static str,
    pub prompts: Vec<Vec<Node>>,
    pub arguments: Vec<String>,
}

/// What was read, and where the rest begins.
type Read<T> = Option<(T, usize)>;

const SYNTAX: &str = "()\",.+-=";
const PLUS_BASE: f64 = 1.1;
const MINUS_BASE: f64 = 0.9;

/// How deep brackets are followed; deeper ones are text.
const DEEPEST: usize = 100;

pub(super) struct Grammar<'a> {
    text: &'a str,
    /// Every bracket is read once, however often it is tried.
    brackets: RefCell<HashMap<usize, Read<Vec<Node>>>>,
    depth: RefCell<usize>,
    /// An operator of compel's that is not done here.
    refused: RefCell<Option<&'static str>>,
}

impl<'a> Grammar<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            brackets: RefCell::default(),
            depth: RefCell::default(),
            refused: RefCell::default(),
        }
    }

    /// # Errors
    /// `InvalidSpec` when an operator was met that needs more than text.
    pub fn check(&self) -> Result<(), Error> {
        match *self.refused.borrow() {
            None => Ok(()),
            Some("swap") => Err(wrong(
                ".swap() replaces words while the picture is made, which SDXL models here do not do".into(),
                "use .blend() of two prompts",
            )),
            Some(name) => Err(wrong(format!("{name}() names a lora"), "write <lora:NAME:SCALE>")),
        }
    }

    /// A whole prompt without an operator around it.
    pub fn prompt(&self) -> Vec<Node> {
        let (mut nodes, mut at) = (Vec::new(), 0);
        loop {
            self.note_refused(at);
            let read = self
                .attention(at)
                .or_else(|| self.quoted(at))
                .or_else(|| self.bracket(at))
                .or_else(|| self.free_word(at));
            match read {
                Some((found, end)) => {
                    nodes.extend(found);
                    at = end;
                }
                None => match self.rest(at).chars().next() {
                    Some(white) => at += white.len_utf8(),
                    None => return nodes,
                },
            }
        }
    }

    /// An operator around the whole prompt.
    pub fn call(&self) -> Read<Call> {
        let mut at = self.literal(0, "(")?;
        let mut prompts = Vec::new();
        loop {
            let (prompt, end) = self.target(at).or_else(|| self.quoted_prompt(at))?;
            prompts.push(prompt);
            match self.literal(end, ",") {
                Some(next) => at = next,
                None => {
                    at = self.literal(end, ")")?;
                    break;
                }
            }
        }
        let named = |name: &'static str| Some((name, self.literal(at, &format!(".{name}"))?));
        let (name, at) = named("blend").or_else(|| named("and")).or_else(|| named("add"))?;
        let (arguments, at) = self.arguments(self.literal(at, "(")?);
        let end = self.literal(at, ")")?;
        Some((
            Call {
                name,
                prompts,
                arguments,
            },
            end,
        ))
    }

    /// Numbers and words between commas.
    fn arguments(&self, start: usize) -> (Vec<String>, usize) {
        let (mut arguments, mut at) = (Vec::new(), start);
        loop {
            let from = self.skip_white(at);
            let word = |c: char| c.is_ascii_alphanumeric() || "_-+.".contains(c);
            let length = self
                .rest(from)
                .find(|c| !word(c))
                .unwrap_or(self.rest(from).len());
            if length == 0 {
                return (arguments, at);
            }
            arguments.push(self.text[from..from + length].to_string());
            at = from + length;
            match self.literal(at, ",") {
                Some(next) => at = next,
                None => return (arguments, at),
            }
        }
    }

    /// Something with a weight: `word++`, `(words)1.3`, `"words"-`, `(words).attend(1.3)`.
    fn attention(&self, at: usize) -> Read<Vec<Node>> {
        let weighted = |weight, nodes| vec![Node::Weighted(weight, nodes)];
        let explicit = || {
            let (nodes, end) = self.target(at)?;
            let end = self.literal(self.literal(end, ".attend")?, "(")?;
            let (weight, end) = self.signs(end).or_else(|| self.number(end))?;
            Some((weighted(weight, nodes), self.literal(end, ")")?))
        };
        let behind_bracket = || {
            let (nodes, end) = self.quoted(at).or_else(|| self.bracket(at))?;
            let end = self.adjacent(end)?;
            let (weight, end) = self.signs(end).or_else(|| self.number(end))?;
            Some((weighted(weight, nodes), end))
        };
        let behind_word = || {
            let (nodes, end) = self.word(at)?;
            let (weight, end) = self.signs(self.adjacent(end)?)?;
            Some((weighted(weight, nodes), end))
        };
        explicit().or_else(behind_bracket).or_else(behind_word)
    }

    /// What an operator may stand behind.
    fn target(&self, at: usize) -> Read<Vec<Node>> {
        self.quoted(at)
            .or_else(|| self.bracket(at))
            .or_else(|| self.word(at))
    }

    /// `(…)`, whose inside must be made of words, commas, full stops and nested things.
    fn bracket(&self, at: usize) -> Read<Vec<Node>> {
        let at = self.skip_white(at);
        if let Some(known) = self.brackets.borrow().get(&at) {
            return known.clone();
        }
        let inside = self.literal(at, "(")?;
        if *self.depth.borrow() >= DEEPEST {
            return None;
        }
        *self.depth.borrow_mut() += 1;
        let (nodes, end) = self.fragments(inside);
        *self.depth.borrow_mut() -= 1;
        let read = self.literal(end, ")").map(|end| (nodes, end));
        self.brackets.borrow_mut().insert(at, read.clone());
        read
    }

    /// As many parts of a bracket's inside as there are.
    fn fragments(&self, start: usize) -> (Vec<Node>, usize) {
        let (mut nodes, mut at) = (Vec::new(), start);
        loop {
            self.note_refused(at);
            let mark = |mark: &str| Some((vec![Node::Text(mark.into())], self.literal(at, mark)?));
            let read = self
                .attention(at)
                .or_else(|| self.bracket(at))
                .or_else(|| self.quoted(at))
                .or_else(|| self.word(at))
                .or_else(|| mark(","))
                .or_else(|| mark("."));
            match read {
                Some((found, end)) => {
                    nodes.extend(found);
                    at = end;
                }
                None => return (nodes, at),
            }
        }
    }

    /// `"…"`, read as a bracket's inside.
    fn quoted(&self, at: usize) -> Read<Vec<Node>> {
        let (inside, end) = self.quotation(at)?;
        if inside.trim().is_empty() {
            return Some((vec![Node::Text(String::new())], end));
        }
        let grammar = Grammar::new(&inside);
        let (nodes, inner_end) = grammar.fragments(0);
        self.inherit(&grammar);
        (grammar.skip_white(inner_end) == inside.len()).then_some((nodes, end))
    }

    /// `"…"`, read as a prompt of its own.
    fn quoted_prompt(&self, at: usize) -> Read<Vec<Node>> {
        let (inside, end) = self.quotation(at)?;
        let grammar = Grammar::new(&inside);
        let nodes = grammar.prompt();
        self.inherit(&grammar);
        Some((nodes, end))
    }

    fn inherit(&self, inner: &Grammar) {
        if let Some(name) = *inner.refused.borrow() {
            self.refused.replace(Some(name));
        }
    }

    /// The text between quotation marks, those inside it escaped. Where none closes, the last
    /// escaped one does.
    fn quotation(&self, at: usize) -> Read<String> {
        let start = self.literal(at, "\"")?;
        let (mut escaped, mut close) = (false, None);
        for (offset, c) in self.rest(start).char_indices() {
            match c {
                '"' => {
                    close = Some(start + offset);
                    if !escaped {
                        break;
                    }
                }
                '\n' | '\r' => break,
                _ => {}
            }
            escaped = c == '\\';
        }
        close.map(|end| (self.text[start..end].to_string(), end + 1))
    }

    /// A word without syntax in it; a sign inside a word is part of it.
    fn word(&self, at: usize) -> Read<Vec<Node>> {
        let start = self.skip_white(at);
        let mut end = start;
        loop {
            let rest = self.rest(end);
            let mut characters = rest.chars();
            let (Some(first), second) = (characters.next(), characters.next()) else {
                break;
            };
            end += match (first, second) {
                ('\\', Some(escaped)) if SYNTAX.contains(escaped) => 2,
                ('+' | '-', Some(next)) if !is_white(next) && !SYNTAX.contains(next) => 1,
                (c, _) if !is_white(c) && !SYNTAX.contains(c) => c.len_utf8(),
                _ => break,
            };
        }
        (end > start).then(|| (vec![text(&self.text[start..end])], end))
    }

    /// Everything up to the next white space.
    fn free_word(&self, at: usize) -> Read<Vec<Node>> {
        let rest = self.rest(at);
        let length = rest.find(is_white).unwrap_or(rest.len());
        (length > 0).then(|| (vec![text(&rest[..length])], at + length))
    }

    /// `++` or `--`: a power of the sign's base.
    fn signs(&self, at: usize) -> Read<f64> {
        let at = self.skip_white(at);
        let (sign, base) = match self.rest(at).chars().next()? {
            '+' => ('+', PLUS_BASE),
            '-' => ('-', MINUS_BASE),
            _ => return None,
        };
        let count = self.rest(at).chars().take_while(|c| *c == sign).count();
        Some((base.powi(i32::try_from(count).unwrap_or(i32::MAX)), at + count))
    }

    /// `1.3`, `.5`, `2`.
    fn number(&self, at: usize) -> Read<f64> {
        let at = self.skip_white(at);
        let rest = self.rest(at);
        let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
        let whole = digits(rest);
        let mut length = whole;
        if let Some(fraction) = rest[whole..].strip_prefix('.')
            && whole + digits(fraction) > 0
        {
            length += 1 + digits(fraction);
        }
        Some((rest[..length].parse().ok()?, at + length))
    }

    /// The same place, if no white space stands there.
    fn adjacent(&self, at: usize) -> Option<usize> {
        (!self.rest(at).starts_with(is_white)).then_some(at)
    }

    /// Behind white space and `expected`, if it stands there.
    fn literal(&self, at: usize, expected: &str) -> Option<usize> {
        let at = self.skip_white(at);
        self.rest(at).starts_with(expected).then(|| at + expected.len())
    }

    fn skip_white(&self, at: usize) -> usize {
        let rest = self.rest(at);
        at + (rest.len() - rest.trim_start_matches(is_white).len())
    }

    fn rest(&self, at: usize) -> &'a str {
        &self.text[at..]
    }

    fn note_refused(&self, at: usize) {
        let lora = ["useLora", "withLora"].into_iter().find(|name| {
            self.literal(at, name)
                .and_then(|end| self.literal(end, "("))
                .is_some()
        });
        let swap = || {
            let (_, end) = self.target(at)?;
            self.literal(self.literal(end, ".swap")?, "(").map(|_| "swap")
        };
        if let Some(name) = lora.or_else(swap) {
            self.refused.replace(Some(name));
        }
    }
}

/// compel turns escaped brackets and quotation marks into themselves, more than once where several
/// backslashes stand before one, and leaves other escapes.
fn text(raw: &str) -> Node {
    let unescaped = |text: &str| text.replace("\\(", "(").replace("\\)", ")").replace("\\\"", "\"");
    let mut text = unescaped(raw);
    loop {
        let next = unescaped(&text);
        if next == text {
            return Node::Text(text);
        }
        text = next;
    }
}

fn is_white(c: char) -> bool {
    c.is_ascii_whitespace() || c == '\u{b}'
}
