//! Values as people write them: checks, messages, and what may be shown.

use crate::error::{Error, ErrorKind};
use anyhow::Result;

/// Whether sexual content between adults may be generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ContentMode {
    #[default]
    Sfw,
    Adult,
}

pub(super) fn content_mode(value: &str) -> Result<ContentMode> {
    match value {
        "sfw" => Ok(ContentMode::Sfw),
        "adult" => Ok(ContentMode::Adult),
        other => Err(not_among("content_mode", other, &["sfw", "adult"])),
    }
}

pub(super) fn on_or_off(value: &str) -> Result<bool> {
    match value {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        other => Err(not_among("the switch", other, &["true", "false", "1", "0"])),
    }
}

pub(super) fn device_name(value: &str) -> Result<String> {
    let index = value.strip_prefix("cuda:");
    let known = ["auto", "cpu", "cuda", "wgpu"].contains(&value)
        || index.is_some_and(|i| !i.is_empty() && i.len() < 4 && i.bytes().all(|b| b.is_ascii_digit()));
    if !known {
        return Err(not_among(
            "device",
            value,
            &["auto", "cpu", "cuda", "cuda:1", "wgpu"],
        ));
    }
    Ok(value.into())
}

/// Our name of a number format, whichever of the usual spellings is given.
///
/// # Errors
/// `Config` for any other name.
pub fn dtype_name(value: &str) -> Result<String> {
    let name = match value {
        "f32" | "fp32" | "float32" => "f32",
        "f16" | "fp16" | "float16" | "half" => "f16",
        "bf16" | "bfloat16" => "bf16",
        other => return Err(not_among("dtype", other, &["f32", "f16", "bf16"])),
    };
    Ok(name.into())
}

pub(super) fn in_variable<T>(variable: &str, result: Result<T>) -> Result<T> {
    result.map_err(|e| Error::new(ErrorKind::Config, format!("{variable}: {e}")).into())
}

pub(super) fn not_among(what: &str, value: &str, allowed: &[&str]) -> anyhow::Error {
    let message = format!("{what} is `{}`; allowed are {}", shown(value), allowed.join(", "));
    Error::new(ErrorKind::Config, message).into()
}

/// A value fit for a message: control and direction marks escaped, cut at 60 characters.
pub fn shown(value: &str) -> String {
    let mut text: String = value.chars().take(60).flat_map(escaped).collect();
    if value.chars().count() > 60 {
        text.push('…');
    }
    text
}

fn escaped(c: char) -> Vec<char> {
    let hidden =
        matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    if c.is_control() || hidden {
        c.escape_default().collect()
    } else {
        vec![c]
    }
}

/// The known name that was probably meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let name: String = name.chars().take(64).collect();
    known
        .into_iter()
        .map(|k| (strsim::damerau_levenshtein(&name, k), k))
        .filter(|(distance, k)| *distance <= 2.max(k.len() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}
