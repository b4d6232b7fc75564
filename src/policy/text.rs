//! A text as the words that a reader would see in it: folded once, with the other readings that its
//! disguised words have.

use super::decode::decoded;
use super::fold::{
    Alike, composed, fold_into, is_invisible, is_of_living_script, is_used_as_letter, look_alike, unleet,
};
use super::readings::{other_readings, spellings, without_leet};

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
    script: Script,
}

/// What a word is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Latin,
    /// Letters of a script that is in use, each of which also looks like a Latin one.
    Alike,
    Other,
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
    /// One mark and no space: `under-age`, `nu.de`.
    Mark,
    /// Two of them.
    Marks,
    /// Spaces, perhaps with a dash.
    Space,
    /// Many marks, or the end of a line: what begins before it may still go on.
    Far,
    /// The end of a sentence or clause.
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
        for c in decoded(text).chars() {
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

    /// What it may be as a piece of a word: as it is, and its first other readings.
    pub fn pieces(&self) -> Vec<&str> {
        const MOST: usize = 4;
        let mut pieces = vec![self.undone(), self.plain()];
        pieces.extend(self.readings.iter().skip(1).map(String::as_str));
        let mut seen = Vec::with_capacity(MOST);
        for piece in pieces {
            if seen.len() < MOST && !seen.contains(&piece) {
                seen.push(piece);
            }
        }
        seen
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
    latin: Vec<Alike>,
    looks: Looks,
    gap: String,
    run: Run,
    run_gap: usize,
}

/// How many letters of a word are Latin, look like Latin ones, or do not.
#[derive(Clone, Copy, Default)]
struct Looks {
    latin: usize,
    alike: usize,
    other: usize,
    living: usize,
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
            let kana_mark = matches!(part, '\u{3099}' | '\u{309a}');
            if part.is_alphanumeric() || kana_mark || is_kept_mark(part) || is_used_as_letter(part) {
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
        let alike = look_alike(original, part);
        match alike {
            _ if part.is_ascii() => self.looks.latin += usize::from(part.is_ascii_alphabetic()),
            Some(_) => self.looks.alike += 1,
            None => self.looks.other += 1,
        }
        self.looks.living += usize::from(is_of_living_script(part));
        let seen = alike.unwrap_or(Alike {
            first: part,
            second: None,
        });
        self.run.text.push(seen.first);
        self.latin.push(seen);
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
        let mixed = looks.latin > 0 && looks.alike > 0;
        if mixed || (looks.alike > 0 && looks.other == 0) {
            // The likeliest last: it is what is undone most.
            readings.extend(spellings(&latin).into_iter().rev());
        }
        let script = match looks {
            Looks { latin: 1.., .. } => Script::Latin,
            Looks { living: 1.., .. } if readings.len() > 1 => Script::Alike,
            _ => Script::Other,
        };
        self.tokens.push(Token {
            gap,
            readings,
            script,
        });
        self.run.tokens += 1;
    }

    fn end_run(&mut self) {
        if !self.run.text.is_empty() {
            self.runs.push(std::mem::take(&mut self.run));
        }
    }

    /// Words whose letters merely resemble Latin ones are themselves where the text is not Latin.
    fn leave_words_of_other_scripts(&mut self) {
        let count = |script| self.tokens.iter().filter(|t| t.script == script).count();
        let latin = count(Script::Latin);
        if count(Script::Alike) + count(Script::Other) < latin {
            return;
        }
        for token in self.tokens.iter_mut().filter(|t| t.script == Script::Alike) {
            token.readings.truncate(1);
        }
    }

    fn finish(mut self) -> Text {
        self.end_token();
        self.end_run();
        self.leave_words_of_other_scripts();
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
        let breaks = gap.chars().filter(|c| *c == '\n').count();
        let loose = |c: char| (c.is_whitespace() && c != '\n' && c != '\r') || "-_~*·•–—".contains(c);
        match (marks, spaces) {
            _ if first => Self::Border,
            (1, 0) => Self::Mark,
            (2, 0) => Self::Marks,
            (0 | 1, 1..=4) if gap.chars().all(loose) => Self::Space,
            (3..=12, 0) => Self::Far,
            (0 | 1, 1..=3) if breaks == 1 && gap.chars().all(|c| c.is_whitespace() || c == '-') => Self::Far,
            _ => Self::Border,
        }
    }

    /// Whether a clause ends here.
    pub fn is_border(self) -> bool {
        matches!(self, Self::Far | Self::Border)
    }
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

/// Also without an article before the letters: `a s p e l l`.
fn push_spelled(word: String, at: usize, hidden: &mut Vec<Hidden>) {
    if let Some(rest) = word
        .strip_prefix(['a', 'i'])
        .filter(|rest| rest.chars().count() >= 3)
    {
        push_hidden(rest.to_string(), at, hidden);
    }
    push_hidden(word, at, hidden);
}

fn push_hidden(word: String, at: usize, hidden: &mut Vec<Hidden>) {
    if !hidden.iter().rev().take(6).any(|h| h.at == at && h.word == word) {
        hidden.push(Hidden {
            word,
            at,
            spelled: true,
        });
    }
}
