//! From a model's answer to a prompt: what chat models wrap around it comes off.

use anyhow::Result;

/// Counts the CLIP tokens of a prompt.
pub type TokenCounter = dyn Fn(&str) -> Result<usize>;

/// The prompt inside an answer, cut at a phrase or sentence to `max_tokens`; `None` when there is
/// none: an empty answer, or a refusal.
///
/// `is_complete` is false when the answer ended at a limit: then its last, unfinished phrase goes.
///
/// # Errors
/// When tokens cannot be counted.
pub fn tidy(
    answer: &str,
    is_complete: bool,
    max_tokens: usize,
    count_tokens: &TokenCounter,
) -> Result<Option<String>> {
    let text = without_markup(&main_part(answer));
    if text.is_empty() || is_refusal(&text) {
        return Ok(None);
    }
    let mut text = without_repeats(&text);
    if !is_complete {
        text = shortened(&text).unwrap_or(text);
    }
    while count_tokens(&text)? > max_tokens {
        let Some(shorter) = shortened(&text) else {
            return Ok(None);
        };
        text = shorter;
    }
    Ok(Some(text))
}

/// Lines up to the first note, in one line, without a heading such as `Enhanced prompt:`.
fn main_part(answer: &str) -> String {
    const NOTES: &[&str] = &[
        "note:",
        "notes:",
        "explanation:",
        "this prompt",
        "negative prompt:",
    ];
    let starts = |line: &str, words: &[&str]| {
        let line = line.trim_start_matches(['*', '#', '_', ' ']).to_lowercase();
        words.iter().any(|w| line.starts_with(w))
    };
    let mut kept: Vec<&str> = Vec::new();
    for line in answer.lines().map(str::trim) {
        if line.starts_with("```") || line.is_empty() {
            continue;
        }
        if !kept.is_empty() && starts(line, NOTES) {
            break;
        }
        kept.push(line);
    }
    if let Some(first) = kept.first_mut() {
        *first = without_heading(first);
    }
    kept.retain(|line| !line.is_empty());
    kept.join(" ")
}

/// Drops `Enhanced prompt:`, `Here is the enhanced version of your prompt:` and the like.
fn without_heading(line: &str) -> &str {
    const OPENINGS: &[&str] = &[
        "enhanced",
        "prompt",
        "here is",
        "here's",
        "sure",
        "certainly",
        "improved",
        "rewritten",
    ];
    let Some((heading, rest)) = line.split_once(':') else {
        return line;
    };
    let plain = heading
        .trim_start_matches(['*', '#', '_', ' ', '"'])
        .to_lowercase();
    let is_heading = plain.split_whitespace().count() <= 12 && OPENINGS.iter().any(|o| plain.starts_with(o));
    if is_heading { rest.trim() } else { line }
}

/// Without emphasis, list marks, control characters, runs of spaces and surrounding quotation marks.
fn without_markup(text: &str) -> String {
    let plain: String = text
        .replace("**", "")
        .replace(['`', '#'], "")
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let joined = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    let bare = joined.trim_start_matches(['-', '*', '•']).trim();
    let quotes = ['"', '“', '”', '„', '«', '»'];
    let inner = bare.trim_matches(quotes);
    let once_quoted = bare.starts_with(quotes) && !inner.contains(quotes);
    if once_quoted {
        inner.trim().into()
    } else {
        bare.into()
    }
}

fn is_refusal(text: &str) -> bool {
    const OPENINGS: &[&str] = &[
        "i'm sorry",
        "i am sorry",
        "sorry,",
        "i cannot",
        "i can't",
        "i can’t",
        "i’m sorry",
        "i am unable",
        "i'm unable",
        "as an ai",
    ];
    let lower = text.to_lowercase();
    OPENINGS.iter().any(|opening| lower.starts_with(opening))
}

/// Drops phrases between commas that were said before.
fn without_repeats(text: &str) -> String {
    let mut seen = std::collections::BTreeSet::new();
    let kept: Vec<&str> = text
        .split(", ")
        .filter(|phrase| seen.insert(phrase.trim().trim_end_matches(['.', ',']).to_lowercase()))
        .collect();
    kept.join(", ")
}

/// Without the last phrase or sentence; `None` when there is but one.
fn shortened(text: &str) -> Option<String> {
    let end = text.trim_end_matches(['.', ',', ';', ' ']);
    let cut = end.rfind([',', ';']).max(end.rfind(". "))?;
    let shorter = end[..cut].trim_end();
    (!shorter.is_empty()).then(|| shorter.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(answer: &str, is_complete: bool, max_tokens: usize) -> Option<String> {
        tidy(answer, is_complete, max_tokens, &|t| {
            Ok(t.split_whitespace().count())
        })
        .unwrap()
    }

    #[test]
    fn wrappings_of_chat_models_come_off() {
        for wrapped in [
            "a red circle, sharp",
            "\"a red circle, sharp\"",
            "“a red circle, sharp”",
            "Enhanced Prompt: a red circle, sharp",
            "**Enhanced prompt:** a red circle, sharp",
            "Here is the enhanced version of your prompt:\n\n\"a red circle, sharp\"\n\nNote: I kept the colour.",
            "Sure! Here's one:\n```\na red circle, sharp\n```",
            "- a red circle, sharp, sharp",
            "a red\u{1b} circle,\tsharp\n",
        ] {
            assert_eq!(
                run(wrapped, true, 75).as_deref(),
                Some("a red circle, sharp"),
                "{wrapped:?}"
            );
        }
    }

    #[test]
    fn a_colon_and_quotes_inside_a_prompt_stay() {
        for kept in [
            "a sign that says \"OPEN\"",
            "time: dusk, a red circle",
            "\"A\" and \"B\" as letters",
        ] {
            assert_eq!(run(kept, true, 75).as_deref(), Some(kept));
        }
    }

    #[test]
    fn empty_answers_and_refusals_are_none() {
        for useless in [
            "",
            " \n ",
            "\"\"",
            "I'm sorry, but I can't help with that.",
            "```\n```",
        ] {
            assert_eq!(run(useless, true, 75), None, "{useless:?}");
        }
    }

    #[test]
    fn long_and_unfinished_answers_end_at_a_phrase() {
        assert_eq!(
            run("a red circle, sharp, hi", false, 75).as_deref(),
            Some("a red circle, sharp")
        );
        assert_eq!(
            run("a red circle, sharp, crisp", true, 4).as_deref(),
            Some("a red circle, sharp")
        );
        assert_eq!(
            run("First one. Second one here.", true, 3).as_deref(),
            Some("First one")
        );
        assert_eq!(run("one phrase without any end", true, 3), None);
    }
}
