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
    let mut text = text.to_owned();
    for piece in &LISTS.innocent.pieces {
        if text.contains(piece.as_str()) {
            text = text.replace(piece.as_str(), " ");
        }
    }
    let mut words = row(&text);
    let before = words.len();
    for year in words.clone().split(' ').filter(|w| is_year(w)) {
        words = words.replace(&format!(" {year} "), " , ");
    }
    for phrase in &LISTS.innocent.phrases {
        words = words.replace(&format!(" {phrase} "), " , ");
    }
    // Marks between letters matter to the library, so the text stays as it is where it can.
    if words.len() == before { text } else { words }
}

/// `1940` or `1940s`: the library reads digits as letters.
fn is_year(word: &str) -> bool {
    let digits = word.strip_suffix('s').unwrap_or(word);
    digits.len() == 4 && digits.starts_with(['1', '2']) && digits.bytes().all(|b| b.is_ascii_digit())
}

fn row(text: &str) -> String {
    format!(" {} ", words(text).join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::kind_of;

    fn verdict(text: &str, mode: ContentMode) -> Option<Category> {
        judge(&[text], None, mode, false)
    }

    /// The mild words stand in for everything that the library knows.
    #[test]
    fn sexual_content_is_refused_by_default_and_allowed_by_the_operator() {
        for text in [
            "a nude woman",
            "erotic photo",
            "a topless model",
            "NSFW",
            "naked man on a bed",
        ] {
            assert_eq!(
                verdict(text, ContentMode::Sfw),
                Some(Category::AdultContent),
                "{text}"
            );
            assert_eq!(verdict(text, ContentMode::Adult), None, "{text}");
        }
    }

    #[test]
    fn evasions_are_seen_through() {
        for text in [
            "n u d e woman",
            "n.u.d.e woman",
            "n-u-d-e",
            "n_a_k_e_d",
            "nud3 woman",
            "n@ked",
            "nаkеd",
            "ｎａｋｅｄ",
            "n\u{200b}u\u{200b}d\u{200b}e",
            "nakéd",
            "n\u{301}a\u{301}k\u{301}ed",
            "naaaaaked",
            "NaKeD",
            "𝕟𝕒𝕜𝕖𝕕",
            "nak\u{ad}ed",
            "er0tic",
            "nackte Frau",
            "обнажённая",
            "裸体",
            "ヌード",
            "without clothes",
        ] {
            assert_eq!(
                verdict(text, ContentMode::Sfw),
                Some(Category::AdultContent),
                "{text}"
            );
        }
    }

    #[test]
    fn sexual_content_with_a_hint_at_minors_is_refused_in_every_mode() {
        for text in [
            "nude child",
            "naked, 15 years old",
            "fifteen-year-old, nude",
            "nude t e e n",
            "n u d e s c h o o l g i r l",
            "nude 15yo",
            "erotic high school",
            "naked little girl",
            "naked chіld",
            "nackt, 15-jährige",
            "裸の少女",
            "nude, under 18",
            "nude, looks young",
        ] {
            for mode in [ContentMode::Sfw, ContentMode::Adult] {
                assert_eq!(verdict(text, mode), Some(Category::SexualMinors), "{text}");
            }
        }
    }

    #[test]
    fn splitting_a_request_over_two_texts_changes_nothing() {
        let texts = ["a nude figure", "a child"];
        assert_eq!(
            judge(&texts, None, ContentMode::Adult, false),
            Some(Category::SexualMinors)
        );
    }

    #[test]
    fn explicit_prompts_with_a_reference_are_refused_in_every_mode() {
        for mode in [ContentMode::Sfw, ContentMode::Adult] {
            let found = judge(&["a nude woman"], None, mode, true);
            assert_eq!(found, Some(Category::ExplicitWithReference));
            assert_eq!(judge(&["a woman in a coat"], None, mode, true), None);
        }
    }

    #[test]
    fn a_negative_prompt_may_list_what_is_unwanted() {
        let job = |prompt, negative| judge(&[prompt], Some(negative), ContentMode::Adult, false);
        assert_eq!(
            judge(&["a castle"], Some("nude, nsfw, child"), ContentMode::Sfw, false),
            None
        );
        assert_eq!(job("a nude woman", "child, teen, underage"), None);
        assert_eq!(job("a nude woman", "adult, mature"), Some(Category::SexualMinors));
        assert_eq!(job("a castle", "adult"), None);
    }

    #[test]
    fn a_refusal_names_a_category_and_quotes_nothing() {
        let e = check_job("a nude figure", None, ContentMode::Sfw, false).unwrap_err();
        assert_eq!(kind_of(&e).exit_code(), 77);
        assert_eq!(e.to_string(), "refused by the content rules: adult_content");
        assert!(check(&["a castle"], ContentMode::Sfw, true).is_ok());
    }

    #[test]
    fn innocent_prompts_pass() {
        let refused: Vec<_> = INNOCENT
            .iter()
            .filter(|text| verdict(text, ContentMode::Sfw).is_some())
            .collect();
        assert!(refused.is_empty(), "{refused:#?}");
    }

    const INNOCENT: &[&str] = &[
        "a red circle",
        "the town of Scunthorpe at night",
        "a cockatoo on a branch",
        "Essex countryside",
        "Middlesex county map",
        "a girl with a red balloon",
        "children playing football",
        "Michelangelo's David statue",
        "a breast of chicken on a plate",
        "grilled chicken breast with rosemary",
        "an assassin in a dark alley",
        "a glass of cocktail on a bar",
        "a class of pupils in a classroom, 1950s",
        "a peacock displaying its feathers",
        "a fifteen year old whisky in a glass",
        "portrait of a teenager reading a book",
        "a baby elephant bathing in a river",
        "a little girl in a yellow raincoat",
        "a shiitake mushroom on a log",
        "mass transit, grass, brass and glass",
        "a therapist's office",
        "a bass guitar on a stand",
        "Moby Dick, the white whale",
        "Virgin Mary icon, gold leaf",
        "extra virgin olive oil on a table",
        "a great tit on a bird feeder",
        "a rooster on a farm at dawn",
        "a naked mole rat, macro photo",
        "stars seen with the naked eye",
        "pussy willow branches in a vase",
        "a sperm whale diving",
        "a titan fighting a dragon",
        "the constitution, parchment",
        "an analyst looking at graphs",
        "a masterpiece, (castle:1.3), [tree] & more *stars*!",
        "8k, 4 lights, f/1.8, 35mm, 50% off!!!",
        "a woman in a coat walking in the rain",
        "a man lifting weights in a gym",
        "swimmers on a beach in summer",
        "a kiss at the railway station, 1940s film",
        "a wedding couple under a tree",
        "a knight in armour with a breastplate",
        "a robin redbreast in snow",
        "a document stamped classified",
        "a hot summer day in the desert",
        "a steaming cup of coffee",
        "a red heart on a pink background",
        "two black squares and a white ring",
        "big orange triangle on the left, navy background",
        "a nurse and a doctor in a hospital corridor",
        "ein rotes Haus am See",
        "un gato negro sobre la mesa",
        "一座雪山下的寺庙",
        "кошка на окне",
        "a cumulus cloud over Sussex",
        "a Dickens novel on a shelf",
        "a pen island in a lake",
        "an ass and an ox in a stable",
        "hancock tower, chicago",
        "a shuttlecock on a lawn",
        "a sextant on a map",
        "a sextet playing jazz",
        "homo sapiens skeleton",
        "a gay pride parade",
        "two lesbians walking hand in hand",
        "a drag queen on stage",
        "a mother breastfeeding her baby",
        "golf balls on grass",
        "a cowgirl in texas",
        "the birth of venus by botticelli",
        "イエローのドレス",
        "エセックスの風景",
    ];
}
