//! What every kind of work is settled from, and what several of them have in common.

use anyhow::Result;

use super::written::{Written, prompt};
use super::{loras, negatives, options};
use crate::config::Settings;
use crate::error::Error;
use crate::job::inputs::Input;
use crate::job::kinds::JobKind;
use crate::job::origin::Trust;
use crate::job::settled::Diffusion;
use crate::job::spec::JobSpec;
use crate::policy::Judge;
use crate::prompts;
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
    pub trust: Trust,
}

/// What SDXL and WAN jobs have in common. The content rules are checked here, before anything is
/// counted.
pub fn diffusion(
    asked: &Asked<'_>,
    written: &Written,
    has_reference: bool,
    notes: &mut Vec<String>,
) -> Result<Diffusion> {
    let Asked {
        spec,
        kind,
        model,
        settings,
        ..
    } = asked;
    let config = &spec.config;
    let prompt = prompt(spec)?;
    judge(spec, &prompt, written, has_reference, &Judge::of(settings))?;
    let scheduler = config.scheduler.clone().or(model.scheduler.clone());
    if let Some(name) = &scheduler {
        options::check_scheduler(name, kind)?;
    }
    let negative = negative(asked, written, notes)?;
    Ok(Diffusion {
        prompt: spec
            .enhanced_prompt
            .clone()
            .unwrap_or_else(|| written.prompt.clone()),
        negative_prompt: negative.text,
        auto_negative: negative.automatic,
        steps: config.steps.unwrap_or(kind.steps),
        guidance_scale: config.guidance_scale.unwrap_or(kind.guidance_scale),
        width: config.width.or(model.width).unwrap_or(kind.width),
        height: config.height.or(model.height).unwrap_or(kind.height),
        scheduler,
        loras: loras::find(&config.loras, &written.loras, asked.trust, settings)?,
        format: options::format(kind, config.format.as_deref())?,
    })
}

/// Every text of a spec that a picture is made of. Notation can hide a word from the eye: what is
/// encoded is judged beside what was written.
fn judge(spec: &JobSpec, prompt: &str, written: &Written, has_reference: bool, judge: &Judge) -> Result<()> {
    let encoded = |text: &str| Ok::<_, Error>(prompts::texts(written.syntax, text)?.concat());
    let mut texts = vec![
        ("prompt", prompt.to_string()),
        ("prompt", encoded(&written.prompt)?),
    ];
    if let Some(second) = &spec.config.prompt_2 {
        texts.extend([
            ("config.prompt_2", second.clone()),
            ("config.prompt_2", encoded(second)?),
        ]);
    }
    let more = [
        ("enhanced_prompt", &spec.enhanced_prompt),
        ("compel_weights", &spec.compel_weights),
    ];
    texts.extend(
        more.into_iter()
            .filter_map(|(field, text)| Some((field, text.clone()?))),
    );
    texts.dedup_by(|b, a| a.1 == b.1);
    let texts: Vec<(&str, &str)> = texts
        .iter()
        .map(|(field, text)| (*field, text.as_str()))
        .collect();
    let negatives = [&spec.negative_prompt, &spec.config.negative_prompt_2];
    let negatives: Vec<&str> = negatives.into_iter().flatten().map(String::as_str).collect();
    judge.job(&texts, &negatives, has_reference)
}

struct Negative {
    text: Option<String>,
    automatic: bool,
}

/// The automatic negative prompt, then the user's.
fn negative(asked: &Asked<'_>, written: &Written, notes: &mut Vec<String>) -> Result<Negative> {
    let prompt = &written.prompt;
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
    // What is encoded counts, and not the notation around it.
    let count = |text: &str| -> Result<usize> {
        let words = prompts::texts(written.syntax, text)?;
        words.iter().map(|word| (asked.count_tokens)(model, word)).sum()
    };
    let text = negatives::join(&terms, user, limit, &count)
        .map_err(|e| e.context("counting the tokens of the negative prompt"))?;
    Ok(Negative {
        text,
        automatic: true,
    })
}
