//! Which options a job type takes, and what the shared ones mean.

use anyhow::{Context, Result};

use crate::config::shown;
use crate::fail;
use crate::job::fields::FIELDS;
use crate::job::kinds::{Family, Format, JobKind, Output};
use crate::job::spec::JobSpec;
use crate::media::video::VideoFormat;
use crate::schedulers;

/// Options that the type does not take: an error, never dropped silently.
///
/// # Errors
/// `InvalidSpec` naming the option and the type.
pub fn refuse_foreign(kind: &JobKind, spec: &JobSpec) -> Result<()> {
    let json = serde_json::to_value(spec).context("the spec as JSON")?;
    for field in FIELDS {
        if let Some(value) = field.value(&json)
            && !(field.takes)(kind, value)
        {
            fail!(InvalidSpec, "{} does not apply to type `{}`", field.path(), kind.name; "leave it out");
        }
    }
    if spec.expect.is_some() && !kind.draws() {
        fail!(InvalidSpec, "expect does not apply to type `{}`", kind.name; "leave it out");
    }
    Ok(())
}

/// # Errors
/// `InvalidSpec` for a name that does not exist or that the type's models cannot run.
pub fn check_scheduler(name: &str, kind: &JobKind) -> Result<()> {
    schedulers::check_name(name).context("config.scheduler")?;
    let flow_model = kind.family == Family::Wan;
    if !schedulers::runs_on(name, flow_model) {
        fail!(InvalidSpec, "config.scheduler is `{}`, which does not apply to type `{}`", shown(name), kind.name;
            "it takes {}, or leave it out", schedulers::listing(flow_model));
    }
    Ok(())
}

/// The format of a job's files.
///
/// # Errors
/// `InvalidSpec` for one that does not exist or that the type does not write.
pub fn format(kind: &JobKind, name: Option<&str>) -> Result<Format> {
    let formats: Vec<Format> = match kind.output {
        Output::Mp4 => VideoFormat::ALL.map(Format::Video).to_vec(),
        _ => vec![Format::Png],
    };
    let Some(name) = name else {
        return Ok(formats[0]);
    };
    match Format::from_name(name).filter(|format| formats.contains(format)) {
        Some(format) => Ok(format),
        None => {
            let names: Vec<_> = formats.iter().map(|f| f.name()).collect();
            fail!(
                InvalidSpec,
                "config.format is `{}`, it must be {} for type `{}`",
                shown(name),
                names.join(", "),
                kind.name
            )
        }
    }
}
