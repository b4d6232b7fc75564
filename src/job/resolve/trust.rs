//! What a spec may not name, by who wrote it.

use std::path::Path;

use anyhow::Result;

use crate::config::shown;
use crate::fail;
use crate::job::inputs::local_files;
use crate::job::origin::Trust;
use crate::job::spec::JobSpec;
use crate::registry::Registry;

/// # Errors
/// `InvalidSpec` for weights named by path, a file of this machine or a callback address from
/// somebody who may name none, with what the user can do about it.
pub fn check_trust(spec: &JobSpec, trust: Trust, registry: &Registry) -> Result<()> {
    if let Some(model) = spec.model.as_deref()
        && !trust.models
        && registry.entry(model).is_none()
        && (model.contains(['/', '\\']) || Path::new(model).exists())
    {
        fail!(InvalidSpec, "model is `{}`, a path, which this spec may not name", shown(model); "{}", trust.cure);
    }
    if !trust.models {
        let mut config = spec.config.clone();
        let stranger = config
            .weights_mut()
            .into_iter()
            .find(|(field, path)| !is_name(field, path, registry));
        if let Some((field, path)) = stranger {
            fail!(InvalidSpec, "{field} is `{}`, a path, which this spec may not name", shown(path); "{}", trust.cure);
        }
    }
    if let Some((field, path)) = local_files(spec).first()
        && !trust.paths
    {
        fail!(
            InvalidSpec, "{field} is `{}`, a file of this machine, which this spec may not name", shown(path);
            "{}", trust.cure
        );
    }
    if spec.callback_url.is_some() && !trust.callback {
        fail!(InvalidSpec, "callback_url is given, which this spec may not name"; "{}", trust.cure);
    }
    Ok(())
}

/// Whether weights are named as the operator knows them, instead of by path.
fn is_name(field: &str, text: &str, registry: &Registry) -> bool {
    match field {
        "config.refiner.model" => registry.entry(text).is_some(),
        // Looked for in lora_dir, and there alone.
        _ if field.starts_with("config.loras[") => !text.contains(['/', '\\']),
        _ => false,
    }
}
