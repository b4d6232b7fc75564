//! The word lists of `assets/policy.toml`, folded once as the texts are.

use std::sync::LazyLock;

use serde::Deserialize;

use super::fold::{Folded, words};

#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WordList {
    /// Whole words.
    pub words: Vec<String>,
    /// Words in a row.
    pub phrases: Vec<String>,
    /// Beginnings of words.
    pub stems: Vec<String>,
    /// Found anywhere.
    pub pieces: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lists {
    pub minors: WordList,
    pub excludes_adults: WordList,
    pub sexual: WordList,
    pub innocent: WordList,
}

pub(super) static LISTS: LazyLock<Lists> = LazyLock::new(|| {
    let mut lists: Lists =
        toml::from_str(include_str!("../../assets/policy.toml")).expect("the shipped word lists parse");
    for list in [
        &mut lists.minors,
        &mut lists.excludes_adults,
        &mut lists.sexual,
        &mut lists.innocent,
    ] {
        let entries = [
            &mut list.words,
            &mut list.phrases,
            &mut list.stems,
            &mut list.pieces,
        ];
        for entry in entries.into_iter().flatten() {
            *entry = Folded::new(entry).plain;
        }
    }
    lists
});

impl WordList {
    /// Whether any entry stands in the text, disguised or not.
    pub fn found_in(&self, text: &Folded) -> bool {
        let all = text.words();
        let in_row = |form: &str| {
            let row = format!(" {} ", words(form).join(" "));
            self.phrases.iter().any(|p| row.contains(&format!(" {p} ")))
        };
        all.iter()
            .any(|w| self.words.contains(w) || self.stems.iter().any(|s| w.starts_with(s.as_str())))
            || in_row(&text.plain)
            || in_row(&text.latin)
            || in_row(&all.join(" "))
            || self.pieces.iter().any(|p| text.plain.contains(p.as_str()))
    }
}
