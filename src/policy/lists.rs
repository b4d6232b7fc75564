//! The word lists: what is in `assets/policy/` and what the build script took from the word library.

use std::sync::LazyLock;

use serde::Deserialize;

use super::fold::folded;
use super::lexicon::{CommonWords, Entries, Lexicon};
use super::words::{WordSet, hash, inflections};

/// All lists that the rules look at.
pub(super) struct Lists {
    pub sexual: Lexicon,
    /// Phrases and pieces in which a sexual word means something else.
    pub harmless: Lexicon,
    pub minors: Lexicon,
    /// Hints at minors only near a sexual word.
    pub nearby: Lexicon,
    pub adults: Lexicon,
    pub excludes_adults: Lexicon,
    pub excludes_clothes: Lexicon,
    pub persons: Lexicon,
    pub common: CommonWords,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SexualFile {
    counted: Entries,
    not_counted: Entries,
    harmless: Entries,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MinorsFile {
    minors: Entries,
    nearby: Entries,
    adults: Entries,
    excludes_adults: Entries,
    excludes_clothes: Entries,
    persons: Entries,
}

const SEXUAL: &str = include_str!("../../assets/policy/sexual.toml");
const MINORS: &str = include_str!("../../assets/policy/minors.toml");
const EXPLICIT: &str = include_str!("../../assets/policy/explicit.txt");
const COMMON: &str = include_str!("../../assets/policy/common.txt");
const LIBRARY: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sexual.bin"));
const LIBRARY_HARMLESS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/harmless.bin"));

/// The lists of the program. That they parse is tested, and nothing outside the program is read.
pub(super) static LISTS: LazyLock<Lists> = LazyLock::new(|| {
    let sexual: SexualFile = toml::from_str(SEXUAL).expect("the shipped word lists parse");
    Lists::new(&sexual.counted, &sexual.not_counted, &sexual.harmless, true)
});

impl Lists {
    /// Lists whose sexual words are `counted` and, if asked for, everything explicit.
    pub fn new(counted: &Entries, not_counted: &Entries, harmless: &Entries, explicit: bool) -> Self {
        let minors: MinorsFile = toml::from_str(MINORS).expect("the shipped word lists parse");
        let none = WordSet::default();
        let list = |entries: &Entries| Lexicon::new(entries, [], &none);
        let hashed = |english, kind| {
            if explicit {
                explicit_words(english, kind)
            } else {
                Vec::new()
            }
        };
        let library = WordSet::read(if explicit { LIBRARY } else { &[] });
        let not = not_counted.words.iter().flat_map(|w| match w.strip_suffix('*') {
            Some(word) => inflections(&folded(word)),
            None => vec![folded(w)],
        });
        let not: Vec<u64> = not.map(|w| hash(&w)).collect();
        let mut common = common_words();
        common.known = common.known.with(&not);
        let not = WordSet::new(not);
        let mut sexual = Lexicon::new(counted, library.chain(hashed(true, "word")), &not);
        sexual.add_hashed(
            &hashed(false, "word"),
            &hashed(false, "stem"),
            &hashed(false, "piece"),
        );
        Self {
            sexual,
            harmless: list(harmless),
            minors: list(&minors.minors),
            nearby: list(&minors.nearby),
            adults: list(&minors.adults),
            excludes_adults: list(&minors.excludes_adults),
            excludes_clothes: list(&minors.excludes_clothes),
            persons: list(&minors.persons),
            common,
        }
    }
}

/// Hashes of one kind (`word`, `stem`, `piece`) in `explicit.txt`, English ones or others.
fn explicit_words(english: bool, kind: &str) -> Vec<u64> {
    EXPLICIT
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let language = fields.next()?;
            (fields.next()? == kind && (language == "en") == english).then_some(fields)
        })
        .flatten()
        .map(|digits| u64::from_str_radix(digits, 16).expect("the shipped hashes are hexadecimal"))
        .collect()
}

/// Common words, and words in which the library would find something. Lines with `~` hold words
/// that are too short or too foreign to be looked for within others.
fn common_words() -> CommonWords {
    let words = |apart: bool| {
        COMMON
            .lines()
            .filter(move |line| !line.starts_with('#') && (apart || !line.starts_with('~')))
            .flat_map(|line| line.trim_start_matches('~').split_whitespace())
    };
    let together = words(false).filter(|word| word.len() >= 3 || ["my", "of"].contains(word));
    CommonWords {
        known: WordSet::new(words(true).map(hash).chain(WordSet::read(LIBRARY_HARMLESS))),
        together: WordSet::new(together.map(hash)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_lists_parse() {
        assert!(LISTS.sexual.words.has_word("nude") && LISTS.sexual.words.has_word("nudes"));
        assert!(LISTS.minors.words.has_word("child"));
        assert!(LISTS.common.known.has_word("therapist") && !LISTS.sexual.words.has_word("therapist"));
        assert!(explicit_words(false, "word").len() > 400);
    }

    /// Prints lines for `explicit.txt` from a file of `LANGUAGE KIND WORD` named by `WORDS`.
    #[test]
    #[ignore = "a tool: WORDS=FILE cargo test --lib policy::lists -- --ignored --nocapture"]
    fn print_hashes() {
        let file = std::env::var("WORDS").expect("WORDS names a file");
        let text = std::fs::read_to_string(file).expect("a readable file");
        let mut rows: std::collections::BTreeMap<(String, String), std::collections::BTreeSet<u64>> =
            Default::default();
        for line in text.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [language, kind, word] = fields[..] else {
                panic!("`{line}` is not LANGUAGE KIND WORD")
            };
            let words = match (language, kind) {
                ("en", "word") => inflections(&folded(word)),
                _ => vec![folded(word)],
            };
            rows.entry((language.into(), kind.into()))
                .or_default()
                .extend(words.iter().map(|w| hash(w)));
        }
        for ((language, kind), hashes) in rows {
            for chunk in hashes.iter().collect::<Vec<_>>().chunks(8) {
                let digits: Vec<String> = chunk.iter().map(|h| format!("{h:016x}")).collect();
                println!("{language} {kind} {}", digits.join(" "));
            }
        }
    }
}
