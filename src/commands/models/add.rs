//! `models add`: an entry in models.toml for what lies at a path; the rest of the file stays as it is.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml_edit::{DocumentMut, Item, Table, value};

use super::super::common::print;
use crate::cli::ModelsAdd;
use crate::config::{Settings, shown};
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files::{Existing, folder_of, make_folder, read_bounded, write_whole};
use crate::pipelines;
use crate::progress::Volume;
use crate::registry::{ModelSpec, Registry, Source};
use crate::text::stderr_line;
use crate::weights::Report;

/// As much as is read of a models.toml elsewhere.
const LARGEST_FILE_BYTES: u64 = 1 << 20;

/// Writes the entry and prints its name.
///
/// # Errors
/// `InputMissing` and `BadInput` for what is no model, `Usage` for a name that cannot be one,
/// `Conflict` for one that is taken, `Config` for a models.toml with a mistake.
pub fn run(args: &ModelsAdd, volume: Volume) -> Result<u8> {
    check_name(&args.name)?;
    let settings = Settings::load()?;
    let file = file(args, &settings)?;
    let model = ModelSpec::from_path(&args.path, args.config_from.as_deref())?;
    model.check_kind()?;
    check_tensors(&model)?;
    let text = match file.exists() {
        true => String::from_utf8(read_bounded(&file, LARGEST_FILE_BYTES)?)
            .map_err(|_| Error::new(ErrorKind::Config, format!("`{}` is not UTF-8", file.display())))?,
        false => String::new(),
    };
    let text = with_entry(&text, &file, args, &model)?;
    // What is written is what would be read.
    let registry = Registry::of(&file, &text)?;
    make_folder(folder_of(&file))?;
    write_whole(&file, text.as_bytes(), Existing::Replace)?;
    print(&format!("{}\n", args.name))?;
    if volume > Volume::Quiet {
        stderr_line(&format!(
            "`{}` is a model of family {} and has its entry in {}",
            args.name,
            model.family.name(),
            file.display()
        ));
        let routed = registry.routes().any(|(_, model)| model == args.name);
        if !routed {
            stderr_line(&format!(
                "use it with --model {}, or give it job types with --route",
                args.name
            ));
        }
    }
    Ok(0)
}

/// The models.toml in use, or the one that would be.
fn file(args: &ModelsAdd, settings: &Settings) -> Result<PathBuf> {
    if let Some(named) = args.models.clone().or(settings.models.clone()) {
        return Ok(named);
    }
    let registry = Registry::load(None, settings)?;
    Ok(match registry.file() {
        Some(file) => file.to_path_buf(),
        None => settings.config_dir.join("models.toml"),
    })
}

/// A name is typed, and stands in file names and messages.
fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 64 || !name.chars().all(fits) || name.starts_with(['-', '.']) {
        fail!(Usage, "`{}` cannot be the name of a model", shown(name);
            "use 1 to 64 of the characters A-Z a-z 0-9 - _ . and begin with a letter or digit");
    }
    Ok(())
}

fn check_tensors(model: &ModelSpec) -> Result<()> {
    let reports = pipelines::verify(model).with_context(|| format!("model `{}`", model.name))?;
    match reports.iter().all(Report::is_clean) {
        true => Ok(()),
        false => fail!(BadInput, "model `{}`: it would not load, as its tensors do not fit", model.name;
            "`ourvidz models verify {}` names them; a single file of unusual width needs --config-from", model.name),
    }
}

/// The text of the file with the entry and its routes.
fn with_entry(text: &str, file: &Path, args: &ModelsAdd, model: &ModelSpec) -> Result<String> {
    let mut document: DocumentMut = text.parse().map_err(|e: toml_edit::TomlError| {
        let why = e.message().replace('\n', ", ");
        Error::new(ErrorKind::Config, format!("{}: {why}", file.display()))
            .hint("mend the file first; `ourvidz models list` names the line")
    })?;
    let models = table(&mut document, "models", file)?;
    models.set_implicit(true);
    if models.contains_key(&args.name) && !args.force {
        fail!(Conflict, "model `{}` has an entry in {} already, and it is kept", args.name, file.display();
            "choose another name, or replace the entry with --force");
    }
    models.insert(&args.name, Item::Table(entry(model, file)?));
    if !args.route.is_empty() {
        let routes = table(&mut document, "routes", file)?;
        for job_type in &args.route {
            routes.insert(job_type, value(args.name.as_str()));
        }
    }
    Ok(document.to_string())
}

fn table<'d>(document: &'d mut DocumentMut, name: &str, file: &Path) -> Result<&'d mut Table> {
    let item = document.entry(name).or_insert_with(toml_edit::table);
    let wrong = || {
        Error::new(
            ErrorKind::Config,
            format!("{}: `{name}` must be a table", file.display()),
        )
    };
    Ok(item.as_table_mut().ok_or_else(wrong)?)
}

/// Only what cannot be told from the files again.
fn entry(model: &ModelSpec, file: &Path) -> Result<Table> {
    let mut entry = Table::new();
    let path = |path: &Path| -> Result<String> {
        let path = path
            .canonicalize()
            .with_context(|| format!("`{}`", path.display()))?;
        let base = folder_of(file).canonicalize().ok();
        let beside = base.and_then(|base| path.strip_prefix(base).ok().map(Path::to_path_buf));
        let path = beside.unwrap_or(path);
        match path.to_str() {
            Some(text) => Ok(text.to_string()),
            None => {
                fail!(Usage, "the path `{}` is not UTF-8, and models.toml is", path.display(); "rename it")
            }
        }
    };
    entry.insert("family", value(model.family.name()));
    match &model.source {
        Source::Folder(folder) => drop(entry.insert("path", value(path(folder)?))),
        Source::SingleFile {
            path: weights,
            config_from,
        } => {
            entry.insert("file", value(path(weights)?));
            if let Some(folder) = config_from {
                entry.insert("config_from", value(path(folder)?));
            }
        }
        Source::Embedded => {}
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::kind_of;
    use crate::registry::ModelFamily;

    fn added(text: &str, name: &str, force: bool, route: &[&str]) -> Result<String> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a b.safetensors"), "").unwrap();
        let args = ModelsAdd {
            name: name.into(),
            path: folder.path().join("a b.safetensors"),
            config_from: None,
            route: route.iter().map(|word| word.to_string()).collect(),
            force,
            models: None,
        };
        let source = Source::SingleFile {
            path: args.path.clone(),
            config_from: None,
        };
        let model = ModelSpec::new("x", ModelFamily::Sdxl, source);
        with_entry(text, &folder.path().join("models.toml"), &args, &model)
    }

    #[test]
    fn comments_and_order_stay_and_the_entry_is_appended() {
        let text = "# mine\n[models.b] # second\nfamily = \"wan\" # why\npath = \"w\"\n\n[routes]\n# night\nvideo_fast = \"b\"\n";
        let new = added(text, "a", false, &["sdxl_image_fast"]).unwrap();
        for kept in [
            "# mine\n",
            "[models.b] # second",
            "\"wan\" # why",
            "# night\nvideo_fast",
        ] {
            assert!(new.contains(kept), "{new}");
        }
        assert!(
            new.contains("[models.a]\nfamily = \"sdxl\"\nfile = \"a b.safetensors\"\n"),
            "{new}"
        );
        assert!(new.contains("sdxl_image_fast = \"a\""), "{new}");
        assert_eq!(new.matches("[models").count(), 2, "{new}");
    }

    #[test]
    fn an_entry_is_replaced_only_by_force() {
        let text = "[models.a]\nfamily = \"wan\"\npath = \"w\"\n";
        assert_eq!(
            kind_of(&added(text, "a", false, &[]).unwrap_err()),
            ErrorKind::Conflict
        );
        let new = added(text, "a", true, &[]).unwrap();
        assert!(new.contains("sdxl") && !new.contains("wan"), "{new}");
    }

    #[test]
    fn names_are_names() {
        for bad in ["", "-a", "a b", "a/b", "é", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        assert!(check_name("sdxl-base_1.0").is_ok());
    }
}
