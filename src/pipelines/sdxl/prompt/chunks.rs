//! Weighted text to the rows that a text encoder takes: begin mark, up to 75 tokens, end mark,
//! padding, each token with its weight.

use anyhow::Result;

use crate::prompts::{Piece, a1111, comfy};
use crate::tokenizers::clip::ClipTokenizer;

/// One row of a text encoder's input.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// With marks and padding.
    pub ids: Vec<u32>,
    /// One a token, 1 for marks and padding.
    pub weights: Vec<f64>,
    /// Tokens between the marks.
    pub tokens: usize,
}

impl Chunk {
    /// # Panics
    /// If there are more ids than fit, or not one weight an id.
    pub fn new(tokenizer: &ClipTokenizer, ids: &[u32], weights: &[f64]) -> Self {
        assert_eq!(ids.len(), weights.len(), "one weight a token");
        let mut all = vec![1.0];
        all.extend(weights);
        all.resize(tokenizer.max_length(), 1.0);
        Self {
            ids: tokenizer.chunk(ids),
            weights: all,
            tokens: ids.len(),
        }
    }

    /// True when no token has a weight of its own.
    pub fn is_plain(&self) -> bool {
        self.weights.iter().all(|w| *w == 1.0)
    }
}

/// Collects tokens and cuts them into chunks.
pub(super) struct Cutter<'a> {
    tokenizer: &'a ClipTokenizer,
    pub ids: Vec<u32>,
    pub weights: Vec<f64>,
    pub chunks: Vec<Chunk>,
}

impl<'a> Cutter<'a> {
    pub fn new(tokenizer: &'a ClipTokenizer) -> Self {
        Self {
            tokenizer,
            ids: Vec::new(),
            weights: Vec::new(),
            chunks: Vec::new(),
        }
    }

    pub fn push(&mut self, id: u32, weight: f64) {
        self.ids.push(id);
        self.weights.push(weight);
    }

    /// Tokens that a chunk holds.
    pub fn room(&self) -> usize {
        self.tokenizer.max_length() - 2
    }

    /// Makes a chunk of the first `count` tokens; the rest begins the next one.
    pub fn cut(&mut self, count: usize) {
        let chunk = Chunk::new(self.tokenizer, &self.ids[..count], &self.weights[..count]);
        self.chunks.push(chunk);
        self.ids.drain(..count);
        self.weights.drain(..count);
    }

    /// The chunks, with what is left as the last one; at least one.
    pub fn finish(mut self) -> Vec<Chunk> {
        if !self.ids.is_empty() || self.chunks.is_empty() {
            self.cut(self.ids.len());
        }
        self.chunks
    }
}

/// Text without notation, cut at 75 tokens wherever that is.
///
/// # Errors
/// When the tokenizer cannot encode the text.
pub fn plain(tokenizer: &ClipTokenizer, text: &str, truncate: bool) -> Result<Vec<Chunk>> {
    let pieces = [Piece {
        text: text.to_string(),
        weight: 1.0,
    }];
    evenly(tokenizer, pieces.iter(), truncate)
}

/// Pieces one behind the other, cut at 75 tokens; with `truncate` only the first chunk.
fn evenly<'p>(
    tokenizer: &ClipTokenizer,
    pieces: impl Iterator<Item = &'p Piece>,
    truncate: bool,
) -> Result<Vec<Chunk>> {
    let mut cutter = Cutter::new(tokenizer);
    for piece in pieces {
        for id in tokenizer.encode(&piece.text)? {
            if cutter.ids.len() == cutter.room() {
                cutter.cut(cutter.room());
            }
            cutter.push(id, piece.weight);
        }
    }
    let mut chunks = cutter.finish();
    chunks.truncate(if truncate { 1 } else { chunks.len() });
    Ok(chunks)
}

/// A1111's chunks (`modules/sd_hijack_clip.py`): one that is full is cut behind its last comma if
/// at most 20 tokens follow that; `BREAK` ends a chunk. `truncate` keeps the first 75 tokens.
///
/// # Errors
/// When the tokenizer cannot encode the text.
pub fn a1111(tokenizer: &ClipTokenizer, prompt: &str, truncate: bool) -> Result<Vec<Chunk>> {
    const COMMA_REACH: usize = 20;
    let sections = a1111::parse(prompt);
    if truncate {
        return evenly(tokenizer, sections[0].iter(), true);
    }
    let comma = tokenizer.id_of(",</w>");
    let mut cutter = Cutter::new(tokenizer);
    // Where the last comma of the chunk in the making is.
    let mut last_comma: Option<usize> = None;
    for (number, section) in sections.iter().enumerate() {
        if number > 0 {
            cutter.cut(cutter.ids.len());
            last_comma = None;
        }
        for piece in section {
            for id in tokenizer.encode(&piece.text)? {
                let full = cutter.ids.len() == cutter.room();
                if Some(id) == comma {
                    last_comma = Some(cutter.ids.len());
                } else if let (true, Some(at)) = (full, last_comma)
                    && cutter.ids.len() - at <= COMMA_REACH
                {
                    cutter.cut(at + 1);
                    last_comma = None;
                }
                if cutter.ids.len() == cutter.room() {
                    cutter.cut(cutter.room());
                    last_comma = None;
                }
                cutter.push(id, piece.weight);
            }
        }
    }
    Ok(cutter.finish())
}

/// ComfyUI's chunks (`comfy/sd1_clip.py`): words of fewer than 8 tokens are not split.
///
/// # Errors
/// When the tokenizer cannot encode the text.
pub fn comfy(tokenizer: &ClipTokenizer, prompt: &str, truncate: bool) -> Result<Vec<Chunk>> {
    const SPLIT_FROM: usize = 8;
    let pieces = comfy::parse(prompt);
    if truncate {
        return evenly(tokenizer, pieces.iter(), true);
    }
    let mut cutter = Cutter::new(tokenizer);
    for piece in &pieces {
        let text = piece.text.replace('\n', " ");
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            let ids = tokenizer.encode(word)?;
            let mut rest = ids.as_slice();
            while rest.len() > cutter.room() - cutter.ids.len() {
                let room = cutter.room() - cutter.ids.len();
                let now = if ids.len() >= SPLIT_FROM { room } else { 0 };
                rest[..now].iter().for_each(|id| cutter.push(*id, piece.weight));
                rest = &rest[now..];
                cutter.cut(cutter.ids.len());
            }
            rest.iter().for_each(|id| cutter.push(*id, piece.weight));
        }
    }
    Ok(cutter.finish())
}
