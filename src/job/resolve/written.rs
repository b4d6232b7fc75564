//! A prompt as the model is given it: without its tags, with a producer's weights.

use anyhow::{Context, Result};

use crate::fail;
use crate::job::settled::Strategy;
use crate::job::spec::JobSpec;
use crate::prompts::tags::{self, LoraTag, Tagged};
use crate::prompts::{self, PromptSyntax, producers};

/// A prompt as the model is given it, and how it is read.
pub struct Written {
    pub prompt: String,
    pub loras: Vec<LoraTag>,
    pub syntax: PromptSyntax,
    pub strategy: Strategy,
}

/// # Errors
/// `InvalidSpec` without one.
pub fn prompt(spec: &JobSpec) -> Result<String> {
    match &spec.prompt {
        Some(prompt) => Ok(prompt.clone()),
        None => fail!(InvalidSpec, "prompt is missing"; "give a prompt"),
    }
}

/// Takes the LoRAs out of a prompt, and puts a producer's `compel_weights` in.
///
/// # Errors
/// `InvalidSpec` without a prompt, for an unknown notation, and for one that is used wrongly.
pub fn written(spec: &JobSpec, notes: &mut Vec<String>) -> Result<Written> {
    let named = spec.config.prompt_syntax.as_deref();
    let named = named
        .map(str::parse::<PromptSyntax>)
        .transpose()
        .context("config.prompt_syntax")?;
    let asked = asks_for_compel(spec, notes);
    let syntax = named.unwrap_or(if asked {
        PromptSyntax::Compel
    } else {
        PromptSyntax::A1111
    });
    let tagged = match syntax {
        PromptSyntax::Plain => Tagged {
            prompt: prompt(spec)?,
            loras: Vec::new(),
        },
        _ => tags::take_loras(&prompt(spec)?)?,
    };
    let mut written = Written {
        prompt: tagged.prompt,
        loras: tagged.loras,
        syntax,
        strategy: Strategy::None,
    };
    if let [first, ..] = tags::embeddings(&written.prompt).as_slice() {
        notes.push(format!(
            "embedding:{first} is read as words: textual inversions are not loaded"
        ));
    }
    if asked {
        let weights = spec.compel_weights.as_deref().unwrap_or_default();
        let weighted = producers::with_weights(&written.prompt, weights);
        (written.prompt, written.strategy) = match syntax {
            PromptSyntax::Compel => (producers::to_compel(&weighted), Strategy::Compel),
            _ => (weighted, Strategy::None),
        };
    }
    check_notation(spec, &mut written, asked && named.is_none(), notes)?;
    Ok(written)
}

/// Whether a producer wants compel, by its switch or by the weights that it sends.
fn asks_for_compel(spec: &JobSpec, notes: &mut Vec<String>) -> bool {
    let weights = spec.compel_weights.as_deref().unwrap_or_default();
    let has_weights = !weights.trim().is_empty();
    if has_weights && spec.compel_enabled == Some(false) {
        notes.push("compel_weights is not applied: compel_enabled is false".into());
    }
    spec.compel_enabled.unwrap_or(has_weights)
}

/// Every text of the job is read once. `may_fall_back`: nobody named the notation, so that a prompt
/// which misuses it is drawn without.
fn check_notation(
    spec: &JobSpec,
    written: &mut Written,
    may_fall_back: bool,
    notes: &mut Vec<String>,
) -> Result<()> {
    let mut texts = vec![written.prompt.clone()];
    let more = [
        &spec.negative_prompt,
        &spec.config.prompt_2,
        &spec.config.negative_prompt_2,
    ];
    texts.extend(more.into_iter().flatten().cloned());
    for text in texts {
        match prompts::texts(written.syntax, &text) {
            Err(error) if may_fall_back => {
                notes.push(format!(
                    "compel cannot read the prompt ({error}): it is drawn without weights"
                ));
                (written.syntax, written.strategy) = (PromptSyntax::Plain, Strategy::Fallback);
            }
            other => drop(other?),
        }
    }
    Ok(())
}

/// A WAN prompt, which has no weights.
///
/// # Errors
/// `InvalidSpec` without a prompt or for a broken `<lora:…>`.
pub fn unweighted(spec: &JobSpec) -> Result<Written> {
    let tagged = tags::take_loras(&prompt(spec)?)?;
    Ok(Written {
        prompt: tagged.prompt,
        loras: tagged.loras,
        syntax: PromptSyntax::Plain,
        strategy: Strategy::None,
    })
}
