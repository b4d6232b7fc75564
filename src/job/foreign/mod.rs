//! What other programs write beside their pictures, as far as it is ours: A1111's `parameters` and the
//! graphs of ComfyUI. Nothing of it is run as it stands; what is recognised becomes a spec, and what is
//! not is listed.

mod a1111;
mod comfy;
mod found;
mod graph;

pub use found::Foreign;

/// Looks at a text that was given as a spec, or that stands in a picture.
pub fn recognise(text: &str) -> Option<Foreign> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{') {
        let json = serde_json::from_str(text).ok()?;
        return comfy::read(&graph::Graph::of(&json)?);
    }
    a1111::read(text)
}

/// The keys under which pictures carry such texts, the most telling first.
pub const KEYS: &[&str] = &["parameters", "prompt", "workflow"];

#[cfg(test)]
mod tests;
