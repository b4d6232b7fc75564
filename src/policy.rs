//! Content rules: what is refused before anything is loaded.
//!
//! What is judged is what was asked for: the prompt, and later the enhanced prompt. A negative prompt
//! lists what is unwanted, so sexual words and age words in it are no request; one thing in it counts:
//! a negative prompt that shuts adults out beside a sexual prompt is a hint at minors.
//!
//! - Whatever the mode: sexual content with any hint at minors is refused, and so is sexual content
//!   with any reference image.
//! - `sfw` (the default) refuses all sexual content, nudity in art included; `adult` is the
//!   operator's choice.
//!
//! Matching is by words: `rustrict`'s lists (mild and up: it fails closed) and our own for other
//! languages, on several foldings of the text that undo spacing, digits for letters, look-alikes,
//! accents, invisible characters and stretched letters. Its limits: words cannot tell a Renaissance
//! mother and child from something else (refused when nudity is named); languages beside English are
//! covered thinly; what is only described and never named passes. A refusal names a category and
//! never quotes.

use anyhow::Result;
use rustrict::{Censor, Type};

pub use crate::config::ContentMode;
use crate::error::{Error, ErrorKind};

mod fold;
mod lists;
mod minors;

use fold::{Folded, spelled_out, words};
use lists::LISTS;

/// Why something was refused: all that a refusal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    SexualMinors,
    ExplicitWithReference,
    AdultContent,
}

impl Category {
    /// The name in messages and callbacks.
    pub fn name(self) -> &'static str {
        match self {
            Self::SexualMinors => "sexual_minors",
            Self::ExplicitWithReference => "explicit_with_reference",
            Self::AdultContent => "adult_content",
        }
    }
}

/// Judges texts that were asked for or that a model wrote; together, so that splitting one request
/// over two fields changes nothing.
///
/// # Errors
/// `Refused` with a category.
pub fn check(texts: &[&str], mode: ContentMode, has_reference: bool) -> Result<()> {
    refuse(judge(texts, None, mode, has_reference))
}

/// Judges a job's prompt with its negative prompt.
///
/// # Errors
/// As [`check`].
pub fn check_job(prompt: &str, negative: Option<&str>, mode: ContentMode, has_reference: bool) -> Result<()> {
    refuse(judge(&[prompt], negative, mode, has_reference))
}

fn refuse(category: Option<Category>) -> Result<()> {
    match category {
        None => Ok(()),
        Some(category) => {
            let message = format!("refused by the content rules: {}", category.name());
            Err(Error::new(ErrorKind::Refused, message).into())
        }
    }
}

fn judge(texts: &[&str], negative: Option<&str>, mode: ContentMode, has_reference: bool) -> Option<Category> {
    let texts: Vec<Folded> = texts.iter().map(|t| Folded::new(t)).collect();
    if !texts.iter().any(sexual) {
        return None;
    }
    let shuts_adults_out = negative.is_some_and(|n| LISTS.excludes_adults.found_in(&Folded::new(n)));
    if shuts_adults_out || texts.iter().any(minors::hinted) {
        return Some(Category::SexualMinors);
    }
    if has_reference {
        return Some(Category::ExplicitWithReference);
    }
    (mode == ContentMode::Sfw).then_some(Category::AdultContent)
}

/// Whether the text is sexual in any of its readings.
fn sexual(text: &Folded) -> bool {
    if LISTS.sexual.found_in(text)
        && LISTS
            .sexual
            .found_in(&Folded::new(&without_innocent(&text.plain)))
    {
        return true;
    }
    let spelled = spelled_out(&text.latin).join(" ");
    let unmasked = text.words().join(" ");
    [&text.plain, &text.latin, &spelled, &unmasked]
        .into_iter()
        .any(|form| flagged(&without_innocent(form)))
}

fn flagged(text: &str) -> bool {
    Censor::from_str(text)
        .with_ignore_self_censoring(true)
        .analyze()
        .is(Type::SEXUAL & Type::MILD_OR_HIGHER)
}

/// The text without phrases that only sound sexual.
fn without_innocent(text: &str) -> String {
    if !LISTS
        .innocent
        .phrases
        .iter()
        .any(|p| row(text).contains(&format!(" {p} ")))
    {
        return text.to_owned();
    }
    let mut row = row(text);
    for phrase in &LISTS.innocent.phrases {
        row = row.replace(&format!(" {phrase} "), " , ");
    }
    row
}

fn row(text: &str) -> String {
    format!(" {} ", words(text).join(" "))
}
