//! `--dry-run`: every resolved value, and nothing loaded.

use serde_json::{Value, json};

use crate::commands::common::table;
use crate::config::Settings;
use crate::job::{Answering, Chat, Diffusion, Enhancing, Follow, Job, Video, Work};
use crate::progress::Reporter;
use crate::runner::{Runner, notes};

use super::earlier::State;
use super::prepare::Ready;

/// Prints what would run, as tables or as one JSON object a job.
pub fn print(reporter: &mut Reporter, jobs: &[Ready], runner: &Runner) {
    for ready in jobs {
        let mut record = record(ready, &runner.settings);
        count_tokens(&ready.job, runner, &mut record);
        if reporter.is_json() {
            reporter.stdout_line(&record.to_string());
        } else {
            let rows: Vec<Vec<String>> = record
                .as_object()
                .into_iter()
                .flatten()
                .filter(|(key, _)| *key != "event")
                .map(|(key, value)| vec![key.clone(), shown(value)])
                .collect();
            reporter.stdout_line(&table(&rows));
        }
    }
}

fn record(ready: &Ready, settings: &Settings) -> Value {
    let Ready { job, plan, state, .. } = ready;
    let outputs: Vec<String> = plan.assets.iter().map(|a| a.path.display().to_string()).collect();
    let dtype = settings.dtype.as_ref();
    let model = job.model.as_ref();
    let mut record = json!({
        "event": "dry_run",
        "job_id": job.id,
        "type": job.type_name,
        "model": job.model_name(),
        "family": model.map(|m| m.family.name()),
        "seeds": job.seeds,
        "seed_drawn": job.seed_drawn,
        "device": settings.device,
        "dtype": dtype.or(model.and_then(|m| m.dtype.as_ref())).map_or("the device's", String::as_str),
        "limit_bytes": job.kind.limit_bytes,
        "outputs": outputs,
        "callback": plan.callback.as_ref().map(|path| path.display().to_string()),
        "done": matches!(state, State::Done { .. }),
        "notes": notes(job),
        "ignored": job.ignored,
    });
    if let Some(d) = job.diffusion() {
        put(&mut record, diffusion(d, job.seeds.len()));
    }
    match &job.work {
        Work::Images(images) => put(
            &mut record,
            json!({
                "prompt_syntax": images.prompt_syntax.name(),
                "truncate_prompt": images.truncate_prompt,
                "deterministic": images.deterministic,
                "effective_steps": images.effective_steps(),
                "reference_mode": images.follow.as_ref().map_or("none", Follow::mode),
                "strength": match &images.follow {
                    Some(Follow::Start { strength, .. }) => json!(strength),
                    _ => json!("none"),
                },
            }),
        ),
        Work::Video(video) => put(&mut record, video_options(video)),
        Work::EnhancedVideo(enhancing, video) => {
            put(&mut record, video_options(video));
            put(&mut record, enhancing_options(enhancing));
        }
        Work::Enhance(enhancing) => put(&mut record, enhancing_options(enhancing)),
        Work::Chat(chat) => put(&mut record, chat_options(chat)),
        Work::Admin => {}
    }
    if let Some(bytes) = model.and_then(|m| m.memory_bytes) {
        record["memory_bytes"] = bytes.into();
    }
    record
}

fn put(record: &mut Value, more: Value) {
    if let (Value::Object(record), Value::Object(more)) = (record, more) {
        record.extend(more);
    }
}

fn diffusion(d: &Diffusion, num_images: usize) -> Value {
    json!({
        "prompt": d.prompt,
        "negative_prompt": d.negative_prompt,
        "auto_negative": d.auto_negative,
        "num_images": num_images,
        "steps": d.steps,
        "effective_steps": effective_steps(d.scheduler.as_deref(), d.steps),
        "guidance_scale": d.guidance_scale,
        "width": d.width,
        "height": d.height,
        "scheduler": d.scheduler.as_deref().unwrap_or("the model's own"),
        "loras": d.loras.iter().map(|l| format!("{}:{}", l.path.display(), l.scale)).collect::<Vec<_>>(),
        "format": d.format.name(),
    })
}

fn video_options(video: &Video) -> Value {
    json!({
        "frames": video.frames,
        "fps": video.fps,
        "duration_seconds": f64::from(video.frames) / video.fps,
        "flow_shift": video.flow_shift.map_or(json!("the model's own"), Value::from),
        "vae_tiling": video.vae_tiling,
        "reference_mode": video.references.mode(),
        "reference_strength": video.references.strength,
    })
}

fn enhancing_options(enhancing: &Enhancing) -> Value {
    let mut record = json!({
        "prompt": enhancing.prompt,
        "enhanced_prompt": enhancing.known.as_deref().unwrap_or("not yet made"),
        "enhance_for": enhancing.target,
        "enhancement_type": enhancing.style,
        "enhancement_model": enhancing.model,
    });
    put(&mut record, answering_options(&enhancing.answering));
    record
}

fn chat_options(chat: &Chat) -> Value {
    let mut record = json!({"turns": chat.turns.len()});
    put(&mut record, answering_options(&chat.answering));
    record
}

fn answering_options(answering: &Answering) -> Value {
    let or_default = |value: Option<Value>| value.unwrap_or_else(|| json!("the default"));
    json!({
        "temperature": or_default(answering.temperature.map(Value::from)),
        "top_p": or_default(answering.top_p.map(Value::from)),
        "top_k": or_default(answering.top_k.map(Value::from)),
        "repetition_penalty": or_default(answering.repetition_penalty.map(Value::from)),
        "max_tokens": or_default(answering.max_tokens.map(Value::from)),
        "system_prompt": or_default(answering.system_prompt.clone().map(Value::from)),
    })
}

/// A vocabulary that cannot be read is the run's error, not the preview's.
fn count_tokens(job: &Job, runner: &Runner, record: &mut Value) {
    let Some(d) = job.diffusion() else {
        return;
    };
    if let Ok(Some(tokens)) = runner.count_tokens(job, &d.prompt) {
        record["prompt_tokens"] = tokens.into();
        if let Work::Images(images) = &job.work {
            record["tokens_per_chunk"] = json!(chunks(tokens, images.truncate_prompt));
        }
    }
}

/// Tokens that fit between the begin and the end mark of one chunk.
const CHUNK_TOKENS: usize = 75;

fn chunks(tokens: usize, truncate: bool) -> Vec<usize> {
    if truncate || tokens <= CHUNK_TOKENS {
        return vec![tokens.min(CHUNK_TOKENS)];
    }
    let full = vec![CHUNK_TOKENS; tokens / CHUNK_TOKENS];
    let rest = tokens % CHUNK_TOKENS;
    full.into_iter().chain((rest > 0).then_some(rest)).collect()
}

/// Heun looks at every step but the last twice.
fn effective_steps(scheduler: Option<&str>, steps: u32) -> u32 {
    match scheduler {
        Some(name) if name.to_lowercase().starts_with("heun") => (2 * steps).saturating_sub(1),
        _ => steps,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".into(),
        Value::Array(all) if all.is_empty() => "none".into(),
        Value::Array(all) => all.iter().map(shown).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_prompts_fill_chunks_of_75_and_truncation_keeps_one() {
        assert_eq!(chunks(0, false), [0]);
        assert_eq!(chunks(75, false), [75]);
        assert_eq!(chunks(160, false), [75, 75, 10]);
        assert_eq!(chunks(160, true), [75]);
    }

    #[test]
    fn heun_advances_once_less_than_twice_as_often() {
        assert_eq!(effective_steps(Some("heun"), 15), 29);
        assert_eq!(effective_steps(None, 15), 15);
    }
}
