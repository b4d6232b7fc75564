//! What a shell may offer for an argument: asked of the program while the user types.

use std::ffi::OsStr;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter};

use crate::config::Settings;
use crate::job::kinds::KINDS;
use crate::registry::{PURPOSES, ROUTABLE, Registry};
use crate::schedulers::{NAMES, SCHEDULES};

/// Models of models.toml, then files and folders.
pub(super) fn models() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let mut all = starting(known_models(), typed);
        all.extend(PathCompleter::any().complete(typed));
        all
    })
}

/// Names of job types, aliases included.
pub(super) fn job_types() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let names = KINDS
            .iter()
            .flat_map(|kind| std::iter::once(&kind.name).chain(kind.aliases));
        starting(names.map(|name| named(name)), typed)
    })
}

/// What `[routes]` may name.
pub(super) fn routes() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let names = ROUTABLE.iter().chain(PURPOSES);
        starting(names.map(|(name, _)| named(name)), typed)
    })
}

pub(super) fn schedulers() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| starting(NAMES.iter().map(|name| named(name)), typed))
}

pub(super) fn schedules() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| starting(SCHEDULES.iter().map(|name| named(name)), typed))
}

pub(super) fn devices() -> ArgValueCompleter {
    let names = ["auto", "cpu", "cuda", "cuda:0", "cuda:1", "wgpu"];
    ArgValueCompleter::new(move |typed: &OsStr| starting(names.iter().map(|name| named(name)), typed))
}

/// A configuration that cannot be read offers nothing: its error belongs to the command itself.
fn known_models() -> Vec<CompletionCandidate> {
    let registry = Settings::load().and_then(|settings| Registry::load(None, &settings));
    let about = |family: &str| Some(family.to_string().into());
    registry.map_or_else(
        |_| Vec::new(),
        |registry| {
            let models = registry.models();
            models
                .map(|model| CompletionCandidate::new(&model.name).help(about(model.family.name())))
                .collect()
        },
    )
}

fn named(name: &str) -> CompletionCandidate {
    CompletionCandidate::new(name)
}

fn starting(all: impl IntoIterator<Item = CompletionCandidate>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let starts = |c: &CompletionCandidate| c.get_value().to_string_lossy().starts_with(&*typed);
    all.into_iter().filter(starts).collect()
}
