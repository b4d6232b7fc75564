use anyhow::Result;
use tokenizers::models::bpe::BPE;
use tokenizers::Tokenizer;
pub struct ClipTokenizer { inner: Tokenizer, bos: u32, eos: u32, pad: u32 }
impl ClipTokenizer {
    pub fn from_files(_label: &str, vocab: Option<&[u8]>, merges: Option<&[u8]>, _config: Option<&[u8]>, default_pad: Option<&str>) -> Result<Self> {
        use tokenizers::pre_tokenizers::{byte_level::ByteLevel, sequence::Sequence, split::{Split, SplitPattern}};
        let vocab: std::collections::HashMap<String,u32,ahash::RandomState> = serde_json::from_slice(vocab.unwrap())?;
        let merges = std::str::from_utf8(merges.unwrap())?.lines().skip(1).filter(|l| !l.is_empty()).map(|l| l.split_once(' ').map(|(a,b)| (a.to_string(), b.to_string())).unwrap()).collect();
        let (bos, eos) = (vocab["<|startoftext|>"], vocab["<|endoftext|>"]);
        let pad = default_pad.map_or(eos, |p| vocab[p]);
        let bpe = BPE::builder().vocab_and_merges(ahash::AHashMap::from(vocab), merges).unk_token("<|endoftext|>".into()).end_of_word_suffix("</w>".into()).continuing_subword_prefix("".into()).build().map_err(|e| anyhow::anyhow!("{e}"))?;
        let mut inner = Tokenizer::new(bpe);
        inner.with_normalizer(Some(tokenizers::normalizers::Lowercase));
        let split = Split::new(SplitPattern::Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+".into()), tokenizers::SplitDelimiterBehavior::Removed, true).map_err(|e| anyhow::anyhow!("{e}"))?;
        inner.with_pre_tokenizer(Some(Sequence::new(vec![split.into(), ByteLevel::new(false, false, false).into()])));
        Ok(Self { inner, bos, eos, pad })
    }
    fn encode(&self, t: &str) -> Result<Vec<u32>> { Ok(self.inner.encode(t, false).map_err(|e| anyhow::anyhow!("{e}"))?.get_ids().to_vec()) }
    pub fn count(&self, t: &str) -> Result<usize> { Ok(self.encode(t)?.len()) }
    pub fn chunk_tokens(&self) -> usize { 75 }
    pub fn chunks(&self, t: &str, truncate: bool) -> Result<Vec<Vec<u32>>> {
        let ids = self.encode(t)?;
        let mut out: Vec<Vec<u32>> = ids.chunks(75).map(|c| { let mut v = vec![self.bos]; v.extend(c); v.push(self.eos); v.resize(77, self.pad); v }).collect();
        if out.is_empty() { let mut v = vec![self.bos, self.eos]; v.resize(77, self.pad); out.push(v); }
        if truncate { out.truncate(1); }
        Ok(out)
    }
}
