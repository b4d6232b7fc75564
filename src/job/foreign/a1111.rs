//! A1111's `parameters`: the prompt, `Negative prompt:`, and a last line of `Name: value` pairs. Its
//! successors (Forge, SD.Next) and stable-diffusion.cpp write the same.
//!
//! Source: the format as `modules/infotext_utils.py` of stable-diffusion-webui 1.10 reads it.

use super::found::Foreign;

/// Pairs that say nothing of how the picture is made.
const OF_NO_USE: &[&str] = &[
    "Version",
    "Model hash",
    "Lora hashes",
    "TI hashes",
    "VAE hash",
    "Batch size",
    "Batch pos",
];

/// `None` for a text that is something else.
pub(super) fn read(text: &str) -> Option<Foreign> {
    let text = text.trim_end();
    let start = text.rfind("\nSteps: ").map(|at| at + 1);
    let start = start.or_else(|| text.starts_with("Steps: ").then_some(0))?;
    let pairs = pairs(&text[start..]);
    // One pair alone may be the end of a prompt.
    if pairs.len() < 3 {
        return None;
    }
    let mut found = Foreign::new("generation parameters of A1111 or a relative");
    let (prompt, negative) = match text[..start].split_once("Negative prompt:") {
        Some((prompt, negative)) => (prompt.trim(), Some(negative.trim())),
        None => (text[..start].trim(), None),
    };
    found.top("prompt", prompt);
    // Without the line nothing stood in the field, and an empty prompt was encoded.
    found.top("negative_prompt", negative.unwrap_or_default());
    found.option("auto_negative", false);
    apply(&pairs, &mut found);
    Some(found)
}

fn apply(pairs: &[(String, String)], found: &mut Foreign) {
    let get = |name: &str| {
        pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    };
    if let Some(sampler) = get("Sampler") {
        found.scheduler(sampler, get("Schedule type").unwrap_or_default(), false);
    }
    let scale = get("Hires upscale").and_then(|text| text.parse::<f64>().ok());
    let denoising = get("Denoising strength").and_then(|text| text.parse::<f64>().ok());
    if let (Some(scale), Some(strength)) = (scale, denoising) {
        found.option("hires", serde_json::json!({"scale": scale, "strength": strength}));
    }
    for (name, value) in pairs {
        match name.as_str() {
            "Steps" => number::<u64>(found, name, value, "steps"),
            "CFG scale" => number::<f64>(found, name, value, "guidance_scale"),
            "Seed" => number::<u64>(found, name, value, "seed"),
            "Size" => size(found, value),
            "Eta" => number::<f64>(found, name, value, "eta"),
            "Model" => found.model = Some(value.clone()),
            "Sampler" | "Schedule type" | "Hires upscale" => {}
            "Denoising strength" if scale.is_some() => {}
            "Denoising strength" => {
                found.leave_out(format!("{name}: {value}, as the picture it began with is not in the file (give it with -i and --strength)"));
            }
            "Clip skip" => clip_skip(found, value, get("Version").unwrap_or_default()),
            // The noise of that program, drawn on the processor, is ours.
            "RNG" if value == "CPU" => {}
            name if OF_NO_USE.contains(&name) => {}
            _ => found.leave_out(format!("{name}: {value}")),
        }
    }
    if get("RNG") != Some("CPU") && get("Seed").is_some() {
        found.leave_out("the noise itself: without `RNG: CPU` it was drawn on a GPU, and the seed means another picture here");
    }
}

/// Up to 2 it is what SDXL does anyway. Beyond that A1111 does not follow it with SDXL, and Forge does.
fn clip_skip(found: &mut Foreign, value: &str, version: &str) {
    match value.parse::<u64>() {
        Ok(0..=2) => {}
        Ok(layers) if version.starts_with('f') => found.option("clip_skip", layers - 2),
        _ => found.leave_out(format!(
            "Clip skip: {value}, which A1111 does not follow with SDXL either"
        )),
    }
}

fn number<T: std::str::FromStr + Into<serde_json::Value>>(
    found: &mut Foreign,
    name: &str,
    value: &str,
    field: &str,
) {
    match value.parse::<T>() {
        Ok(number) => found.option(field, number),
        Err(_) => found.leave_out(format!("{name}: {value}, which is no number")),
    }
}

fn size(found: &mut Foreign, value: &str) {
    let sides = value
        .split_once('x')
        .and_then(|(w, h)| Some((w.trim().parse::<u64>().ok()?, h.trim().parse::<u64>().ok()?)));
    match sides {
        Some((width, height)) => {
            found.option("width", width);
            found.option("height", height);
        }
        None => found.leave_out(format!("Size: {value}, which is no size")),
    }
}

/// `Name: value` with commas between; a value with a comma or colon stands in quotes, as in JSON.
fn pairs(line: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = line.trim();
    while let Some((name, after)) = rest.split_once(':') {
        let after = after.trim_start();
        let (value, left) = match quoted(after) {
            Some(quoted) => quoted,
            None => {
                let (value, left) = after.split_once(',').unwrap_or((after, ""));
                (value.trim().to_string(), left)
            }
        };
        found.push((name.trim().to_string(), value));
        rest = left.trim_start().trim_start_matches(',').trim_start();
    }
    found
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut escaped = false;
    let end = inner.char_indices().find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    let (end, _) = end?;
    let value = serde_json::from_str(&text[..end + 2]).unwrap_or_else(|_| inner[..end].to_string());
    Some((value, &inner[end + 1..]))
}
