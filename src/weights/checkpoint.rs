//! Safetensors and PyTorch files, mapped from disk or compiled into the binary, as one table of tensors.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

use super::pickle;
use super::stored::widen;
use crate::error::{Error, ErrorKind};
use crate::fail;

/// One tensor's place in a checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    file: usize,
    start: usize,
    end: usize,
}

impl Entry {
    /// Where its bytes are in its file.
    pub(super) fn range(&self) -> std::ops::Range<usize> {
        self.start..self.end
    }
}

/// The tensors of one component, from one file or several shards.
#[derive(Debug, Default)]
pub struct Checkpoint {
    files: Vec<Arc<Source>>,
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

/// A file's bytes.
#[derive(Debug)]
pub(super) enum Source {
    Mapped { map: Mmap, path: PathBuf },
    Embedded(&'static [u8]),
}

impl Source {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Source::Mapped { map, .. } => map,
            Source::Embedded(bytes) => bytes,
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

impl Checkpoint {
    /// Maps one `.safetensors` file, or one that PyTorch wrote (`.pth`, `.pt`, `.ckpt`, `.bin`).
    ///
    /// # Errors
    /// `InputMissing` when the file cannot be opened, `BadInput` when it is not whole, `Config`
    /// when a PyTorch file holds anything but tensors.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_all(std::slice::from_ref(&path.to_path_buf()))
    }

    /// Maps all shards of a checkpoint; a name that two shards define is an error.
    ///
    /// # Errors
    /// As [`Checkpoint::open`].
    pub fn open_all(paths: &[PathBuf]) -> Result<Self> {
        let mut checkpoint = Self::default();
        for path in paths {
            checkpoint.add(map_file(path)?, &path.display().to_string())?;
        }
        Ok(checkpoint)
    }

    /// Reads a safetensors file that is part of the binary.
    ///
    /// # Errors
    /// `BadInput` when it is not a whole safetensors file.
    pub fn embedded(bytes: &'static [u8], label: &str) -> Result<Self> {
        let mut checkpoint = Self::default();
        checkpoint.add(Source::Embedded(bytes), label)?;
        Ok(checkpoint)
    }

    fn add(&mut self, source: Source, label: &str) -> Result<()> {
        let places = if is_pickle(Path::new(label)) {
            pickle::tensors(source.bytes(), label)?
        } else {
            self.metadata.extend(safetensors_metadata(source.bytes(), label)?);
            safetensors_places(source.bytes(), label)?
        };
        let file = self.files.len();
        for place in places {
            let entry = Entry {
                dtype: place.dtype,
                shape: place.shape,
                file,
                start: place.bytes.start,
                end: place.bytes.end,
            };
            if self.entries.insert(place.name.clone(), entry).is_some() {
                return Err(broken(label, &format!("tensor `{}` is defined twice", place.name)).into());
            }
        }
        self.files.push(Arc::new(source));
        Ok(())
    }

    /// Every tensor's name with its dtype and shape.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// What the writer noted in the header of a safetensors file.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// A tensor's numbers as f32; `None` for types that are no floats of 16 or 32 bits.
    pub fn floats(&self, entry: &Entry) -> Option<Vec<f32>> {
        let known = matches!(entry.dtype, Dtype::F16 | Dtype::BF16 | Dtype::F32);
        known.then(|| widen(entry.dtype, self.bytes(entry)))
    }

    /// The tensor of that name, if there is one.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Its raw little-endian bytes, row by row.
    pub fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.files[entry.file].bytes()[entry.start..entry.end]
    }

    /// The file that holds a tensor.
    pub(super) fn source(&self, entry: &Entry) -> Arc<Source> {
        self.files[entry.file].clone()
    }

    /// Size of all tensors together, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.entries.values().map(|e| (e.end - e.start) as u64).sum()
    }
}

/// One tensor inside a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Place {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: std::ops::Range<usize>,
}

fn broken(label: &str, reason: &str) -> Error {
    Error::new(
        ErrorKind::BadInput,
        format!("weights `{label}`: not a whole safetensors file: {reason}"),
    )
    .hint("download or copy the file again")
}

fn is_pickle(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    ["ckpt", "pt", "pth", "bin"].contains(&extension.to_ascii_lowercase().as_str())
}

fn safetensors_places(bytes: &[u8], label: &str) -> Result<Vec<Place>> {
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| broken(label, &e.to_string()))?;
    Ok(tensors
        .iter()
        .map(|(name, view)| {
            let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
            Place {
                name: name.to_string(),
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                bytes: start..start + view.data().len(),
            }
        })
        .collect())
}

fn safetensors_metadata(bytes: &[u8], label: &str) -> Result<HashMap<String, String>> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| broken(label, &e.to_string()))?;
    Ok(header.metadata().clone().unwrap_or_default())
}

fn map_file(path: &Path) -> Result<Source> {
    let file = File::open(path).map_err(|e| {
        Error::new(
            ErrorKind::InputMissing,
            format!("weights `{}`: {e}", path.display()),
        )
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
