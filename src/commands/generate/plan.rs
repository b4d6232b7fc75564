//! The places of one job's files.

use std::path::PathBuf;

use crate::files::{Existing, with_suffix};

/// The files of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One per image, video or separate frame; none for jobs whose answer is text.
    pub assets: Vec<Place>,
    pub callback: Option<PathBuf>,
    /// Nothing there is kept.
    pub force: bool,
}

/// One file to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    pub path: PathBuf,
    pub existing: Existing,
}

impl Place {
    /// Where a golden test shows how this output differs from the expected one.
    pub fn difference(&self) -> PathBuf {
        with_suffix(&self.path, ".difference").with_extension("png")
    }
}
