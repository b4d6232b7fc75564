//! Words as numbers: sets of words that hold hashes only, so that no list stands in plain text.
//!
//! The build script includes this file to turn the word library's list into such a set.

/// FNV-1a over the bytes of a word (Fowler, Noll and Vo, 64 bits); begin with [`SEED`].
pub const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash of what `hash` stands for followed by `text`.
pub fn extend(hash: u64, text: &[u8]) -> u64 {
    text.iter()
        .fold(hash, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3))
}

pub fn hash(word: &str) -> u64 {
    extend(SEED, word.as_bytes())
}

/// A word of Latin letters with its regular English inflections: plural, past, participle, agent.
pub fn inflections(word: &str) -> Vec<String> {
    let mut forms = vec![word.to_string()];
    let inflects = word.len() >= 3 && word.bytes().all(|b| b.is_ascii_lowercase());
    // A plural has no further ones.
    if !inflects || (word.ends_with('s') && !word.ends_with("ss") && word.len() > 3) || word.ends_with("sses")
    {
        return forms;
    }
    let (stem, last) = word.split_at(word.len() - 1);
    forms.push(format!("{word}s"));
    match last {
        "e" => {
            forms.extend(["d", "r", "rs"].map(|end| format!("{word}{end}")));
            forms.extend(["ing", "ings"].map(|end| format!("{stem}{end}")));
        }
        "y" => {
            forms.extend(["ies", "ied", "ier", "iest", "ily", "iness"].map(|end| format!("{stem}{end}")));
            forms.push(format!("{word}ing"));
        }
        _ => {
            forms.extend(
                ["es", "ed", "er", "ers", "ing", "ings", "y", "ly"].map(|end| format!("{word}{end}")),
            );
            if word.len() == 4 {
                forms.push(format!("{word}in"));
            }
            if doubles(word) {
                forms.extend(["ed", "er", "ers", "ing", "y"].map(|end| format!("{word}{last}{end}")));
            }
        }
    }
    forms
}

/// Whether the last letter doubles before an ending: one vowel, one consonant (`run`, `running`).
fn doubles(word: &str) -> bool {
    let vowel = |b: &u8| b"aeiou".contains(b);
    let bytes = word.as_bytes();
    let [.., before, vowel_place, last] = bytes else {
        return false;
    };
    !vowel(before) && vowel(vowel_place) && !vowel(last) && !b"wxy".contains(last)
}

/// A set of words by their hashes.
#[derive(Clone, Default)]
pub struct WordSet {
    /// Sorted.
    hashes: Vec<u64>,
    /// One bit for every value of a hash's lowest bits: most words are told apart by it alone.
    bits: Vec<u64>,
}

/// Bits of a hash that [`WordSet::bits`] looks at.
const LOW_BITS: u32 = 18;

impl WordSet {
    pub fn new(hashes: impl IntoIterator<Item = u64>) -> Self {
        let mut hashes: Vec<u64> = hashes.into_iter().collect();
        hashes.sort_unstable();
        hashes.dedup();
        let mut bits = vec![0; 1 << (LOW_BITS - 6)];
        for hash in &hashes {
            let (index, bit) = place(*hash);
            bits[index] |= bit;
        }
        Self { hashes, bits }
    }

    /// What [`hash`]es of little-endian bytes stand in `bytes`, as the build script writes them.
    pub fn read(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
        bytes.as_chunks().0.iter().map(|chunk| u64::from_le_bytes(*chunk))
    }

    /// The set with more in it.
    pub fn with(&self, more: &[u64]) -> Self {
        Self::new(self.hashes.iter().chain(more).copied())
    }

    pub fn has(&self, hash: u64) -> bool {
        let (index, bit) = place(hash);
        self.bits.get(index).is_some_and(|bits| bits & bit != 0) && self.hashes.binary_search(&hash).is_ok()
    }

    pub fn has_word(&self, word: &str) -> bool {
        self.has(hash(word))
    }

    pub fn is_empty(&self) -> bool {
        self.hashes.is_empty()
    }
}

fn place(hash: u64) -> (usize, u64) {
    let low = hash & ((1 << LOW_BITS) - 1);
    ((low >> 6) as usize, 1 << (low & 63))
}
