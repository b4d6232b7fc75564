//! A word list and where its entries stand in a text.

use serde::Deserialize;

use super::fold::folded;
use super::readings::changed;
use super::text::{Gap, Hidden, Text, Token};
use super::words::{SEED, WordSet, extend, hash, inflections};

/// A list as it is written in a data file; any part may be missing.
#[derive(Deserialize, Default, Clone)]
#[serde(default, deny_unknown_fields)]
pub struct Entries {
    /// Whole words, with their regular inflections where they are Latin.
    pub words: Vec<String>,
    /// Words in a row.
    pub phrases: Vec<String>,
    /// Beginnings of words.
    pub stems: Vec<String>,
    /// Found anywhere within a word, for scripts that write without spaces.
    pub pieces: Vec<String>,
    /// Emoji.
    pub symbols: Vec<String>,
}

/// A list made ready for matching.
#[derive(Default)]
pub(super) struct Lexicon {
    pub words: WordSet,
    /// Those that are also looked for in words written together: English ones, and short lists.
    joined: WordSet,
    phrases: WordSet,
    stems: WordSet,
    pieces: WordSet,
    symbols: Vec<String>,
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hit {
    /// The hash of the entry, or of the inflected form that stands in the text.
    pub term: u64,
    /// The token it begins at.
    pub at: usize,
}

/// Words that part others in a word that was written together.
pub(super) struct Filler<'a> {
    pub common: &'a CommonWords,
    /// Other lists, whose words are no filler of their own but no strangers either.
    pub others: &'a [&'a WordSet],
}

/// Words that are nobody's disguise.
#[derive(Default)]
pub(super) struct CommonWords {
    /// Never half of a word that a space cuts, nor a word written together.
    pub known: WordSet,
    /// What stands beside other words in a word written together.
    pub together: WordSet,
}

/// Longest entry in characters, phrase in words.
const LONGEST_WORD: usize = 24;
const LONGEST_PHRASE: usize = 5;
/// Shorter words are not looked for across spaces, nor at the ends of longer words.
const SHORTEST_JOINED: usize = 4;
const SHORTEST_EDGE: usize = 7;
const LONGEST_PIECE: usize = 8;

impl Lexicon {
    /// `more` are hashes of further words, inflected already; `not` are words to leave out.
    pub fn new(entries: &Entries, more: impl IntoIterator<Item = u64>, not: &WordSet) -> Self {
        let all = |list: &[String]| -> Vec<u64> { list.iter().map(|e| hash(&folded(e))).collect() };
        let own = entries.words.iter().flat_map(|w| inflections(&folded(w)));
        let own: Vec<u64> = own.map(|w| hash(&w)).collect();
        let more = more.into_iter().filter(|h| !not.has(*h));
        let all_words: Vec<u64> = more.chain(own).collect();
        Self {
            words: WordSet::new(all_words.iter().copied()),
            joined: WordSet::new(all_words),
            phrases: WordSet::new(all(&entries.phrases)),
            stems: WordSet::new(all(&entries.stems)),
            pieces: WordSet::new(all(&entries.pieces)),
            symbols: entries.symbols.clone(),
        }
    }

    /// Adds whole words, beginnings and pieces that are known by their hashes only.
    pub fn add_hashed(&mut self, words: &[u64], stems: &[u64], pieces: &[u64]) {
        self.words = self.words.with(words);
        self.stems = self.stems.with(stems);
        self.pieces = self.pieces.with(pieces);
    }

    /// Where entries stand in the text, disguised or not.
    pub fn hits(&self, text: &Text, filler: &Filler<'_>) -> Vec<Hit> {
        let mut hits = Vec::new();
        for (at, token) in text.tokens.iter().enumerate() {
            let found = token.readings.iter().find_map(|word| self.in_word(word, filler));
            let found = found.or_else(|| self.changed(token, filler));
            hits.extend(found.map(|term| Hit { term, at }));
        }
        for Hidden { word, at, spelled } in &text.hidden {
            let found = self
                .in_word(word, filler)
                .or_else(|| spelled.then(|| self.inside(word)).flatten());
            hits.extend(found.map(|term| Hit { term, at: *at }));
        }
        self.phrase_hits(text, &mut hits);
        self.split_hits(text, filler, &mut hits);
        let symbol = self.symbols.iter().find(|s| text.symbols.contains(s.as_str()));
        hits.extend(symbol.map(|s| Hit { term: hash(s), at: 0 }));
        hits
    }

    /// Where phrases stand, as `(first token, words)`.
    pub fn phrases(&self, text: &Text) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for undone in [false, true] {
            let row: Vec<&str> = text
                .tokens
                .iter()
                .map(|t| if undone { t.undone() } else { t.plain() })
                .collect();
            for at in 0..row.len() {
                let mut so_far = extend(SEED, row[at].as_bytes());
                for words in 2..=LONGEST_PHRASE.min(row.len() - at) {
                    so_far = extend(extend(so_far, b" "), row[at + words - 1].as_bytes());
                    if self.phrases.has(so_far) {
                        found.push((at, words));
                    }
                }
            }
        }
        found
    }

    /// Whether one of the pieces stands in the token.
    pub fn is_in_token(&self, text: &Text, at: usize) -> bool {
        let token = text.tokens.get(at);
        token.is_some_and(|token| self.piece(token.plain()).is_some())
    }

    fn phrase_hits(&self, text: &Text, hits: &mut Vec<Hit>) {
        if self.phrases.is_empty() {
            return;
        }
        for (at, words) in self.phrases(text) {
            let phrase: Vec<&str> = text.plain().skip(at).take(words).collect();
            hits.push(Hit {
                term: hash(&phrase.join(" ")),
                at,
            });
        }
    }

    fn in_word(&self, word: &str, filler: &Filler<'_>) -> Option<u64> {
        let whole = hash(word);
        if self.words.has(whole) {
            return Some(whole);
        }
        if let Some(term) = self.stem(word) {
            return Some(term);
        }
        if word.is_ascii() {
            return self.written_together(word.as_bytes(), filler);
        }
        self.piece(word)
    }

    /// Words that nobody would write so, when they are an entry with a letter or two changed.
    fn changed(&self, token: &Token, filler: &Filler<'_>) -> Option<u64> {
        if !is_strange(token.plain(), filler) {
            return None;
        }
        let words = [token.plain(), token.undone()];
        let words = &words[..if words[0] == words[1] { 1 } else { 2 }];
        words
            .iter()
            .flat_map(|word| changed(word))
            .map(|word| hash(&word))
            .find(|term| self.words.has(*term))
    }

    fn stem(&self, word: &str) -> Option<u64> {
        if self.stems.is_empty() {
            return None;
        }
        let mut so_far = SEED;
        word.char_indices().take(LONGEST_WORD).find_map(|(at, c)| {
            so_far = extend(so_far, &word.as_bytes()[at..at + c.len_utf8()]);
            self.stems.has(so_far).then_some(so_far)
        })
    }

    fn piece(&self, word: &str) -> Option<u64> {
        if self.pieces.is_empty() {
            return None;
        }
        word.char_indices().find_map(|(start, _)| {
            let mut so_far = SEED;
            let rest = &word[start..];
            rest.char_indices().take(LONGEST_PIECE).find_map(|(at, c)| {
                so_far = extend(so_far, &rest.as_bytes()[at..at + c.len_utf8()]);
                self.pieces.has(so_far).then_some(so_far)
            })
        })
    }

    /// A word of this list anywhere within letters that were spelled out.
    fn inside(&self, word: &str) -> Option<u64> {
        let bytes = word.as_bytes();
        (0..bytes.len()).find_map(|start| {
            self.starting_at(bytes, start, SHORTEST_JOINED)
                .next()
                .map(|(_, term)| term)
        })
    }

    /// Ends and hashes of this list's words that begin at `start`.
    fn starting_at(&self, word: &[u8], start: usize, shortest: usize) -> impl Iterator<Item = (usize, u64)> {
        let mut so_far = SEED;
        let last = word.len().min(start + LONGEST_WORD);
        (start..last).filter_map(move |at| {
            so_far = extend(so_far, &word[at..=at]);
            (at + 1 - start >= shortest && self.joined.has(so_far)).then_some((at + 1, so_far))
        })
    }

    /// `wordword`: all of it is common words and words of lists, one of this list among them; or
    /// it begins or ends with a long word of this list.
    fn written_together(&self, word: &[u8], filler: &Filler<'_>) -> Option<u64> {
        if word.len() <= SHORTEST_JOINED || filler.common.known.has(extend(SEED, word)) {
            return None;
        }
        let edge = self
            .starting_at(word, 0, SHORTEST_EDGE)
            .chain(
                (1..=word.len() - SHORTEST_EDGE.min(word.len())).filter_map(|start| {
                    self.starting_at(word, start, SHORTEST_EDGE)
                        .find(|(end, _)| *end == word.len())
                }),
            )
            .next();
        edge.map(|(_, term)| term)
            .or_else(|| self.segmented(word, filler))
    }

    fn segmented(&self, word: &[u8], filler: &Filler<'_>) -> Option<u64> {
        // For each place: whether common words reach it, and a word of this list on the way there.
        let mut reached = vec![false; word.len() + 1];
        let mut found: Vec<Option<u64>> = vec![None; word.len() + 1];
        reached[0] = true;
        for start in 0..word.len() {
            if !reached[start] && found[start].is_none() {
                continue;
            }
            let mut so_far = SEED;
            for end in start + 1..=word.len().min(start + LONGEST_WORD) {
                so_far = extend(so_far, &word[end - 1..end]);
                let length = end - start;
                if length >= SHORTEST_JOINED && self.joined.has(so_far) {
                    found[end] = found[end].or(Some(so_far));
                } else if filler.common.together.has(so_far)
                    || (length >= 4 && filler.others.iter().any(|o| o.has(so_far)))
                {
                    reached[end] |= reached[start];
                    found[end] = found[end].or(found[start]);
                }
            }
        }
        found[word.len()]
    }

    /// Words with a space or mark within: pieces that are no words by themselves, together an entry.
    fn split_hits(&self, text: &Text, filler: &Filler<'_>, hits: &mut Vec<Hit>) {
        let strange: Vec<bool> = text
            .tokens
            .iter()
            .map(|t| is_strange(t.undone(), filler))
            .collect();
        for at in 0..text.tokens.len() {
            let row = Row {
                tokens: &text.tokens[at..],
                strange: &strange[at..],
            };
            for piece in row.tokens[0].pieces() {
                let pieces = Pieces::first(piece, row.strange[0]);
                self.split_from(&row, 1, pieces, &mut |term| hits.push(Hit { term, at }));
            }
        }
    }

    /// Looks for entries among the pieces so far and up to three more.
    fn split_from(&self, row: &Row<'_>, next: usize, so_far: Pieces, found: &mut dyn FnMut(u64)) {
        let Some(token) = row.tokens.get(next).filter(|t| next < 5 && t.gap != Gap::Border) else {
            return;
        };
        let forms = if next == 1 {
            token.pieces()
        } else {
            vec![token.undone()]
        };
        for piece in forms {
            let pieces = so_far.with(token.gap, piece, row.strange[next]);
            if pieces.length > LONGEST_WORD {
                continue;
            }
            if pieces.may_be_one() && self.words.has(pieces.hash) {
                found(pieces.hash);
            }
            self.split_from(row, next + 1, pieces, found);
        }
        // `c#stle`: the mark stands for a vowel.
        if token.gap == Gap::Mark && so_far.all_strange && row.strange[next] {
            for vowel in ["a", "e", "i", "o", "u"] {
                let pieces = so_far
                    .with(Gap::Mark, vowel, true)
                    .with(Gap::Mark, token.undone(), true);
                if pieces.length > 4 && pieces.length <= LONGEST_WORD {
                    if self.words.has(pieces.hash) {
                        found(pieces.hash);
                    }
                    self.split_from(row, next + 1, pieces, found);
                }
            }
        }
    }
}

/// Tokens in a row, and which of them are no words.
struct Row<'a> {
    tokens: &'a [Token],
    strange: &'a [bool],
}

/// Pieces of what may be one word.
#[derive(Clone, Copy)]
struct Pieces {
    hash: u64,
    length: usize,
    any_strange: bool,
    all_strange: bool,
    /// Only marks stand between them, and some piece is very short.
    marked: bool,
    short: bool,
    far: bool,
}

impl Pieces {
    fn first(piece: &str, strange: bool) -> Self {
        Self {
            hash: extend(SEED, piece.as_bytes()),
            length: piece.len(),
            any_strange: strange,
            all_strange: strange,
            marked: true,
            short: piece.len() <= 2,
            far: false,
        }
    }

    fn with(self, gap: Gap, piece: &str, strange: bool) -> Self {
        Self {
            hash: extend(self.hash, piece.as_bytes()),
            length: self.length + piece.len(),
            any_strange: self.any_strange || strange,
            all_strange: self.all_strange && strange,
            marked: self.marked && matches!(gap, Gap::Mark | Gap::Marks),
            short: self.short || piece.len() <= 2,
            far: self.far || gap == Gap::Far,
        }
    }

    fn may_be_one(self) -> bool {
        let long = self.length >= SHORTEST_JOINED;
        match self.far {
            true => long && self.length > SHORTEST_JOINED && self.all_strange,
            false => long && (self.any_strange || (self.marked && self.short)),
        }
    }
}

/// Whether a piece is no word that somebody would write by itself.
fn is_strange(piece: &str, filler: &Filler<'_>) -> bool {
    !filler.common.known.has_word(piece) && !piece.bytes().all(|b| b.is_ascii_digit())
}
