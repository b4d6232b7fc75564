//! From the command line to job specs, with the flags laid over them.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

use super::from::{Source, job_of, offer, source};
use super::replay::locate;
use crate::cli::Generate;
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files::{folder_of, open_regular};
use crate::job::foreign::recognise;
use crate::job::{JobSpec, MAX_SPEC_BYTES, Origin, Trust, kinds, parse};
use crate::media::manifest::Manifest;
use crate::media::read::{FileKind, SNIFF_BYTES, sniff};

/// A spec and where it came from.
#[derive(Debug)]
pub struct Gathered {
    pub spec: JobSpec,
    /// For messages: a path, `stdin`, or nothing for flags.
    pub name: Option<String>,
    pub trust: Trust,
    /// What is left of a stranger's spec beside the flags: `trust` is for it alone.
    pub strange: Option<Box<JobSpec>>,
    /// What made the file whose job is run again.
    pub replayed: Option<Box<Manifest>>,
}

/// One input that could not be read as specs.
#[derive(Debug)]
pub struct Unread(pub anyhow::Error);

/// What the positional arguments are.
#[derive(Debug, Default, PartialEq)]
struct Inputs<'a> {
    specs: Vec<&'a str>,
    prompt: Option<&'a str>,
}

/// Every job of the command line, and every input that holds none.
///
/// # Errors
/// `Usage` when the arguments contradict each other; what `--from` and a prompt on stdin may raise.
pub fn jobs(args: &Generate) -> Result<Vec<Result<Gathered, Unread>>> {
    let inputs = classify(&args.input)?;
    let prompt = prompt(args, &inputs)?;
    let mut found = Vec::new();
    if let Some(path) = &args.from {
        let (mut spec, replayed) = match source(path)? {
            Source::Foreign(foreign) => (job_of(&foreign, path, args.model.is_some())?, None),
            Source::Manifest(mut manifest) => {
                if args.trust_paths {
                    locate(&mut manifest, path);
                }
                (replay(path, &manifest)?, Some(manifest))
            }
        };
        if args.output.as_deref().is_some_and(names_a_format) {
            // The new file's name says what it is wanted as.
            spec.config.format = None;
        }
        found.push(Ok(Gathered {
            spec,
            name: Some(path.display().to_string()),
            trust: match args.trust_paths {
                true => Trust::FULL,
                false => Origin::Replay.trust(),
            },
            strange: None,
            replayed,
        }));
    } else if inputs.specs.is_empty() {
        if prompt.is_none() {
            fail!(Usage, "no job: neither a prompt nor a SPEC nor --from"; "try `ourvidz generate \"a red circle\"`");
        }
        found.push(Ok(Gathered {
            spec: JobSpec::default(),
            name: None,
            trust: Origin::Flags.trust(),
            strange: None,
            replayed: None,
        }));
    }
    for input in &inputs.specs {
        match read_specs(input) {
            Ok(specs) => found.extend(specs.into_iter().map(Ok)),
            Err(error) => found.push(Err(Unread(error))),
        }
    }
    for gathered in found.iter_mut().flatten() {
        let before = args.from.is_some().then(|| gathered.spec.clone());
        lay_over(args, prompt.as_deref(), &mut gathered.spec)?;
        if let Some(before) = before {
            let mut flags = JobSpec::default();
            lay_over(args, prompt.as_deref(), &mut flags)?;
            gathered.strange = Some(Box::new(unreplaced(&before, &flags)?));
        }
    }
    Ok(found)
}

/// The job that made a picture or video, from its manifest, which anybody may have written: only what
/// our writer puts there, read like any other spec.
fn replay(path: &Path, manifest: &Manifest) -> Result<JobSpec> {
    let name = path.display().to_string();
    let spec = manifest.spec.to_string();
    let mut specs = parse(spec.as_bytes(), &name, Origin::Replay)?;
    let (Some(spec), true) = (specs.pop(), specs.is_empty()) else {
        fail!(BadInput, "`{name}`: its manifest holds no job"; "give a file that ourvidz wrote");
    };
    if let Some(kind) = spec.job_type.as_deref().and_then(kinds::find)
        && !kind.draws()
    {
        fail!(BadInput, "`{name}`: its manifest names type `{}`, which makes no pictures", kind.name;
            "give a file that ourvidz wrote");
    }
    Ok(JobSpec {
        id: None,
        user_id: None,
        messages: Vec::new(),
        metadata: serde_json::Map::new(),
        expect: None,
        ..spec
    })
}

/// `before` without what flags have replaced.
fn unreplaced(before: &JobSpec, flags: &JobSpec) -> Result<JobSpec> {
    let (mut left, flags) = (serde_json::to_value(before)?, serde_json::to_value(flags)?);
    let untouched = serde_json::to_value(JobSpec::default())?;
    let given = |name: &str| flags.get(name) != untouched.get(name);
    if let Some(options) = left["config"].as_object_mut() {
        options.retain(|name, _| flags["config"].get(name) == untouched["config"].get(name));
    }
    if let Some(fields) = left.as_object_mut() {
        fields.retain(|name, _| name == "config" || !given(name));
    }
    Ok(serde_json::from_value(left)?)
}

/// Whether an output's name ends like a video or a picture.
fn names_a_format(output: &str) -> bool {
    let extension = Path::new(output).extension().and_then(|e| e.to_str());
    extension.is_some_and(|e| ["png", "mp4", "webm", "gif"].contains(&e.to_lowercase().as_str()))
}

/// Tells specs from the prompt: an existing file, `-` or a name that ends like a spec is a spec.
fn classify(input: &[String]) -> Result<Inputs<'_>> {
    let mut inputs = Inputs::default();
    for word in input {
        if is_spec(word) {
            if word == "-" && inputs.specs.contains(&"-") {
                fail!(Usage, "stdin (`-`) is named twice"; "name it once");
            }
            inputs.specs.push(word);
        } else if let Some(first) = inputs.prompt {
            fail!(Usage, "`{first}` and `{word}` are two prompts"; "put a prompt of several words into quotes; spec files must exist");
        } else {
            inputs.prompt = Some(word);
        }
    }
    if let (Some(prompt), Some(spec)) = (inputs.prompt, inputs.specs.first()) {
        fail!(Usage, "`{prompt}` is neither a spec file nor the only argument beside `{spec}`"; "give a prompt that overrides the specs' with --prompt");
    }
    Ok(inputs)
}

fn is_spec(word: &str) -> bool {
    let path = Path::new(word);
    let named = path
        .extension()
        .and_then(|e| e.to_str())
        .is_some_and(|e| ["yaml", "yml", "json"].contains(&e.to_ascii_lowercase().as_str()));
    word == "-" || named || path.exists()
}

fn prompt(args: &Generate, inputs: &Inputs<'_>) -> Result<Option<String>> {
    match (inputs.prompt, args.prompt.as_deref()) {
        (Some(word), Some(_)) => {
            fail!(Usage, "the prompt is given twice: `{word}` and --prompt"; "give one of them")
        }
        (None, Some("-")) => {
            if inputs.specs.contains(&"-") {
                fail!(Usage, "stdin cannot be both the SPEC and the prompt"; "put one of them into a file or an argument");
            }
            let text = String::from_utf8(read_stdin()?)
                .map_err(|_| Error::new(ErrorKind::InvalidSpec, "the prompt on stdin is not valid UTF-8"))?;
            Ok(Some(text.trim_end_matches(['\n', '\r']).to_string()))
        }
        (word, flag) => Ok(word.or(flag).map(String::from)),
    }
}

/// Every spec of a file, or of stdin (`-`).
///
/// # Errors
/// What cannot be read or is no spec.
pub fn read_specs(input: &str) -> Result<Vec<Gathered>> {
    let (bytes, name, origin) = match input {
        "-" => (read_stdin()?, "stdin", Origin::Stdin),
        path => (read_spec_file(Path::new(path))?, path, Origin::File),
    };
    if sniff(&bytes[..bytes.len().min(SNIFF_BYTES)]).is_some_and(|kind| kind != FileKind::Markup) {
        fail!(InvalidSpec, "`{name}` is a picture or video, no spec"; "run its job again with `ourvidz generate --from {name}`, or begin with it: `-i {name}`");
    }
    if let Some(foreign) = std::str::from_utf8(&bytes).ok().and_then(recognise) {
        return Err(offer(&foreign, name));
    }
    let mut specs = parse(&bytes, name, origin)?;
    if origin == Origin::File {
        for spec in &mut specs {
            locate_references(spec, folder_of(Path::new(input)));
        }
    }
    Ok(specs
        .into_iter()
        .map(|spec| Gathered {
            spec,
            name: Some(name.into()),
            trust: origin.trust(),
            strange: None,
            replayed: None,
        })
        .collect())
}

/// Pictures that a spec names lie beside it. Said so from here on, the same names hold in a manifest
/// and beside flags.
fn locate_references(spec: &mut JobSpec, base: &Path) {
    if base == Path::new(".") {
        return;
    }
    for (_, name) in spec.config.pictures_mut() {
        if !name.contains(':') {
            *name = base.join(&*name).display().to_string();
        }
    }
    for (_, path) in spec.config.weights_mut() {
        // A refiner may be a name from models.toml.
        let beside = base.join(&*path);
        if beside.exists() {
            *path = beside.display().to_string();
        }
    }
    if let Some(expect) = &mut spec.expect {
        expect.image = base.join(&expect.image);
    }
}

fn read_spec_file(path: &Path) -> Result<Vec<u8>> {
    let shown = path.display();
    if path.is_dir() {
        fail!(InputMissing, "spec `{shown}` is a folder"; "name its files, as in `{shown}/*.yaml`");
    }
    let file = open_regular(path).map_err(|e| {
        let Error { kind, message, .. } = Error::summary(&e);
        Error::new(kind, format!("spec `{shown}`: {message}"))
            .hint("name an existing YAML or JSON file, or put a prompt into quotes")
    })?;
    bounded(file).with_context(|| format!("spec `{shown}`"))
}

fn read_stdin() -> Result<Vec<u8>> {
    bounded(std::io::stdin().lock()).context("stdin")
}

/// Reads a little more than is allowed, so that the parser can say that it is too much.
fn bounded(reader: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_SPEC_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Flags win over what a spec says, field by field.
///
/// # Errors
/// `Usage` for flags that belong together and do not.
fn lay_over(args: &Generate, prompt: Option<&str>, spec: &mut JobSpec) -> Result<()> {
    fn set<T: Clone>(to: &mut Option<T>, from: Option<&T>) {
        if let Some(value) = from {
            *to = Some(value.clone());
        }
    }
    if prompt.is_some() && prompt != spec.prompt.as_deref() {
        // It was made of another prompt.
        spec.enhanced_prompt = None;
    }
    set(&mut spec.prompt, prompt.map(String::from).as_ref());
    set(&mut spec.negative_prompt, args.negative_prompt.as_ref());
    set(&mut spec.job_type, args.job_type.as_ref());
    set(&mut spec.model, args.model.as_ref());
    let mut given = args.options.given();
    let adapters = args.adapters.given(args.options.image.as_deref());
    given.extend(adapters.map_err(|what| Error::new(ErrorKind::Usage, what))?);
    let starts = args.options.strength.is_some() || args.options.mask_image.is_some();
    if args.adapters.takes_image() && !starts {
        // The adapter reads it; nothing starts from it.
        given.remove("image");
    }
    set_options(given, spec);
    Ok(())
}

fn set_options(given: serde_json::Map<String, serde_json::Value>, spec: &mut JobSpec) {
    if given.is_empty() {
        return;
    }
    let mut config = serde_json::to_value(&spec.config).expect("options are plain JSON");
    for (name, value) in given {
        config[name] = value;
    }
    spec.config = serde_json::from_value(config).expect("every flag was read as its field is");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli;
    use crate::error::kind_of;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|w| (*w).to_string()).collect()
    }

    #[test]
    fn files_and_names_like_files_are_specs_and_the_rest_is_the_prompt() {
        let input = words(&["Cargo.toml", "missing.YAML", "-"]);
        assert_eq!(
            classify(&input).unwrap().specs,
            ["Cargo.toml", "missing.YAML", "-"]
        );
        let input = words(&["a red circle"]);
        assert_eq!(classify(&input).unwrap().prompt, Some("a red circle"));
    }

    #[test]
    fn unquoted_prompts_and_mixtures_are_usage_errors() {
        for bad in [&["a", "red"][..], &["a.yaml", "red"], &["-", "-"]] {
            let input = words(bad);
            let error = classify(&input).unwrap_err();
            assert_eq!(kind_of(&error), ErrorKind::Usage, "{bad:?}");
        }
    }

    #[test]
    fn another_prompt_leaves_no_enhanced_prompt_of_the_old_one() {
        let replayed = JobSpec {
            prompt: Some("old".into()),
            enhanced_prompt: Some("old, richer".into()),
            ..JobSpec::default()
        };
        let mut spec = replayed.clone();
        lay_over(&Generate::default(), Some("old"), &mut spec).unwrap();
        assert_eq!(spec, replayed);
        lay_over(&Generate::default(), Some("new"), &mut spec).unwrap();
        assert_eq!(spec.enhanced_prompt, None);
    }

    #[test]
    fn flags_win_over_the_spec_field_by_field() {
        let mut spec = JobSpec {
            prompt: Some("old".into()),
            negative_prompt: Some("kept".into()),
            ..JobSpec::default()
        };
        spec.config.seed = Some(1);
        spec.config.steps = Some(30);
        let args = Generate {
            options: cli::Options {
                seed: Some(2),
                auto_negative: Some(false),
                ..cli::Options::default()
            },
            ..Generate::default()
        };
        lay_over(&args, Some("new"), &mut spec).unwrap();
        assert_eq!(spec.prompt.as_deref(), Some("new"));
        assert_eq!(spec.negative_prompt.as_deref(), Some("kept"));
        assert_eq!((spec.config.seed, spec.config.steps), (Some(2), Some(30)));
        assert_eq!(spec.config.auto_negative, Some(false));
        assert_eq!(spec.config.deterministic, None);
    }
}
