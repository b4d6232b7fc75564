//! The bytes of weight files, mapped from disk or compiled into the binary, and the tensors in them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use memmap2::Mmap;
use safetensors::Dtype;

use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files::open_regular;

/// One tensor's place in a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub(super) file: usize,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Entry {
    /// Where its bytes are in its file.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.start..self.end
    }
}

/// A file's bytes.
#[derive(Debug)]
pub(super) enum Source {
    Mapped {
        map: Mmap,
        path: PathBuf,
    },
    Embedded(&'static [u8]),
    /// A tensor that does not lie row by row in its file.
    Copied(Vec<u8>),
}

impl Source {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Source::Mapped { map, .. } => map,
            Source::Embedded(bytes) => bytes,
            Source::Copied(bytes) => bytes,
        }
    }

    /// Maps the pages of a tensor in one call rather than by one fault each.
    pub(super) fn prefetch(&self, entry: &Entry) {
        #[cfg(target_os = "linux")]
        if let Source::Mapped { map, .. } = self {
            // Advice only: before Linux 5.14 the pages come one by one.
            let _ = map.advise_range(
                memmap2::Advice::PopulateRead,
                entry.start,
                entry.end - entry.start,
            );
        }
    }

    /// A tensor's bytes, keeping the file mapped for as long as they are held.
    pub(super) fn shared_bytes(self: &Arc<Self>, entry: &Entry) -> bytes::Bytes {
        let held = Held {
            source: self.clone(),
            range: entry.range(),
        };
        bytes::Bytes::from_owner(held)
    }

    /// Gives the pages of a tensor back to the system once it has been copied, so that the peak
    /// stays near one copy of the weights.
    pub(super) fn release(&self, entry: &Entry) {
        if let Source::Mapped { map, path } = self {
            release_pages(map, path, entry.start, entry.end);
        }
    }
}

/// Part of a file that stays mapped.
struct Held {
    source: Arc<Source>,
    range: std::ops::Range<usize>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.source.bytes()[self.range.clone()]
    }
}

/// One tensor inside a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub content: Content,
}

/// The numbers of a tensor: where they are, or a copy of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    InFile(std::ops::Range<usize>),
    Copied(Vec<u8>),
}

/// Maps a file.
///
/// # Errors
/// `InputMissing` when it is not there or no regular file, `BadInput` when it is empty.
pub(super) fn map_file(path: &Path) -> Result<Source> {
    // A FIFO or a device is no model, and waits for nobody.
    let file = open_regular(path).map_err(|e| {
        Error::new(ErrorKind::InputMissing, format!("weights: {e}"))
            .hint("check the path in models.toml or --model")
    })?;
    if file.metadata().context("reading the file's size")?.len() == 0 {
        fail!(BadInput, "weights `{}`: the file is empty", path.display(); "download or copy the file again");
    }
    // SAFETY: the map is read-only; a file that another process truncates while it is mapped
    // raises SIGBUS, as with every mapped reader. Weights are not written while in use.
    let map = unsafe { Mmap::map(&file) }.with_context(|| format!("mapping `{}`", path.display()))?;
    Ok(Source::Mapped {
        map,
        path: path.to_path_buf(),
    })
}

#[cfg(unix)]
fn release_pages(map: &Mmap, path: &Path, start: usize, end: usize) {
    const PAGE: usize = 4096;
    let (first, last) = (start.next_multiple_of(PAGE), end / PAGE * PAGE);
    if last <= first || path.as_os_str().is_empty() {
        return;
    }
    // SAFETY: the range lies inside the map, and dropping clean pages of a read-only file map
    // only means that a later read fetches them again.
    let advised =
        unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, first, last - first) };
    // Advice only: a system that cannot follow it merely keeps the pages.
    let _ = advised;
}

#[cfg(not(unix))]
fn release_pages(_: &Mmap, _: &Path, _: usize, _: usize) {}
