//! Undoing disguises letter by letter: compatibility forms, accents, invisible marks, look-alikes.

use std::collections::HashMap;
use std::sync::LazyLock;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, decompose_compatible, is_combining_mark};
use unicode_security::confusable_detection::skeleton;

use super::decode::decoded;

/// Lower case, compatibility forms and accents undone, nothing invisible; any script. One character
/// may become several.
pub(super) fn fold_into(c: char, out: &mut String) {
    if c.is_ascii() {
        out.push(c.to_ascii_lowercase());
        return;
    }
    if let Some(letter) = boxed_letter(c) {
        out.push(letter);
        return;
    }
    // Outside the scripts that write vowels as marks, a mark on a letter is an accent or noise.
    let after_indic = out
        .chars()
        .next_back()
        .is_some_and(|last| ('\u{900}'..='\u{109f}').contains(&last));
    decompose_compatible(c, |part| {
        let keeps = matches!(part, '\u{3099}' | '\u{309a}') || (after_indic && is_indic_mark(part));
        if (is_combining_mark(part) && !keeps) || is_invisible(part) {
            return;
        }
        out.extend(part.to_lowercase().filter(|l| !is_combining_mark(*l) || keeps));
    });
}

/// Hangul and kana put together again after [`fold_into`].
pub(super) fn composed(word: &str) -> String {
    word.nfc().collect()
}

/// A whole text, decoded and folded; for entries of lists.
pub(super) fn folded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in decoded(text).chars() {
        fold_into(c, &mut out);
    }
    composed(&out)
}

fn is_indic_mark(c: char) -> bool {
    ('\u{900}'..='\u{109f}').contains(&c) && canonical_combining_class(c) != 230
}

/// Squared, circled and flag letters, as far as Unicode gives them no plain form.
fn boxed_letter(c: char) -> Option<char> {
    let first = match c {
        '\u{1f110}'..='\u{1f129}' => 0x1f110,
        '\u{1f150}'..='\u{1f169}' => 0x1f150,
        '\u{1f170}'..='\u{1f189}' => 0x1f170,
        '\u{1f1e6}'..='\u{1f1ff}' => 0x1f1e6,
        '\u{249c}'..='\u{24b5}' => 0x249c,
        _ => return None,
    };
    char::from_u32(c as u32 - first + 'a' as u32)
}

pub(super) fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e0fff}')
        || (c.is_control() && !c.is_whitespace())
}

/// Letters by what they look like, as `letters.txt` lists them; the second one where there are two.
static LETTERS: LazyLock<HashMap<char, Alike>> = LazyLock::new(|| {
    let mut found: HashMap<char, Alike> = HashMap::new();
    for line in LETTERS_FILE.lines().filter(|line| !line.starts_with('#')) {
        let mut chars = line.chars();
        let Some(latin) = chars.next() else { continue };
        for c in chars.filter(|c| !c.is_whitespace()) {
            found
                .entry(c)
                .and_modify(|alike| alike.second = Some(latin))
                .or_insert(Alike {
                    first: latin,
                    second: None,
                });
        }
    }
    found
});

const LETTERS_FILE: &str = include_str!("../../assets/policy/letters.txt");

/// The Latin letter that another one looks like, and what else it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alike {
    pub first: char,
    pub second: Option<char>,
}

/// The Latin letter that `part`, folded from `original`, looks like.
pub(super) fn look_alike(original: char, part: char) -> Option<Alike> {
    if part.is_ascii() {
        return None;
    }
    let listed = |c: char| LETTERS.get(&c).copied();
    let upper = || {
        let mut upper = part.to_uppercase();
        (original == part).then(|| upper.next()).flatten()
    };
    listed(original)
        .or_else(|| listed(part))
        .or_else(|| upper().and_then(listed))
        .or_else(|| {
            by_shape(part).map(|first| Alike {
                first,
                second: (first == 'l').then_some('i'),
            })
        })
}

/// Whether a letter is one of a script that people write in: a word of such letters is a word of its
/// own until the text around it is Latin, unless no eye tells it from a Latin one.
pub(super) fn is_of_living_script(c: char) -> bool {
    let living = matches!(c, '\u{370}'..='\u{3ff}' | '\u{400}'..='\u{52f}' | '\u{531}'..='\u{58f}' | '\u{590}'..='\u{6ff}'
        | '\u{900}'..='\u{e7f}' | '\u{10a0}'..='\u{10ff}' | '\u{2e80}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}');
    living && by_shape(c).is_none()
}

/// Whether a character that is no letter is used as one: `₦`.
pub(super) fn is_used_as_letter(c: char) -> bool {
    !c.is_ascii() && LETTERS.contains_key(&c)
}

/// The same by Unicode's table of confusable characters.
fn by_shape(c: char) -> Option<char> {
    let mut buffer = [0; 4];
    let mut letters = skeleton(c.encode_utf8(&mut buffer)).filter(|l| !is_combining_mark(*l));
    let (first, second) = (letters.next()?, letters.next());
    match (first.to_ascii_lowercase(), second) {
        ('r', Some('n')) => Some('m'),
        ('v', Some('v')) => Some('w'),
        (letter, None) if letter.is_ascii_alphanumeric() => Some(letter),
        _ => None,
    }
}

/// What a letter that is written upside down is.
pub(super) fn turned(c: char) -> Option<char> {
    Some(match c {
        'ɐ' => 'a',
        'ɔ' => 'c',
        'ǝ' | 'ə' => 'e',
        'ɟ' => 'f',
        'ƃ' | 'ᵷ' | 'ɓ' => 'g',
        'ɥ' => 'h',
        'ᴉ' => 'i',
        'ɾ' | 'ſ' => 'j',
        'ʞ' => 'k',
        'ꞁ' | 'ʅ' | '˥' => 'l',
        'ɯ' => 'm',
        'ɹ' => 'r',
        'ʇ' => 't',
        'ʌ' => 'v',
        'ʍ' => 'w',
        'ʎ' => 'y',
        _ => return None,
    })
}

/// What a plain letter is when the page is turned.
pub(super) fn turned_plain(c: char) -> char {
    match c {
        'p' => 'd',
        'd' => 'p',
        'b' => 'q',
        'q' => 'b',
        'n' => 'u',
        'u' => 'n',
        'ı' => 'i',
        other => other,
    }
}

/// The letter that a digit or mark stands for; `one` is what `1` and its like mean.
pub(super) fn unleet(c: char, one: char) -> Option<char> {
    Some(match c {
        '0' => 'o',
        '1' | '!' | '|' => one,
        '2' => 'z',
        '3' | '€' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '6' => 'b',
        '7' | '+' => 't',
        '8' => 'b',
        '9' => 'g',
        '¢' => 'c',
        '£' => 'l',
        '∂' => 'd',
        '§' => 's',
        '©' => 'c',
        '®' => 'r',
        '¥' => 'y',
        '∆' => 'a',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_letter_has_many_dresses() {
        for dressed in [
            "é",
            "É",
            "ｅ",
            "ⓔ",
            "🅔",
            "🅴",
            "🄴",
            "🇪",
            "⒠",
            "𝕖",
            "e\u{301}\u{323}",
            "e\u{200d}",
            "&#101;",
            "&amp;#x65;",
        ] {
            assert_eq!(folded(dressed), "e", "{dressed}");
        }
    }

    #[test]
    fn scripts_that_need_their_marks_keep_them() {
        assert_eq!(folded("बच्ची"), "बच्ची");
        assert_eq!(folded("ガ"), "ガ");
        assert_eq!(folded("한국"), "한국");
        assert_eq!(folded("n\u{94d}o"), "no");
    }

    #[test]
    fn letters_of_other_scripts_look_like_latin_ones() {
        for dressed in [
            "сɑѕтӏе",
            "ᏟᎪᏚᎢᏞᎬ",
            "ꓚꓮꓢꓔꓡꓰ",
            "ⲥⲁѕⲧӏⲉ",
            "匚卂丂ㄒㄥ乇",
            "ȼⱥꞩŧłɇ",
            "₵₳$₮₤€",
        ] {
            for (c, meant) in dressed.chars().zip("castle".chars()) {
                let seen = look_alike(c, c).map_or([unleet(c, 'l'), None], |a| [Some(a.first), a.second]);
                assert!(seen.contains(&Some(meant)), "{c} in {dressed}: {seen:?}");
            }
        }
        assert_eq!(look_alike('猫', '猫'), None);
        assert_eq!(look_alike('a', 'a'), None);
        assert_eq!(
            look_alike('λ', 'λ'),
            Some(Alike {
                first: 'a',
                second: Some('l')
            })
        );
    }

    #[test]
    fn letters_that_no_eye_tells_from_latin_ones_are_of_no_script_of_their_own() {
        for c in "кжд猫ほ한नאλ".chars() {
            assert!(is_of_living_script(c), "{c}");
        }
        // Cyrillic and Greek twins of Latin letters, and letters of scripts that nobody writes in.
        for c in "асеорхοаⲥꓚa1ⓐ".chars() {
            assert!(!is_of_living_script(c), "{c}");
        }
    }
}
