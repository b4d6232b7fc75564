//! Automatic negative prompts: terms from a data file in tiers, chosen by the prompt.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use anyhow::Result;
use serde::Deserialize;

use crate::config::ContentMode;
use crate::job::kinds::Family;

/// The tokens of one chunk of CLIP, without begin and end marks.
const CHUNK_TOKENS: usize = 75;
/// What umT5 reads, less the end mark.
const UMT5_TOKENS: usize = 511;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Data {
    sdxl: Vec<Tier>,
    wan: Vec<Tier>,
    /// Term → words by which a prompt asks for what the term forbids.
    unless: BTreeMap<String, Vec<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Tier {
    #[serde(rename = "name")]
    _name: String,
    #[serde(default)]
    when: Vec<String>,
    #[serde(default)]
    adult: bool,
    terms: Vec<String>,
}

static DATA: LazyLock<Data> = LazyLock::new(|| {
    toml::from_str(include_str!("../../../assets/negatives.toml")).expect("the shipped negative tiers parse")
});

/// How many tokens a family's models read at once.
pub fn limit_tokens(family: Family) -> usize {
    match family {
        Family::Wan => UMT5_TOKENS,
        _ => CHUNK_TOKENS,
    }
}

/// The terms for this prompt, most important first.
pub fn terms_for(family: Family, prompt: &str, mode: ContentMode) -> Vec<String> {
    let prompt = words(prompt);
    let tiers = match family {
        Family::Wan => &DATA.wan,
        _ => &DATA.sdxl,
    };
    tiers
        .iter()
        .filter(|tier| !tier.adult || mode == ContentMode::Adult)
        .filter(|tier| tier.when.is_empty() || tier.when.iter().any(|w| holds(&prompt, &words(w))))
        .flat_map(|tier| &tier.terms)
        .filter(|term| !asked_for(&prompt, term))
        .cloned()
        .collect()
}

/// A model's own comma-separated terms, without what the prompt asks for.
pub fn own_terms(list: &str, prompt: &str) -> Vec<String> {
    let prompt = words(prompt);
    split(list)
        .filter(|term| !asked_for(&prompt, term))
        .map(str::to_owned)
        .collect()
}

/// As many whole terms as fit into `limit` tokens beside the user's own negative prompt, then that.
///
/// The user's words have right of way: terms that they leave no room for are dropped, and terms
/// that they hold already are not repeated. `None`: there is nothing to say.
///
/// # Errors
/// What `count` returns.
pub fn join(
    terms: &[String],
    user: Option<&str>,
    limit: usize,
    count: &dyn Fn(&str) -> Result<usize>,
) -> Result<Option<String>> {
    let user_text = user.map(str::trim).filter(|u| !u.is_empty());
    let own: Vec<String> = split(user_text.unwrap_or_default())
        .map(str::to_lowercase)
        .collect();
    let mut taken: Vec<&str> = Vec::new();
    for term in terms.iter().filter(|t| !own.contains(&t.to_lowercase())) {
        taken.push(term);
        if count(&joined(&taken, user_text))? > limit {
            taken.pop();
        }
    }
    if taken.is_empty() {
        return Ok(user.map(str::to_owned));
    }
    Ok(Some(joined(&taken, user_text)))
}

fn joined(taken: &[&str], user: Option<&str>) -> String {
    let parts: Vec<&str> = taken.iter().copied().chain(user).collect();
    parts.join(", ")
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|t| !t.is_empty())
}

fn words(text: &str) -> Vec<String> {
    text.to_lowercase()
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Whether `phrase` stands in `text`, word by word.
fn holds(text: &[String], phrase: &[String]) -> bool {
    !phrase.is_empty() && text.windows(phrase.len()).any(|w| w == phrase)
}

fn asked_for(prompt: &[String], term: &str) -> bool {
    let named = words(term).iter().all(|w| prompt.contains(w));
    let implied = DATA
        .unless
        .get(term)
        .is_some_and(|list| list.iter().any(|w| holds(prompt, &words(w))));
    named || implied
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by_words(text: &str) -> Result<usize> {
        Ok(words(text).len())
    }

    fn sfw(prompt: &str) -> Vec<String> {
        terms_for(Family::Sdxl, prompt, ContentMode::Sfw)
    }

    fn has(terms: &[String], term: &str) -> bool {
        terms.iter().any(|t| t == term)
    }

    #[test]
    fn the_data_file_names_no_term_twice_and_excepts_only_terms_that_exist() {
        let terms_of = |tiers: &'static [Tier]| tiers.iter().flat_map(|t| &t.terms).collect::<Vec<_>>();
        let (sdxl, wan) = (terms_of(&DATA.sdxl), terms_of(&DATA.wan));
        for all in [&sdxl, &wan] {
            let unique: std::collections::BTreeSet<_> = all.iter().collect();
            assert_eq!(unique.len(), all.len());
        }
        for term in DATA.unless.keys() {
            assert!(sdxl.contains(&term) || wan.contains(&term), "{term}");
        }
        assert_eq!(DATA.sdxl.len(), 7);
    }

    #[test]
    fn a_landscape_gets_quality_and_no_hands() {
        let terms = sfw("a lighthouse at dusk");
        assert_eq!(terms[0], "low quality");
        assert!(has(&terms, "watermark"));
        assert!(!has(&terms, "bad hands"));
        assert!(!has(&terms, "cartoon"));
    }

    #[test]
    fn people_bring_hands_and_several_people_bring_the_scene() {
        let one = sfw("portrait of a woman");
        assert!(has(&one, "bad hands") && !has(&one, "merged bodies"));
        let many = sfw("three men sitting in a café");
        assert!(has(&many, "bad hands") && has(&many, "merged bodies") && has(&many, "unnatural pose"));
    }

    #[test]
    fn videos_have_terms_of_their_own_that_the_prompt_can_lift() {
        let wan = |prompt: &str| terms_for(Family::Wan, prompt, ContentMode::Sfw);
        assert!(has(&wan("a lighthouse at dusk"), "motionless"));
        assert!(!has(&wan("a ring standing still"), "motionless"));
        assert!(!has(&wan("a lighthouse at dusk"), "walking backwards"));
        assert!(has(&wan("a man in the rain"), "walking backwards"));
    }

    #[test]
    fn tiers_are_chosen_by_whole_words_only() {
        assert!(!has(&sfw("a mango and a manhole"), "bad hands"));
        assert!(!has(&sfw("a handsome thermostat"), "bad hands"));
        assert!(has(&sfw("A MAN, smiling"), "bad hands"));
    }

    #[test]
    fn what_the_prompt_asks_for_is_not_forbidden() {
        assert!(!has(&sfw("a sign with text"), "text"));
        assert!(!has(&sfw("a shop sign"), "text"));
        assert!(!has(&sfw("a blurry street"), "blurry"));
        assert!(!has(&sfw("city lights, bokeh"), "out of focus"));
        assert!(!has(&sfw("realistic oil painting of a ship"), "painting"));
        assert!(!has(&sfw("a paper with a watermark"), "watermark"));
        assert!(has(&sfw("a woman's hands"), "bad hands"));
    }

    #[test]
    fn the_adult_tier_needs_the_operators_mode() {
        let prompt = "a woman on a beach";
        assert!(!has(&sfw(prompt), "deformed body"));
        assert!(has(
            &terms_for(Family::Sdxl, prompt, ContentMode::Adult),
            "deformed body"
        ));
    }

    #[test]
    fn the_most_important_terms_fit_first_and_terms_stay_whole() {
        let terms: Vec<String> = (0..60).map(|i| format!("term number{i}")).collect();
        let text = join(&terms, Some("my own words"), CHUNK_TOKENS, &by_words)
            .unwrap()
            .unwrap();
        assert!(text.starts_with("term number0, term number1, "));
        assert!(text.ends_with("term number35, my own words"), "{text}");
        assert_eq!(by_words(&text).unwrap(), 75);
    }

    #[test]
    fn the_users_words_have_right_of_way() {
        let long = "word ".repeat(90);
        let text = join(&sfw("a tree"), Some(long.trim()), CHUNK_TOKENS, &by_words).unwrap();
        assert_eq!(text.as_deref(), Some(long.trim()));
    }

    #[test]
    fn terms_of_the_user_are_not_repeated() {
        let terms = own_terms("blurry, low quality", "a tree");
        let text = join(&terms, Some("Blurry, fog"), CHUNK_TOKENS, &by_words).unwrap();
        assert_eq!(text.as_deref(), Some("low quality, Blurry, fog"));
    }

    #[test]
    fn nothing_to_say_stays_what_the_user_gave() {
        assert_eq!(join(&[], None, CHUNK_TOKENS, &by_words).unwrap(), None);
        assert_eq!(
            join(&[], Some(""), CHUNK_TOKENS, &by_words).unwrap().as_deref(),
            Some("")
        );
        let terms = own_terms("blurry, low quality", "a tree");
        assert_eq!(
            join(&terms, Some(""), CHUNK_TOKENS, &by_words)
                .unwrap()
                .as_deref(),
            Some("blurry, low quality")
        );
    }
}
