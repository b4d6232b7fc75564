//! Safetensors files, mapped from disk or compiled into the binary, as one table of tensors.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};

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

/// The tensors of one component, from one file or several shards.
#[derive(Debug, Default)]
pub struct Checkpoint {
    files: Vec<Source>,
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
enum Source {
    Mapped { map: Mmap, path: PathBuf },
    Embedded(&'static [u8]),
}

impl Source {
    fn bytes(&self) -> &[u8] {
        match self {
            Source::Mapped { map, .. } => map,
            Source::Embedded(bytes) => bytes,
        }
    }
}

impl Checkpoint {
    /// Maps one `.safetensors` file.
    ///
    /// # Errors
    /// `InputMissing` when the file cannot be opened, `BadInput` when it is no whole safetensors
    /// file, `Config` for formats that could execute code.
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
        let bytes = source.bytes();
        let broken = |reason: String| {
            Error::new(
                ErrorKind::BadInput,
                format!("weights `{label}`: not a whole safetensors file: {reason}"),
            )
            .hint("download or copy the file again")
        };
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| broken(e.to_string()))?;
        let (header_bytes, _) = SafeTensors::read_metadata(bytes).map_err(|e| broken(e.to_string()))?;
        let file = self.files.len();
        for (name, view) in tensors.iter() {
            let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
            debug_assert!(start >= header_bytes, "tensor data follows the header");
            let entry = Entry {
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                file,
                start,
                end: start + view.data().len(),
            };
            if self.entries.insert(name.to_string(), entry).is_some() {
                return Err(broken(format!("tensor `{name}` is defined twice")).into());
            }
        }
        self.files.push(source);
        Ok(())
    }

    /// Every tensor's name with its dtype and shape.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// The tensor of that name, if there is one.
    pub fn get(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// Its raw little-endian bytes, row by row.
    pub fn bytes(&self, entry: &Entry) -> &[u8] {
        &self.files[entry.file].bytes()[entry.start..entry.end]
    }

    /// Maps the pages of a tensor in one call rather than by one fault each.
    pub fn prefetch(&self, entry: &Entry) {
        #[cfg(target_os = "linux")]
        if let Source::Mapped { map, .. } = &self.files[entry.file] {
            // Advice only: before Linux 5.14 the pages come one by one.
            let _ = map.advise_range(
                memmap2::Advice::PopulateRead,
                entry.start,
                entry.end - entry.start,
            );
        }
    }

    /// Gives the pages of a tensor back to the system once it has been copied, so that the peak
    /// stays near one copy of the weights.
    pub fn release(&self, entry: &Entry) {
        if let Source::Mapped { map, path } = &self.files[entry.file] {
            release_pages(map, path, entry.start, entry.end);
        }
    }

    /// Size of all tensors together, in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.entries.values().map(|e| (e.end - e.start) as u64).sum()
    }
}

fn map_file(path: &Path) -> Result<Source> {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    if ["ckpt", "pt", "pth", "bin"].contains(&extension) {
        fail!(
            Config, "weights `{}`: pickle checkpoints can execute code and are not read", path.display();
            "convert the file to .safetensors, or use the model's .safetensors release"
        );
    }
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
