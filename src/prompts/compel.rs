//! The notation of compel (github.com/damian0815/compel, 2.5.1): `word++`, `(two words)1.3`,
//! `("one", "two").and()`, `("one", "two").blend(0.7, 0.3)`.
//!
//! [`parse`] follows that grammar choice by choice; what fits none of it is text, so that brackets
//! which are not closed, commas and single signs mean themselves.

mod error;
mod grammar;

use error::wrong;

use super::piece::Piece;
use crate::error::Error;
use grammar::{Grammar, Node};

/// Prompts side by side: their states follow each other. There is at least one.
#[derive(Debug, Clone, PartialEq)]
pub struct Conjunction {
    pub parts: Vec<Part>,
}

/// One prompt of a conjunction and its weight.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub prompt: Prompt,
    pub weight: f64,
}

/// What is encoded as one.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    Pieces(Vec<Piece>),
    /// The weighted sum of several prompts' states, divided by the sum of the weights if
    /// `normalize`.
    Blend {
        prompts: Vec<Vec<Piece>>,
        weights: Vec<f64>,
        normalize: bool,
    },
}

impl Conjunction {
    /// Every piece of every prompt.
    pub fn into_pieces(self) -> Vec<Piece> {
        let of = |part: Part| match part.prompt {
            Prompt::Pieces(pieces) => pieces,
            Prompt::Blend { prompts, .. } => prompts.concat(),
        };
        self.parts.into_iter().flat_map(of).collect()
    }

    fn one(prompt: Prompt) -> Self {
        Self {
            parts: vec![Part { prompt, weight: 1.0 }],
        }
    }
}

/// # Errors
/// `InvalidSpec` for operators that are used wrongly, and for those that need more than text.
pub fn parse(prompt: &str) -> Result<Conjunction, Error> {
    let spaced = space_after_commas(prompt);
    if spaced.trim().is_empty() {
        return Ok(Conjunction::one(Prompt::Pieces(vec![Piece::new("", 1.0)])));
    }
    let grammar = Grammar::new(&spaced);
    let Some((call, end)) = grammar.call() else {
        let nodes = grammar.prompt();
        grammar.check()?;
        return Ok(Conjunction::one(Prompt::Pieces(flatten(&nodes))));
    };
    grammar.check()?;
    let rest = spaced[end..].trim();
    if !rest.is_empty() {
        return Err(wrong(
            format!("`{rest}` follows .{}(…)", call.name),
            "an operator takes the whole prompt: put the text into one of its prompts",
        ));
    }
    let prompts: Vec<Vec<Piece>> = call.prompts.iter().map(|nodes| flatten(nodes)).collect();
    let (mut weights, normalize) = read_weights(&call.arguments, call.name)?;
    if weights.is_empty() {
        weights = vec![1.0; prompts.len()];
    }
    if weights.len() != prompts.len() {
        return Err(wrong(
            format!(
                ".{} has {} prompts and {} weights",
                call.name,
                prompts.len(),
                weights.len()
            ),
            "give one weight a prompt, or none",
        ));
    }
    if call.name != "blend" {
        let pairs = prompts.into_iter().zip(weights);
        let part = |(pieces, weight)| Part {
            prompt: Prompt::Pieces(pieces),
            weight,
        };
        return Ok(Conjunction {
            parts: pairs.map(part).collect(),
        });
    }
    if normalize && weights.iter().sum::<f64>() == 0.0 {
        return Err(wrong(
            ".blend's weights add up to 0".into(),
            "add no_normalize, or change a weight",
        ));
    }
    Ok(Conjunction::one(Prompt::Blend {
        prompts,
        weights,
        normalize,
    }))
}

/// compel's own first step: `a,b` is `a, b`.
fn space_after_commas(prompt: &str) -> String {
    let mut spaced = String::with_capacity(prompt.len());
    let mut characters = prompt.chars().peekable();
    while let Some(c) = characters.next() {
        spaced.push(c);
        if c == ',' && characters.peek().is_some_and(|next| !next.is_whitespace()) {
            spaced.push(' ');
            // The replaced character is not looked at again, so of `,,` one stays.
            spaced.extend(characters.next());
        }
    }
    spaced
}

fn read_weights(arguments: &[String], name: &str) -> Result<(Vec<f64>, bool), Error> {
    let (numbers, normalize) = match arguments {
        [numbers @ .., last] if last == "no_normalize" && name == "blend" => (numbers, false),
        numbers => (numbers, true),
    };
    let number = |text: &String| {
        text.parse::<f64>().map_err(|_| {
            wrong(
                format!(".{name}: `{text}` is no weight"),
                "weights are numbers; blend also takes no_normalize as its last word",
            )
        })
    };
    Ok((numbers.iter().map(number).collect::<Result<_, _>>()?, normalize))
}

/// Nested weights multiply; neighbours of one weight become one piece.
fn flatten(nodes: &[Node]) -> Vec<Piece> {
    fn walk(nodes: &[Node], scale: f64, pieces: &mut Vec<Piece>) {
        for node in nodes {
            match node {
                Node::Weighted(weight, inner) => walk(inner, scale * weight, pieces),
                Node::Text(text) => match pieces.last_mut() {
                    Some(last) if last.weight == scale => {
                        last.text.push(' ');
                        last.text.push_str(text);
                    }
                    _ => pieces.push(Piece::new(text.as_str(), scale)),
                },
            }
        }
    }
    let mut pieces = Vec::new();
    walk(nodes, 1.0, &mut pieces);
    if pieces.is_empty() {
        pieces.push(Piece::new("", 1.0));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(prompt: &str) -> Vec<(String, f64)> {
        let round = |w: f64| (w * 1e6).round() / 1e6;
        let pieces = parse(prompt).unwrap().into_pieces();
        pieces.into_iter().map(|p| (p.text, round(p.weight))).collect()
    }

    fn is(prompt: &str, wanted: &[(&str, f64)]) {
        let wanted: Vec<_> = wanted.iter().map(|(t, w)| (t.to_string(), *w)).collect();
        assert_eq!(pieces(prompt), wanted, "{prompt}");
    }

    #[test]
    fn signs_and_numbers_weigh_words_and_brackets() {
        is("a red++ cat", &[("a", 1.0), ("red", 1.21), ("cat", 1.0)]);
        is(
            "fog-, a (red cat)1.3",
            &[("fog", 0.9), (", a", 1.0), ("red cat", 1.3)],
        );
        is("a ((b)++ c)-", &[("a", 1.0), ("b", 1.089), ("c", 0.9)]);
        is("\"red cat\"+ b", &[("red cat", 1.1), ("b", 1.0)]);
        is("(b).attend(1.5) c", &[("b", 1.5), ("c", 1.0)]);
        is("(b)0", &[("b", 0.0)]);
    }

    #[test]
    fn what_is_no_operator_is_text() {
        is(
            "a well-known cat, half-timbered",
            &[("a well-known cat, half-timbered", 1.0)],
        );
        is("a [cat] (b", &[("a [cat] (b", 1.0)]);
        is("(a + b) c", &[("(a + b) c", 1.0)]);
        is(r"a \(b\)", &[("a (b)", 1.0)]);
        is("(b) 1.3", &[("b 1.3", 1.0)]);
        is("a,b", &[("a, b", 1.0)]);
        is("", &[("", 1.0)]);
    }

    #[test]
    fn operators_take_whole_prompts() {
        let and = parse("(\"a cat\", \"b+\").and()").unwrap();
        assert_eq!(and.parts.len(), 2);
        assert_eq!(and.parts[1].prompt, Prompt::Pieces(vec![Piece::new("b", 1.1)]));
        let blend = parse("(\"a\", \"(b c)1.5\").blend(1, -0.5, no_normalize)").unwrap();
        let Prompt::Blend {
            weights,
            normalize,
            prompts,
        } = &blend.parts[0].prompt
        else {
            panic!("{blend:?}");
        };
        assert_eq!(
            (weights.as_slice(), *normalize, prompts.len()),
            (&[1.0, -0.5][..], false, 2)
        );
    }

    #[test]
    fn operators_that_are_used_wrongly_are_refused_with_the_way_out() {
        for (prompt, said) in [
            ("(\"a\", \"b\").blend(1)", "2 prompts and 1 weights"),
            ("(\"a\", \"b\").blend(1, -1)", "add up to 0"),
            ("(\"a\", \"b\").and() c", "`c` follows"),
            ("(\"a\", \"b\").blend(x)", "`x` is no weight"),
            ("a cat.swap(dog)", "swap"),
            ("a cat withLora(film, 0.8)", "withLora"),
        ] {
            let error = parse(prompt).unwrap_err();
            assert!(error.message.contains(said), "{prompt}: {error}");
            assert!(error.hint.is_some());
        }
    }

    #[test]
    fn thousands_of_brackets_end_quickly() {
        for deep in [
            "(".repeat(50_000),
            "(a ".repeat(5_000),
            format!("{}{}", "(".repeat(60), ")+".repeat(60)),
        ] {
            parse(&deep).unwrap();
        }
    }
}
