//! How weights are written in prompts: text to pieces of text with weights. No model is needed here.

use std::str::FromStr;

use crate::error::{Error, ErrorKind};

pub mod a1111;
pub mod comfy;
pub mod compel;
mod piece;
pub mod producers;
pub mod tags;

pub use piece::Piece;

/// Which notation a prompt is written in, and so which arithmetic its weights get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PromptSyntax {
    /// `(word:1.3)`, `(word)`, `[word]`, `BREAK`; states are multiplied and keep their mean.
    #[default]
    A1111,
    /// `(word:1.3)`, `(word)`; states move away from those of the empty prompt.
    Comfy,
    /// `word++`, `(two words)1.3`, `.and()`, `.blend()`.
    Compel,
    /// No notation: what diffusers does.
    Plain,
}

impl PromptSyntax {
    /// Every name, in the order of help texts.
    pub const NAMES: [&str; 4] = ["a1111", "comfy", "compel", "plain"];

    /// The name in specs and flags.
    pub fn name(self) -> &'static str {
        match self {
            Self::A1111 => "a1111",
            Self::Comfy => "comfy",
            Self::Compel => "compel",
            Self::Plain => "plain",
        }
    }
}

impl FromStr for PromptSyntax {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.to_ascii_lowercase().as_str() {
            "a1111" | "automatic1111" | "forge" | "webui" => Ok(Self::A1111),
            "comfy" | "comfyui" => Ok(Self::Comfy),
            "compel" => Ok(Self::Compel),
            "plain" | "none" | "diffusers" => Ok(Self::Plain),
            _ => Err(Error::new(
                ErrorKind::InvalidSpec,
                format!(
                    "prompt_syntax is `{text}`; it must be one of {}",
                    Self::NAMES.join(", ")
                ),
            )
            .hint("a1111 is the default: (word:1.3), (word), [word], BREAK")),
        }
    }
}

/// The texts that a prompt's tokens are made of, without the notation.
///
/// # Errors
/// `InvalidSpec` when compel's operators are used wrongly.
pub fn texts(syntax: PromptSyntax, prompt: &str) -> Result<Vec<String>, Error> {
    let texts = |pieces: Vec<Piece>| pieces.into_iter().map(|piece| piece.text).collect();
    Ok(match syntax {
        PromptSyntax::Plain => vec![prompt.to_string()],
        PromptSyntax::A1111 => texts(a1111::parse(prompt).into_iter().flatten().collect()),
        PromptSyntax::Comfy => texts(comfy::parse(prompt)),
        PromptSyntax::Compel => texts(compel::parse(prompt)?.into_pieces()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_others_refused_with_the_allowed_ones() {
        for name in PromptSyntax::NAMES {
            assert_eq!(name.parse::<PromptSyntax>().unwrap().name(), name);
        }
        let error = "invoke".parse::<PromptSyntax>().unwrap_err();
        assert!(error.message.contains("a1111, comfy, compel, plain"), "{error}");
    }

    #[test]
    fn counting_sees_the_words_and_not_the_notation() {
        let of = |syntax, text| texts(syntax, text).unwrap().join("|");
        assert_eq!(of(PromptSyntax::A1111, "a (red:1.3) cat"), "a |red| cat");
        assert_eq!(of(PromptSyntax::Comfy, "a (red:1.3) cat"), "a |red| cat");
        assert_eq!(of(PromptSyntax::Compel, "a (red)1.3 cat"), "a|red|cat");
        assert_eq!(of(PromptSyntax::Plain, "a (red:1.3) cat"), "a (red:1.3) cat");
    }
}
