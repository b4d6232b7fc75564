//! What a pipeline tells while it works, and to whom.

use anyhow::Result;

/// What a pipeline tells while it works.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A stage begins: `load`, `encode`, `denoise`, `decode`.
    Stage(&'static str),
    /// `done` of `total` denoising steps are finished.
    Step { done: usize, total: usize },
    /// Something that the user should know.
    Note(String),
}

/// Receives events; an error returned from it stops the work between two steps.
pub type Observer<'a> = dyn FnMut(Event) -> Result<()> + 'a;
