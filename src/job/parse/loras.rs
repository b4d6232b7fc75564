//! One entry of `loras`: `FILE[:SCALE]`, or a map of `file` and `scale`.

use serde_json::{Value as Json, json};

use super::words::checked_text;
use crate::config::shown;
use crate::limits::LORA_SCALE;

/// `FILE[:SCALE]` as a map; a drive letter or a colon in a path is no scale.
///
/// # Errors
/// What is wrong, beginning with a verb.
pub fn from_text(text: &str) -> Result<Json, String> {
    let parts = text.rsplit_once(':');
    let scaled = parts.and_then(|(file, scale)| Some((file, scale.trim().parse::<f64>().ok()?)));
    let (file, scale) = scaled.unwrap_or((text, 1.0));
    checked(checked_text(file)?, scale)?;
    Ok(json!({"file": file, "scale": scale}))
}

/// # Errors
/// For an entry without a file, and a scale out of range.
pub fn checked(file: &str, scale: f64) -> Result<(), String> {
    if file.trim().is_empty() {
        return Err("has an entry without a file".into());
    }
    if !LORA_SCALE.contains(&scale) {
        return Err(format!(
            "has the scale {scale} for `{}`, it must be from {} to {}",
            shown(file),
            LORA_SCALE.start(),
            LORA_SCALE.end()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_colon_begins_the_scale_if_a_number_follows() {
        let of = |text: &str| {
            from_text(text).map(|l| (l["file"].as_str().unwrap().to_string(), l["scale"].as_f64()))
        };
        assert_eq!(of("a.safetensors"), Ok(("a.safetensors".into(), Some(1.0))));
        assert_eq!(of("a.safetensors:0.8"), Ok(("a.safetensors".into(), Some(0.8))));
        assert_eq!(of(r"C:\loras\a"), Ok((r"C:\loras\a".into(), Some(1.0))));
        assert_eq!(of("a:-0.5"), Ok(("a".into(), Some(-0.5))));
        assert!(of("a:1000").unwrap_err().contains("from -100 to 100"));
        assert!(of("a:nan").is_err() && of(":1").is_err());
    }
}
