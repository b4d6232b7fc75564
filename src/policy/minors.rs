//! Hints at somebody under 18 in texts that are sexual.

use super::ages::ages;
use super::lexicon::{Filler, Hit};
use super::lists::Lists;
use super::text::Text;

/// How many words may stand between a sexual word and a `girl` or `boy` beside it.
const NEAR: usize = 8;

/// Whether the text hints at a minor; `sexual` are the sexual words in it, and `everywhere` says that
/// all of it is to be taken so.
pub(super) fn hinted(text: &Text, sexual: &[Hit], everywhere: bool, lists: &Lists) -> bool {
    let filler = Filler {
        common: &lists.common,
        others: &[&lists.sexual.words, &lists.nearby.words],
    };
    if !lists.minors.hits(text, &filler).is_empty() {
        return true;
    }
    let ages = ages(text);
    if ages.minor {
        return true;
    }
    // Somebody who is said to be grown up may be called a girl.
    if ages.adult || !lists.adults.hits(text, &filler).is_empty() {
        return false;
    }
    let filler = Filler {
        common: &lists.common,
        others: &[&lists.sexual.words],
    };
    let near = lists.nearby.hits(text, &filler);
    near.iter()
        .any(|n| everywhere || sexual.iter().any(|s| n.at.abs_diff(s.at) <= NEAR))
}
