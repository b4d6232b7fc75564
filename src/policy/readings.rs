//! What a disguised word may read as: letters for digits and marks, fewer letters, turned ones.

use super::fold::{Alike, turned, turned_plain, unleet};

/// Every way to read letters that look like Latin ones, the likeliest first.
pub(super) fn spellings(letters: &[Alike]) -> Vec<String> {
    fork(letters.iter().map(|letter| (letter.first, letter.second)))
}

/// Words of letters of which some may be another one; the first few of those are followed both ways.
fn fork(letters: impl Iterator<Item = (char, Option<char>)>) -> Vec<String> {
    const BOTH: usize = 3;
    let mut words = vec![String::new()];
    let mut forked = 0;
    for (first, second) in letters {
        let second = second.filter(|_| forked < BOTH);
        forked += usize::from(second.is_some());
        let others: Vec<String> = second
            .iter()
            .flat_map(|second| words.iter().map(move |word| format!("{word}{second}")))
            .collect();
        words.iter_mut().for_each(|word| word.push(first));
        words.extend(others);
    }
    words
}

/// What a row with digits or marks reads as, where most of it is letters.
pub(super) fn without_leet(run: &str) -> Vec<String> {
    if run.len() > 64 || !run.chars().any(|c| c == '*' || unleet(c, 'i').is_some()) {
        return Vec::new();
    }
    let inner = run.trim_matches(|c: char| !c.is_alphanumeric());
    let mut found = starred(inner);
    if let Some(open) = run
        .strip_suffix('*')
        .filter(|open| open.starts_with(char::is_alphanumeric))
    {
        found.extend(starred(&format!("{}*", open.trim_end_matches('*'))));
    }
    for part in [run.trim_start_matches(['!', '|', '+', '*']), inner] {
        let letters = part.chars().filter(|c| c.is_alphabetic()).count();
        let others = part.chars().count() - letters;
        // `c4t` and `c4stl3`, not `4 cm`, `b2` or `0x3f`.
        let mostly = letters > others
            || (letters == others && letters >= 3)
            || (letters == others && letters == 2 && lower_marks(part))
            || (letters + others >= 5 && letters * 3 >= others);
        if others == 0 || !mostly || letters + others < 3 || part.contains('*') {
            continue;
        }
        for word in unleeted(part) {
            if !found.contains(&word) {
                found.push(word);
            }
        }
    }
    found
}

/// Every reading of digits and marks, of which some stand for two letters, `i` and `l`.
fn unleeted(part: &str) -> Vec<String> {
    fork(part.chars().map(|c| {
        let (first, second) = (unleet(c, 'i').unwrap_or(c), unleet(c, 'l').unwrap_or(c));
        (first, (first != second).then_some(second))
    }))
}

/// Two letters and two others are a disguise rather than a code where the others are vowels.
fn lower_marks(part: &str) -> bool {
    part.chars()
        .filter(|c| !c.is_alphabetic())
        .all(|c| unleet(c, 'i').is_some_and(|l| "aeio".contains(l)))
}

/// `c*stle`: one to three stars within a word stand for vowels.
fn starred(word: &str) -> Vec<String> {
    let stars = word.matches('*').count();
    let letters = word.chars().filter(|c| c.is_alphabetic()).count();
    if !(1..=3).contains(&stars)
        || letters <= stars
        || letters + stars != word.chars().count()
        || letters + stars < 4
    {
        return Vec::new();
    }
    let mut words = vec![word.to_string()];
    for _ in 0..stars {
        words = words
            .iter()
            .flat_map(|w| ["a", "e", "i", "o", "u"].map(|vowel| w.replacen('*', vowel, 1)))
            .collect();
    }
    words
}

/// A word with stretched letters shortened, and one that stands upside down.
pub(super) fn other_readings(word: &str) -> impl Iterator<Item = String> {
    let chars: Vec<char> = word.chars().collect();
    let mut found = Vec::new();
    let runs: Vec<usize> = chars.chunk_by(|a, b| a == b).map(<[char]>::len).collect();
    let longest = runs.iter().copied().max().unwrap_or(0);
    let doubled = runs.len() >= 3 && runs.iter().all(|n| *n >= 2);
    if longest >= 3 || doubled {
        found.push(squeeze(&chars, 2, 2));
        found.push(squeeze(&chars, 1, if doubled { 1 } else { 2 }));
    }
    if chars.iter().any(|c| turned(*c).is_some()) {
        found.push(chars.iter().map(|c| turned(*c).unwrap_or(*c)).collect());
        found.push(
            chars
                .iter()
                .map(|c| turned(*c).unwrap_or(turned_plain(*c)))
                .collect(),
        );
        found.push(
            chars
                .iter()
                .rev()
                .map(|c| turned(*c).unwrap_or(turned_plain(*c)))
                .collect(),
        );
    }
    found.into_iter()
}

/// Runs of three or more equal letters become `long` letters, pairs `pair` letters.
fn squeeze(chars: &[char], long: usize, pair: usize) -> String {
    chars
        .chunk_by(|a, b| a == b)
        .flat_map(|run| {
            let length = match run.len() {
                1 => 1,
                2 => pair,
                _ => long,
            };
            &run[..length.min(run.len())]
        })
        .collect()
}

/// How a word may have been changed by a letter or two, so that only a whole word of a list counts:
/// written backwards, with a letter doubled that no word doubles, with `ph` and `vv` for others, or beside digits.
pub(super) fn changed(word: &str) -> Vec<String> {
    let chars: Vec<char> = word.chars().collect();
    let mut found = Vec::new();
    if !(4..=24).contains(&chars.len()) || !word.is_ascii() {
        return found;
    }
    // Shorter ones are words of some language more often than words written backwards.
    if chars.len() >= 6 {
        found.push(word.chars().rev().collect());
    }
    let doubled =
        |at: &usize| chars[*at] == chars[at - 1] && (*at == 1 || "aiuhjkqvwxy".contains(chars[*at]));
    let pairs: Vec<usize> = (1..chars.len()).filter(doubled).take(3).collect();
    if pairs.len() > 1 {
        found.push(squeeze(&chars, 1, 1));
    }
    for at in pairs {
        found.push([&chars[..at], &chars[at + 1..]].concat().iter().collect());
    }
    for (written, meant) in [("ph", "f"), ("vv", "w")] {
        if word.contains(written) {
            found.push(word.replace(written, meant));
        }
    }
    if word.contains(|c: char| c.is_ascii_digit()) {
        let runs = word.split(|c: char| c.is_ascii_digit());
        found.extend(runs.filter(|run| run.len() >= 4).map(str::to_string));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_word_is_read_backwards_undoubled_respelled_and_without_its_digits() {
        for (written, meant) in [
            ("eltsac", "castle"),
            ("ccastle", "castle"),
            ("caastle", "castle"),
            ("ccaastle", "castle"),
            ("vvindow", "window"),
            ("phorest", "forest"),
            ("99castle", "castle"),
            ("castle7", "castle"),
            ("4castle2", "castle"),
        ] {
            assert!(
                changed(written).contains(&meant.to_string()),
                "{written}: {:?}",
                changed(written)
            );
        }
    }

    #[test]
    fn short_words_doubled_letters_of_real_words_and_other_scripts_stay() {
        for word in [
            "cat",
            "ecarg",
            "letter",
            "apple",
            "glass",
            "yellow",
            "a1b2c3",
            "замок",
            "castle",
        ] {
            let changed = changed(word);
            assert!(
                changed.iter().all(|w| w.len() == word.len() && word.len() >= 6),
                "{word}: {changed:?}"
            );
        }
        assert!(changed(&"ab".repeat(20)).is_empty());
    }
}
