//! Texts of a job: tokens, embeddings, and where embeddings of earlier jobs are kept.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use burn::tensor::{DType, Tensor};

use super::clean::clean;
use super::embed_store::EmbedStore;
use super::parts::Networks;
use crate::fail;
use crate::models::umt5::Umt5Encoder;
use crate::pipelines::digest::Digests;
use crate::pipelines::observer::{Event, Observer};
use crate::tokenizers::json::JsonTokenizer;

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

/// The texts of jobs, and what encodes them.
pub(super) struct Texts {
    tokenizer: JsonTokenizer,
    encoder: Option<Umt5Encoder>,
    known: BTreeMap<String, Text>,
    cache_dir: Option<PathBuf>,
    store: Option<EmbedStore>,
}

impl Texts {
    pub fn new(tokenizer: JsonTokenizer, cache_dir: Option<PathBuf>) -> Self {
        Self {
            tokenizer,
            encoder: None,
            known: BTreeMap::new(),
            cache_dir,
            store: None,
        }
    }

    /// A text that [`Self::encode`] was given last.
    ///
    /// # Panics
    /// For another one.
    pub fn get(&self, text: &str) -> &Text {
        self.known.get(text).expect("encoded for this job")
    }

    /// Releases the text encoder; whether there was one.
    pub fn release(&mut self) -> bool {
        self.encoder.take().is_some()
    }

    /// Encodes the texts that neither this job nor an earlier one has encoded.
    ///
    /// # Errors
    /// Of the tokenizer and the text encoder's files, and of the observer.
    pub fn encode(&mut self, texts: &[&str], networks: &Networks, observer: &mut Observer<'_>) -> Result<()> {
        if self.known.len() + texts.len() > KEPT_TEXTS {
            self.known.clear();
        }
        self.open_store(networks)?;
        let mut unknown = Vec::new();
        for text in texts {
            if self.known.contains_key(*text) {
                continue;
            }
            let ids = self.tokenize(text, networks)?;
            match self.stored(&ids, networks) {
                Some(embeds) => self.keep(text, &ids, embeds),
                None => unknown.push((*text, ids)),
            }
        }
        if unknown.is_empty() {
            return Ok(());
        }
        if self.encoder.is_none() {
            observer(Event::Stage("load"))?;
            self.encoder = Some(networks.text_encoder()?);
            observer(Event::Stage("encode"))?;
        }
        let dtype = networks.target.dtype("text_encoder");
        for (text, ids) in unknown {
            let encoder = self.encoder.as_ref().expect("just loaded");
            // Padding changes nothing for the text before it, so that it is never computed.
            let embeds = encoder.forward(&ids.ids, ids.ids.len(), &networks.target.device, dtype);
            if let Some(store) = &self.store {
                store.put(&ids.clean, &embeds);
            }
            self.keep(text, &ids, embeds);
        }
        Ok(())
    }

    /// The store of a text encoder is known by its files' digests, which take a while at first.
    fn open_store(&mut self, networks: &Networks) -> Result<()> {
        let (Some(cache_dir), None) = (&self.cache_dir, &self.store) else {
            return Ok(());
        };
        let mut digests = Digests::open(Some(cache_dir));
        let names = networks.layout.deciding(&["text_encoder"])?;
        let files = digests.of_all(&networks.layout.files, &names)?;
        let identity = format!("{files} {:?}", networks.target.dtype("text_encoder"));
        self.store = Some(EmbedStore::new(cache_dir, identity));
        Ok(())
    }

    fn stored(&self, ids: &TextIds, networks: &Networks) -> Option<Tensor<3>> {
        let width = networks.configs.text_encoder.d_model;
        let store = self.store.as_ref()?;
        store.get(&ids.clean, ids.ids.len(), width, &networks.target.device)
    }

    fn keep(&mut self, text: &str, ids: &TextIds, embeds: Tensor<3>) {
        let [_, tokens, width] = embeds.dims();
        let zeros = Tensor::zeros([1, TEXT_LENGTH - tokens, width], (&embeds.device(), DType::F32));
        let text_of = Text {
            embeds: Tensor::cat(vec![embeds, zeros], 1),
            tokens,
            cut: ids.cut,
        };
        self.known.insert(text.to_string(), text_of);
    }

    fn tokenize(&self, text: &str, networks: &Networks) -> Result<TextIds> {
        let clean = clean(text);
        let ids = self.tokenizer.encode_truncated(&clean, TEXT_LENGTH)?;
        let vocabulary = networks.configs.text_encoder.vocab_size;
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
