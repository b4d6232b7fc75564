//! Better prompts: as the result of a job, or on the way to a video.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Map, Value, json};

use super::language::{FromLoader, Listener, sampling};
use super::run::{Finished, Run, Runner, notes};
use super::video;
use crate::enhance::{self, EnhanceRequest, Enhancement, Enhancer, ModelSource, default_sampling};
use crate::job::{Enhancing, Job, Video, Work};
use crate::pipelines::{self, Event};
use crate::policy::Judge;
use crate::registry::ModelSpec;

/// What says, in place of a source, that the spec had the better prompt already.
const GIVEN: &str = "given";

/// The job whose result is a better prompt.
pub(super) fn prompt(runner: &mut Runner, enhancing: &Enhancing, run: &mut Run<'_>) -> Result<Finished> {
    let enhancement = enhance(runner, enhancing, false, run)?;
    let mut notes = notes(run.job);
    notes.extend(enhancement.notes.iter().cloned());
    let mut metadata = fields(&enhancement, enhancing.legacy_names);
    metadata.insert("response".into(), json!(enhancement.enhanced_prompt));
    if let Some(tokens) = enhancement.tokens_generated {
        metadata.insert("tokens_generated".into(), json!(tokens));
    }
    metadata.insert("notes".into(), json!(notes));
    let mut finished = Finished {
        answer: Some(enhancement.enhanced_prompt.clone()),
        metadata,
        ..Finished::default()
    };
    finished.timings.insert("enhance", time(&enhancement));
    Ok(finished)
}

/// The job that enhances its prompt and then draws. The language model stays loaded only if there is
/// room for it beside the one that draws: the loader's budget sees to that.
pub(super) fn enhanced_video(
    runner: &mut Runner,
    (enhancing, asked): (&Enhancing, &Video),
    run: &mut Run<'_>,
) -> Result<Finished> {
    if let Some(known) = &enhancing.known {
        let mut finished = video::make(runner, run.job, asked, run)?;
        finished.metadata.extend(given(&enhancing.prompt, known));
        return Ok(finished);
    }
    let has_reference = !asked.references.is_empty();
    let enhancement = enhance(runner, enhancing, has_reference, run)?;
    let mut enhanced = asked.clone();
    enhanced.diffusion.prompt = enhancement.enhanced_prompt.clone();
    let mut job = run.job.clone();
    job.spec.enhanced_prompt = Some(enhancement.enhanced_prompt.clone());
    job.notes.extend(enhancement.notes.iter().cloned());
    job.work = Work::Video(enhanced.clone());
    let mut finished = video::make(runner, &job, &enhanced, run)?;
    finished.timings.insert("enhance", time(&enhancement));
    finished
        .metadata
        .extend(fields(&enhancement, enhancing.legacy_names));
    Ok(finished)
}

fn time(enhancement: &Enhancement) -> Duration {
    Duration::from_secs_f64(enhancement.enhancement_time)
}

/// Runs the service and judges what came of it.
fn enhance(
    runner: &mut Runner,
    enhancing: &Enhancing,
    has_reference: bool,
    run: &mut Run<'_>,
) -> Result<Enhancement> {
    let judge = Judge::of(&runner.settings);
    let enhancer = Enhancer::of(&runner.settings, pipelines::clip_token_counter()?);
    let spec = language_model(runner, run.job, enhancing);
    let request = request(run.job, enhancing, spec.as_ref())?;
    let listener = Listener::new(&mut run.progress, &judge);
    listener.event(Event::Stage("enhance"))?;
    let mut written = String::new();
    let mut reading = |piece: &str| {
        written.push_str(piece);
        listener.text(&[&enhancing.prompt], &written)
    };
    let mut loading = |event: Event| listener.event(event);
    let enhancement = match &spec {
        Some(spec) => {
            let mut model = FromLoader {
                loader: &mut runner.loader,
                spec,
                observer: &mut loading,
            };
            let model: &mut dyn ModelSource = &mut model;
            enhancer.enhance(Some(model), &request, &mut reading)?
        }
        None => enhancer.enhance(None, &request, &mut reading)?,
    };
    // The model's being stopped counts as its failure above; the job's being stopped does not.
    run.progress.check()?;
    for note in &enhancement.notes {
        run.progress.note(note);
    }
    let system_prompt = enhancing.answering.system_prompt.as_deref().unwrap_or_default();
    let texts = [
        ("config.system_prompt", system_prompt),
        ("prompt", enhancing.prompt.as_str()),
        ("the enhanced prompt", &enhancement.enhanced_prompt),
    ];
    judge.texts(&texts, has_reference)?;
    Ok(enhancement)
}

/// The job's own model, or the one that is routed to enhancement.
fn language_model(runner: &Runner, job: &Job, enhancing: &Enhancing) -> Option<ModelSpec> {
    match &job.work {
        Work::Enhance(_) => job.model.clone(),
        _ => enhancing
            .model
            .as_deref()
            .and_then(|name| runner.registry.entry(name))
            .cloned(),
    }
}

fn request(job: &Job, enhancing: &Enhancing, spec: Option<&ModelSpec>) -> Result<EnhanceRequest> {
    let answering = &enhancing.answering;
    let sampling = match spec {
        Some(spec) => sampling(answering, spec)?,
        None => default_sampling(false),
    };
    let max_new_tokens = answering.max_tokens.map(|tokens| tokens as usize);
    Ok(EnhanceRequest {
        style: enhancing.style.parse()?,
        system_prompt: answering.system_prompt.clone(),
        sampling: Some(sampling),
        // A drawn seed is for the picture: the same prompt shall find its answer in the cache.
        seed: match job.seeds.first() {
            Some(&seed) if !job.seed_drawn => seed,
            _ => 0,
        },
        max_new_tokens: max_new_tokens.unwrap_or(enhance::MAX_NEW_TOKENS),
        ..EnhanceRequest::new(enhancing.prompt.clone(), enhancing.target.parse()?)
    })
}

/// The enhancement's fields, under names that do not hide the job's own.
fn fields(enhancement: &Enhancement, legacy_names: bool) -> Map<String, Value> {
    const OF_THE_JOB: &[&str] = &[
        "model",
        "model_hash",
        "model_dtype",
        "model_embedded",
        "tokens_generated",
        "prompt_tokens",
        "seed",
        "cached",
    ];
    let mut renamed = Map::new();
    for (name, value) in enhancement.fields(legacy_names) {
        match name.as_str() {
            // They are among the job's notes.
            "notes" => continue,
            own if OF_THE_JOB.contains(&own) => renamed.insert(format!("enhancement_{own}"), value),
            _ => renamed.insert(name, value),
        };
    }
    renamed
}

/// What is true of a prompt that was enhanced elsewhere, as in a replay.
fn given(original: &str, enhanced: &str) -> Map<String, Value> {
    let record = json!({
        "original_prompt": original,
        "enhanced_prompt": enhanced,
        "enhancement_source": GIVEN,
    });
    match record {
        Value::Object(record) => record,
        _ => unreachable!("an object, as written above"),
    }
}
