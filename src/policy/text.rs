//! A text as the words that a reader would see in it: folded once, with the other readings that its
//! disguised words have.

use super::fold::{
    composed, fold_into, is_invisible, look_alike, turned, turned_plain, unleet, without_entities,
};

/// A text taken apart.
pub(super) struct Text {
    pub tokens: Vec<Token>,
    /// Words that stand in the text only when marks or spaces between letters are left out.
    pub hidden: Vec<Hidden>,
    /// Everything that is neither letter, digit, space nor ASCII: emoji.
    pub symbols: String,
}

/// A word: letters and digits in a row.
pub(super) struct Token {
    /// What stands before it.
    pub gap: Gap,
    /// The word as it is first, then what else it may read as.
    pub readings: Vec<String>,
}

pub(super) struct Hidden {
    pub word: String,
    /// The token it begins at.
    pub at: usize,
    /// Spelled letter by letter, so that its own words run together.
    pub spelled: bool,
}

/// What parts two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// A mark or two and no space: `under-age`, `nu.de`.
    Mark,
    /// Spaces, perhaps with a dash.
    Space,
    /// The end of a sentence, clause or line.
    Border,
}

/// A row of letters, digits and marks that may stand for letters.
#[derive(Default)]
struct Run {
    text: String,
    /// The first token it holds and how many.
    at: usize,
    tokens: usize,
    gap_before: usize,
}

impl Text {
    pub fn new(text: &str) -> Self {
        let mut reader = Reader::default();
        for c in without_entities(text).chars() {
            reader.take(c);
        }
        reader.finish()
    }

    /// The words as they are, one by one.
    pub fn plain(&self) -> impl Iterator<Item = &str> {
        self.tokens.iter().map(Token::plain)
    }
}

impl Token {
    pub fn plain(&self) -> &str {
        self.readings.first().map_or("", String::as_str)
    }

    /// The reading with most undone.
    pub fn undone(&self) -> &str {
        self.readings.last().map_or("", String::as_str)
    }
}

#[derive(Default)]
struct Reader {
    tokens: Vec<Token>,
    runs: Vec<Run>,
    symbols: String,
    plain: String,
    latin: String,
    /// Whether some letter looks like a Latin one, and whether all do exactly.
    looks: Looks,
    gap: String,
    run: Run,
    run_gap: usize,
}

#[derive(Clone, Copy, Default)]
struct Looks {
    latin: usize,
    alike: usize,
    exactly: usize,
    other: usize,
}

impl Reader {
    fn take(&mut self, c: char) {
        if is_invisible(c) {
            return;
        }
        let start = self.plain.len();
        fold_into(c, &mut self.plain);
        let folded: String = self.plain.split_off(start);
        for part in folded.chars() {
            if part.is_alphanumeric() || matches!(part, '\u{3099}' | '\u{309a}') || is_kept_mark(part) {
                self.letter(c, part);
            } else {
                self.mark(c, part);
            }
        }
    }

    fn letter(&mut self, original: char, part: char) {
        if self.plain.is_empty() && self.run.text.is_empty() {
            self.run.at = self.tokens.len();
            self.run.gap_before = std::mem::take(&mut self.run_gap);
        }
        self.plain.push(part);
        let shown = match look_alike(original).filter(|_| original.is_uppercase()) {
            Some(letter) => Some(letter),
            None => look_alike(part),
        };
        match shown {
            _ if part.is_ascii() => self.looks.latin += usize::from(part.is_ascii_alphabetic()),
            Some(_) if super::fold::is_exact(part) => self.looks.exactly += 1,
            Some(_) => self.looks.alike += 1,
            None => self.looks.other += 1,
        }
        let letter = shown.unwrap_or(part);
        self.latin.push(letter);
        self.run.text.push(letter);
    }

    fn mark(&mut self, original: char, part: char) {
        self.end_token();
        self.gap.push(part);
        if !original.is_ascii() && !original.is_whitespace() {
            self.symbols.push(original);
        }
        if part == '*' || unleet(part, 'i').is_some() {
            if self.run.text.is_empty() {
                self.run.at = self.tokens.len();
                self.run.gap_before = std::mem::take(&mut self.run_gap);
            }
            self.run.text.push(part);
        } else {
            self.end_run();
            self.run_gap += 1;
        }
    }

    fn end_token(&mut self) {
        if self.plain.is_empty() {
            return;
        }
        let plain = composed(&std::mem::take(&mut self.plain));
        let latin = std::mem::take(&mut self.latin);
        let looks = std::mem::take(&mut self.looks);
        let gap = Gap::of(&std::mem::take(&mut self.gap), self.tokens.is_empty());
        let mut readings = vec![plain];
        let mixed = looks.latin > 0 && looks.alike + looks.exactly > 0;
        if (mixed || (looks.exactly > 0 && looks.alike + looks.other == 0)) && latin != readings[0] {
            readings.push(latin);
        }
        self.tokens.push(Token { gap, readings });
        self.run.tokens += 1;
    }

    fn end_run(&mut self) {
        if !self.run.text.is_empty() {
            self.runs.push(std::mem::take(&mut self.run));
        }
    }

    fn finish(mut self) -> Text {
        self.end_token();
        self.end_run();
        let mut hidden = Vec::new();
        for run in &self.runs {
            for word in without_leet(&run.text) {
                match (run.tokens, self.tokens.get_mut(run.at)) {
                    (1, Some(token)) => token.readings.push(word),
                    _ => hidden.push(Hidden {
                        word,
                        at: run.at,
                        spelled: false,
                    }),
                }
            }
        }
        for token in &mut self.tokens {
            for other in token
                .readings
                .clone()
                .iter()
                .flat_map(|word| other_readings(word))
            {
                token.readings.push(other);
            }
        }
        let stretched: Vec<Hidden> = hidden
            .iter()
            .flat_map(|h| {
                other_readings(&h.word).map(|word| Hidden {
                    word,
                    at: h.at,
                    spelled: false,
                })
            })
            .collect();
        hidden.extend(stretched);
        spelled_tokens(&self.tokens, &mut hidden);
        spelled_runs(&self.runs, &mut hidden);
        Text {
            tokens: self.tokens,
            hidden,
            symbols: self.symbols,
        }
    }
}

fn is_kept_mark(c: char) -> bool {
    ('\u{900}'..='\u{109f}').contains(&c)
}

impl Gap {
    fn of(gap: &str, first: bool) -> Self {
        let marks = gap.chars().filter(|c| !c.is_whitespace()).count();
        let spaces = gap.chars().filter(|c| c.is_whitespace()).count();
        let loose = |c: char| (c.is_whitespace() && c != '\n' && c != '\r') || "-_~*·•–—".contains(c);
        match (marks, spaces) {
            _ if first => Self::Border,
            (1 | 2, 0) => Self::Mark,
            (0 | 1, 1..=4) if gap.chars().all(loose) => Self::Space,
            _ => Self::Border,
        }
    }
}

/// What a row with digits or marks reads as, where most of it is letters.
fn without_leet(run: &str) -> Vec<String> {
    if run.len() > 64 || !run.chars().any(|c| c == '*' || unleet(c, 'i').is_some()) {
        return Vec::new();
    }
    let inner = run.trim_matches(|c: char| !c.is_alphanumeric());
    let mut found = starred(inner);
    for part in [run.trim_start_matches(['!', '|', '+', '*']), inner] {
        let letters = part.chars().filter(|c| c.is_alphabetic()).count();
        let others = part.chars().count() - letters;
        // `s3x` and `n4k3d`, not `4 cm`, `b2` or `0x3f`.
        let mostly = letters > others
            || (letters == others && letters >= 3)
            || (letters == others && letters == 2 && lower_marks(part));
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

/// Every reading of the first digits and marks that stand for two letters, `i` and `l`.
fn unleeted(part: &str) -> Vec<String> {
    const BOTH: usize = 3;
    let mut words = vec![String::new()];
    let mut forked = 0;
    for c in part.chars() {
        let (first, second) = (unleet(c, 'i').unwrap_or(c), unleet(c, 'l').unwrap_or(c));
        if first != second && forked < BOTH {
            forked += 1;
            words = words
                .iter()
                .flat_map(|w| [format!("{w}{first}"), format!("{w}{second}")])
                .collect();
        } else {
            words.iter_mut().for_each(|w| w.push(first));
        }
    }
    words
}

/// Two letters and two others are a disguise rather than a code where the others are vowels.
fn lower_marks(part: &str) -> bool {
    part.chars()
        .filter(|c| !c.is_alphabetic())
        .all(|c| unleet(c, 'i').is_some_and(|l| "aeio".contains(l)))
}

/// `c*stle`: one or two stars within a word stand for vowels.
fn starred(word: &str) -> Vec<String> {
    let stars = word.matches('*').count();
    let letters = word.chars().filter(|c| c.is_alphabetic()).count();
    if !(1..=2).contains(&stars)
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
fn other_readings(word: &str) -> impl Iterator<Item = String> {
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

/// Single letters in a row, written together.
fn spelled_tokens(tokens: &[Token], hidden: &mut Vec<Hidden>) {
    let single = |token: &Token| token.plain().chars().count() == 1;
    let mut at = 0;
    for row in tokens.chunk_by(|a, b| single(a) && single(b)) {
        if row.len() >= 3 {
            push_spelled(row.iter().map(Token::plain).collect(), at, hidden);
            let undone: String = row.iter().map(Token::undone).collect();
            push_spelled(undone, at, hidden);
        }
        at += row.len();
    }
}

/// The same where digits or marks stand for some of the letters.
fn spelled_runs(runs: &[Run], hidden: &mut Vec<Hidden>) {
    let single = |run: &Run| run.text.chars().count() == 1;
    for row in runs.chunk_by(|a, b| single(a) && single(b) && b.gap_before <= 3) {
        let text: String = row.iter().map(|run| run.text.as_str()).collect();
        let (Some(first), true) = (row.first(), row.len() >= 3) else {
            continue;
        };
        for word in without_leet(&text) {
            push_spelled(word, first.at, hidden);
        }
        push_spelled(text, first.at, hidden);
    }
}

fn push_spelled(word: String, at: usize, hidden: &mut Vec<Hidden>) {
    if !hidden.iter().rev().take(4).any(|h| h.at == at && h.word == word) {
        hidden.push(Hidden {
            word,
            at,
            spelled: true,
        });
    }
}
