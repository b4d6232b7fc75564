//! Hints at somebody under 18: words, phrases and ages.

use super::fold::{Folded, spelled_out, words};
use super::lists::{LISTS, WordList};

/// Whether anything in the text hints at a minor.
pub(super) fn hinted(text: &Folded) -> bool {
    LISTS.minors.found_in(text) || spelled(text, &LISTS.minors) || age_below_18(text)
}

/// Spelled-out letters run words together, so long entries are looked for inside them.
fn spelled(text: &Folded, list: &WordList) -> bool {
    let squeezed: String = text.latin.chars().filter(|c| c.is_alphanumeric()).collect();
    list.words.iter().any(|w| {
        let inside = |run: &String| run == w || (w.len() >= 4 && run.contains(w.as_str()));
        spelled_out(&text.latin).iter().any(inside)
            || (w.len() >= 9 && w.is_ascii() && squeezed.contains(w.as_str()))
    })
}

const NUMBERS: &[&str] = &[
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
];

/// What follows a number that is an age, in several languages, folded.
const YEARS: &[&str] = &[
    "year",
    "years",
    "yr",
    "yrs",
    "yo",
    "y",
    "yearold",
    "yearolds",
    "old",
    "jahre",
    "jahriges",
    "jahrige",
    "jahriger",
    "jaehrige",
    "jahrig",
    "ans",
    "anos",
    "anni",
    "jaar",
    "jarige",
    "lat",
    "letni",
    "letnia",
    "лет",
    "летняя",
    "летнии",
    "года",
    "год",
    "yas",
    "yasinda",
    "ar",
    "month",
    "months",
    "歳",
    "才",
    "岁",
    "歲",
    "살",
    "세",
    "साल",
];

/// What stands before a number that is an age.
const AGED: &[&str] = &[
    "age", "ages", "aged", "turning", "turned", "turns", "only", "just", "under", "below", "is", "im", "she",
    "he", "hes", "shes",
];

fn age_below_18(text: &Folded) -> bool {
    [&text.plain, &text.latin].into_iter().any(|form| {
        let tokens = tokens(form);
        tokens.iter().enumerate().any(|(i, token)| {
            let Some(number) = number(token) else { return false };
            let before = i.checked_sub(1).and_then(|b| tokens.get(b)).map(String::as_str);
            let one_more = i.checked_sub(2).and_then(|b| tokens.get(b)).map(String::as_str);
            let after = tokens.get(i + 1).map(String::as_str).unwrap_or_default();
            let as_age = YEARS.iter().any(|y| *y == folded(after));
            let aged = before.is_some_and(|b| AGED.contains(&b))
                || (before == Some("of") && one_more == Some("age"));
            let not_yet = number == 18
                && (matches!(before, Some("under" | "below" | "not" | "almost" | "nearly"))
                    || (before == Some("than") && matches!(one_more, Some("younger" | "less")))
                    || (before == Some("yet") && one_more == Some("not")));
            (number < 18 && (as_age || aged)) || not_yet
        })
    })
}

/// A mark such as 歳 decomposes as the text does.
fn folded(token: &str) -> &str {
    token
}

fn number(token: &str) -> Option<u32> {
    if token == "eighteen" {
        return Some(18);
    }
    if let Some(n) = NUMBERS.iter().position(|n| *n == token) {
        return Some(n as u32);
    }
    token.parse().ok().filter(|n| *n <= 18)
}

/// Words with digits apart from letters, digits that stand alone joined: `1 5yo` is `15`, `yo`.
fn tokens(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for word in words(text) {
        let chars: Vec<char> = word.chars().collect();
        for run in chars.chunk_by(|a, b| a.is_ascii_digit() == b.is_ascii_digit()) {
            let run: String = run.iter().collect();
            let joins = run.len() == 1 && run.as_bytes()[0].is_ascii_digit();
            match out.last_mut() {
                Some(last) if joins && last.len() == 1 && last.as_bytes()[0].is_ascii_digit() => {
                    last.push_str(&run);
                }
                _ => out.push(run),
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(text: &str) -> bool {
        hinted(&Folded::new(text))
    }

    #[test]
    fn words_of_age_and_school_are_hints() {
        for text in [
            "a child",
            "two KIDS",
            "teen",
            "sch00lgirl",
            "t e e n",
            "c h i l d r e n",
            "prе-tееn",
            "a little  girl",
            "ch1ld",
            "сhild",
            "ｃｈｉｌｄ",
            "chiiiild",
            "t.e.e.n.a.g.e.r",
            "under-age",
            "high-school",
            "s c h o o l g i r l x",
            "Schülerin",
            "niña",
            "ребёнок",
            "девочка",
            "未成年の",
            "소녀",
            "t33nager",
            "teen\u{200b}ager",
            "scho olgi rl",
        ] {
            assert!(hint(text), "{text}");
        }
    }

    #[test]
    fn ages_below_18_are_hints_in_digits_and_words() {
        for text in [
            "15yo",
            "15 y/o",
            "15-year-old",
            "fifteen year old",
            "aged 12",
            "age: 9",
            "she is sixteen",
            "17 years",
            "under 18",
            "not yet eighteen",
            "younger than 18",
            "15歳",
            "15岁",
            "15-jährige",
            "1 5 years old",
            "１５ years",
            "13 ans",
            "16yr",
            "at the age of 14",
        ] {
            assert!(hint(text), "{text}");
        }
    }

    #[test]
    fn adults_and_plain_numbers_are_no_hints() {
        for text in [
            "a woman of 25 years",
            "aged 45",
            "18 years old",
            "over 18",
            "two people",
            "a 1950s kitchen",
            "7 candles",
            "f/1.8, 35mm",
            "3 women, 2 men",
            "a colleague",
            "skidding",
            "an old man",
            "8k, 4 lights",
            "twenty five year old",
        ] {
            assert!(!hint(text), "{text}");
        }
    }
}
