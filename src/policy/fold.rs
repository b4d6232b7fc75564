//! Undoing disguises: one text as the several plain texts that a reader would see in it.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// A text in the forms that the word lists are compared with.
pub(super) struct Folded {
    /// Lower case, compatibility forms and accents undone, nothing invisible; any script.
    pub plain: String,
    /// The same with look-alikes of other scripts as Latin letters.
    pub latin: String,
}

impl Folded {
    pub fn new(text: &str) -> Self {
        let plain: String = text
            .nfkd()
            .filter(|c| !is_combining_mark(*c) && !is_invisible(*c))
            .flat_map(char::to_lowercase)
            .nfkd()
            .filter(|c| !is_combining_mark(*c))
            .collect();
        let latin = plain.chars().map(latin_look_alike).collect();
        Self { plain, latin }
    }

    /// Words of both forms, then words as they read with the usual tricks undone.
    pub fn words(&self) -> Vec<String> {
        let mut all = words(&self.plain);
        if self.latin != self.plain {
            all.extend(words(&self.latin));
        }
        all.extend(disguised_words(&self.latin));
        all
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

/// Letters of other scripts that look like a Latin one.
fn latin_look_alike(c: char) -> char {
    match c {
        'а' | 'α' | 'ɑ' | 'ᴀ' => 'a',
        'в' | 'β' | 'ь' | 'ʙ' => 'b',
        'с' | 'ϲ' | 'ᴄ' | '¢' => 'c',
        'ԁ' | 'ᴅ' | 'đ' => 'd',
        'е' | 'є' | 'ε' | 'ᴇ' | 'ɛ' | '€' => 'e',
        'ƒ' | 'ғ' => 'f',
        'ɡ' | 'ԍ' | 'ɢ' => 'g',
        'н' | 'һ' | 'ʜ' | 'η' | 'ħ' => 'h',
        'і' | 'ι' | 'ı' | 'ɪ' | 'ӏ' => 'i',
        'ј' | 'ϳ' | 'ᴊ' => 'j',
        'к' | 'κ' | 'ᴋ' => 'k',
        'ʟ' | 'ł' => 'l',
        'м' | 'ᴍ' => 'm',
        'ո' | 'ɴ' | 'п' => 'n',
        'о' | 'ο' | 'σ' | 'օ' | 'ᴏ' | 'ø' => 'o',
        'р' | 'ρ' | 'ᴘ' => 'p',
        'ԛ' => 'q',
        'ʀ' | 'г' => 'r',
        'ѕ' | 'ꜱ' => 's',
        'т' | 'τ' | 'ᴛ' => 't',
        'υ' | 'ս' | 'ᴜ' => 'u',
        'ν' | 'ѵ' | 'ᴠ' => 'v',
        'ѡ' | 'ω' | 'ш' | 'ᴡ' => 'w',
        'х' | 'χ' => 'x',
        'у' | 'γ' | 'ү' | 'ʏ' => 'y',
        'ᴢ' => 'z',
        other => other,
    }
}

pub(super) fn words(text: &str) -> Vec<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect()
}

/// What reads as a word once digits for letters, marks between letters, stretched letters and
/// spelled-out words are undone.
fn disguised_words(latin: &str) -> Vec<String> {
    let mut found = Vec::new();
    for token in latin.split_whitespace() {
        let bare = token.trim_matches(|c: char| !c.is_alphanumeric() && !"@$".contains(c));
        let closed: String = bare.chars().filter(|c| c.is_alphanumeric()).collect();
        if closed != bare {
            found.push(closed);
        }
        let letters = bare.chars().filter(|c| c.is_alphabetic()).count();
        let stand_ins = bare.chars().filter(|c| unleet(*c, 'i') != *c).count();
        // More stand-ins than this is a number with a unit: `1940s`, `35mm`.
        if stand_ins > 0 && letters * 2 > stand_ins {
            for one in ['i', 'l'] {
                let plain: String = bare.chars().map(|c| unleet(c, one)).collect();
                found.extend(words(&plain));
            }
        }
    }
    let stretched: Vec<String> = words(latin)
        .iter()
        .chain(&found)
        .filter(|w| longest_run(w) >= 3)
        .flat_map(|w| [squeeze(w, 1), squeeze(w, 2)])
        .collect();
    found.extend(stretched);
    found
}

/// Digits and marks that stand for letters; `one` is what `1` and its like mean.
pub(super) fn unleet(c: char, one: char) -> char {
    match c {
        '0' => 'o',
        '1' | '!' | '|' => one,
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' | '+' => 't',
        '8' => 'b',
        '9' => 'g',
        other => other,
    }
}

/// Words spelled out with something between all letters, each written together.
pub(super) fn spelled_out(latin: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut run = String::new();
    for word in words(latin).iter().map(String::as_str).chain([" end "]) {
        if word.chars().count() == 1 {
            run.push_str(word);
            continue;
        }
        if run.chars().count() >= 3 {
            found.push(run.clone());
        }
        run.clear();
    }
    found
}

fn longest_run(word: &str) -> usize {
    let (mut longest, mut run, mut last) = (0, 0, None);
    for c in word.chars() {
        run = if last == Some(c) { run + 1 } else { 1 };
        last = Some(c);
        longest = longest.max(run);
    }
    longest
}

/// Runs of three or more equal letters shortened to `keep`.
fn squeeze(word: &str, keep: usize) -> String {
    let mut out = String::new();
    let chars: Vec<char> = word.chars().collect();
    for run in chars.chunk_by(|a, b| a == b) {
        let length = if run.len() >= 3 { keep } else { run.len() };
        out.extend(&run[..length]);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(text: &str, word: &str) -> bool {
        let folded = Folded::new(text);
        folded.words().iter().any(|w| w == word) || spelled_out(&folded.latin).iter().any(|w| w == word)
    }

    #[test]
    fn disguises_are_undone() {
        for text in [
            "castle",
            "CASTLE!",
            "c a s t l e",
            "c.a.s.t.l.e",
            "c-a_s t*l e",
            "c4stl3",
            "c@$tle",
            "cas.tle",
            "caaaastle",
            "сaѕtlе",
            "cástlé",
            "c\u{200b}as\u{ad}tle",
            "ｃａｓｔｌｅ",
            "𝕔𝕒𝕤𝕥𝕝𝕖",
            "cast1e",
            "ⓒⓐⓢⓣⓛⓔ",
            "cas\u{fe0f}tle",
        ] {
            assert!(reads(text, "castle"), "{text}");
        }
    }

    #[test]
    fn ordinary_words_stay_apart() {
        assert!(!reads("cast lead", "castle"));
        assert!(!reads("forecastle", "castle"));
    }
}
