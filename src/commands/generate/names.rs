//! What the placeholders of `--output` become.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::job::Job;

/// Of a prompt no more than this stands in a name: it is to be recognised, not read.
const LONGEST_PROMPT_CHARS: usize = 60;
/// The same in bytes, for writings whose letters take several: a name has about 255.
const LONGEST_PROMPT_BYTES: usize = 120;

/// The values for one file.
#[derive(Debug, Clone, Copy)]
pub struct Names<'a> {
    pub id: &'a str,
    pub prompt: &'a str,
    pub seed: u64,
    pub index: usize,
}

impl<'a> Names<'a> {
    pub fn of(job: &'a Job, index: usize) -> Self {
        Self {
            id: &job.id,
            prompt: job.spec.prompt.as_deref().unwrap_or_default(),
            seed: job.seeds.get(index).copied().unwrap_or_default(),
            index,
        }
    }

    /// Fills every placeholder in once: what a value holds is not looked at again.
    pub fn fill(&self, template: &str, date: &str) -> String {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                filled.push('{');
                rest = after;
                continue;
            };
            match name {
                "id" => filled.push_str(self.id),
                "seed" => filled.push_str(&self.seed.to_string()),
                "index" => filled.push_str(&self.index.to_string()),
                "prompt" => filled.push_str(&in_a_name(self.prompt)),
                "date" => filled.push_str(date),
                other => filled.push_str(&format!("{{{other}}}")),
            }
            rest = after;
        }
        filled.push_str(rest);
        filled
    }
}

/// A prompt as part of a file name: letters and digits of any writing, with a dash for what is between
/// them, so that it neither leaves the folder nor needs quotes.
fn in_a_name(prompt: &str) -> String {
    let mut name = String::new();
    for c in prompt.nfc() {
        if name.chars().count() >= LONGEST_PROMPT_CHARS || name.len() + c.len_utf8() > LONGEST_PROMPT_BYTES {
            break;
        }
        if c.is_alphanumeric() || (is_combining_mark(c) && !name.is_empty()) {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.trim_end_matches('-');
    if name.is_empty() {
        "prompt".into()
    } else {
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_becomes_a_name_that_stays_in_its_folder() {
        for (prompt, name) in [
            ("a red circle, on white", "a-red-circle-on-white"),
            ("../../etc/passwd", "etc-passwd"),
            ("(golden light:1.3) <lora:x:1>", "golden-light-1-3-lora-x-1"),
            ("Cafe\u{301} 灯台", "Café-灯台"),
            ("  \u{202e}\n", "prompt"),
            ("", "prompt"),
        ] {
            assert_eq!(in_a_name(prompt), name, "{prompt}");
        }
        assert_eq!(in_a_name(&"x".repeat(300)).len(), LONGEST_PROMPT_CHARS);
        assert!(in_a_name(&"灯".repeat(300)).len() <= LONGEST_PROMPT_BYTES);
    }

    #[test]
    fn values_are_not_filled_in_again() {
        let names = Names {
            id: "{seed}",
            prompt: "a b",
            seed: 7,
            index: 2,
        };
        assert_eq!(
            names.fill("{date}/{id}-{prompt}-{seed}-{index}.png", "2026-11-26"),
            "2026-11-26/{seed}-a-b-7-2.png"
        );
    }
}
