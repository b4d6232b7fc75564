//! What every kind of work is settled from, and what several of them have in common.

use anyhow::Result;

use super::negatives;
use super::options;
use crate::config::Settings;
use crate::fail;
use crate::job::inputs::Input;
use crate::job::kinds::JobKind;
use crate::job::settled::Diffusion;
use crate::job::spec::JobSpec;
use crate::policy::Judge;
use crate::registry::{ModelSpec, Registry};

/// Counts a text's tokens as the model's tokenizer sees them, without begin and end marks.
pub type CountTokens<'a> = dyn Fn(&ModelSpec, &str) -> Result<usize> + 'a;

/// What a kind of work is settled from.
pub struct Asked<'a> {
    pub spec: &'a JobSpec,
    pub kind: &'static JobKind,
    pub model: &'a ModelSpec,
    pub registry: &'a Registry,
    pub settings: &'a Settings,
    pub count_tokens: &'a CountTokens<'a>,
    /// The pictures that the spec names.
    pub inputs: &'a [Input],
}

/// What SDXL and WAN jobs have in common. The content rules are checked here, before anything is
/// counted.
pub fn diffusion(asked: &Asked<'_>, has_reference: bool, notes: &mut Vec<String>) -> Result<Diffusion> {
    let Asked {
        spec,
        kind,
        model,
        settings,
        ..
    } = asked;
    let config = &spec.config;
    let prompt = prompt(spec)?;
    judge(spec, &prompt, has_reference, &Judge::of(settings))?;
    let scheduler = config.scheduler.clone().or(model.scheduler.clone());
    if let Some(name) = &scheduler {
        options::check_scheduler(name, kind)?;
    }
    let negative = negative(asked, &prompt, notes)?;
    Ok(Diffusion {
        prompt: spec.enhanced_prompt.clone().unwrap_or(prompt),
        negative_prompt: negative.text,
        auto_negative: negative.automatic,
        steps: config.steps.unwrap_or(kind.steps),
        guidance_scale: config.guidance_scale.unwrap_or(kind.guidance_scale),
        width: config.width.or(model.width).unwrap_or(kind.width),
        height: config.height.or(model.height).unwrap_or(kind.height),
        scheduler,
        format: options::format(kind, config.format.as_deref())?,
    })
}

/// Every text of a spec that a picture is made of.
fn judge(spec: &JobSpec, prompt: &str, has_reference: bool, judge: &Judge) -> Result<()> {
    let mut texts = vec![("prompt", prompt)];
    let more = [
        ("enhanced_prompt", &spec.enhanced_prompt),
        ("compel_weights", &spec.compel_weights),
    ];
    texts.extend(
        more.into_iter()
            .filter_map(|(field, text)| Some((field, text.as_deref()?))),
    );
    let negatives: Vec<&str> = spec.negative_prompt.as_deref().into_iter().collect();
    judge.job(&texts, &negatives, has_reference)
}

/// # Errors
/// `InvalidSpec` without one.
pub fn prompt(spec: &JobSpec) -> Result<String> {
    match &spec.prompt {
        Some(prompt) => Ok(prompt.clone()),
        None => fail!(InvalidSpec, "prompt is missing"; "give a prompt"),
    }
}

struct Negative {
    text: Option<String>,
    automatic: bool,
}

/// The automatic negative prompt, then the user's.
fn negative(asked: &Asked<'_>, prompt: &str, notes: &mut Vec<String>) -> Result<Negative> {
    let Asked {
        spec, kind, model, ..
    } = asked;
    let user = spec.negative_prompt.as_deref();
    let none_for_model = model
        .auto_negative
        .as_deref()
        .is_some_and(|a| a.trim().is_empty());
    if none_for_model && spec.config.auto_negative == Some(true) {
        notes.push(format!("model `{}` has no automatic negative prompt", model.name));
    }
    if none_for_model || spec.config.auto_negative == Some(false) {
        return Ok(Negative {
            text: user.map(str::to_owned),
            automatic: false,
        });
    }
    let terms = match &model.auto_negative {
        Some(own) => negatives::own_terms(own, prompt),
        None => negatives::terms_for(kind.family, prompt, asked.settings.content_mode),
    };
    let limit = negatives::limit_tokens(kind.family);
    let text = negatives::join(&terms, user, limit, &|text| (asked.count_tokens)(model, text))
        .map_err(|e| e.context("counting the tokens of the negative prompt"))?;
    Ok(Negative {
        text,
        automatic: true,
    })
}
