//! Enhancement without a model: the words that a kind's criteria miss, added at the end.

use anyhow::Result;

use super::score::Words;
use super::target::Target;
use super::tidy::TokenCounter;

/// Adds what is missing, criterion by criterion, while it fits the kind's token limit; `None` when
/// nothing is missing or nothing fits.
///
/// # Errors
/// When tokens cannot be counted.
pub fn enhance(prompt: &str, target: Target, count_tokens: &TokenCounter) -> Result<Option<String>> {
    let words = Words::get(target.kind);
    let mut enhanced = prompt.trim().trim_end_matches([',', '.']).to_string();
    let mut added = false;
    for criterion in &words.criteria {
        if criterion.is_met(prompt) {
            continue;
        }
        for addition in criterion.additions(target.quality) {
            let longer = format!("{enhanced}, {addition}");
            if count_tokens(&longer)? <= words.max_tokens {
                enhanced = longer;
                added = true;
            }
        }
    }
    Ok(added.then_some(enhanced))
}
