//! The table of spec fields: names, aliases, where they may stand, what they may hold.

use serde_json::Value as Json;

use super::messages;
use super::node::{Node, Value};
use crate::config::shown;

/// Where the canonical form of a spec keeps a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Home {
    Top,
    Config,
    Metadata,
}

/// What a field may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Content {
    Text,
    /// `[A-Za-z0-9_-]{1,128}`: it becomes part of file names and object keys.
    Id,
    Bool,
    Integer {
        min: u64,
        max: u64,
        multiple_of: u64,
    },
    OneOf(&'static [u64]),
    Real {
        min: f64,
        max: f64,
    },
    /// One text or a list of texts.
    Texts,
    /// The turns of a conversation.
    Messages,
}

/// One field under its canonical name.
#[derive(Debug)]
pub(super) struct Field {
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    pub home: Home,
    /// May also stand in `config`, in `metadata` and at the top level, whatever its home.
    pub anywhere: bool,
    pub content: Content,
}

const fn top(name: &'static str, aliases: &'static [&'static str], content: Content) -> Field {
    Field {
        name,
        aliases,
        home: Home::Top,
        anywhere: false,
        content,
    }
}

const fn any(home: Home, name: &'static str, aliases: &'static [&'static str], content: Content) -> Field {
    Field {
        name,
        aliases,
        home,
        anywhere: true,
        content,
    }
}

const fn option(name: &'static str, aliases: &'static [&'static str], content: Content) -> Field {
    any(Home::Config, name, aliases, content)
}

const fn whole(min: u64, max: u64) -> Content {
    Content::Integer {
        min,
        max,
        multiple_of: 1,
    }
}

const fn real(min: f64, max: f64) -> Content {
    Content::Real { min, max }
}

/// Sizes in pixels, for every model: SDXL's latents are an eighth of them.
const SIZE: Content = Content::Integer {
    min: 64,
    max: 4096,
    multiple_of: 8,
};

/// Seeds are non-negative signed 64-bit numbers, so that every producer can hold one.
pub(super) const MAX_SEED: u64 = i64::MAX as u64;

/// `config`, `metadata` and `expect` hold fields and are none themselves.
pub(super) static FIELDS: &[Field] = &[
    top("id", &["job_id", "jobId"], Content::Id),
    top("type", &["job_type", "jobType"], Content::Text),
    any(Home::Top, "model", &[], Content::Text),
    top("prompt", &[], Content::Text),
    any(Home::Top, "negative_prompt", &[], Content::Text),
    top("user_id", &["userId"], Content::Id),
    any(Home::Top, "compel_enabled", &[], Content::Bool),
    any(Home::Top, "compel_weights", &[], Content::Text),
    top("callback_url", &[], Content::Text),
    option("num_images", &[], Content::OneOf(&[1, 3, 6])),
    option("seed", &[], whole(0, MAX_SEED)),
    option("steps", &["num_inference_steps", "sample_steps"], whole(1, 150)),
    option(
        "guidance_scale",
        &["cfg_scale", "sample_guide_scale"],
        real(0.0, 30.0),
    ),
    option("width", &[], SIZE),
    option("height", &[], SIZE),
    option("scheduler", &[], Content::Text),
    option("auto_negative", &[], Content::Bool),
    option("truncate_prompt", &[], Content::Bool),
    option("deterministic", &[], Content::Bool),
    option("frames", &["frame_num"], whole(1, 1001)),
    option("fps", &[], real(1.0, 120.0)),
    option("flow_shift", &["sample_shift"], real(0.0, 100.0)),
    option("vae_tiling", &[], Content::Bool),
    option("format", &[], Content::Text),
    option(
        "image",
        &["reference_image_url", "referenceImageUrl"],
        Content::Text,
    ),
    option(
        "first_frame",
        &[
            "start_reference_url",
            "start_reference_image_url",
            "startReferenceImageUrl",
        ],
        Content::Text,
    ),
    option(
        "last_frame",
        &[
            "end_reference_url",
            "end_reference_image_url",
            "endReferenceImageUrl",
        ],
        Content::Text,
    ),
    option("reference_type", &[], Content::Text),
    option("reference_strength", &[], real(0.0, 1.0)),
    option("strength", &[], real(0.0, 1.0)),
    option("lora", &[], Content::Texts),
    any(Home::Top, "messages", &[], Content::Messages),
    top("enhanced_prompt", &[], Content::Text),
    option("temperature", &[], real(0.0, 10.0)),
    option("top_p", &["topP"], real(0.001, 1.0)),
    option("top_k", &["topK"], whole(0, 1_000_000)),
    option("repetition_penalty", &["repetitionPenalty"], real(0.1, 10.0)),
    option("max_tokens", &["max_new_tokens", "maxTokens"], whole(1, 32_768)),
    option("system_prompt", &["systemPrompt"], Content::Text),
    option("enhance_for", &["enhanceFor"], Content::Text),
    option("legacy_names", &[], Content::Bool),
    any(
        Home::Metadata,
        "conversation_id",
        &["conversationId"],
        Content::Text,
    ),
    any(Home::Metadata, "message_id", &["messageId"], Content::Text),
    any(Home::Metadata, "session_id", &[], Content::Text),
    any(Home::Metadata, "enhancement_type", &[], Content::Text),
];

impl Field {
    /// The canonical name, then the aliases.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

/// A value in its field's type, with a remark where it had to be understood first.
pub(super) struct Read {
    pub json: Json,
    pub remark: Option<&'static str>,
}

/// Reads a value as its field wants it. `lenient`: a number may come as text, as some producers
/// of queue items send it.
///
/// # Errors
/// What is wrong, beginning with a verb: the caller puts the field's name before it.
pub(super) fn read(content: Content, node: &Node, lenient: bool) -> Result<Read, String> {
    let exact = |json: Json| Ok(Read { json, remark: None });
    match (content, &node.value) {
        (Content::Text, Value::Text(t) | Value::Number(t)) => exact(checked_text(t)?.into()),
        (Content::Id, Value::Text(t) | Value::Number(t)) => exact(checked_id(t)?.into()),
        (Content::Bool, Value::Bool(b)) => exact((*b).into()),
        (Content::Texts, Value::Text(t)) => exact(vec![checked_text(t)?].into()),
        (Content::Texts, Value::List(items)) => exact(texts(items)?),
        (Content::Messages, Value::List(items)) => messages::read(items, lenient),
        (Content::Integer { .. } | Content::OneOf(_) | Content::Real { .. }, Value::Number(n)) => {
            exact(number(content, n)?)
        }
        (Content::Integer { .. } | Content::OneOf(_) | Content::Real { .. }, Value::Text(t)) => {
            if !lenient || t.trim().parse::<f64>().is_err() {
                let hint = if t.trim().parse::<f64>().is_ok() {
                    ", without quotes"
                } else {
                    ""
                };
                return Err(format!(
                    "is the text `{}`, it must be {}{hint}",
                    shown(t),
                    allowed(content)
                ));
            }
            Ok(Read {
                json: number(content, t.trim())?,
                remark: Some("came as text and is read as a number"),
            })
        }
        (Content::Bool, Value::Text(t)) if lenient && (t == "true" || t == "false") => Ok(Read {
            json: (t == "true").into(),
            remark: Some("came as text and is read as true or false"),
        }),
        (_, Value::Text(t)) => Err(format!(
            "is the text `{}`, it must be {}",
            shown(t),
            allowed(content)
        )),
        (_, other) => Err(format!("is {}, it must be {}", other.kind(), allowed(content))),
    }
}

/// Checks a value that is in its type already, such as one given as a flag.
///
/// # Errors
/// As [`read`].
pub(super) fn check(content: Content, json: &Json) -> Result<(), String> {
    match (content, json) {
        (Content::Text, Json::String(t)) => checked_text(t).map(drop),
        (Content::Id, Json::String(t)) => checked_id(t).map(drop),
        (_, Json::Number(n)) => number(content, &n.to_string()).map(drop),
        (Content::Messages, Json::Array(turns)) => messages::check(turns),
        (Content::Texts, Json::Array(items)) => items
            .iter()
            .filter_map(Json::as_str)
            .try_for_each(|t| checked_text(t).map(drop)),
        _ => Ok(()),
    }
}

pub(super) fn checked_text(text: &str) -> Result<&str, String> {
    if text.contains('\0') {
        return Err("holds a NUL character".into());
    }
    Ok(text)
}

/// Whether a text may be a job's id: 1 to 128 letters, digits, `_` and `-`.
pub fn is_id(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    (1..=128).contains(&text.len()) && text.bytes().all(fits)
}

fn checked_id(id: &str) -> Result<&str, String> {
    if !is_id(id) {
        return Err(format!("is `{}`, it must be {}", shown(id), allowed(Content::Id)));
    }
    Ok(id)
}

fn texts(items: &[Node]) -> Result<Json, String> {
    items
        .iter()
        .map(|item| match &item.value {
            Value::Text(t) => checked_text(t).map(Json::from),
            other => Err(format!(
                "holds {}, it must be {}",
                other.kind(),
                allowed(Content::Texts)
            )),
        })
        .collect()
}

fn number(content: Content, written: &str) -> Result<Json, String> {
    let wrong = || format!("is {}, it must be {}", shown(written), allowed(content));
    match content {
        Content::Integer {
            min,
            max,
            multiple_of,
        } => match whole_number(written) {
            Some(v) if (min..=max).contains(&v) && v % multiple_of == 0 => Ok(v.into()),
            _ => Err(wrong()),
        },
        Content::OneOf(choices) => match whole_number(written) {
            Some(v) if choices.contains(&v) => Ok(v.into()),
            _ => Err(wrong()),
        },
        Content::Real { min, max } => match real_number(written) {
            Some(v) if (min..=max).contains(&v) => Ok(v.into()),
            _ => Err(wrong()),
        },
        _ => Err(wrong()),
    }
}

/// A whole number, also as `25.0`, as long as a double holds it exactly.
fn whole_number(written: &str) -> Option<u64> {
    let digits = written.strip_prefix('+').unwrap_or(written);
    if let Some(hex) = digits.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Some(octal) = digits.strip_prefix("0o") {
        return u64::from_str_radix(octal, 8).ok();
    }
    if let Ok(v) = digits.parse::<u64>() {
        return Some(v);
    }
    let v = written.parse::<f64>().ok()?;
    (v >= 0.0 && v.fract() == 0.0 && v < 9_007_199_254_740_992.0).then_some(v as u64)
}

fn real_number(written: &str) -> Option<f64> {
    let v = match whole_number(written) {
        Some(v) => v as f64,
        None => written.parse::<f64>().ok()?,
    };
    v.is_finite().then_some(v)
}

/// The allowed values, for messages.
pub(super) fn allowed(content: Content) -> String {
    match content {
        Content::Text => "text".into(),
        Content::Id => "1 to 128 of the characters A-Z a-z 0-9 _ -".into(),
        Content::Bool => "true or false".into(),
        Content::Integer {
            min,
            max,
            multiple_of: 1,
        } => format!("a whole number from {min} to {max}"),
        Content::Integer {
            min,
            max,
            multiple_of,
        } => format!("a multiple of {multiple_of} from {min} to {max}"),
        Content::OneOf(choices) => {
            let list: Vec<_> = choices.iter().map(u64::to_string).collect();
            format!("one of {}", list.join(", "))
        }
        Content::Real { min, max } => format!("a number from {min} to {max}"),
        Content::Texts => "text or a list of texts".into(),
        Content::Messages => "a list of {role, content}".into(),
    }
}
