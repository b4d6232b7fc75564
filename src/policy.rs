//! Content rules: one door for everything that is asked for and everything that a model writes.
//!
//! - Whatever the mode: sexual content with any hint at minors is refused, and so is sexual content
//!   with any reference image. Neither is anybody's to allow.
//! - `sfw` (the default) refuses all sexual content, nudity in art included; `adult` is the
//!   operator's choice. `policy.allow` lists words that mean something else here.
//!
//! A text is folded once into words and their other readings ([`text`]), and lists are compared with
//! whole words and their inflections ([`lexicon`]); nothing matches across the borders of words or
//! sentences. The lists come from the `rustrict` crate and from `assets/policy/`. Their limits: words
//! cannot tell a Renaissance mother and child from something else (refused when nudity is named);
//! what is only described and never named passes.
//!
//! A negative prompt lists what is unwanted, so sexual words and age words in it are no request; two
//! things in it count: shutting adults out beside a sexual prompt is a hint at minors, and shutting
//! clothes out beside a person asks for nudity. A refusal names category and field and never quotes.

use anyhow::Result;

pub use crate::config::ContentMode;
use crate::config::Settings;
use crate::error::{Error, ErrorKind};

mod ages;
#[cfg(test)]
mod corpora;
mod decode;
mod fold;
mod lexicon;
mod lists;
mod minors;
mod readings;
#[cfg(test)]
mod tests;
mod text;
mod words;

use lexicon::{Filler, Hit};
use lists::{LISTS, Lists};
use text::Text;
use words::{WordSet, hash, inflections};

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

    /// What whoever thinks the refusal wrong can do.
    fn appeal(self) -> &'static str {
        match self {
            Self::SexualMinors => "this rule has no exception and no setting",
            Self::ExplicitWithReference => {
                "leave the picture out, or ask for something else of it: no setting allows both together"
            }
            Self::AdultContent => {
                "if a word means something else here, the operator lists it under [policy] allow = [\"…\"] in config.toml"
            }
        }
    }
}

/// What was found, and in which of the texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Refusal<'a> {
    category: Category,
    field: &'a str,
}

/// The door: judges by the operator's mode and list of words that are fine.
#[derive(Clone)]
pub struct Judge {
    lists: &'static Lists,
    mode: ContentMode,
    allowed: WordSet,
}

impl Judge {
    /// A judge with the program's lists. `allow` are words or phrases that are fine here; they never
    /// reach the rules about minors and reference images.
    pub fn new(mode: ContentMode, allow: &[String]) -> Self {
        Self::with_lists(&LISTS, mode, allow)
    }

    /// A judge as the operator's settings have it.
    pub fn of(settings: &Settings) -> Self {
        Self::new(settings.content_mode, &settings.policy_allow)
    }
}

impl Judge {
    fn with_lists(lists: &'static Lists, mode: ContentMode, allow: &[String]) -> Self {
        let allowed = allow.iter().flat_map(|word| {
            let words: Vec<String> = Text::new(word).plain().map(str::to_string).collect();
            inflections(&words.join(" "))
        });
        Self {
            lists,
            mode,
            allowed: WordSet::new(allowed.map(|w| hash(&w))),
        }
    }

    /// Judges texts that were asked for or that a model wrote, each with the name of its field;
    /// together, so that splitting one request over two fields changes nothing.
    ///
    /// # Errors
    /// `Refused` with category and field.
    pub fn texts(&self, texts: &[(&str, &str)], has_reference: bool) -> Result<()> {
        self.job(texts, &[], has_reference)
    }

    /// Judges a job's texts with its negative prompts.
    ///
    /// # Errors
    /// As [`Judge::texts`].
    pub fn job(&self, texts: &[(&str, &str)], negatives: &[&str], has_reference: bool) -> Result<()> {
        refuse(self.judge(texts, negatives, has_reference))
    }

    fn judge<'t>(
        &self,
        texts: &[(&'t str, &str)],
        negatives: &[&str],
        has_reference: bool,
    ) -> Option<Refusal<'t>> {
        let read: Vec<(&'t str, Text)> = texts
            .iter()
            .map(|(field, text)| (*field, Text::new(text)))
            .collect();
        let hits: Vec<Vec<Hit>> = read.iter().map(|(_, text)| self.sexual(text)).collect();
        let named = hits.iter().position(|hits| !hits.is_empty());
        let undresses = negatives.iter().any(|n| self.undresses(&read, n));
        let field = match named {
            Some(index) => read[index].0,
            None if undresses => "negative_prompt",
            None => return None,
        };
        let refusal = |category| Some(Refusal { category, field });
        let shuts_adults_out = negatives.iter().any(|n| self.shuts_out(n, Unwanted::Adults));
        let hinted =
            |(hits, (_, text)): (&Vec<Hit>, &(&str, Text))| minors::hinted(text, hits, undresses, self.lists);
        if shuts_adults_out || hits.iter().zip(&read).any(hinted) {
            return refusal(Category::SexualMinors);
        }
        if has_reference {
            return refusal(Category::ExplicitWithReference);
        }
        if self.mode == ContentMode::Adult {
            return None;
        }
        let counts = |hits: &Vec<Hit>| hits.iter().any(|hit| !self.allowed.has(hit.term));
        match hits.iter().position(counts) {
            Some(index) => Some(Refusal {
                category: Category::AdultContent,
                field: read[index].0,
            }),
            None if undresses => refusal(Category::AdultContent),
            None => None,
        }
    }

    /// Where the text is sexual.
    fn sexual(&self, text: &Text) -> Vec<Hit> {
        let lists = self.lists;
        let filler = Filler {
            common: &lists.common,
            others: &[&lists.minors.words, &lists.nearby.words],
        };
        let mut hits = lists.sexual.hits(text, &filler);
        if hits.is_empty() {
            return hits;
        }
        let harmless = lists.harmless.phrases(text);
        let meant_otherwise = |hit: &Hit| {
            let within = harmless
                .iter()
                .any(|(at, words)| (*at..at + words).contains(&hit.at));
            within || lists.harmless.is_in_token(text, hit.at)
        };
        hits.retain(|hit| !meant_otherwise(hit));
        hits
    }

    /// Whether the negative prompt takes somebody's clothes away.
    fn undresses(&self, prompts: &[(&str, Text)], negative: &str) -> bool {
        let filler = Filler {
            common: &self.lists.common,
            others: &[],
        };
        self.shuts_out(negative, Unwanted::Clothes)
            && prompts
                .iter()
                .any(|(_, text)| !self.lists.persons.hits(text, &filler).is_empty())
    }

    fn shuts_out(&self, negative: &str, what: Unwanted) -> bool {
        let filler = Filler {
            common: &self.lists.common,
            others: &[],
        };
        match what {
            Unwanted::Adults => !self
                .lists
                .excludes_adults
                .hits(&Text::new(negative), &filler)
                .is_empty(),
            // `torn clothes` is a flaw, `clothes` is a wish.
            Unwanted::Clothes => negative.split([',', ';', '\n', '.']).any(|entry| {
                let entry = Text::new(entry);
                entry.tokens.len() <= 2
                    && match self.lists.excludes_clothes.hits(&entry, &filler).first() {
                        Some(_) if entry.tokens.len() == 1 => true,
                        Some(_) => !self.lists.excludes_clothes.phrases(&entry).is_empty(),
                        None => false,
                    }
            }),
        }
    }
}

#[derive(Clone, Copy)]
enum Unwanted {
    Adults,
    Clothes,
}

fn refuse(refusal: Option<Refusal<'_>>) -> Result<()> {
    let Some(Refusal { category, field }) = refusal else {
        return Ok(());
    };
    let message = format!("refused by the content rules: {} in {field}", category.name());
    Err(Error::new(ErrorKind::Refused, message)
        .hint(category.appeal())
        .into())
}
