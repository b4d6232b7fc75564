//! Texts and numbers of a spec, as they are written.

use crate::config::shown;
use crate::job::content::Content;
use crate::limits;
use serde_json::Value as Json;

/// A value in its field's type, with a remark where it had to be understood first.
pub struct Read {
    pub json: Json,
    pub remark: Option<&'static str>,
}

impl Read {
    pub fn exact(json: impl Into<Json>) -> Self {
        Self {
            json: json.into(),
            remark: None,
        }
    }
}

/// # Errors
/// What is wrong, beginning with a verb.
pub fn checked_text(text: &str) -> Result<&str, String> {
    if text.contains('\0') {
        return Err("holds a NUL character".into());
    }
    Ok(text)
}

/// Whether a text may be a job's id.
pub fn is_id(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    limits::ID_CHARS.contains(&text.len()) && text.bytes().all(fits)
}

/// # Errors
/// What is wrong, beginning with a verb.
pub fn checked_id(id: &str) -> Result<&str, String> {
    if !is_id(id) {
        return Err(format!(
            "is `{}`, it must be {}",
            shown(id),
            Content::Id.allowed()
        ));
    }
    Ok(id)
}

/// # Errors
/// What is wrong, beginning with a verb.
pub fn number(content: Content, written: &str) -> Result<Json, String> {
    let wrong = || format!("is {}, it must be {}", shown(written), content.allowed());
    let fits = match content {
        Content::Whole {
            min,
            max,
            multiple_of,
        } => whole_number(written)
            .filter(|v| (min..=max).contains(v) && v % multiple_of == 0)
            .map(Json::from),
        Content::Real { min, max } => real_number(written)
            .filter(|v| (min..=max).contains(v))
            .map(Json::from),
        Content::Above { min, max } => real_number(written)
            .filter(|v| *v > min && *v <= max)
            .map(Json::from),
        _ => None,
    };
    fits.ok_or_else(wrong)
}

/// A whole number, also as `25.0` or `0x19`, as long as a double holds it exactly.
fn whole_number(written: &str) -> Option<u64> {
    /// From here on doubles have gaps.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if let Ok(v) = serde_yaml::from_str::<u64>(written) {
        return Some(v);
    }
    let v = serde_yaml::from_str::<f64>(written).ok()?;
    (v >= 0.0 && v.fract() == 0.0 && v < EXACT).then_some(v as u64)
}

fn real_number(written: &str) -> Option<f64> {
    let v = match whole_number(written) {
        Some(v) => v as f64,
        None => serde_yaml::from_str::<f64>(written).ok()?,
    };
    v.is_finite().then_some(v)
}
