//! The quality score of a prompt: the share of its kind's criteria that it meets.
//!
//! | criterion | met when |
//! |---|---|
//! | `keeps_subject` | four of five content words of the original occur |
//! | `adds_detail` | it has more words than the original |
//! | `token_target` | its length lies within the kind's bounds, in CLIP tokens |
//! | `clean` | it is one line without quotation marks around it, mark-up or a phrase said twice |
//! | `…_terms` | one of the words of that list in `assets/prompts/words.toml` occurs |
//!
//! Content words have three letters or more and are no function words; a final `s` is ignored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

use super::target::{Kind, Quality};

static WORDS: LazyLock<BTreeMap<String, Words>> = LazyLock::new(|| {
    let text = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/prompts/words.toml"));
    toml::from_str(text).expect("words.toml is well-formed, as a test checks")
});

/// What words.toml says of a kind.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    pub min_tokens: usize,
    pub max_tokens: usize,
    target_tokens: PerQuality<usize>,
    pub criteria: Vec<Criterion>,
}

/// A list of words, one of which should occur.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Criterion {
    pub name: String,
    pub words: Vec<String>,
    fast: Vec<String>,
    high: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PerQuality<T> {
    fast: T,
    high: T,
}

impl Words {
    /// The entry of a kind.
    pub fn get(kind: Kind) -> &'static Self {
        WORDS
            .get(kind.name())
            .expect("every kind has an entry, as a test checks")
    }

    /// The length to ask for.
    pub fn target_tokens(&self, quality: Quality) -> usize {
        match quality {
            Quality::Fast => self.target_tokens.fast,
            Quality::High => self.target_tokens.high,
        }
    }
}

impl Criterion {
    /// True when one of the words occurs.
    pub fn is_met(&self, prompt: &str) -> bool {
        let padded = padded(prompt);
        self.words
            .iter()
            .any(|word| padded.contains(&format!(" {} ", words(word).join(" "))))
    }

    /// What the rules add for it.
    pub fn additions(&self, quality: Quality) -> &[String] {
        match quality {
            Quality::Fast => &self.fast,
            Quality::High => &self.high,
        }
    }
}

/// Which criteria a prompt meets, and their share.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    pub criteria: BTreeMap<String, bool>,
    /// 0 to 1.
    pub quality_score: f64,
}

/// Judges `enhanced`, which has `tokens` CLIP tokens, as a prompt made from `original`.
pub fn score(kind: Kind, original: &str, enhanced: &str, tokens: usize) -> Score {
    let of_kind = Words::get(kind);
    let mut criteria: BTreeMap<String, bool> = of_kind
        .criteria
        .iter()
        .map(|c| (c.name.clone(), c.is_met(enhanced)))
        .collect();
    let in_bounds = (of_kind.min_tokens..=of_kind.max_tokens).contains(&tokens);
    criteria.insert("keeps_subject".into(), keeps_subject(original, enhanced));
    criteria.insert(
        "adds_detail".into(),
        words(enhanced).len() > words(original).len(),
    );
    criteria.insert("token_target".into(), in_bounds);
    criteria.insert("clean".into(), is_clean(enhanced));
    let met = criteria.values().filter(|met| **met).count();
    Score {
        quality_score: met as f64 / criteria.len() as f64,
        criteria,
    }
}

fn keeps_subject(original: &str, enhanced: &str) -> bool {
    kept_share(original, enhanced) >= 0.8
}

/// The share of the original's content words that the enhanced prompt has, 0 to 1; 1 when there are none.
pub fn kept_share(original: &str, enhanced: &str) -> f64 {
    let stem = |word: String| word.strip_suffix('s').map_or(word.clone(), str::to_string);
    let wanted: BTreeSet<String> = content_words(original).map(stem).collect();
    let there: BTreeSet<String> = words(enhanced).into_iter().map(stem).collect();
    if wanted.is_empty() {
        return 1.0;
    }
    wanted.intersection(&there).count() as f64 / wanted.len() as f64
}

fn content_words(text: &str) -> impl Iterator<Item = String> {
    const FUNCTION: &[&str] = &[
        "the", "and", "with", "for", "from", "into", "onto", "that", "this", "its", "has", "are", "was",
        "but", "not", "please", "make", "draw", "create", "show", "generate", "picture", "image", "video",
        "prompt",
    ];
    words(text)
        .into_iter()
        .filter(|word| word.chars().count() >= 3 && !FUNCTION.contains(&word.as_str()))
}

fn is_clean(prompt: &str) -> bool {
    let quoted = prompt.starts_with(['"', '“', '\'', '`']);
    let marked_up = ["**", "```", "##", "<|"].iter().any(|mark| prompt.contains(mark));
    let phrases: Vec<String> = prompt.split(',').map(|p| p.trim().to_lowercase()).collect();
    let distinct: BTreeSet<&String> = phrases.iter().collect();
    !prompt.trim().is_empty()
        && !prompt.contains('\n')
        && !quoted
        && !marked_up
        && distinct.len() == phrases.len()
}

/// Lower-case words of letters and digits; `close-up` is two.
fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_lowercase)
        .collect()
}

fn padded(text: &str) -> String {
    format!(" {} ", words(text).join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_meet_their_own_criterion_and_stay_below_the_limit() {
        for kind in [Kind::SdxlImage, Kind::WanImage, Kind::WanVideo] {
            for criterion in &Words::get(kind).criteria {
                for quality in [Quality::Fast, Quality::High] {
                    let added = criterion.additions(quality).join(", ");
                    assert!(
                        criterion.is_met(&added),
                        "{} {}: {added}",
                        kind.name(),
                        criterion.name
                    );
                }
            }
        }
    }

    #[test]
    fn words_count_only_whole() {
        let lighting = &Words::get(Kind::SdxlImage).criteria[1];
        assert!(lighting.is_met("a cat in Soft LIGHT"));
        assert!(!lighting.is_met("a flight of stairs, delightful"));
        let technical = &Words::get(Kind::SdxlImage).criteria[2];
        assert!(technical.is_met("close up of a cat") && technical.is_met("a close-up"));
    }

    #[test]
    fn the_score_is_the_share_of_criteria_met() {
        let plain = score(Kind::SdxlImage, "red circle", "red circle", 2);
        assert!(plain.criteria["keeps_subject"] && plain.criteria["clean"]);
        assert_eq!(plain.criteria.values().filter(|m| **m).count(), 2);
        assert!((plain.quality_score - 2.0 / 7.0).abs() < 1e-12);
        let rich =
            "a large red circle on a white background, soft lighting, high quality, balanced composition";
        assert_eq!(score(Kind::SdxlImage, "red circle", rich, 25).quality_score, 1.0);
    }

    #[test]
    fn a_lost_subject_and_untidy_text_are_seen() {
        let lost = score(Kind::SdxlImage, "two red cats", "a blue dog, sharp", 8);
        assert!(!lost.criteria["keeps_subject"]);
        for untidy in [
            "\"red circle\"",
            "red **circle**",
            "red circle, sharp, Sharp",
            "red\ncircle",
            "",
        ] {
            assert!(
                !score(Kind::SdxlImage, "red circle", untidy, 3).criteria["clean"],
                "{untidy}"
            );
        }
    }
}
