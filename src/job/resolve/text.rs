//! Jobs of a language model: conversations and better prompts, settled and checked.

use anyhow::Result;
use serde_json::Value as Json;

use super::asked::Asked;
use super::written::prompt;
use super::written::unweighted;
use crate::config::{ContentMode, nearest, shown};
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::job::kinds::{self, UNRESTRICTED};
use crate::job::settled::{Answering, Chat, Enhancing};
use crate::job::spec::JobSpec;
use crate::job::turns::{Speaker, Turn, shorten};
use crate::policy::Judge;
use crate::registry::{self, Source};

const STYLES: &[&str] = &["manual", "cinematic", "custom"];

/// # Errors
/// `InvalidSpec` for a conversation without a newest turn of the user's or with two system messages
/// of different places, `Refused` by the content rules or without the operator's leave.
pub fn chat(asked: &Asked<'_>, notes: &mut Vec<String>) -> Result<Chat> {
    let Asked { spec, settings, .. } = asked;
    let unrestricted = asked.kind.name == UNRESTRICTED;
    if unrestricted && settings.content_mode != ContentMode::Adult {
        fail!(
            Refused, "refused by the content rules: type `{UNRESTRICTED}` is the operator's to allow";
            "the operator sets content_mode = \"adult\" under [policy] in config.toml"
        );
    }
    let mut turns = spec.messages.clone();
    append_prompt(&mut turns, spec.prompt.as_deref())?;
    check_turns(&turns, spec)?;
    shorten(&mut turns, notes);
    let answering = answering(spec, asked.model.source == Source::Embedded)?;
    let names: Vec<String> = (0..turns.len()).map(|i| format!("messages[{i}]")).collect();
    let system = answering.system_prompt.as_deref();
    let texts: Vec<(&str, &str)> = names
        .iter()
        .zip(&turns)
        .map(|(name, turn)| (name.as_str(), turn.content.as_str()))
        .chain(system.map(|text| ("config.system_prompt", text)))
        .collect();
    Judge::of(settings).texts(&texts, false)?;
    Ok(Chat {
        turns,
        answering,
        unrestricted,
    })
}

/// `prompt` is the newest turn; producers that send it in both places mean one.
fn append_prompt(turns: &mut Vec<Turn>, prompt: Option<&str>) -> Result<()> {
    let Some(prompt) = prompt else {
        return Ok(());
    };
    match turns.last() {
        Some(last) if last.role == Speaker::User && last.content == prompt => Ok(()),
        Some(last) if last.role == Speaker::User => {
            fail!(InvalidSpec, "prompt and the newest turn of messages are both the user's and differ"; "leave one of them out")
        }
        _ => {
            turns.push(Turn {
                role: Speaker::User,
                content: prompt.into(),
            });
            Ok(())
        }
    }
}

fn check_turns(turns: &[Turn], spec: &JobSpec) -> Result<()> {
    let Some(newest) = turns.last() else {
        fail!(InvalidSpec, "messages is missing"; "give messages as a list of {{role, content}}, or prompt for a single turn");
    };
    if newest.role != Speaker::User {
        fail!(InvalidSpec, "messages ends with a turn that is not the user's"; "the newest turn, which is answered, is the user's");
    }
    if newest.content.trim().is_empty() {
        fail!(InvalidSpec, "the newest turn of messages is empty"; "write what is to be answered");
    }
    let has_system = turns.iter().any(|turn| turn.role == Speaker::System);
    if has_system && spec.config.system_prompt.is_some() {
        fail!(InvalidSpec, "config.system_prompt is given beside a turn of the system in messages"; "leave one of them out");
    }
    Ok(())
}

/// # Errors
/// `InvalidSpec` for a type or style that does not exist, `Refused` by the content rules.
pub fn enhancing(asked: &Asked<'_>) -> Result<Enhancing> {
    let Asked {
        spec,
        kind,
        settings,
        registry,
        ..
    } = asked;
    let prompt = match kind.enhanced {
        true => unweighted(spec)?.prompt,
        false => prompt(spec)?,
    };
    if prompt.trim().is_empty() {
        fail!(InvalidSpec, "prompt is empty"; "it needs at least one word");
    }
    // What the model is told to do is judged together with what it is asked.
    let mut texts = vec![("prompt", prompt.as_str())];
    texts.extend(
        spec.config
            .system_prompt
            .as_deref()
            .map(|text| ("config.system_prompt", text)),
    );
    let negatives: Vec<&str> = spec.negative_prompt.as_deref().into_iter().collect();
    Judge::of(settings).job(&texts, &negatives, false)?;
    let (target, model) = if kind.enhanced {
        (
            kind.name.to_string(),
            registry.route(registry::ENHANCE).map(String::from),
        )
    } else {
        (target(spec)?, Some(asked.model.name.clone()))
    };
    let language = model.as_ref().and_then(|name| registry.entry(name));
    let is_embedded = language.is_some_and(|m| m.source == Source::Embedded);
    Ok(Enhancing {
        prompt,
        target,
        style: style(spec)?,
        answering: answering(spec, is_embedded)?,
        model,
        known: spec.enhanced_prompt.clone(),
        legacy_names: spec.config.legacy_names.unwrap_or(settings.enhance.legacy_names),
    })
}

fn target(spec: &JobSpec) -> Result<String> {
    let Some(name) = spec.config.enhance_for.as_deref() else {
        return Ok("sdxl_image_fast".into());
    };
    match kinds::find(name) {
        Some(kind) if kind.draws() => Ok(name.into()),
        _ => {
            let names: Vec<&str> = kinds::KINDS
                .iter()
                .filter(|k| k.draws())
                .map(|k| k.name)
                .collect();
            let message = format!(
                "config.enhance_for is `{}`, it must be one of {}",
                shown(name),
                names.join(", ")
            );
            let error = Error::new(ErrorKind::InvalidSpec, message);
            Err(match nearest(name, names) {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("leave it out for sdxl_image_fast"),
            }
            .into())
        }
    }
}

/// `metadata.enhancement_type`; `base` is an older name of `manual`.
fn style(spec: &JobSpec) -> Result<String> {
    match spec.metadata.get("enhancement_type").and_then(Json::as_str) {
        None | Some("base") => Ok("manual".into()),
        Some(name) if STYLES.contains(&name) => Ok(name.into()),
        Some(other) => fail!(
            InvalidSpec, "metadata.enhancement_type is `{}`, it must be one of {}", shown(other), STYLES.join(", ");
            "leave it out for manual"
        ),
    }
}

fn answering(spec: &JobSpec, is_embedded: bool) -> Result<Answering> {
    let config = &spec.config;
    let greedy = config.temperature.map_or(is_embedded, |t| t == 0.0);
    let without_effect = [
        ("config.top_p", config.top_p.is_some()),
        ("config.top_k", config.top_k.is_some()),
    ];
    if let Some((name, _)) = without_effect.iter().find(|(_, given)| *given && greedy) {
        fail!(
            InvalidSpec, "{name} has no effect at temperature 0, where the most probable token is taken always";
            "give config.temperature above 0 too; 0 is the built-in model's default"
        );
    }
    Ok(Answering {
        temperature: config.temperature,
        top_p: config.top_p,
        top_k: config.top_k,
        repetition_penalty: config.repetition_penalty,
        max_tokens: config.max_tokens,
        system_prompt: config
            .system_prompt
            .clone()
            .filter(|text| !text.trim().is_empty()),
    })
}
