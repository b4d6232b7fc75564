//! CLIP's byte-pair encoding: lower-cased words, end-of-word marks, 77 tokens a chunk.
//!
//! Radford et al. 2021 (arXiv 2103.00020). Ids agree with transformers'
//! `models/clip/tokenization_clip.py`, whose normaliser and splitting rules are set up here.

use std::borrow::Cow;

use anyhow::Result;
use serde_json::{Map, Value};
use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use crate::error::{Error, ErrorKind};

/// OpenAI's merges (MIT licence, `assets/clip/LICENSE`); the vocabulary follows from them.
const MERGES: &str = include_str!("../../assets/clip/merges.txt");

/// The words, digits, marks and contractions that are encoded one by one.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// A text encoder's context where the configuration gives none.
const CONTEXT: usize = 77;

/// One special token as the configuration spells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialToken {
    pub content: String,
    /// Found in the normalised text, so also in other cases.
    pub normalized: bool,
}

impl SpecialToken {
    fn new(content: &str) -> Self {
        Self {
            content: content.to_string(),
            normalized: false,
        }
    }
}

/// What `tokenizer_config.json` and `special_tokens_map.json` say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialTokens {
    pub bos: SpecialToken,
    pub eos: SpecialToken,
    pub unk: SpecialToken,
    /// Fills a chunk. It is special in prompts too: SDXL's second tokenizer pads with `!`, so
    /// that an exclamation mark there is padding in the middle of the text.
    pub pad: SpecialToken,
    /// Tokens per chunk with begin and end marks (`model_max_length`).
    pub max_length: usize,
}

impl Default for SpecialTokens {
    /// The first text encoder's.
    fn default() -> Self {
        Self {
            bos: SpecialToken::new(START),
            eos: SpecialToken::new(END),
            unk: SpecialToken::new(END),
            pad: SpecialToken::new(END),
            max_length: CONTEXT,
        }
    }
}

impl SpecialTokens {
    /// The second SDXL text encoder's, which pads with `!`.
    pub fn sdxl_second() -> Self {
        Self {
            pad: SpecialToken::new("!"),
            ..Self::default()
        }
    }

    /// Reads `tokenizer_config.json` and, where there is one, `special_tokens_map.json`, which wins.
    ///
    /// # Errors
    /// `BadInput` if either is no JSON object or a value has the wrong type.
    pub fn from_json(tokenizer_config: &[u8], special_tokens_map: Option<&[u8]>) -> Result<Self> {
        let mut tokens = Self::default();
        let config = object("tokenizer_config.json", tokenizer_config)?;
        tokens.read("tokenizer_config.json", &config)?;
        // Some configurations say 1e30 for "no limit".
        if let Some(length) = config.get("model_max_length").and_then(Value::as_u64)
            && (3..=4096).contains(&length)
        {
            tokens.max_length = length as usize;
        }
        if let Some(map) = special_tokens_map {
            tokens.read(
                "special_tokens_map.json",
                &object("special_tokens_map.json", map)?,
            )?;
        }
        Ok(tokens)
    }

    fn read(&mut self, file: &str, fields: &Map<String, Value>) -> Result<()> {
        let roles = [
            ("bos_token", &mut self.bos),
            ("eos_token", &mut self.eos),
            ("unk_token", &mut self.unk),
            ("pad_token", &mut self.pad),
        ];
        for (field, token) in roles {
            let value = fields.get(field).unwrap_or(&Value::Null);
            let content = value.get("content").unwrap_or(value);
            match content {
                Value::Null => {}
                Value::String(content) => {
                    token.content = content.clone();
                    token.normalized = value.get("normalized") == Some(&Value::Bool(true));
                }
                other => return Err(bad(file, &format!("{field} is {other}; it must be a string"))),
            }
        }
        Ok(())
    }

    /// As transformers registers them: once each, normalised only if every mention is.
    fn added(&self) -> Vec<AddedToken> {
        let all = [&self.bos, &self.eos, &self.unk, &self.pad];
        let mut added: Vec<AddedToken> = Vec::new();
        for token in all {
            match added.iter_mut().find(|a| a.content == token.content) {
                Some(known) => known.normalized &= token.normalized,
                None => {
                    added.push(AddedToken::from(token.content.clone(), true).normalized(token.normalized))
                }
            }
        }
        added
    }
}

/// A CLIP tokenizer: texts to ids, and ids to chunks of the text encoder's length.
#[derive(Debug, Clone)]
pub struct ClipTokenizer {
    inner: Tokenizer,
    bos: u32,
    eos: u32,
    pad: u32,
    max_length: usize,
}

/// The content of a file of that name, or `None` where there is none.
pub type ReadFile<'a> = dyn Fn(&str) -> Result<Option<Cow<'static, [u8]>>> + 'a;

impl ClipTokenizer {
    /// From the contents of `vocab.json` and `merges.txt`.
    ///
    /// # Errors
    /// `BadInput`, naming the file and what is wrong in it.
    pub fn from_vocab_and_merges(vocab: &[u8], merges: &[u8], special: &SpecialTokens) -> Result<Self> {
        let vocab: Vec<(String, u32)> = object("vocab.json", vocab)?
            .into_iter()
            .map(
                |(token, id)| match id.as_u64().and_then(|id| u32::try_from(id).ok()) {
                    Some(id) => Ok((token, id)),
                    None => Err(bad(
                        "vocab.json",
                        &format!("the id of `{token}` is {id}; it must be an integer"),
                    )),
                },
            )
            .collect::<Result<_>>()?;
        let merges =
            std::str::from_utf8(merges).map_err(|e| bad("merges.txt", &format!("not UTF-8: {e}")))?;
        Self::from_parts(vocab, parse_merges(merges)?, special)
    }

    /// From the contents of a `tokenizer.json`.
    ///
    /// # Errors
    /// `BadInput` if it is not a tokenizer or lacks a special token.
    pub fn from_tokenizer_json(json: &[u8], special: &SpecialTokens) -> Result<Self> {
        let mut inner = Tokenizer::from_bytes(json).map_err(|e| bad("tokenizer.json", &e.to_string()))?;
        inner.with_padding(None);
        inner
            .with_truncation(None)
            .map_err(|e| bad("tokenizer.json", &e.to_string()))?;
        Self::finish(inner, special)
    }

    /// OpenAI's vocabulary of 49,408 tokens, which is in the binary.
    pub fn embedded(special: &SpecialTokens) -> Result<Self> {
        let merges = parse_merges(MERGES)?;
        let characters: Vec<String> = byte_characters().map(String::from).collect();
        let ends = characters.iter().map(|c| format!("{c}</w>"));
        let merged = merges.iter().map(|(left, right)| format!("{left}{right}"));
        let tokens = characters.iter().cloned().chain(ends).chain(merged);
        let tokens = tokens.chain([START.to_string(), END.to_string()]);
        let vocab = tokens.zip(0u32..).collect();
        Self::from_parts(vocab, merges, special)
    }

    /// From a model's tokenizer folder: `vocab.json` and `merges.txt`, or `tokenizer.json`, or, where
    /// it has neither, the vocabulary in the binary. `read` gives a file's content, `None` without it.
    ///
    /// # Errors
    /// `BadInput` if a file is broken; reading errors as they come.
    pub fn from_files(read: &ReadFile<'_>, default: SpecialTokens) -> Result<Self> {
        let special = match read("tokenizer_config.json")? {
            Some(config) => SpecialTokens::from_json(&config, read("special_tokens_map.json")?.as_deref())?,
            None => default,
        };
        if let (Some(vocab), Some(merges)) = (read("vocab.json")?, read("merges.txt")?) {
            return Self::from_vocab_and_merges(&vocab, &merges, &special);
        }
        match read("tokenizer.json")? {
            Some(json) => Self::from_tokenizer_json(&json, &special),
            None => Self::embedded(&special),
        }
    }

    fn from_parts(
        vocab: Vec<(String, u32)>,
        merges: Vec<(String, String)>,
        special: &SpecialTokens,
    ) -> Result<Self> {
        let wrong = |e: tokenizers::Error| bad("vocab.json and merges.txt", &e.to_string());
        let model = BPE::builder()
            .vocab_and_merges(vocab.into_iter().collect::<Vocab>(), merges)
            .continuing_subword_prefix(String::new())
            .end_of_word_suffix("</w>".to_string())
            .unk_token(special.unk.content.clone())
            .build()
            .map_err(wrong)?;
        let mut inner = Tokenizer::new(model);
        let spaces = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ").map_err(wrong)?;
        inner.with_normalizer(Some(Normalizers::new(vec![
            NFC.into(),
            spaces.into(),
            Lowercase.into(),
        ])));
        let words = Split::new(
            SplitPattern::Regex(WORDS.into()),
            SplitDelimiterBehavior::Removed,
            true,
        );
        inner.with_pre_tokenizer(Some(PreTokenizers::new(vec![
            words.map_err(wrong)?.into(),
            ByteLevel::new(false, true, true).into(),
        ])));
        Self::finish(inner, special)
    }

    fn finish(mut inner: Tokenizer, special: &SpecialTokens) -> Result<Self> {
        let id = |inner: &Tokenizer, token: &SpecialToken, role: &str| {
            inner.token_to_id(&token.content).ok_or_else(|| {
                bad(
                    "tokenizer",
                    &format!("{role} is `{}`, which the vocabulary lacks", token.content),
                )
            })
        };
        let (bos, eos, pad) = (
            id(&inner, &special.bos, "bos_token")?,
            id(&inner, &special.eos, "eos_token")?,
            id(&inner, &special.pad, "pad_token")?,
        );
        inner.add_special_tokens(&special.added());
        Ok(Self {
            inner,
            bos,
            eos,
            pad,
            max_length: special.max_length,
        })
    }

    /// The ids of a text, without begin and end marks, however many.
    ///
    /// # Errors
    /// `Internal` if the tokenizer fails; no text is known that makes it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| Error::new(ErrorKind::Internal, format!("tokenizing a prompt: {e}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The id of a token such as `,</w>`, if the vocabulary has it.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token of an id; words end in `</w>`.
    pub fn token_of(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// How many tokens a text has, without begin and end marks.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn count(&self, text: &str) -> Result<usize> {
        Ok(self.encode(text)?.len())
    }

    /// The text encoder's inputs, each of [`Self::max_length`] ids: begin mark, up to 75 tokens,
    /// end mark, padding. At least one; with `truncate` only the first.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn chunks(&self, text: &str, truncate: bool) -> Result<Vec<Vec<u32>>> {
        let ids = self.encode(text)?;
        let room = self.max_length - 2;
        let parts: Vec<&[u32]> = match ids.is_empty() {
            true => vec![&[]],
            false => ids.chunks(room).collect(),
        };
        let kept = if truncate { 1 } else { parts.len() };
        Ok(parts[..kept].iter().map(|part| self.chunk(part)).collect())
    }

    /// One input of the text encoder around some ids.
    ///
    /// # Panics
    /// If there are more ids than fit between begin and end mark.
    pub fn chunk(&self, ids: &[u32]) -> Vec<u32> {
        assert!(
            ids.len() <= self.max_length - 2,
            "a chunk holds {} ids, got {}",
            self.max_length - 2,
            ids.len()
        );
        let mut chunk = Vec::with_capacity(self.max_length);
        chunk.push(self.bos);
        chunk.extend_from_slice(ids);
        chunk.push(self.eos);
        chunk.resize(self.max_length, self.pad);
        chunk
    }

    /// The id of the begin mark.
    pub fn bos_id(&self) -> u32 {
        self.bos
    }

    /// The id of the end mark, where the pooled embedding is read.
    pub fn eos_id(&self) -> u32 {
        self.eos
    }

    /// The id that fills a chunk.
    pub fn pad_id(&self) -> u32 {
        self.pad
    }

    /// Ids per chunk, 77 for CLIP.
    pub fn max_length(&self) -> usize {
        self.max_length
    }
}

/// The 256 characters that stand for bytes, in CLIP's order: printable ones first.
fn byte_characters() -> impl Iterator<Item = char> {
    let printable = (33..=126).chain(161..=172).chain(174..=255u32);
    let stand_ins = 256..256 + 68;
    printable.chain(stand_ins).filter_map(char::from_u32)
}

fn parse_merges(text: &str) -> Result<Vec<(String, String)>> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with("#version"));
    lines
        .map(|(number, line)| match line.split_once(' ') {
            Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
                Ok((left.to_string(), right.to_string()))
            }
            _ => Err(bad(
                "merges.txt",
                &format!("line {}: `{line}` is not a pair", number + 1),
            )),
        })
        .collect()
}

fn object(file: &str, json: &[u8]) -> Result<Map<String, Value>> {
    serde_json::from_slice(json).map_err(|e| bad(file, &format!("not a JSON object: {e}")))
}

fn bad(file: &str, message: &str) -> anyhow::Error {
    Error::new(ErrorKind::BadInput, format!("{file}: {message}"))
        .hint("download the model's tokenizer folder again")
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::kind_of;

    const VOCAB: &[u8] = br#"{"a": 0, "b": 1, "a</w>": 2, "b</w>": 3, "ab</w>": 4, "<s>": 5, "</s>": 6}"#;

    fn tiny(max_length: u32) -> ClipTokenizer {
        let config = format!(
            r#"{{"bos_token": "<s>", "eos_token": {{"content": "</s>"}}, "unk_token": "</s>",
                "pad_token": "a", "model_max_length": {max_length}}}"#
        );
        let special = SpecialTokens::from_json(config.as_bytes(), None).expect("special tokens");
        ClipTokenizer::from_vocab_and_merges(VOCAB, b"#version: 0.2\na b</w>\n", &special)
            .expect("a tokenizer")
    }

    #[test]
    fn ids_marks_and_lengths_come_from_the_files() {
        let tokenizer = tiny(5);
        assert_eq!(
            (tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id()),
            (5, 6, 0)
        );
        assert_eq!(tokenizer.encode("AB b").expect("ids"), [4, 3]);
        assert_eq!(
            tokenizer.encode("ab").expect("ids"),
            [0, 3],
            "padding is special in texts"
        );
        assert_eq!(tokenizer.count("b b b b").expect("a count"), 4);
    }

    #[test]
    fn long_texts_are_split_or_cut() {
        let tokenizer = tiny(5);
        let chunks = tokenizer.chunks("b b b b", false).expect("chunks");
        assert_eq!(chunks, [[5, 3, 3, 3, 6], [5, 3, 6, 0, 0]]);
        assert_eq!(
            tokenizer.chunks("b b b b", true).expect("chunks"),
            [[5, 3, 3, 3, 6]]
        );
        assert_eq!(tokenizer.chunks("b b b", false).expect("chunks").len(), 1);
        assert_eq!(tokenizer.chunks("", false).expect("chunks"), [[5, 6, 0, 0, 0]]);
    }

    #[test]
    fn broken_files_are_named() {
        let special = SpecialTokens::default();
        for (vocab, merges, file) in [
            (&b"[]"[..], &b""[..], "vocab.json"),
            (br#"{"a": "b"}"#, b"", "vocab.json"),
            (br#"{"a": -1}"#, b"", "vocab.json"),
            (VOCAB, b"a", "merges.txt: line 1"),
            (VOCAB, b"#version: 0.2\na b c", "merges.txt: line 2"),
            (VOCAB, b"\xff", "merges.txt"),
            (VOCAB, b"a c", "vocab.json and merges.txt"),
            (VOCAB, b"", "bos_token is `<|startoftext|>`"),
        ] {
            let error = ClipTokenizer::from_vocab_and_merges(vocab, merges, &special).unwrap_err();
            assert_eq!(kind_of(&error), ErrorKind::BadInput);
            assert!(error.to_string().contains(file), "{error}");
        }
        assert!(SpecialTokens::from_json(b"3", None).is_err());
        assert!(SpecialTokens::from_json(br#"{"pad_token": 3}"#, None).is_err());
        assert!(ClipTokenizer::from_tokenizer_json(b"{}", &special).is_err());
    }

    #[test]
    fn a_folder_without_a_vocabulary_uses_the_one_in_the_binary() {
        let tokenizer = ClipTokenizer::from_files(&|_| Ok(None), SpecialTokens::sdxl_second());
        assert_eq!(tokenizer.expect("embedded").pad_id(), 0);
        let broken =
            |name: &str| Ok((name == "vocab.json" || name == "merges.txt").then(|| b"[]".to_vec().into()));
        let error = ClipTokenizer::from_files(&broken, SpecialTokens::default()).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::BadInput);
    }

    #[test]
    fn a_tokenizer_json_gives_the_same_ids() {
        let original = ClipTokenizer::embedded(&SpecialTokens::default()).expect("embedded");
        let json = original.inner.to_string(false).expect("JSON");
        let read = ClipTokenizer::from_tokenizer_json(json.as_bytes(), &SpecialTokens::default());
        let text = "a (castle:1.3) on a hill, <|endoftext|> it's über";
        assert_eq!(
            read.expect("read").encode(text).expect("ids"),
            original.encode(text).expect("ids")
        );
    }
}
