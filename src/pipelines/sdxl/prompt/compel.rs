//! compel's arithmetic (github.com/damian0815/compel, 2.5.1, `CompelForSDXL`).
//!
//! Weights of 1 and more move a token's state away from the empty prompt's. Weights below 1 do so
//! too, and besides blend in the states of the text with that fragment hidden from attention. The
//! pooled vector is that of the raw text, with all its notation.

use anyhow::Result;
use burn::tensor::Tensor;

use super::chunks::{Chunk, Cutter};
use super::encoder::{Encoded, TextEncoder, away_from};
use crate::prompts::Piece;
use crate::prompts::compel::{Prompt, parse};

pub(super) fn encode(encoder: &TextEncoder, prompt: &str, truncate: bool) -> Result<Encoded> {
    let (mut states, mut chunks) = (Vec::new(), Vec::new());
    for part in parse(prompt)?.parts {
        let (encoded, of_part) = match part.prompt {
            Prompt::Pieces(pieces) => weighted(encoder, &pieces, truncate)?,
            Prompt::Blend {
                prompts,
                weights,
                normalize,
            } => blend(encoder, &prompts, &weights, normalize, truncate)?,
        };
        states.push(if part.weight == 1.0 {
            encoded
        } else {
            let empty = filled(encoder.empty(), encoder, encoded.dims()[1]);
            empty.clone() + (encoded - empty) * part.weight
        });
        chunks.extend(of_part);
    }
    Ok(Encoded {
        states: Tensor::cat(states, 1),
        pooled: pooled(encoder, prompt)?,
        chunks,
    })
}

/// The pooled vector of the raw text's first 75 tokens.
fn pooled(encoder: &TextEncoder, prompt: &str) -> Result<Option<Tensor<2>>> {
    let ids = encoder.tokenizer.chunks(prompt, true)?;
    let output = encoder.model.forward(&ids, 0, encoder.device, encoder.dtype);
    Ok(output.text_embeds)
}

/// The weighted sum of several prompts' states, shorter ones filled up.
fn blend(
    encoder: &TextEncoder,
    prompts: &[Vec<Piece>],
    weights: &[f64],
    normalize: bool,
    truncate: bool,
) -> Result<(Tensor<3>, Vec<Chunk>)> {
    let encoded = prompts
        .iter()
        .map(|pieces| weighted(encoder, pieces, truncate))
        .collect::<Result<Vec<_>>>()?;
    let longest = encoded.iter().map(|(states, _)| states.dims()[1]).max();
    let total = if normalize { weights.iter().sum() } else { 1.0 };
    let mut sum: Option<Tensor<3>> = None;
    for ((states, _), weight) in encoded.iter().zip(weights) {
        let term = filled(states.clone(), encoder, longest.unwrap_or(0)) * (weight / total);
        sum = Some(match sum {
            Some(sum) => sum + term,
            None => term,
        });
    }
    // Of the tokens compel, too, keeps the first prompt's.
    let chunks = encoded.into_iter().next().map(|(_, chunks)| chunks);
    let sum = sum.expect("the grammar gives at least one prompt");
    Ok((sum, chunks.unwrap_or_default()))
}

/// States with those of empty prompts behind them, up to `length` tokens.
fn filled(states: Tensor<3>, encoder: &TextEncoder, length: usize) -> Tensor<3> {
    let mut parts = vec![states];
    let mut have = parts[0].dims()[1];
    while have < length {
        let empty = encoder.empty();
        have += empty.dims()[1];
        parts.push(empty);
    }
    Tensor::cat(parts, 1)
}

/// One prompt's states: `[1, chunks · length, hidden]`.
fn weighted(encoder: &TextEncoder, pieces: &[Piece], truncate: bool) -> Result<(Tensor<3>, Vec<Chunk>)> {
    let (chunks, spans) = cut(encoder, pieces, truncate)?;
    let length = encoder.tokenizer.max_length();
    let base = masked(encoder, &chunks, None);
    let (mut sum, mut total) = (base, 1.0);
    for (piece, span) in pieces.iter().zip(spans) {
        let (true, Some((first, last))) = (piece.weight < 1.0, span) else {
            continue;
        };
        let mut seen = vec![true; chunks.len() * length];
        seen[first..=last].fill(false);
        if !truncate {
            // The marks at both ends of a chunk are always seen.
            for chunk in seen.chunks_mut(length) {
                chunk[0] = true;
                chunk[length - 1] = true;
            }
        }
        let seen: Vec<Vec<bool>> = seen.chunks(length).map(<[bool]>::to_vec).collect();
        let without = masked(encoder, &chunks, Some(&seen));
        // 0 at a weight of 1, 1 at one half, without bound towards 0.
        let share = ((1.0 - piece.weight.max(1e-5)) * std::f64::consts::FRAC_PI_2).tan();
        sum = sum + without * share;
        total += share;
    }
    Ok((sum * (1.0 / total), chunks))
}

/// All chunks encoded, weights applied, nothing looking where `seen` is false.
fn masked(encoder: &TextEncoder, chunks: &[Chunk], seen: Option<&[Vec<bool>]>) -> Tensor<3> {
    let ids: Vec<Vec<u32>> = chunks.iter().map(|chunk| chunk.ids.clone()).collect();
    let (skip, device, dtype) = (encoder.clip_skip, encoder.device, encoder.dtype);
    let output = encoder.model.forward_masked(&ids, seen, skip, device, dtype);
    let mut rows = Vec::new();
    for (i, chunk) in chunks.iter().enumerate() {
        let states = output.penultimate.clone().narrow(0, i, 1);
        rows.push(match chunk.is_plain() {
            true => states,
            false => away_from(encoder.empty(), states, encoder.weights(&chunk.weights)),
        });
    }
    Tensor::cat(rows, 1)
}

/// First and last position of each piece among all chunks' tokens; `None` for one without tokens.
type Spans = Vec<Option<(usize, usize)>>;

/// Chunks of at most 75 tokens: cut at the last full stop, else behind `. , ; :`, else behind a word.
fn cut(encoder: &TextEncoder, pieces: &[Piece], truncate: bool) -> Result<(Vec<Chunk>, Spans)> {
    let tokenizer = encoder.tokenizer;
    let mut cutter = Cutter::new(tokenizer);
    let (room, length) = (cutter.room(), tokenizer.max_length());
    let mut ranges = Vec::new();
    for piece in pieces {
        let mut ids = tokenizer.encode(&piece.text)?;
        if truncate {
            ids.truncate(room);
        }
        let start = cutter.ids.len();
        ids.iter().for_each(|id| cutter.push(*id, piece.weight));
        ranges.push(start..cutter.ids.len());
    }
    // Where each token is among all chunks' positions.
    let mut positions = Vec::with_capacity(cutter.ids.len());
    loop {
        let count = match truncate {
            true => room.min(cutter.ids.len()),
            false => split_point(encoder, &cutter.ids, room),
        };
        let begin = cutter.chunks.len() * length + 1;
        positions.extend(begin..begin + count);
        cutter.cut(count);
        if truncate || cutter.ids.is_empty() {
            break;
        }
    }
    let span = |range: &std::ops::Range<usize>| {
        let first = *positions.get(range.start).filter(|_| !range.is_empty())?;
        // What is cut off ends at the end mark.
        let last = positions.get(range.end - 1).copied().unwrap_or(length - 1);
        Some((first, last))
    };
    Ok((cutter.chunks, ranges.iter().map(span).collect()))
}

/// How many of the tokens go into the next chunk.
fn split_point(encoder: &TextEncoder, ids: &[u32], room: usize) -> usize {
    if ids.len() <= room {
        return ids.len();
    }
    let tokens: Vec<String> = ids[..room]
        .iter()
        .map(|id| encoder.tokenizer.token_of(*id).unwrap_or_default())
        .collect();
    let behind_last = |fits: &dyn Fn(&str) -> bool| tokens.iter().rposition(|token| fits(token));
    behind_last(&|token| token == ".</w>")
        .or_else(|| behind_last(&|token| [".</w>", ",</w>", ";</w>", ":</w>"].contains(&token)))
        .or_else(|| behind_last(&|token| token.ends_with("</w>")))
        .map_or(room, |last| last + 1)
}
