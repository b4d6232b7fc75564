//! Safetensors and PyTorch files, mapped from disk or compiled into the binary, as one table of tensors.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use safetensors::tensor::Metadata;
use safetensors::{SafeTensorError, SafeTensors};

use super::pytorch;
use super::source::{Content, Entry, Place, Source, map_file};
use super::stored::{is_read, widen};
use crate::error::{Error, ErrorKind};

/// The tensors of one component, from one file or several shards.
#[derive(Debug, Default)]
pub struct Checkpoint {
    files: Vec<Arc<Source>>,
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
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
            pytorch::tensors(source.bytes(), label)?
        } else {
            let (places, metadata) = safetensors(source.bytes(), label)?;
            self.metadata.extend(metadata);
            places
        };
        let file = self.files.len();
        self.files.push(Arc::new(source));
        for place in places {
            let (file, bytes) = match place.content {
                Content::InFile(bytes) => (file, bytes),
                Content::Copied(bytes) => {
                    let length = bytes.len();
                    self.files.push(Arc::new(Source::Copied(bytes)));
                    (self.files.len() - 1, 0..length)
                }
            };
            let entry = Entry {
                dtype: place.dtype,
                shape: place.shape,
                file,
                start: bytes.start,
                end: bytes.end,
            };
            if self.entries.insert(place.name.clone(), entry).is_some() {
                return Err(broken(label, &format!("tensor `{}` is defined twice", place.name)).into());
            }
        }
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

    /// A tensor's numbers as f32, without any scale; `None` for types that are no floats.
    pub fn floats(&self, entry: &Entry) -> Option<Vec<f32>> {
        is_read(entry.dtype).then(|| widen(entry.dtype, self.bytes(entry)))
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

    /// Size of all tensors together, in bytes, where 8-bit numbers count as what they become.
    pub fn size_bytes(&self) -> u64 {
        let size = |e: &Entry| (e.end - e.start) as u64 * if e.dtype.bitsize() == 8 { 2 } else { 1 };
        self.entries.values().map(size).sum()
    }

    /// Those tensors whose names start with `from`, under names that start with `to` instead.
    pub fn renamed(&self, from: &str, to: &str) -> Self {
        let entry = |(name, entry): (&String, &Entry)| {
            let rest = name.strip_prefix(from)?;
            Some((format!("{to}{rest}"), entry.clone()))
        };
        Self {
            files: self.files.clone(),
            entries: self.entries.iter().filter_map(entry).collect(),
            metadata: self.metadata.clone(),
        }
    }
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

/// Tensors and notes of a safetensors file. Some writers put numbers among the notes, which the
/// format does not allow; they are read as their text.
fn safetensors(bytes: &[u8], label: &str) -> Result<(Vec<Place>, HashMap<String, String>)> {
    let (header_bytes, header) = match SafeTensors::read_metadata(bytes) {
        Ok(read) => read,
        Err(e @ SafeTensorError::InvalidHeaderDeserialization(_)) => {
            loose_header(bytes).ok_or_else(|| broken(label, &e.to_string()))?
        }
        Err(e) => return Err(broken(label, &e.to_string()).into()),
    };
    let start = header_bytes + size_of::<u64>();
    let places = header
        .tensors()
        .into_iter()
        .map(|(name, info)| Place {
            name,
            dtype: info.dtype,
            shape: info.shape.clone(),
            content: Content::InFile(start + info.data_offsets.0..start + info.data_offsets.1),
        })
        .collect();
    Ok((places, header.metadata().clone().unwrap_or_default()))
}

/// A header whose notes are no texts, and its size; `None` when something else is wrong with it.
fn loose_header(bytes: &[u8]) -> Option<(usize, Metadata)> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let mut header: serde_json::Value = serde_json::from_slice(rest.get(..length)?).ok()?;
    for note in header.get_mut("__metadata__")?.as_object_mut()?.values_mut() {
        if !note.is_string() {
            *note = note.to_string().into();
        }
    }
    let header: Metadata = serde_json::from_value(header).ok()?;
    // What the library checks when it reads a header by itself: no gap, no overlap, nothing behind.
    let mut end = 0;
    for name in header.offset_keys() {
        let info = header.info(&name)?;
        let elements = info
            .shape
            .iter()
            .try_fold(1_usize, |n, size| n.checked_mul(*size))?;
        let bits = elements.checked_mul(info.dtype.bitsize())?;
        if info.data_offsets.0 != end || bits % 8 != 0 || end.checked_add(bits / 8)? != info.data_offsets.1 {
            return None;
        }
        end = info.data_offsets.1;
    }
    (rest.len() - length == end).then_some((length, header))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(header: &str, data: usize) -> Result<Checkpoint> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("A.SFT");
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        std::fs::write(&path, bytes).unwrap();
        Checkpoint::open(&path)
    }

    #[test]
    fn notes_that_are_numbers_are_read_as_their_text() {
        let header = r#"{"__metadata__": {"step": 12, "lr": 0.5, "name": "x", "tags": ["a"]}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}"#;
        let checkpoint = open(header, 8).unwrap();
        assert_eq!(checkpoint.metadata("step"), Some("12"));
        assert_eq!(checkpoint.metadata("name"), Some("x"));
        assert_eq!(checkpoint.get("w").unwrap().shape, [2]);
        // The file's size is checked as always.
        assert!(open(header, 7).is_err() && open(header, 9).is_err());
        let lying = header.replace("[2]", "[3]");
        assert!(open(&lying, 8).is_err());
    }
}
