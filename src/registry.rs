//! models.toml: names of models, where their files are, and which job type uses which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::config::{Section, Settings, TomlFile, at_home, dtype_name, nearest, shown};
use crate::error::{Error, ErrorKind, kind_of};
use crate::fail;
use crate::files::read_bounded;
use crate::limits;

mod from_path;
mod header;
mod identify;

/// The models.toml in the binary; it lies under whichever file is found.
pub const SHIPPED: &str = include_str!("../models.toml");

/// Where a model's weights come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// Compiled into the binary.
    Embedded,
    /// A diffusers or Hugging Face folder.
    Folder(PathBuf),
    /// One checkpoint file; its configuration may come from a folder.
    SingleFile {
        path: PathBuf,
        config_from: Option<PathBuf>,
    },
}

/// The largest models.toml that is read.
const LARGEST_FILE_BYTES: u64 = 1 << 20;

/// The architecture behind an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelFamily {
    Sdxl,
    Wan,
    Qwen,
    /// Draws gradients; for tests of everything around the models.
    Mock,
}

impl ModelFamily {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sdxl => "sdxl",
            Self::Wan => "wan",
            Self::Qwen => "qwen",
            Self::Mock => "mock",
        }
    }

    fn from_name(name: &str) -> Result<Self> {
        Ok(match name {
            "sdxl" => Self::Sdxl,
            "wan" => Self::Wan,
            "qwen" => Self::Qwen,
            // No release has it: nothing of it is to be passed off as a model's work.
            "mock" if cfg!(debug_assertions) => Self::Mock,
            other => fail!(
                Config,
                "family is `{}`; allowed are sdxl, wan, qwen",
                shown(other)
            ),
        })
    }
}

/// One `[models.NAME]` entry, or a model named by its path.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSpec {
    pub name: String,
    pub family: ModelFamily,
    pub source: Source,
    /// `f32`, `f16` or `bf16`; `None` lets the device decide.
    pub dtype: Option<String>,
    /// File name → pinned digest (64 hexadecimal digits, lower case); checked before loading.
    pub sha256: BTreeMap<String, String>,
    pub scheduler: Option<String>,
    /// Native size where it differs from the job type's.
    pub width: Option<u32>,
    pub height: Option<u32>,
    /// Frames of a video where the model is made for another number than the job type's.
    pub frames: Option<u32>,
    pub license: Option<String>,
    /// Memory need if measured.
    pub memory_bytes: Option<u64>,
    /// Replaces the automatic negative prompt; empty: none for this model.
    pub auto_negative: Option<String>,
    pub sdxl: SdxlEntry,
}

/// What only entries of SDXL models have.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SdxlEntry {
    /// Sampler, steps and guidance of a distilled model.
    pub preset: Option<String>,
    /// What the denoiser predicts, where its files do not say.
    pub prediction_type: Option<String>,
    pub zero_snr: Option<bool>,
    /// What references are followed with: IP-Adapter, one for faces, their image encoder, and a
    /// ControlNet for Canny edges.
    pub ip_adapter: Option<PathBuf>,
    pub ip_adapter_face: Option<PathBuf>,
    pub image_encoder: Option<PathBuf>,
    pub controlnet: Option<PathBuf>,
    /// An autoencoder in place of the model's own.
    pub vae: Option<PathBuf>,
}

impl ModelSpec {
    /// A model with nothing but a name, a family and a source.
    pub fn new(name: impl Into<String>, family: ModelFamily, source: Source) -> Self {
        Self {
            name: name.into(),
            family,
            source,
            dtype: None,
            sha256: BTreeMap::new(),
            scheduler: None,
            width: None,
            height: None,
            frames: None,
            license: None,
            memory_bytes: None,
            auto_negative: None,
            sdxl: SdxlEntry::default(),
        }
    }

    /// Its folder or file; empty for a model in the binary.
    pub fn path(&self) -> &Path {
        match &self.source {
            Source::Folder(path) | Source::SingleFile { path, .. } => path,
            Source::Embedded => Path::new(""),
        }
    }

    /// # Errors
    /// `InputMissing` naming the file or folder that is not there.
    pub fn check_files(&self) -> Result<()> {
        let (path, config_from) = match &self.source {
            Source::Embedded => return Ok(()),
            Source::Folder(path) => (path, None),
            Source::SingleFile { path, config_from } => (path, config_from.as_ref()),
        };
        for wanted in std::iter::once(path).chain(config_from) {
            if !wanted.exists() {
                fail!(InputMissing, "model `{}`: {} not found", self.name, wanted.display();
                    "correct the path in models.toml");
            }
        }
        Ok(())
    }
}

/// All models and routes.
#[derive(Debug, Clone, PartialEq)]
pub struct Registry {
    /// The file that was read; `None` when only the one in the binary holds.
    file: Option<PathBuf>,
    models: BTreeMap<String, ModelSpec>,
    routes: BTreeMap<String, String>,
}

impl Registry {
    /// Reads the first of: `explicit` (`--models`), the setting `models`, `./models.toml`, the
    /// config folder's. What the binary ships lies underneath.
    ///
    /// # Errors
    /// `InputMissing` when a named file is not there, `Config` when one holds a mistake.
    pub fn load(explicit: Option<&Path>, settings: &Settings) -> Result<Self> {
        if let Some(named) = explicit.or(settings.models.as_deref()) {
            if !named.is_file() {
                fail!(InputMissing, "models file `{}` not found", named.display();
                    "name an existing models.toml");
            }
            return Self::read(named);
        }
        let usual = [
            PathBuf::from("models.toml"),
            settings.config_dir.join("models.toml"),
        ];
        match usual.iter().find(|f| f.is_file()) {
            Some(file) => Self::read(file),
            None => Self::shipped(),
        }
    }

    /// The models in the binary alone.
    ///
    /// # Errors
    /// `Config` if the shipped file were wrong.
    pub fn shipped() -> Result<Self> {
        let mut registry = Self {
            file: None,
            models: BTreeMap::new(),
            routes: BTreeMap::new(),
        };
        registry.add(Path::new("models.toml"), SHIPPED)?;
        Ok(registry)
    }

    /// One file over what the binary ships.
    ///
    /// # Errors
    /// `Config` for any mistake, with file, line and key; `Io` when it cannot be read.
    pub fn read(file: &Path) -> Result<Self> {
        let bytes = read_bounded(file, LARGEST_FILE_BYTES).map_err(|e| {
            let kind = match kind_of(&e) {
                ErrorKind::BadInput => ErrorKind::Config,
                _ => ErrorKind::Io,
            };
            Error::new(kind, format!("{}: {e}", file.display()))
        })?;
        let Ok(text) = String::from_utf8(bytes) else {
            fail!(Config, "{}: cannot be read: it is not UTF-8", file.display());
        };
        Self::of(file, &text)
    }

    /// What a file with this text would be.
    ///
    /// # Errors
    /// `Config` for any mistake, with file, line and key.
    pub fn of(file: &Path, text: &str) -> Result<Self> {
        let mut registry = Self::shipped()?;
        registry.add(file, text)?;
        registry.file = Some(file.into());
        Ok(registry)
    }

    /// The model with this name, or at this path.
    ///
    /// # Errors
    /// `InputMissing` for an unknown name (with the nearest and all known ones) and for files that
    /// are not there; as [`ModelSpec::from_path`] for a path.
    pub fn find(&self, name_or_path: &str) -> Result<ModelSpec> {
        if let Some(model) = self.models.get(name_or_path) {
            model.check_files()?;
            return Ok(model.clone());
        }
        let path = at_home(name_or_path);
        if path.exists() {
            return ModelSpec::from_path(&path, None);
        }
        let known = self.models.keys().map(String::as_str);
        let near = match nearest(name_or_path, known.clone()) {
            Some(near) => format!("did you mean `{near}`? "),
            None => String::new(),
        };
        let known = known.collect::<Vec<_>>().join(", ");
        fail!(InputMissing, "model `{}` is neither in models.toml nor a file or folder", shown(name_or_path);
            "{near}known models: {known}")
    }

    /// The entry with this name, whether or not its files are there.
    pub fn entry(&self, name: &str) -> Option<&ModelSpec> {
        self.models.get(name)
    }

    /// Adds or replaces an entry: a path model whose size the caller has read, for example.
    pub fn insert(&mut self, model: ModelSpec) {
        self.models.insert(model.name.clone(), model);
    }

    /// The model that `[routes]` names for a job type.
    pub fn route(&self, job_type: &str) -> Option<&str> {
        self.routes.get(job_type).map(String::as_str)
    }

    /// Every entry by name, whether or not its files are there.
    pub fn models(&self) -> impl Iterator<Item = &ModelSpec> {
        self.models.values()
    }

    /// Every route: job type, model name.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.routes.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// The file that was read, if any.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    fn add(&mut self, file: &Path, text: &str) -> Result<()> {
        let document = TomlFile::parse(file, text)?;
        let root = document.root();
        root.only(&["models", "routes"])?;
        let base = file.parent().unwrap_or(Path::new(""));
        if let Some(models) = root.table("models")? {
            for name in models.keys() {
                let Some(entry) = models.table(&name)? else {
                    continue;
                };
                self.insert(read_entry(&name, &entry, base)?);
            }
        }
        if let Some(routes) = root.table("routes")? {
            for job_type in routes.keys() {
                let Some(model) = routes.text(&job_type)? else {
                    continue;
                };
                routes.checked(&job_type, self.check_route(&job_type, &model))?;
                self.routes.insert(job_type, model);
            }
        }
        Ok(())
    }

    fn check_route(&self, job_type: &str, model: &str) -> Result<()> {
        let routable = || ROUTABLE.iter().chain(PURPOSES);
        let Some((_, wanted)) = routable().find(|(name, _)| *name == job_type) else {
            let names: Vec<_> = routable().map(|(name, _)| *name).collect();
            fail!(
                Config,
                "no job type has this name; the types and purposes are {}",
                names.join(", ")
            );
        };
        let wanted = *wanted;
        let Some(entry) = self.models.get(model) else {
            let known: Vec<_> = self.models.keys().map(String::as_str).collect();
            fail!(
                Config,
                "model `{}` has no entry; known models: {}",
                shown(model),
                known.join(", ")
            );
        };
        if entry.family != wanted && entry.family != ModelFamily::Mock {
            fail!(
                Config,
                "model `{model}` is of family {}, this type needs {}",
                entry.family.name(),
                wanted.name()
            );
        }
        Ok(())
    }
}

/// Every job type that uses a model, with the family it needs (a test of the job module compares
/// this with its table of types).
pub const ROUTABLE: &[(&str, ModelFamily)] = &[
    ("sdxl_image_fast", ModelFamily::Sdxl),
    ("sdxl_image_high", ModelFamily::Sdxl),
    ("image_fast", ModelFamily::Wan),
    ("image_high", ModelFamily::Wan),
    ("video_fast", ModelFamily::Wan),
    ("video_high", ModelFamily::Wan),
    ("image7b_fast_enhanced", ModelFamily::Wan),
    ("image7b_high_enhanced", ModelFamily::Wan),
    ("video7b_fast_enhanced", ModelFamily::Wan),
    ("video7b_high_enhanced", ModelFamily::Wan),
    ("chat_enhance", ModelFamily::Qwen),
    ("chat_conversation", ModelFamily::Qwen),
    ("chat_unrestricted", ModelFamily::Qwen),
];

/// The purpose whose model writes enhanced prompts, for every job type that wants one.
pub const ENHANCE: &str = "enhance";

/// What else `[routes]` may name, beside job types.
pub const PURPOSES: &[(&str, ModelFamily)] = &[(ENHANCE, ModelFamily::Qwen)];

fn read_entry(name: &str, entry: &Section<'_, '_>, base: &Path) -> Result<ModelSpec> {
    entry.only(&[
        "family",
        "path",
        "file",
        "embedded",
        "config_from",
        "dtype",
        "sha256",
        "scheduler",
        "width",
        "height",
        "frames",
        "memory",
        "license",
        "auto_negative",
        "preset",
        "prediction_type",
        "zero_snr",
        "ip_adapter",
        "ip_adapter_face",
        "image_encoder",
        "controlnet",
        "vae",
    ])?;
    let Some(family) = entry.text("family")? else {
        return Err(entry.wrong("family", "is missing; one of sdxl, wan, qwen").into());
    };
    let family = entry.checked("family", ModelFamily::from_name(&family))?;
    let mut model = ModelSpec::new(name, family, read_source(entry, base)?);
    if let Some(dtype) = entry.text("dtype")? {
        model.dtype = Some(entry.checked("dtype", dtype_name(&dtype))?);
    }
    model.sha256 = read_digests(entry, &model.source)?;
    model.scheduler = entry.text("scheduler")?;
    model.width = read_size(entry, "width")?;
    model.height = read_size(entry, "height")?;
    model.frames = read_frames(entry)?;
    model.license = entry.text("license")?;
    model.memory_bytes = read_memory(entry)?;
    model.auto_negative = entry.text("auto_negative")?;
    model.sdxl = read_sdxl(entry, family, base)?;
    Ok(model)
}

fn read_sdxl(entry: &Section<'_, '_>, family: ModelFamily, base: &Path) -> Result<SdxlEntry> {
    let path = |key: &str| Ok::<_, anyhow::Error>(entry.text(key)?.map(|path| base.join(path)));
    let sdxl = SdxlEntry {
        preset: entry.text("preset")?,
        prediction_type: entry.text("prediction_type")?,
        zero_snr: entry.bool("zero_snr")?,
        ip_adapter: path("ip_adapter")?,
        ip_adapter_face: path("ip_adapter_face")?,
        image_encoder: path("image_encoder")?,
        controlnet: path("controlnet")?,
        vae: path("vae")?,
    };
    if family != ModelFamily::Sdxl && sdxl != SdxlEntry::default() {
        return Err(entry
            .wrong(
                "family",
                "preset, prediction_type, zero_snr, vae and adapters go with \"sdxl\" only",
            )
            .into());
    }
    let reads = sdxl.ip_adapter.is_some() || sdxl.ip_adapter_face.is_some();
    if reads && sdxl.image_encoder.is_none() {
        return Err(entry
            .wrong("image_encoder", "is missing; an ip_adapter needs one")
            .into());
    }
    Ok(sdxl)
}

fn read_source(entry: &Section<'_, '_>, base: &Path) -> Result<Source> {
    let path = entry.text("path")?;
    let file = entry.text("file")?;
    let config_from = entry.text("config_from")?;
    if config_from.is_some() && file.is_none() {
        return Err(entry.wrong("config_from", "goes with `file` only").into());
    }
    match (path, file, entry.bool("embedded")?.unwrap_or(false)) {
        (Some(path), None, false) => Ok(Source::Folder(base.join(at_home(&path)))),
        (None, Some(file), false) => Ok(Source::SingleFile {
            path: base.join(at_home(&file)),
            config_from: config_from.map(|c| base.join(at_home(&c))),
        }),
        (None, None, true) => Ok(Source::Embedded),
        _ => Err(entry
            .wrong("path", "an entry needs exactly one of `path` and `file`")
            .into()),
    }
}

fn read_digests(entry: &Section<'_, '_>, source: &Source) -> Result<BTreeMap<String, String>> {
    let mut digests = BTreeMap::new();
    if entry.is_table("sha256") {
        let table = entry.table("sha256")?;
        for (table, file) in table
            .iter()
            .flat_map(|t| t.keys().into_iter().map(move |k| (t, k)))
        {
            if let Some(digest) = table.text(&file)? {
                let digest = table.checked(&file, digest_of(&digest))?;
                digests.insert(file, digest);
            }
        }
    } else if let Some(digest) = entry.text("sha256")? {
        let Source::SingleFile { path, .. } = source else {
            return Err(entry
                .wrong("sha256", "a folder needs a table { \"file name\" = \"digest\" }")
                .into());
        };
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        digests.insert(file, entry.checked("sha256", digest_of(&digest))?);
    }
    Ok(digests)
}

fn digest_of(text: &str) -> Result<String> {
    let digest = text.strip_prefix("sha256:").unwrap_or(text).to_ascii_lowercase();
    if digest.len() != 64 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        fail!(
            Config,
            "`{}` is no SHA-256 digest: 64 hexadecimal digits",
            shown(text)
        );
    }
    Ok(digest)
}

fn read_size(entry: &Section<'_, '_>, key: &str) -> Result<Option<u32>> {
    match entry.integer(key)? {
        None => Ok(None),
        Some(v) if v % limits::SIDE_MULTIPLE == 0 && limits::SIDE_PX.contains(&v) => Ok(Some(v as u32)),
        Some(v) => Err(entry
            .wrong(
                key,
                &format!("is {v}; allowed are multiples of 8 from 64 to 4096"),
            )
            .into()),
    }
}

fn read_frames(entry: &Section<'_, '_>) -> Result<Option<u32>> {
    match entry.integer("frames")? {
        None => Ok(None),
        Some(v) if v % limits::FRAMES_PER_LATENT == 1 && limits::FRAMES.contains(&v) => Ok(Some(v as u32)),
        Some(v) => Err(entry
            .wrong("frames", &format!("is {v}; allowed are 4n+1 from 1 to 1001"))
            .into()),
    }
}

fn read_memory(entry: &Section<'_, '_>) -> Result<Option<u64>> {
    if let Ok(bytes) = entry.integer("memory") {
        return Ok(bytes);
    }
    let Some(text) = entry.text("memory")? else {
        return Ok(None);
    };
    let number = text
        .strip_suffix("GB")
        .map(str::trim)
        .and_then(|n| n.parse::<f64>().ok());
    match number {
        Some(gb) if gb > 0.0 && gb < 10_000.0 => Ok(Some((gb * 1e9) as u64)),
        _ => Err(entry
            .wrong(
                "memory",
                &format!("`{}` is neither bytes nor such as \"9.5 GB\"", shown(&text)),
            )
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{hint_of, kind_of};

    fn read(text: &str) -> Result<Registry> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("models.toml");
        std::fs::write(&file, text).unwrap();
        Registry::read(&file)
    }

    fn wrong(text: &str, words: &[&str]) {
        let e = read(text).expect_err(text);
        assert_eq!(kind_of(&e).exit_code(), 78, "{e}");
        let message = format!("{e} | {}", hint_of(&e).unwrap_or_default());
        for word in words {
            assert!(message.contains(word), "`{word}` is not in: {message}");
        }
    }

    #[test]
    fn the_shipped_file_routes_the_built_types_to_the_micro_model() {
        let registry = Registry::shipped().unwrap();
        for job_type in ["sdxl_image_fast", "sdxl_image_high"] {
            assert_eq!(registry.route(job_type), Some("micro-sdxl"));
        }
        for purpose in ["chat_enhance", "chat_conversation", "chat_unrestricted", ENHANCE] {
            assert_eq!(registry.route(purpose), Some("micro-qwen"));
        }
        let micro = registry.find("micro-sdxl").unwrap();
        assert_eq!(
            (micro.source, micro.width, micro.height),
            (Source::Embedded, Some(128), Some(128))
        );
        assert_eq!((micro.family, micro.scheduler), (ModelFamily::Sdxl, None));
        assert_eq!(
            micro.auto_negative.as_deref(),
            Some("blurry, low quality, distorted")
        );
    }

    #[test]
    fn the_commented_entries_of_the_shipped_file_are_good_once_uncommented() {
        let start = SHIPPED.find("# --- SDXL").unwrap();
        let text: String = SHIPPED[start..]
            .lines()
            .filter_map(|l| {
                l.strip_prefix("# ")
                    .filter(|l| l.starts_with('[') || l.contains(" = "))
            })
            .map(|l| format!("{l}\n"))
            .collect();
        let registry = read(&text).unwrap();
        assert_eq!(registry.models().count(), 10);
        assert_eq!(registry.route("sdxl_image_fast"), Some("lustify"));
        assert_eq!(registry.route("enhance"), Some("qwen-instruct"));
        let vace = registry.models().find(|m| m.name == "wan-vace").unwrap();
        assert_eq!(vace.family, ModelFamily::Wan);
    }

    #[test]
    fn a_file_lies_over_the_shipped_one_and_its_paths_start_at_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("models.toml");
        let digest = "AB".repeat(32);
        let text = format!(
            "[models.mine]\nfamily = \"sdxl\"\nfile = \"w/a.safetensors\"\nconfig_from = \"c\"\n\
             dtype = \"fp16\"\nsha256 = \"{digest}\"\nscheduler = \"heun\"\nwidth = 512\nheight = 768\n\
             memory = \"9.5 GB\"\nlicense = \"x\"\nauto_negative = \"\"\n\
             [routes]\nsdxl_image_high = \"mine\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let settings = Settings::with_folders(folder.path(), folder.path());
        let registry = Registry::load(Some(&file), &settings).unwrap();
        assert_eq!(registry.route("sdxl_image_high"), Some("mine"));
        assert_eq!(registry.route("sdxl_image_fast"), Some("micro-sdxl"));
        let mine = registry.models().find(|m| m.name == "mine").unwrap();
        let expected = Source::SingleFile {
            path: folder.path().join("w/a.safetensors"),
            config_from: Some(folder.path().join("c")),
        };
        assert_eq!(mine.source, expected);
        assert_eq!(mine.sha256["a.safetensors"], "ab".repeat(32));
        assert_eq!(
            (mine.dtype.as_deref(), mine.memory_bytes),
            (Some("f16"), Some(9_500_000_000))
        );
        assert_eq!((mine.width, mine.height), (Some(512), Some(768)));
        assert_eq!(mine.auto_negative.as_deref(), Some(""));
        let e = registry.find("mine").unwrap_err();
        assert_eq!(kind_of(&e), ErrorKind::InputMissing);
        assert!(e.to_string().contains("a.safetensors not found"), "{e}");
    }

    #[test]
    fn the_named_file_wins_over_the_settings() {
        let folder = tempfile::tempdir().unwrap();
        let entry = |name: &str| format!("[models.{name}]\nfamily = \"mock\"\nembedded = true\n");
        for name in ["flag", "setting"] {
            std::fs::write(folder.path().join(name), entry(name)).unwrap();
        }
        let mut settings = Settings::with_folders(folder.path(), folder.path());
        settings.models = Some(folder.path().join("setting"));
        assert!(Registry::load(None, &settings).unwrap().find("setting").is_ok());
        let flag = folder.path().join("flag");
        let registry = Registry::load(Some(&flag), &settings).unwrap();
        assert!(registry.find("flag").is_ok() && registry.find("setting").is_err());
        assert_eq!(registry.file(), Some(flag.as_path()));
        let e = Registry::load(Some(Path::new("nowhere.toml")), &settings).unwrap_err();
        assert_eq!(kind_of(&e), ErrorKind::InputMissing);
    }

    #[test]
    fn mistakes_name_file_line_key_and_fix() {
        let good = "[models.m]\nfamily = \"sdxl\"\npath = \"p\"\n";
        wrong("[models.m\n", &["models.toml: line 1"]);
        wrong(
            "[model.m]\n",
            &["line 1: unknown key `model`", "did you mean `models`?"],
        );
        wrong(
            &format!("{good}shceduler = \"heun\""),
            &["line 4", "`models.m.shceduler`", "`scheduler`"],
        );
        wrong("[models.m]\npath = \"p\"", &["models.m.family: is missing"]);
        wrong(
            "[models.m]\nfamily = \"sd15\"\npath = \"p\"",
            &["line 2", "family is `sd15`"],
        );
        wrong(
            "[models.m]\nfamily = \"sdxl\"",
            &["exactly one of `path` and `file`"],
        );
        wrong(&format!("{good}file = \"f\""), &["exactly one of"]);
        wrong(&format!("{good}config_from = \"f\""), &["goes with `file` only"]);
        wrong(
            &format!("{good}width = 100"),
            &["models.m.width: is 100", "multiples of 8"],
        );
        wrong(&format!("{good}width = -8"), &["must be a whole number"]);
        wrong(
            &format!("{good}dtype = \"int4\""),
            &["allowed are f32, f16, bf16"],
        );
        wrong(&format!("{good}sha256 = \"abc\""), &["needs a table"]);
        wrong(
            &format!("{good}sha256 = {{ \"a\" = \"abc\" }}"),
            &["no SHA-256 digest"],
        );
        wrong(&format!("{good}memory = \"much\""), &["9.5 GB"]);
        wrong(
            "[routes]\nsdxl_image_fats = \"micro-sdxl\"",
            &["line 2", "no job type has this name"],
        );
        wrong(
            "[routes]\nsdxl_image_fast = \"nothing\"",
            &["`nothing` has no entry", "micro-sdxl"],
        );
        wrong(
            "[routes]\nvideo_fast = \"micro-sdxl\"",
            &["family sdxl, this type needs wan"],
        );
    }

    #[test]
    fn unknown_models_name_the_nearest_one_and_all() {
        let e = Registry::shipped().unwrap().find("micro-sdxk").unwrap_err();
        assert_eq!(kind_of(&e).exit_code(), 66);
        assert_eq!(
            hint_of(&e),
            Some("did you mean `micro-sdxl`? known models: micro-qwen, micro-sdxl, micro-wan")
        );
    }

    #[test]
    fn a_folder_tells_its_family_and_a_file_is_taken_by_its_ending() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for (name, file, text) in [
            (
                "xl",
                "model_index.json",
                "{\"_class_name\": \"StableDiffusionXLPipeline\"}",
            ),
            (
                "wan",
                "model_index.json",
                "{\"_class_name\": \"WanVACEPipeline\"}",
            ),
            (
                "qwen",
                "config.json",
                "{\"architectures\": [\"Qwen2ForCausalLM\"]}",
            ),
            ("other", "model_index.json", "{\"_class_name\": \"FluxPipeline\"}"),
            ("broken", "model_index.json", "{"),
        ] {
            std::fs::create_dir(path(name)).unwrap();
            std::fs::write(path(name).join(file), text).unwrap();
        }
        for file in ["a.safetensors", "b.ckpt", "c.txt"] {
            std::fs::write(path(file), "").unwrap();
        }
        let registry = Registry::shipped().unwrap();
        let find = |name: &str| registry.find(&path(name).display().to_string());
        assert_eq!(find("xl").unwrap().family, ModelFamily::Sdxl);
        assert_eq!(find("xl").unwrap().source, Source::Folder(path("xl")));
        assert_eq!(find("wan").unwrap().family, ModelFamily::Wan);
        assert_eq!(find("qwen").unwrap().family, ModelFamily::Qwen);
        assert!(matches!(
            find("a.safetensors").unwrap().source,
            Source::SingleFile { .. }
        ));
        assert!(matches!(
            find("b.ckpt").unwrap().source,
            Source::SingleFile { .. }
        ));
        for (name, kind) in [
            ("other", ErrorKind::BadInput),
            ("broken", ErrorKind::BadInput),
            ("c.txt", ErrorKind::BadInput),
            ("gone", ErrorKind::InputMissing),
        ] {
            assert_eq!(kind_of(&find(name).unwrap_err()), kind, "{name}");
        }
        let model = ModelSpec::from_path(&path("a.safetensors"), Some(&path("xl"))).unwrap();
        assert!(matches!(
            model.source,
            Source::SingleFile {
                config_from: Some(_),
                ..
            }
        ));
        assert!(ModelSpec::from_path(&path("a.safetensors"), Some(&path("gone"))).is_err());
        assert!(ModelSpec::from_path(&path("xl"), Some(&path("xl"))).is_err());
    }
}
