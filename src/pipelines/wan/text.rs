//! Texts of a job: tokens, embeddings, and where embeddings of earlier jobs are kept.

use anyhow::Result;
use burn::tensor::{DType, Tensor};

use super::clean::clean;
use super::embed_store::EmbedStore;
use super::{Residency, WanPipeline};
use crate::fail;
use crate::pipelines::digest::Digests;
use crate::pipelines::{Event, Observer};

/// Every text is padded to this length with zeros, and cut at it.
pub(super) const TEXT_LENGTH: usize = 512;
/// Texts whose embeddings are kept in memory.
const KEPT_TEXTS: usize = 16;

/// An encoded text.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// `[1, 512, text_dim]`, zeros behind the text.
    pub embeds: Tensor<3>,
    pub tokens: usize,
    pub cut: bool,
}

/// A text on its way to the encoder.
struct TextIds {
    clean: String,
    ids: Vec<u32>,
    cut: bool,
}

impl WanPipeline {
    /// Encodes the texts that neither this job nor an earlier one has encoded.
    pub(super) fn encode(&mut self, texts: &[&str], observer: &mut Observer<'_>) -> Result<()> {
        if self.texts.len() + texts.len() > KEPT_TEXTS {
            self.texts.clear();
        }
        self.open_store()?;
        let mut unknown = Vec::new();
        for text in texts {
            if self.texts.contains_key(*text) {
                continue;
            }
            let ids = self.tokenize(text)?;
            match self.stored(&ids) {
                Some(embeds) => self.keep(text, &ids, embeds),
                None => unknown.push((*text, ids)),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        if self.text_encoder.is_none() {
            observer(Event::Stage("load"))?;
            let (encoder, report) = self.layout.text_encoder(&self.configs, &self.target)?;
            report.into_result()?;
            self.text_encoder = Some(encoder);
            observer(Event::Stage("encode"))?;
        }
        let dtype = self.target.dtype("text_encoder");
        for (text, ids) in unknown {
            let encoder = self.text_encoder.as_ref().expect("just loaded");
            // Padding changes nothing for the text before it, so that it is never computed.
            let embeds = encoder.forward(&ids.ids, ids.ids.len(), &self.target.device, dtype);
            if let Some(store) = &self.store {
                store.put(&ids.clean, &embeds);
            }
            self.keep(text, &ids, embeds);
        }
        if self.residency == Residency::InTurn {
            self.text_encoder = None;
            self.give_memory_back();
        }
        Ok(())
    }

    /// The store of a text encoder is known by its files' digests, which take a while at first.
    fn open_store(&mut self) -> Result<()> {
        let (Some(cache_dir), None) = (&self.cache_dir, &self.store) else {
            return Ok(());
        };
        let mut digests = Digests::open(Some(cache_dir));
        let names = self.layout.deciding(&["text_encoder"])?;
        let files = digests.of_all(&self.layout.files, &names)?;
        let identity = format!("{files} {:?}", self.target.dtype("text_encoder"));
        self.store = Some(EmbedStore::new(cache_dir, identity));
        Ok(())
    }

    fn stored(&self, ids: &TextIds) -> Option<Tensor<3>> {
        let width = self.configs.text_encoder.d_model;
        let store = self.store.as_ref()?;
        store.get(&ids.clean, ids.ids.len(), width, &self.target.device)
    }

    fn keep(&mut self, text: &str, ids: &TextIds, embeds: Tensor<3>) {
        let [_, tokens, width] = embeds.dims();
        let zeros = Tensor::zeros(
            [1, TEXT_LENGTH - tokens, width],
            (&self.target.device, DType::F32),
        );
        let text_of = Text {
            embeds: Tensor::cat(vec![embeds, zeros], 1),
            tokens,
            cut: ids.cut,
        };
        self.texts.insert(text.to_string(), text_of);
    }

    fn tokenize(&self, text: &str) -> Result<TextIds> {
        let clean = clean(text);
        let ids = self.tokenizer.encode_truncated(&clean, TEXT_LENGTH)?;
        let vocabulary = self.configs.text_encoder.vocab_size;
        if let Some(id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
            fail!(
                BadInput, "tokenizer: id {id} is outside the text encoder's vocabulary of {vocabulary}";
                "tokenizer and text encoder do not belong together"
            );
        }
        if ids.is_empty() {
            fail!(BadInput, "tokenizer: it gives an empty text no end mark"; "use the model's own tokenizer.json");
        }
        let cut = ids.len() == TEXT_LENGTH && self.tokenizer.encode(&clean, true)?.len() > TEXT_LENGTH;
        Ok(TextIds { clean, ids, cut })
    }
}
