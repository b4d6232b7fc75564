//! Tokenizers that come as one `tokenizer.json` (umT5, Qwen), through Hugging Face's library.

use anyhow::Result;
use tokenizers::{Tokenizer, TruncationParams};

use crate::error::{Error, ErrorKind};

/// A tokenizer from `tokenizer.json`, with neither padding nor truncation of its own.
#[derive(Debug, Clone)]
pub struct JsonTokenizer(Tokenizer);

impl JsonTokenizer {
    /// # Errors
    /// `BadInput` when the text is not a tokenizer; `label` names the file.
    pub fn from_json(label: &str, json: &[u8]) -> Result<Self> {
        let bad = |e: tokenizers::Error| {
            Error::new(ErrorKind::BadInput, format!("tokenizer `{label}`: {e}")).hint("fetch the file again")
        };
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(bad)?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(bad)?;
        Ok(Self(tokenizer))
    }

    /// The ids of a text, with the special tokens that the tokenizer adds when asked to.
    ///
    /// # Errors
    /// When the tokenizer fails on the text.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        encode(&self.0, text, add_special_tokens)
    }

    /// The ids of a text cut to `max_length`, special tokens included and kept.
    ///
    /// # Errors
    /// When the tokenizer fails on the text, or `max_length` leaves no room for special tokens.
    pub fn encode_truncated(&self, text: &str, max_length: usize) -> Result<Vec<u32>> {
        let mut tokenizer = self.0.clone();
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length,
                ..TruncationParams::default()
            }))
            .map_err(|e| anyhow::anyhow!("tokenizer: {e}"))?;
        encode(&tokenizer, text, true)
    }

    /// The text of ids; special tokens are left out when asked to.
    ///
    /// # Errors
    /// When the tokenizer fails on the ids.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        self.0
            .decode(ids, skip_special_tokens)
            .map_err(|e| anyhow::anyhow!("tokenizer: {e}"))
    }

    /// The id of a token such as `<|im_end|>`.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.0.token_to_id(token)
    }
}

fn encode(tokenizer: &Tokenizer, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
    let encoding = tokenizer
        .encode(text, add_special_tokens)
        .map_err(|e| anyhow::anyhow!("tokenizer: {e}"))?;
    Ok(encoding.get_ids().to_vec())
}
