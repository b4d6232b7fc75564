//! From a registry entry to a loaded pipeline, and what can be said of a model without loading it.

use std::path::Path;

use anyhow::Result;

use super::digest::Digests;
use super::embedded::MICRO_QWEN;
use super::image::ImagePipeline;
use super::load::{LoadOptions, Residency};
use super::mock::{MockPipeline, MockText};
use super::observer::{Event, Observer};
use super::qwen::{self, QwenPipeline, TextModel};
use super::sdxl::SdxlPipeline;
use super::sdxl::parts::Layout;
use super::video::VideoPipeline;
use super::wan::{self, WanPipeline};
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::registry::{ModelFamily, ModelSpec, Source};
use crate::tokenizers::clip::ClipTokenizer;
use crate::weights::{ModelFiles, Report};

/// Loads a model that makes images.
///
/// # Errors
/// `NotBuilt` for families that this build cannot run, `Config` when a pinned digest differs, and
/// whatever is wrong with the files.
pub fn open(
    spec: &ModelSpec,
    options: &LoadOptions,
    observer: &mut Observer<'_>,
) -> Result<Box<dyn ImagePipeline>> {
    spec.check_kind()?;
    check_pins(spec, options.cache_dir.as_deref())?;
    let precision = options.precision_for(spec)?;
    observer(Event::Stage("load"))?;
    match spec.family {
        ModelFamily::Sdxl => Ok(Box::new(SdxlPipeline::load(spec, &options.device, precision)?)),
        ModelFamily::Mock => Ok(Box::new(MockPipeline)),
        family => Err(not_built(spec, family)),
    }
}

/// Opens a model that makes videos; its networks are loaded when their stage begins.
///
/// # Errors
/// As [`open`].
pub fn open_video(
    spec: &ModelSpec,
    options: &LoadOptions,
    residency: Residency,
    observer: &mut Observer<'_>,
) -> Result<Box<dyn VideoPipeline>> {
    spec.check_kind()?;
    check_pins(spec, options.cache_dir.as_deref())?;
    observer(Event::Stage("load"))?;
    match spec.family {
        ModelFamily::Wan => Ok(Box::new(WanPipeline::open(spec, options, residency)?)),
        ModelFamily::Mock => Ok(Box::new(MockPipeline)),
        family => Err(not_built(spec, family)),
    }
}

/// Loads a model that answers in words.
///
/// # Errors
/// As [`open`].
pub fn open_text(
    spec: &ModelSpec,
    options: &LoadOptions,
    observer: &mut Observer<'_>,
) -> Result<Box<dyn TextModel>> {
    spec.check_kind()?;
    check_pins(spec, options.cache_dir.as_deref())?;
    let precision = options.precision_for(spec)?;
    observer(Event::Stage("load"))?;
    match spec.family {
        ModelFamily::Qwen => {
            let hash = model_hash(spec, options.cache_dir.as_deref())?;
            let files = qwen_files(spec)?;
            let model = QwenPipeline::load(&files, &spec.name, &hash, &options.device, precision)?;
            Ok(Box::new(model))
        }
        ModelFamily::Mock => Ok(Box::new(MockText::new(&spec.name))),
        family => Err(not_built(spec, family)),
    }
}

/// Accounts for every tensor of a model, reading only headers.
///
/// # Errors
/// As [`open`], but tensors that do not fit are in the reports.
pub fn verify(spec: &ModelSpec) -> Result<Vec<Report>> {
    spec.check_kind()?;
    match spec.family {
        ModelFamily::Sdxl => Layout::of(spec)?.verify(),
        ModelFamily::Wan => wan::parts::Layout::of(spec)?.verify(),
        ModelFamily::Qwen => Ok(vec![QwenPipeline::verify(&qwen_files(spec)?, &spec.name)?]),
        ModelFamily::Mock => Ok(Vec::new()),
    }
}

/// The size in pixels that a model was made for, where its files tell.
///
/// # Errors
/// When its configuration cannot be read.
pub fn native_size_px(spec: &ModelSpec) -> Result<Option<usize>> {
    match spec.family {
        ModelFamily::Sdxl => Layout::of(spec)?.native_size_px().map(Some),
        _ => Ok(None),
    }
}

/// Sizes of a model's stored weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WeightsBytes {
    pub total: u64,
    /// The largest component.
    pub largest: u64,
}

/// What a model's weights take on disk: an estimate of what they take in memory.
///
/// # Errors
/// When a weight file is missing or has no readable header.
pub fn weights_bytes(spec: &ModelSpec) -> Result<WeightsBytes> {
    let sizes: Vec<u64> = match spec.family {
        ModelFamily::Sdxl => Layout::of(spec)?.weights_bytes()?,
        ModelFamily::Wan => {
            let layout = wan::parts::Layout::of(spec)?;
            let size = |component: &&str| Ok(layout.checkpoint(component)?.size_bytes());
            wan::parts::COMPONENTS.iter().map(size).collect::<Result<_>>()?
        }
        ModelFamily::Qwen => vec![qwen_files(spec)?.checkpoint(qwen::ROOT)?.size_bytes()],
        ModelFamily::Mock => Vec::new(),
    };
    Ok(WeightsBytes {
        total: sizes.iter().sum(),
        largest: sizes.iter().copied().max().unwrap_or_default(),
    })
}

/// Whether a video model can follow reference pictures, as its configuration says.
///
/// # Errors
/// When its configuration cannot be read.
pub fn takes_references(spec: &ModelSpec) -> Result<bool> {
    match spec.family {
        ModelFamily::Wan => {
            let configs = wan::parts::Layout::of(spec)?.configs()?;
            Ok(configs.transformer.vace_layers.is_some())
        }
        _ => Ok(false),
    }
}

/// The number of tokens in a text.
pub type CountTokens = dyn Fn(&str) -> Result<usize>;

/// Counts the tokens that a text takes in a model's longest-winded tokenizer.
///
/// # Errors
/// When its vocabulary cannot be read.
pub fn token_counter(spec: &ModelSpec) -> Result<Box<CountTokens>> {
    match spec.family {
        ModelFamily::Sdxl => {
            let tokenizers = Layout::of(spec)?.tokenizers()?;
            Ok(Box::new(move |text| {
                let [first, second] = &tokenizers;
                Ok(first.count(text)?.max(second.count(text)?))
            }))
        }
        ModelFamily::Wan => {
            let tokenizer = wan::parts::Layout::of(spec)?.tokenizer()?;
            Ok(Box::new(move |text| Ok(tokenizer.encode(text, false)?.len())))
        }
        ModelFamily::Qwen => {
            let tokenizer = QwenPipeline::tokenizer(&qwen_files(spec)?)?;
            Ok(Box::new(move |text| Ok(tokenizer.encode(text)?.len())))
        }
        ModelFamily::Mock => Ok(Box::new(|text| Ok(text.split_whitespace().count()))),
    }
}

/// Counts the tokens of CLIP's own vocabulary, the measure of every enhanced prompt.
///
/// # Errors
/// When the vocabulary in the binary cannot be read.
pub fn clip_token_counter() -> Result<Box<CountTokens>> {
    let tokenizer = ClipTokenizer::embedded(&Default::default())?;
    Ok(Box::new(move |text| tokenizer.count(text)))
}

/// SHA-256 over everything that decides what a model computes, in hexadecimal.
///
/// For a single file it is the file's own digest, as other tools print it.
///
/// # Errors
/// When a file cannot be read.
pub fn model_hash(spec: &ModelSpec, cache_dir: Option<&Path>) -> Result<String> {
    let mut digests = Digests::open(cache_dir);
    match (&spec.family, &spec.source) {
        (ModelFamily::Mock, _) => Ok(Digests::of_bytes(b"mock")),
        (ModelFamily::Qwen, _) => {
            let files = qwen_files(spec)?;
            let names = QwenPipeline::deciding(&files)?;
            digests.of_all(&files, &names)
        }
        (_, Source::SingleFile { path, .. }) => digests.of_file(path),
        (ModelFamily::Wan, _) => {
            let layout = wan::parts::Layout::of(spec)?;
            let names = layout.deciding(&wan::parts::COMPONENTS)?;
            digests.of_all(&layout.files, &names)
        }
        _ => {
            let layout = Layout::of(spec)?;
            let names = layout.files.deciding(layout.components()?)?;
            digests.of_all(&layout.files, &names)
        }
    }
}

/// SHA-256 of weights beside a model: of a file, or over everything in a folder that decides what it
/// computes. A network of the binary has none of its own.
///
/// # Errors
/// When a file cannot be read.
pub fn weights_hash(path: &Path, cache_dir: Option<&Path>) -> Result<String> {
    let mut digests = Digests::open(cache_dir);
    if !path.is_dir() {
        return digests.of_file(path);
    }
    let files = ModelFiles::Folder(path.to_path_buf());
    if files.has("model_index.json") {
        let spec = ModelSpec::new("", ModelFamily::Sdxl, Source::Folder(path.to_path_buf()));
        return model_hash(&spec, cache_dir);
    }
    let mut names = vec!["config.json".to_string()];
    names.extend(files.weight_files("")?);
    digests.of_all(&files, &names)
}

/// A language model needs its tokenizer and template, so it is a folder or built in.
fn qwen_files(spec: &ModelSpec) -> Result<ModelFiles> {
    match &spec.source {
        Source::Embedded => Ok(MICRO_QWEN),
        Source::Folder(root) => Ok(ModelFiles::Folder(root.clone())),
        Source::SingleFile { path, .. } => fail!(
            BadInput, "model `{}`: `{}` is one file; a language model is a folder", spec.name, path.display();
            "name the Hugging Face folder with config.json, tokenizer.json and *.safetensors"
        ),
    }
}

/// Compares the files that models.toml pins with their digests.
fn check_pins(spec: &ModelSpec, cache_dir: Option<&Path>) -> Result<()> {
    let mut digests = Digests::open(cache_dir);
    for (name, pinned) in &spec.sha256 {
        let path = match &spec.source {
            Source::Folder(root) => root.join(name),
            Source::SingleFile { path, .. } => path.clone(),
            Source::Embedded => continue,
        };
        let found = digests.of_file(&path)?;
        if !found.eq_ignore_ascii_case(pinned) {
            fail!(
                Config, "model `{}`: `{}` has sha256 {found}, models.toml pins {pinned}", spec.name, path.display();
                "fetch the file again, or correct the pin if you trust this file"
            );
        }
    }
    Ok(())
}

fn not_built(spec: &ModelSpec, family: ModelFamily) -> anyhow::Error {
    Error::new(
        ErrorKind::NotBuilt,
        format!(
            "model `{}`: this build does not run {family:?} models yet",
            spec.name
        ),
    )
    .hint("`ourvidz models list` shows which models there are")
    .into()
}
