//! `config`: the settled configuration, where each value came from, and a file to begin with.

use anyhow::Result;
use serde_json::{Value, json};

use super::common::{print, table};
use crate::cli::{Config, ConfigCommand};
use crate::config::Settings;
use crate::config::origins::{Origin, Settled, starter};
use crate::fail;
use crate::files::{Existing, make_folder, write_whole};
use crate::progress::Volume;
use crate::registry::Registry;
use crate::text::stderr_line;

/// The folders, which no file can name, with their variables.
const FOLDERS: [(&str, &str); 3] = [
    ("config folder", "OURVIDZ_CONFIG_DIR"),
    ("cache folder", "OURVIDZ_CACHE_DIR"),
    ("data folder", "OURVIDZ_DATA_DIR"),
];

/// Runs one of the commands; `show` when none is named.
///
/// # Errors
/// `Config` for settings that are wrong, `CannotWrite` for a file that is there already.
pub fn run(args: &Config, volume: Volume) -> Result<u8> {
    match &args.command {
        None => show(false, volume),
        Some(ConfigCommand::Show { json }) => show(*json, volume),
        Some(ConfigCommand::Path) => path(volume),
        Some(ConfigCommand::Init) => init(volume),
    }
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn show(as_json: bool, volume: Volume) -> Result<u8> {
    let settings = Settings::load()?;
    let settled = settings.origins(&env)?;
    let models = models(&settings);
    if as_json {
        print(&format!("{}\n", record(&settings, &settled, &models)))?;
        return Ok(0);
    }
    let mut rows = vec![["SETTING", "VALUE", "FROM"].map(String::from).to_vec()];
    rows.extend(folders(&settings).map(|(name, path, from)| vec![name.into(), path, from]));
    rows.push(vec![
        "models.toml".into(),
        models,
        "the first that is there".into(),
    ]);
    // What nobody set is of interest to those who ask for more.
    let shown =
        |s: &&Settled| volume >= Volume::Verbose || !(s.value.is_null() && s.origin == Origin::Default);
    rows.extend(
        settled
            .iter()
            .filter(shown)
            .map(|s| vec![s.key.into(), text(&s.value), from(&settings, &s.origin)]),
    );
    print(&table(&rows))?;
    let hidden = settled.len() - settled.iter().filter(shown).count();
    if hidden > 0 && volume > Volume::Quiet {
        stderr_line(&format!(
            "{hidden} more settings are unset; -v lists them, `ourvidz config init` explains them"
        ));
    }
    Ok(0)
}

/// Which models file holds, as a text.
fn models(settings: &Settings) -> String {
    match Registry::load(None, settings) {
        Ok(registry) => registry
            .file()
            .map_or_else(|| "the one in the binary".into(), |f| f.display().to_string()),
        Err(error) => error.to_string(),
    }
}

fn folders(settings: &Settings) -> impl Iterator<Item = (&'static str, String, String)> {
    let paths = [&settings.config_dir, &settings.cache_dir, &settings.data_dir];
    FOLDERS.into_iter().zip(paths).map(|((name, variable), path)| {
        let is_set = env(variable).is_some_and(|value| !value.is_empty());
        let from = if is_set { variable } else { "default" };
        (name, path.display().to_string(), from.to_string())
    })
}

fn from(settings: &Settings, origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".into(),
        Origin::File(line) => format!("{}:{line}", settings.config_file().display()),
        Origin::Variable(name) => (*name).into(),
    }
}

fn record(settings: &Settings, settled: &[Settled], models: &str) -> Value {
    let mut record = serde_json::Map::new();
    for (name, path, from) in folders(settings) {
        record.insert(name.replace(' ', "_"), json!({"value": path, "from": from}));
    }
    record.insert(
        "models.toml".into(),
        json!({"value": models, "from": "the first that is there"}),
    );
    for s in settled {
        record.insert(
            s.key.into(),
            json!({"value": s.value, "from": from(settings, &s.origin)}),
        );
    }
    Value::Object(record)
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "not set".into(),
        Value::String(text) => text.clone(),
        Value::Array(all) if all.is_empty() => "none".into(),
        Value::Array(all) => all.iter().map(text).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn path(volume: Volume) -> Result<u8> {
    // A file that cannot be read is what people look for the place of.
    let file = Settings::folder()?.join("config.toml");
    print(&format!("{}\n", file.display()))?;
    if !file.exists() && volume > Volume::Quiet {
        stderr_line("note: it is not there yet; `ourvidz config init` writes one to begin with");
    }
    Ok(0)
}

fn init(volume: Volume) -> Result<u8> {
    let folder = Settings::folder()?;
    let file = folder.join("config.toml");
    if file.symlink_metadata().is_ok() {
        fail!(CannotWrite, "`{}` is there already, and it is kept", file.display();
            "edit it; `ourvidz config show -v` lists every setting");
    }
    make_folder(&folder)?;
    write_whole(&file, starter().as_bytes(), Existing::Keep)?;
    print(&format!("{}\n", file.display()))?;
    if volume > Volume::Quiet {
        stderr_line("every setting stands in it, commented out: take the # away before what you want to set");
    }
    Ok(0)
}
