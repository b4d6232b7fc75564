//! Answers in a conversation.

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::language::{Listener, sampling, text_model};
use super::loader::Ability;
use super::run::{Finished, Run, Runner, notes};
use crate::enhance::prompts::SystemPrompts;
use crate::fail;
use crate::job::{Chat, Speaker};
use crate::pipelines::Event;
use crate::pipelines::qwen::{FinishReason, Message, Role, TextModel, TextRequest};
use crate::policy::Judge;

/// New tokens of an answer unless a job says otherwise.
const MAX_NEW_TOKENS: u32 = 512;

pub(super) fn make(runner: &mut Runner, chat: &Chat, run: &mut Run<'_>) -> Result<Finished> {
    let (job, spec) = (run.job, run.model()?);
    let judge = Judge::of(&runner.settings);
    let mut messages = messages(runner, chat)?;
    let listener = Listener::new(&mut run.progress, &judge);
    let mut loading = |event: Event| listener.event(event);
    let (loaded, load_time) = runner.loader.get(spec, Ability::Text, &mut loading)?;
    let model = text_model(&mut loaded.pipeline, spec)?;
    let max_new_tokens = chat.answering.max_tokens.unwrap_or(MAX_NEW_TOKENS) as usize;
    let mut notes = notes(job);
    drop_oldest(&*model, &mut messages, max_new_tokens, &mut notes)?;

    let request = TextRequest {
        messages,
        sampling: sampling(&chat.answering, spec)?,
        seed: job.seeds[0],
        max_new_tokens,
    };
    let asked: Vec<&str> = request.messages.iter().map(|m| m.content.as_str()).collect();
    let mut written = String::new();
    listener.event(Event::Stage("answer"))?;
    let output = model.generate(&request, &mut |piece| {
        written.push_str(piece);
        listener.text(&asked, &written)
    })?;
    let response = output.text.trim();
    if response.is_empty() {
        fail!(
            BadOutput, "model `{}` gave an empty answer", spec.name;
            "try another seed or a temperature above 0, or rephrase the newest turn"
        );
    }
    let texts: Vec<(&str, &str)> = asked
        .iter()
        .map(|text| ("messages", *text))
        .chain([("the answer", response)])
        .collect();
    judge.texts(&texts, false)?;
    if output.finish_reason == FinishReason::Length {
        notes.push(format!(
            "the answer ends after {} tokens, at its limit",
            output.tokens_generated
        ));
    }
    let mut metadata = Map::new();
    metadata.insert("response".into(), response.into());
    metadata.insert("tokens_generated".into(), output.tokens_generated.into());
    metadata.insert("prompt_tokens".into(), output.prompt_tokens.into());
    metadata.insert("finish_reason".into(), finish_reason(output.finish_reason));
    metadata.insert("model_hash".into(), json!(loaded.hash));
    metadata.insert("device".into(), json!(loaded.device));
    metadata.insert("dtype".into(), json!(loaded.dtype));
    metadata.insert("notes".into(), json!(notes));
    let mut finished = Finished {
        answer: Some(response.to_string()),
        metadata,
        ..Finished::default()
    };
    finished.timings.extend(load_time.map(|time| ("load", time)));
    finished.timings.insert("prefill", output.prefill);
    finished.timings.insert("decode", output.decode);
    Ok(finished)
}

fn finish_reason(reason: FinishReason) -> Value {
    match reason {
        FinishReason::Stop => "stop".into(),
        FinishReason::Length => "length".into(),
    }
}

/// The turns as the model takes them, behind the job's or the operator's system message.
fn messages(runner: &Runner, chat: &Chat) -> Result<Vec<Message>> {
    let role = |speaker| match speaker {
        Speaker::System => Role::System,
        Speaker::User => Role::User,
        Speaker::Assistant => Role::Assistant,
    };
    let turns = chat
        .turns
        .iter()
        .map(|turn| Message::new(role(turn.role), turn.content.clone()));
    let has_system = chat.turns.iter().any(|turn| turn.role == Speaker::System);
    let system = match &chat.answering.system_prompt {
        Some(text) => Some(text.clone()),
        None if has_system => None,
        None => SystemPrompts::new(Some(runner.settings.config_dir.clone())).chat(chat.unrestricted)?,
    };
    let system = system.map(|text| Message::new(Role::System, text));
    Ok(system.into_iter().chain(turns).collect())
}

/// Leaves out the oldest turns until an answer of full length fits into the context. The newest turn
/// stays whatever its length: the model refuses one that leaves no room at all, with the numbers.
fn drop_oldest(
    model: &dyn TextModel,
    messages: &mut Vec<Message>,
    max_new_tokens: usize,
    notes: &mut Vec<String>,
) -> Result<()> {
    // An answer as long as the context would leave no room for any history.
    let reserve = max_new_tokens.min(model.context_tokens() / 2);
    let room = model.context_tokens() - reserve;
    let mut dropped = 0;
    while model.count_tokens(messages)? > room {
        let older = &messages[..messages.len() - 1];
        let Some(oldest) = older.iter().position(|m| m.role != Role::System) else {
            break;
        };
        messages.remove(oldest);
        dropped += 1;
    }
    if dropped > 0 {
        notes.push(format!(
            "the {dropped} oldest turns are left out: the context of `{}` holds {} tokens, {reserve} of them for the answer",
            model.name(),
            model.context_tokens()
        ));
    }
    Ok(())
}
