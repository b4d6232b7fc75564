//! Settings: folders, `config.toml` and `OURVIDZ_*`, resolved once; flags are laid over by the caller.
//!
//! Later wins: built-in default, file, environment, flag. The content mode has no flag and no job
//! field: it is the operator's choice alone.

use std::path::{Path, PathBuf};

use anyhow::Result;
use directories::ProjectDirs;

pub mod callback;
mod duration;
mod enhance;
pub mod origins;
mod queue;
pub mod secret;
mod storage;
mod toml_file;
mod values;

pub use values::{ContentMode, dtype_name, nearest, shown};
use values::{content_mode, device_name, in_variable, not_among, on_or_off};

pub use callback::{CallbackFormat, CallbackSettings};
pub use duration::duration;
pub use enhance::EnhanceSettings;
pub use queue::{ListEnd, QUEUE_NAMES, QueueSettings, device_names, queue_names};
pub use secret::Secret;
pub use storage::StorageSettings;
pub use toml_file::{Section, TomlFile};

use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files::read_bounded;

/// Everything that does not change from job to job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where `config.toml` and `models.toml` are looked for.
    pub config_dir: PathBuf,
    pub cache_dir: PathBuf,
    /// Where the queue and the callbacks that wait are kept unless something else is said.
    pub data_dir: PathBuf,
    pub content_mode: ContentMode,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// `f32`, `f16` or `bf16`; `None` lets model and device decide.
    pub dtype: Option<String>,
    /// A file, a folder with a trailing `/`, or a template, as for `--output`.
    pub output: Option<String>,
    /// Where `<lora:NAME:1>` looks for its file.
    pub lora_dir: PathBuf,
    /// The models.toml to read instead of the usual places.
    pub models: Option<PathBuf>,
    pub callback: CallbackSettings,
    pub storage: StorageSettings,
    pub enhance: EnhanceSettings,
    pub queue: QueueSettings,
    /// Seconds after which a job of `generate` is stopped between two steps; `None`: never.
    pub time_limit_s: Option<u64>,
    /// Words that the content rules take for harmless here (`policy.allow`).
    pub policy_allow: Vec<String>,
    /// Whether prompts may appear in logs above debug level.
    pub log_prompts: bool,
}

/// Reads one variable; tests pass their own.
pub type Env<'a> = dyn Fn(&str) -> Option<String> + 'a;

const KEYS: &[&str] = &[
    "device",
    "dtype",
    "output",
    "models",
    "lora_dir",
    "time_limit",
    "log_prompts",
    "policy",
    "callback",
    "storage",
    "enhance",
    "queue",
];

impl Settings {
    /// Settings from the real environment and the user's config folder.
    ///
    /// # Errors
    /// `Config` when `config.toml` or a variable holds something impossible.
    pub fn load() -> Result<Self> {
        Self::load_with(&|name| std::env::var(name).ok())
    }

    /// The same with an environment of the caller's making.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn load_with(env: &Env<'_>) -> Result<Self> {
        let [config_dir, cache_dir, data_dir] = folders(env)?;
        let mut settings = Self {
            data_dir,
            ..Self::with_folders(config_dir, cache_dir)
        };
        let file = settings.config_file();
        if let Some(text) = config_text(&file)? {
            settings.read_file(&file, &text)?;
        }
        settings.read_env(env)?;
        Ok(settings)
    }

    /// Where `config.toml` is looked for, whatever is in it.
    ///
    /// # Errors
    /// `Config` when no home folder is known.
    pub fn folder() -> Result<PathBuf> {
        let [config_dir, ..] = folders(&|name| std::env::var(name).ok())?;
        Ok(config_dir)
    }

    /// Where the settings file is, or would be.
    pub fn config_file(&self) -> PathBuf {
        self.config_dir.join("config.toml")
    }

    /// The built-in defaults for these two folders; the data lies beside the configuration.
    pub fn with_folders(config_dir: impl Into<PathBuf>, cache_dir: impl Into<PathBuf>) -> Self {
        let config_dir = config_dir.into();
        Self {
            data_dir: config_dir.join("data"),
            lora_dir: config_dir.join("loras"),
            config_dir,
            cache_dir: cache_dir.into(),
            content_mode: ContentMode::default(),
            policy_allow: Vec::new(),
            device: "auto".into(),
            dtype: None,
            output: None,
            models: None,
            callback: CallbackSettings::default(),
            storage: StorageSettings::default(),
            enhance: EnhanceSettings::default(),
            queue: QueueSettings::default(),
            time_limit_s: None,
            log_prompts: false,
        }
    }

    /// What the user should know about these settings: secrets that others can read.
    pub fn warnings(&self) -> impl Iterator<Item = &str> {
        let all = self.callback.warnings.iter().chain(&self.storage.warnings);
        all.map(String::as_str)
    }

    fn read_file(&mut self, file: &Path, text: &str) -> Result<()> {
        let document = TomlFile::parse(file, text)?;
        let root = document.root();
        root.only(KEYS)?;
        if let Some(v) = root.text("device")? {
            self.device = root.checked("device", device_name(&v))?;
        }
        if let Some(v) = root.text("dtype")? {
            self.dtype = Some(root.checked("dtype", dtype_name(&v))?);
        }
        self.output = root.text("output")?.or(self.output.take());
        if let Some(v) = root.text("models")? {
            self.models = Some(self.config_dir.join(v));
        }
        if let Some(v) = root.text("lora_dir")? {
            self.lora_dir = self.config_dir.join(v);
        }
        if let Some(v) = root.integer("time_limit")? {
            self.time_limit_s = (v > 0).then_some(v);
        }
        if let Some(v) = root.bool("log_prompts")? {
            self.log_prompts = v;
        }
        if let Some(policy) = root.table("policy")? {
            policy.only(&["content_mode", "allow"])?;
            if let Some(v) = policy.text("content_mode")? {
                self.content_mode = policy.checked("content_mode", content_mode(&v))?;
            }
            if let Some(v) = policy.texts("allow")? {
                self.policy_allow = v;
            }
        }
        if let Some(section) = root.table("enhance")? {
            self.enhance.read_file(&section)?;
        }
        if let Some(section) = root.table("queue")? {
            self.queue.read_file(&section)?;
        }
        if let Some(callback) = root.table("callback")? {
            self.callback.read_file(&callback, &self.config_dir)?;
        }
        if let Some(storage) = root.table("storage")? {
            self.storage.read_file(&storage, file)?;
        }
        Ok(())
    }

    fn read_env(&mut self, env: &Env<'_>) -> Result<()> {
        let read = |name: &str| env(name).filter(|v| !v.is_empty());
        if let Some(v) = read("OURVIDZ_DEVICE") {
            self.device = in_variable("OURVIDZ_DEVICE", device_name(&v))?;
        }
        if let Some(v) = read("OURVIDZ_DTYPE") {
            self.dtype = Some(in_variable("OURVIDZ_DTYPE", dtype_name(&v))?);
        }
        self.output = read("OURVIDZ_OUTPUT").or(self.output.take());
        if let Some(v) = read("OURVIDZ_MODELS") {
            self.models = Some(v.into());
        }
        if let Some(v) = read("OURVIDZ_LORA_DIR") {
            self.lora_dir = v.into();
        }
        if let Some(v) = read("OURVIDZ_TIME_LIMIT") {
            let allowed = ["a whole number of seconds", "0 for none"];
            let seconds = v.parse().map_err(|_| not_among("the time limit", &v, &allowed));
            let seconds: u64 = in_variable("OURVIDZ_TIME_LIMIT", seconds)?;
            self.time_limit_s = (seconds > 0).then_some(seconds);
        }
        if let Some(v) = read("OURVIDZ_LOG_PROMPTS") {
            self.log_prompts = in_variable("OURVIDZ_LOG_PROMPTS", on_or_off(&v))?;
        }
        if let Some(v) = read("OURVIDZ_CONTENT_MODE") {
            self.content_mode = in_variable("OURVIDZ_CONTENT_MODE", content_mode(&v))?;
        }
        self.callback.read_env(&read)?;
        self.storage.read_env(&read)?;
        self.queue.read_env(&read)?;
        self.enhance.read_env(&read)
    }
}

/// Folders of configuration, cache and data.
fn folders(env: &Env<'_>) -> Result<[PathBuf; 3]> {
    let given = |name: &str| env(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let usual = ProjectDirs::from("", "", "ourvidz");
    let folder = |name: &str, usual: Option<PathBuf>| given(name).or(usual);
    let config = folder(
        "OURVIDZ_CONFIG_DIR",
        usual.as_ref().map(|u| u.config_dir().into()),
    );
    let cache = folder("OURVIDZ_CACHE_DIR", usual.as_ref().map(|u| u.cache_dir().into()));
    let (Some(config), Some(cache)) = (config, cache) else {
        fail!(Config, "no home folder is known";
            "set OURVIDZ_CONFIG_DIR, OURVIDZ_CACHE_DIR and OURVIDZ_DATA_DIR");
    };
    let data = folder("OURVIDZ_DATA_DIR", usual.map(|u| u.data_dir().into()));
    let data = data.unwrap_or_else(|| config.join("data"));
    Ok([config, cache, data])
}

/// What the configuration file says; `None` without one.
fn config_text(file: &Path) -> Result<Option<String>> {
    const MOST_BYTES: u64 = 1 << 20;
    let hint = "it must be a file that you may read; where HOME or XDG_CONFIG_HOME name another user's folder, set them to your own, or OURVIDZ_CONFIG_DIR";
    let there = match file.metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map(drop),
    };
    let text = there
        .map_err(anyhow::Error::from)
        .and_then(|()| read_bounded(file, MOST_BYTES))
        .map_err(|e| {
            Error::new(
                ErrorKind::Config,
                format!("{}: cannot be read: {e:#}", file.display()),
            )
            .hint(hint)
        })?;
    match String::from_utf8(text) {
        Ok(text) => Ok(Some(text)),
        Err(e) => fail!(Config, "{}: not UTF-8: {e}", file.display()),
    }
}

/// A path as people write it: `~` is the home folder.
pub fn at_home(path: &str) -> PathBuf {
    match (path.strip_prefix('~'), directories::BaseDirs::new()) {
        (Some(""), Some(user)) => user.home_dir().into(),
        (Some(rest), Some(user)) if rest.starts_with(['/', '\\']) => user.home_dir().join(&rest[1..]),
        _ => path.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{hint_of, kind_of};

    fn settings(file: Option<&str>, variables: &[(&str, &str)]) -> Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        if let Some(text) = file {
            std::fs::write(folder.path().join("config.toml"), text).unwrap();
        }
        let home = folder.path().display().to_string();
        Settings::load_with(&|name| match name {
            "OURVIDZ_CONFIG_DIR" | "OURVIDZ_CACHE_DIR" => Some(home.clone()),
            "OURVIDZ_DATA_DIR" => Some(format!("{home}/data")),
            _ => variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| v.to_string()),
        })
    }

    #[test]
    fn without_a_file_the_defaults_hold() {
        let s = settings(None, &[]).unwrap();
        assert_eq!(s, Settings::with_folders(&s.config_dir, &s.cache_dir));
        assert_eq!(s.content_mode, ContentMode::Sfw);
        assert_eq!(s.device, "auto");
    }

    #[test]
    fn the_environment_wins_over_the_file() {
        let file = "device = \"cuda:1\"\ndtype = \"bf16\"\nlog_prompts = true\n[policy]\ncontent_mode = \"adult\"\n[callback]\nformat = \"workspace\"";
        let s = settings(Some(file), &[]).unwrap();
        assert_eq!((s.device.as_str(), s.dtype.as_deref()), ("cuda:1", Some("bf16")));
        assert_eq!((s.content_mode, s.log_prompts), (ContentMode::Adult, true));
        assert_eq!(s.callback.format, CallbackFormat::Workspace);
        let env = [
            ("OURVIDZ_DEVICE", "cpu"),
            ("OURVIDZ_DTYPE", "float32"),
            ("OURVIDZ_CONTENT_MODE", "sfw"),
            ("OURVIDZ_LOG_PROMPTS", "0"),
            ("OURVIDZ_CALLBACK_FORMAT", "standard"),
            ("OURVIDZ_OUTPUT", "out/"),
            ("OURVIDZ_MODELS", "m.toml"),
        ];
        let s = settings(Some(file), &env).unwrap();
        assert_eq!((s.device.as_str(), s.dtype.as_deref()), ("cpu", Some("f32")));
        assert_eq!((s.content_mode, s.log_prompts), (ContentMode::Sfw, false));
        assert_eq!(s.callback.format, CallbackFormat::Standard);
        assert_eq!(
            (s.output.as_deref(), s.models),
            (Some("out/"), Some("m.toml".into()))
        );
    }

    #[test]
    fn a_models_file_is_looked_for_beside_the_config() {
        let s = settings(Some("models = \"mine.toml\""), &[]).unwrap();
        assert_eq!(s.models, Some(s.config_dir.join("mine.toml")));
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_known_one() {
        let e = settings(Some("device = \"cpu\"\n[policy]\ncontent_mod = \"adult\"\n"), &[]).unwrap_err();
        assert_eq!(kind_of(&e).exit_code(), 78);
        assert!(
            e.to_string().contains("line 3: unknown key `policy.content_mod`"),
            "{e}"
        );
        assert_eq!(hint_of(&e), Some("did you mean `content_mode`?"));
    }

    #[test]
    fn impossible_values_name_file_key_value_and_choices() {
        for (file, words) in [
            (
                "device = \"gpu\"",
                "device is `gpu`; allowed are auto, cpu, cuda, cuda:1",
            ),
            ("device = 3", "device: must be text"),
            (
                "[policy]\ncontent_mode = \"off\"",
                "line 2: policy.content_mode: content_mode is `off`",
            ),
            ("policy = \"adult\"", "policy: must be a table"),
            ("dtype = \"int8\"", "allowed are f32, f16, bf16"),
            ("device = ", "line 1:"),
        ] {
            let e = settings(Some(file), &[]).unwrap_err();
            assert_eq!(kind_of(&e).exit_code(), 78, "{file}");
            assert!(e.to_string().contains("config.toml"), "{e}");
            assert!(e.to_string().contains(words), "{e}");
        }
        let e = settings(None, &[("OURVIDZ_CONTENT_MODE", "everything")]).unwrap_err();
        assert_eq!(
            e.to_string(),
            "OURVIDZ_CONTENT_MODE: content_mode is `everything`; allowed are sfw, adult"
        );
    }

    #[test]
    fn messages_show_values_without_control_characters() {
        assert_eq!(shown("a\u{202e}b\n"), "a\\u{202e}b\\n");
        assert_eq!(shown(&"x".repeat(100)).chars().count(), 61);
    }
}
