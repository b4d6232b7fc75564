//! Text embeddings on disk, so that a text is encoded once: the text encoder is four times the
//! size of everything else, and negative prompts repeat.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::files::{mark_used, read_bounded, sweep, write_cached};
use crate::pipelines::digest::Digests;

/// All entries together; the least recently used go first. One text takes 16 KB a token.
const MAX_BYTES: u64 = 256 << 20;
/// Above what one prompt fills.
const LARGEST_ENTRY_BYTES: u64 = MAX_BYTES;
const EMBEDS: &str = "embeds";

/// Embeddings by the digest of everything that decides them. Nobody can read a prompt from it.
///
/// Every failure only means that a text is encoded again.
#[derive(Debug, Clone)]
pub struct EmbedStore {
    folder: PathBuf,
    identity: String,
}

impl EmbedStore {
    /// `identity` tells text encoder, tokenizer and number type.
    pub fn new(cache_dir: &Path, identity: String) -> Self {
        Self {
            folder: cache_dir.join("wan-text"),
            identity,
        }
    }

    /// # Shapes
    /// → `[1, tokens, width]`, f32
    pub fn get(&self, text: &str, tokens: usize, width: usize, device: &Device) -> Option<Tensor<3>> {
        let path = self.path(text);
        let bytes = read_bounded(&path, LARGEST_ENTRY_BYTES).ok()?;
        let file = SafeTensors::deserialize(&bytes).ok()?;
        let view = file.tensor(EMBEDS).ok()?;
        if view.dtype() != Dtype::F32 || view.shape() != [tokens, width] {
            return None;
        }
        let values: Vec<f32> = view
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect();
        mark_used(&path);
        Some(Tensor::from_data(
            TensorData::new(values, [1, tokens, width]),
            (device, DType::F32),
        ))
    }

    /// # Shapes
    /// `embeds: [1, tokens, width]`, f32
    pub fn put(&self, text: &str, embeds: &Tensor<3>) {
        let _ = self.try_put(text, embeds);
    }

    fn try_put(&self, text: &str, embeds: &Tensor<3>) -> Option<()> {
        let [_, tokens, width] = embeds.dims();
        let values = embeds.clone().try_into_vec_as::<f32>().ok()?;
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![tokens, width], &bytes).ok()?;
        let file = safetensors::serialize([(EMBEDS, view)], None).ok()?;
        write_cached(&self.path(text), &file).ok()?;
        sweep(&self.folder);
        self.shrink(MAX_BYTES)
    }

    /// Removes the least recently used entries until the rest fits.
    fn shrink(&self, max_bytes: u64) -> Option<()> {
        let mut entries: Vec<(SystemTime, u64, PathBuf)> = fs::read_dir(&self.folder)
            .ok()?
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        entries.sort();
        let mut total: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in entries {
            if total <= max_bytes {
                break;
            }
            fs::remove_file(path).ok()?;
            total -= bytes;
        }
        Some(())
    }

    fn path(&self, text: &str) -> PathBuf {
        let key = Digests::of_bytes(format!("{}\0{text}", self.identity).as_bytes());
        self.folder.join(format!("{key}.safetensors"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embeds(value: f32) -> Tensor<3> {
        Tensor::full([1, 3, 4], value, &Device::flex())
    }

    #[test]
    fn what_is_put_is_got_for_the_same_text_and_encoder_only() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::flex();
        let store = EmbedStore::new(folder.path(), "a".into());
        assert!(store.get("x", 3, 4, &device).is_none());
        store.put("x", &embeds(0.5));
        let got = store.get("x", 3, 4, &device).unwrap();
        assert_eq!(got.to_data(), embeds(0.5).to_data());
        assert!(store.get("y", 3, 4, &device).is_none());
        assert!(store.get("x", 3, 5, &device).is_none());
        let other = EmbedStore::new(folder.path(), "b".into());
        assert!(other.get("x", 3, 4, &device).is_none());
    }

    #[test]
    fn a_broken_entry_is_as_good_as_none_and_the_least_used_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let device = Device::flex();
        let store = EmbedStore::new(folder.path(), "a".into());
        for text in ["old", "new"] {
            store.put(text, &embeds(1.0));
        }
        let past = SystemTime::now() - std::time::Duration::from_secs(60);
        let old = fs::File::options().write(true).open(store.path("old")).unwrap();
        old.set_modified(past).unwrap();
        let one = fs::metadata(store.path("new")).unwrap().len();
        store.shrink(one).unwrap();
        assert!(store.get("old", 3, 4, &device).is_none());
        assert!(store.get("new", 3, 4, &device).is_some());
        fs::write(store.path("new"), b"torn").unwrap();
        assert!(store.get("new", 3, 4, &device).is_none());
    }
}
