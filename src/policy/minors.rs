//! Hints at somebody under 18: words, phrases and ages.

use std::sync::LazyLock;

use super::fold::{Folded, spelled_out, unleet, words};
use super::lists::{LISTS, WordList};

/// Whether anything in the text hints at a minor.
pub(super) fn hinted(text: &Folded) -> bool {
    LISTS.minors.found_in(text) || spelled(text, &LISTS.minors) || age_below_18(text)
}

/// Spelled-out letters run words together, so entries are looked for inside them; long ones also
/// across all spaces.
fn spelled(text: &Folded, list: &WordList) -> bool {
    let runs = spelled_out(&text.latin);
    let squeezed: String = text.latin.chars().filter(|c| c.is_alphanumeric()).collect();
    list.words.iter().any(|w| {
        let inside = |run: &String| run == w || (w.len() >= 4 && run.contains(w.as_str()));
        runs.iter().any(inside) || (w.len() >= 9 && w.is_ascii() && squeezed.contains(w.as_str()))
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
    "eighteen",
];

const TENS: &[&str] = &[
    "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
];

/// What follows a number that is an age, in several languages; folded as the texts are.
static YEARS: LazyLock<Vec<String>> = LazyLock::new(|| {
    [
        "year",
        "years",
        "yr",
        "yrs",
        "yo",
        "y",
        "yearold",
        "yearolds",
        "jahre",
        "jährige",
        "jähriges",
        "jähriger",
        "jährig",
        "jaehrige",
        "ans",
        "años",
        "anos",
        "anni",
        "jaar",
        "jarige",
        "lat",
        "letnia",
        "letni",
        "лет",
        "летняя",
        "летний",
        "года",
        "год",
        "yaş",
        "yaşında",
        "år",
        "歳",
        "才",
        "岁",
        "歲",
        "살",
        "세",
        "साल",
    ]
    .iter()
    .map(|y| Folded::new(y).plain)
    .collect()
});

/// What stands before a number that is certainly an age.
const AGED: &[&str] = &["age", "ages", "aged"];

/// What stands before a number that is an age where the sentence ends or goes on without a noun.
const MAYBE_AGED: &[&str] = &[
    "is", "im", "she", "he", "shes", "hes", "only", "just", "turning", "turned", "turns", "under", "below",
];

const NO_NOUN: &[&str] = &["", "and", "but", "with", "in", "on", "at", "or"];

fn age_below_18(text: &Folded) -> bool {
    [text.plain.clone(), text.latin.clone(), unmasked(&text.latin)]
        .iter()
        .any(|form| {
            let tokens = tokens(form);
            (0..tokens.len()).any(|i| is_minor_age(&tokens, i))
        })
}

/// Words that begin with a letter, with digits read as letters: `fift33n`.
fn unmasked(latin: &str) -> String {
    let word = |w: &str| -> String {
        match w.starts_with(char::is_alphabetic) {
            true => w.chars().map(|c| unleet(c, 'i')).collect(),
            false => w.to_owned(),
        }
    };
    latin.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// Whether the token at `i` is a number that the tokens around it make an age below 18.
fn is_minor_age(tokens: &[String], i: usize) -> bool {
    let at = |offset: isize| -> &str {
        let index = i.checked_add_signed(offset);
        index.and_then(|k| tokens.get(k)).map_or("", String::as_str)
    };
    let Some(number) = number(at(0)) else { return false };
    if TENS.contains(&at(-1)) {
        return false;
    }
    if number == 18 {
        let less = ["under", "below", "not", "almost", "nearly"].contains(&at(-1));
        let than = at(-1) == "than" && ["younger", "less"].contains(&at(-2));
        return less || than || (at(-1) == "yet" && at(-2) == "not");
    }
    let months = ["month", "months", "weeks", "days"].contains(&at(1)) && at(2) == "old";
    let years = YEARS.iter().any(|y| y == at(1)) || months;
    let aged = AGED.contains(&at(-1)) || (at(-1) == "of" && at(-2) == "age");
    let maybe = MAYBE_AGED.contains(&at(-1)) && NO_NOUN.contains(&at(1)) && number >= 8;
    years || aged || maybe
}

fn number(token: &str) -> Option<usize> {
    NUMBERS
        .iter()
        .position(|n| *n == token)
        .or_else(|| token.parse().ok())
        .filter(|n| *n <= 18)
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
