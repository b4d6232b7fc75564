//! What prompts say besides words: `<lora:NAME:SCALE>` and `embedding:NAME`.

use crate::error::{Error, ErrorKind};

/// One `<lora:NAME:SCALE>`.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraTag {
    pub name: String,
    pub scale: f64,
}

/// A prompt without its tags, and what the tags said.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tagged {
    pub prompt: String,
    pub loras: Vec<LoraTag>,
}

const START: &str = "<lora:";

/// Takes every `<lora:NAME:SCALE>` out of a prompt; `<lora:NAME>` means 1, and of
/// `<lora:NAME:UNET:TEXT>` the first number counts.
///
/// # Errors
/// `InvalidSpec` for a tag without a name or with a scale that is no number.
pub fn take_loras(prompt: &str) -> Result<Tagged, Error> {
    let mut tagged = Tagged::default();
    let mut rest = prompt;
    while let Some(at) = rest.find(START) {
        let Some(length) = rest[at..].find('>') else { break };
        let inner = &rest[at + START.len()..at + length];
        tagged.loras.push(read(inner)?);
        let after = &rest[at + length + 1..];
        let before = &rest[..at];
        tagged.prompt.push_str(before);
        // One of the two spaces or commas around a tag is enough.
        rest = match before.is_empty() || before.ends_with([' ', ',']) {
            true => after.trim_start_matches([' ', ',']),
            false => after,
        };
    }
    tagged.prompt.push_str(rest);
    if !tagged.loras.is_empty() {
        tagged.prompt = tagged.prompt.trim_end_matches([' ', ',']).to_string();
    }
    Ok(tagged)
}

fn read(inner: &str) -> Result<LoraTag, Error> {
    let mut fields = inner.split(':');
    let name = fields.next().unwrap_or_default().trim();
    let scale = fields
        .next()
        .map_or(Ok(1.0), |number| number.trim().parse::<f64>());
    match scale {
        Ok(scale) if scale.is_finite() && !name.is_empty() => Ok(LoraTag {
            name: name.to_string(),
            scale,
        }),
        _ => Err(Error::new(
            ErrorKind::InvalidSpec,
            format!("prompt: `<lora:{inner}>` is no lora"),
        )
        .hint("write <lora:NAME:SCALE>, such as <lora:film-grain:0.8>")),
    }
}

/// The names behind `embedding:`, which ComfyUI reads as textual inversions.
pub fn embeddings(prompt: &str) -> Vec<&str> {
    const MARK: &str = "embedding:";
    let name = |at: usize| {
        let rest = &prompt[at + MARK.len()..];
        let end = rest
            .find(|c: char| c.is_whitespace() || ",()".contains(c))
            .unwrap_or(rest.len());
        &rest[..end]
    };
    prompt
        .match_indices(MARK)
        .map(|(at, _)| name(at))
        .filter(|name| !name.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_taken_out_with_the_space_around_them() {
        for (prompt, left, loras) in [
            ("a cat", "a cat", vec![]),
            ("a cat, ", "a cat, ", vec![]),
            ("a cat <lora:film:0.8>", "a cat", vec![("film", 0.8)]),
            ("<lora:film> a cat", "a cat", vec![("film", 1.0)]),
            ("a <lora:x:-0.5> cat", "a cat", vec![("x", -0.5)]),
            (
                "a, <lora:x:1:0.5>, b <lora:y:2>",
                "a, b",
                vec![("x", 1.0), ("y", 2.0)],
            ),
            ("a <lora:x", "a <lora:x", vec![]),
        ] {
            let tagged = take_loras(prompt).unwrap();
            assert_eq!(tagged.prompt, left);
            let found: Vec<_> = tagged.loras.iter().map(|l| (l.name.as_str(), l.scale)).collect();
            assert_eq!(found, loras, "{prompt}");
        }
        for wrong in ["<lora::1>", "<lora:x:strong>", "<lora:x:inf>"] {
            assert!(take_loras(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn embeddings_are_found() {
        assert_eq!(
            embeddings("a (embedding:easy-neg:1.2), embedding:b"),
            ["easy-neg:1.2", "b"]
        );
        assert!(embeddings("embedding: a").is_empty());
    }
}
