//! Where the files of each job go, settled and checked before any job runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files::{Existing, folder_of, name_limit_bytes, with_suffix};
use crate::job::{Format, Job, JobSpec, is_id};
use crate::media::manifest::read_manifest;
use crate::media::video::VideoFormat;

use super::earlier::Earlier;
use super::names::Names;
use super::plan::{Place, Plan};

/// Used when nobody says where: one folder a job, so that nothing of two jobs ever meets.
/// The extension is the job's.
const DEFAULT_TEMPLATE: &str = "ourvidz-out/{id}/{index}";
/// Names inside a folder given as the output.
const NAME_IN_FOLDER: &str = "{id}-{index}";
const PLACEHOLDERS: &[&str] = &["id", "seed", "index", "prompt", "date"];

/// What the user said about places.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// A file, a folder with a trailing `/`, or a template with `{id} {seed} {index} {prompt} {date}`.
    pub output: Option<String>,
    /// What `{date}` becomes.
    pub date: String,
    /// The callback's file, may contain `{id}`.
    pub callback: Option<String>,
    /// Overwrite whatever is there.
    pub force: bool,
    /// A callback is wanted also beside a file that `output` names.
    pub tells: bool,
}

/// Where files go, before a job fills it in.
struct Template {
    /// With placeholders.
    path: String,
    /// False where the user chose the extension.
    takes_extension: bool,
}

impl Layout {
    /// Plans every job of a run.
    ///
    /// # Errors
    /// `Usage` when the template is wrong, or two jobs would share a file.
    pub fn plan(&self, jobs: &[Job]) -> Result<Vec<Plan>> {
        let template = self.template()?;
        let mut owners: HashMap<PathBuf, &str> = HashMap::new();
        let mut plans = Vec::new();
        for job in jobs {
            let assets = self.assets(&template, job)?;
            for place in &assets {
                claim(&mut owners, &place.path, &job.id, "--output", "{id} or {seed}")?;
            }
            let callback = self.callback_in(&template, &Names::of(job, 0));
            plans.push(Plan {
                assets,
                callback,
                force: self.force,
            });
        }
        self.settle_callbacks(jobs, &mut plans, &mut owners)?;
        Ok(plans)
    }

    /// Where the callback of a job goes that has no files, as it was refused; `None` when its id
    /// cannot be part of a path, the place belongs to another job, or a result of this id is there,
    /// which no refusal replaces.
    pub fn callback_of_refused(&self, id: &str, spec: &JobSpec) -> Option<PathBuf> {
        if !is_id(id) {
            return None;
        }
        let template = self.template().ok()?;
        let names = Names {
            id,
            prompt: spec.prompt.as_deref().unwrap_or_default(),
            seed: spec.config.seed.unwrap_or_default(),
            index: 0,
        };
        let path = self.callback_in(&template, &names)?;
        let free = |path: &Path| match Earlier::read(path) {
            None => path.symlink_metadata().is_err(),
            Some(earlier) => earlier.job_id == id && !earlier.is_result(),
        };
        // A result of this id under either name stands for it.
        let own = path.with_file_name(format!("{id}.callback.json"));
        let is_mine = |path: &Path| Earlier::read(path).is_some_and(|e| e.job_id == id && e.is_result());
        if is_mine(&path) || is_mine(&own) {
            return None;
        }
        [path, own].into_iter().find(|path| free(path))
    }

    /// `None` for a named file whose user asked for no callback.
    fn callback_in(&self, template: &Template, names: &Names<'_>) -> Option<PathBuf> {
        match &self.callback {
            Some(file) => Some(PathBuf::from(file.replace("{id}", names.id))),
            None if template.is_one_file() && !self.tells => None,
            None => {
                let first = names.fill(&template.path, &self.date);
                Some(folder_of(Path::new(&first)).join("callback.json"))
            }
        }
    }

    /// # Errors
    /// `Usage` for an unknown placeholder, or neither file nor folder.
    fn template(&self) -> Result<Template> {
        let open = |path: String| Template {
            path,
            takes_extension: true,
        };
        let Some(output) = &self.output else {
            return Ok(open(DEFAULT_TEMPLATE.into()));
        };
        if output.is_empty() {
            fail!(Usage, "--output is empty"; "name a file, a folder with a trailing /, or a template");
        }
        check_placeholders(output)?;
        if output.ends_with('/') {
            return Ok(open(format!("{output}{NAME_IN_FOLDER}")));
        }
        if Path::new(output).is_dir() {
            return Ok(open(format!("{output}/{NAME_IN_FOLDER}")));
        }
        Ok(Template {
            path: output.clone(),
            takes_extension: false,
        })
    }

    /// # Errors
    /// `Usage` when the user's extension is not that of the job's files.
    fn assets(&self, template: &Template, job: &Job) -> Result<Vec<Place>> {
        let Some(diffusion) = job.diffusion() else {
            template.check_folder(&job.type_name)?;
            return Ok(Vec::new());
        };
        template.check_extension(diffusion.format.extension(), &job.type_name)?;
        // The user named this very file, so an earlier picture of ours there may give way.
        let named = template.is_one_file();
        let mut places = Vec::new();
        for (index, &seed) in job.seeds.iter().enumerate() {
            let names = Names {
                seed,
                ..Names::of(job, index)
            };
            let path = template.path_of(&names, &self.date, job.seeds.len(), diffusion.format.extension());
            let paths = match job.video() {
                Some(video) if diffusion.format == Format::Video(VideoFormat::PngFrames) => (0..video.frames)
                    .map(|frame| with_suffix(&path, &format!("-{frame:05}")))
                    .collect(),
                _ => vec![path],
            };
            for path in paths {
                check_name(&path, "--output")?;
                places.push(self.place(path, named));
            }
        }
        Ok(places)
    }

    fn place(&self, path: PathBuf, named: bool) -> Place {
        let replace = self.force || (named && is_ours(&path));
        Place {
            path,
            existing: if replace {
                Existing::Replace
            } else {
                Existing::Keep
            },
        }
    }

    /// Jobs that share a folder, or find another job's callback there, get `ID.callback.json`.
    fn settle_callbacks<'j>(
        &self,
        jobs: &'j [Job],
        plans: &mut [Plan],
        owners: &mut HashMap<PathBuf, &'j str>,
    ) -> Result<()> {
        let mut users: HashMap<PathBuf, usize> = HashMap::new();
        for callback in plans.iter().filter_map(|plan| plan.callback.clone()) {
            *users.entry(callback).or_default() += 1;
        }
        for (job, plan) in jobs.iter().zip(plans) {
            let Some(callback) = &mut plan.callback else {
                continue;
            };
            if self.callback.is_some() {
                self.check_named_callback(callback)?;
            } else if users[callback] > 1 || taken(callback, job, &plan.assets) {
                *callback = callback.with_file_name(format!("{}.callback.json", job.id));
            }
            check_name(callback, "--callback")?;
            claim(owners, callback, &job.id, "--callback", "{id}")?;
        }
        Ok(())
    }

    fn check_named_callback(&self, path: &Path) -> Result<()> {
        if path.metadata().is_ok_and(|m| !m.is_file() && !m.is_dir()) {
            fail!(
                CannotWrite, "--callback `{}`: it is a device, FIFO or socket, no regular file", path.display();
                "choose another file"
            );
        }
        let foreign = path.is_dir()
            || (path.metadata().is_ok_and(|m| m.is_file() && m.len() > 0) && Earlier::read(path).is_none());
        if foreign && !self.force {
            fail!(
                CannotWrite,
                "--callback `{}`: something that is no callback is already there, and it is kept", path.display();
                "choose another file, or overwrite it with --force"
            );
        }
        Ok(())
    }
}

impl Template {
    /// Whether the user named this very file.
    fn is_one_file(&self) -> bool {
        let varies = |name: &&&str| self.path.contains(&format!("{{{name}}}"));
        !self.takes_extension && !PLACEHOLDERS.iter().any(|name| varies(&name))
    }

    fn check_extension(&self, wanted: &str, type_name: &str) -> Result<()> {
        let given = Path::new(&self.path)
            .extension()
            .map(|e| e.to_string_lossy().to_lowercase());
        if !self.takes_extension && given.as_deref() != Some(wanted) {
            fail!(
                Usage, "--output `{}` does not end in .{wanted}, which this job of type `{type_name}` writes", self.path;
                "end it with .{wanted} for a file, or with / for a folder"
            );
        }
        Ok(())
    }

    /// # Errors
    /// `Usage` when the user named a file for a job whose only file is its callback.
    fn check_folder(&self, type_name: &str) -> Result<()> {
        if self.takes_extension {
            return Ok(());
        }
        fail!(
            Usage, "--output `{}` names a file, and a job of type `{type_name}` writes none beside its callback", self.path;
            "end it with / for a folder, or name the callback's file with --callback"
        )
    }

    fn path_of(&self, names: &Names<'_>, date: &str, count: usize, extension: &str) -> PathBuf {
        let told_apart = self.path.contains("{index}") || self.path.contains("{seed}");
        let mut name = names.fill(&self.path, date);
        if self.takes_extension {
            name.push('.');
            name.push_str(extension);
        }
        let path = PathBuf::from(name);
        if told_apart || count == 1 {
            path
        } else {
            with_suffix(&path, &format!("-{}", names.index))
        }
    }
}

fn is_ours(path: &Path) -> bool {
    read_manifest(path).is_ok()
}

/// True when an existing callback speaks of another job whose result is still there. One that only
/// speaks of the very files this job replaces, or of a failure, may give way.
fn taken(path: &Path, job: &Job, assets: &[Place]) -> bool {
    let Some(earlier) = Earlier::read(path) else {
        return path.symlink_metadata().is_ok();
    };
    let replaced = earlier
        .assets
        .iter()
        .all(|old| assets.iter().any(|new| new.path == Path::new(old)));
    let over = earlier.status != "processing";
    // A completed job without files has its whole result in its callback.
    let is_answer = earlier.status == "completed" && earlier.assets.is_empty();
    earlier.job_id != job.id && (is_answer || !(over && replaced))
}

/// Found before any work: a name that no file can have.
///
/// # Errors
/// `CannotWrite` with a name that fits.
fn check_name(path: &Path, flag: &str) -> Result<()> {
    let Some(name) = path.file_name() else {
        return Ok(());
    };
    let limit = name_limit_bytes(folder_of(path));
    if name.len() <= limit {
        return Ok(());
    }
    let shown = name.to_string_lossy();
    let extension = Path::new(&*shown)
        .extension()
        .map_or_else(String::new, |e| format!(".{}", e.to_string_lossy()));
    let mut room = limit.saturating_sub(extension.len()).min(shown.len());
    while !shown.is_char_boundary(room) {
        room -= 1;
    }
    fail!(
        CannotWrite,
        "{flag}: the file name `{shown}` has {} bytes, and the file system takes {limit}", name.len();
        "the longest that fits is `{}{extension}`", &shown[..room]
    )
}

fn claim<'j>(
    owners: &mut HashMap<PathBuf, &'j str>,
    path: &Path,
    id: &'j str,
    flag: &str,
    cure: &str,
) -> Result<()> {
    // Some file systems do not tell upper from lower case.
    let key = PathBuf::from(path.to_string_lossy().to_lowercase());
    match owners.insert(key, id) {
        None => Ok(()),
        Some(other) => Err(Error::new(
            ErrorKind::Usage,
            format!("jobs `{other}` and `{id}` would both write `{}`", path.display()),
        )
        .hint(format!("put {cure} into {flag}, and give every job its own id"))
        .into()),
    }
}

fn check_placeholders(template: &str) -> Result<()> {
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        let after = &rest[open + 1..];
        let name = after.find('}').map(|close| &after[..close]);
        match name {
            Some(name) if PLACEHOLDERS.contains(&name) => rest = &after[name.len()..],
            _ => fail!(
                Usage,
                "--output `{template}` has an unknown placeholder";
                "known are {{id}}, {{seed}}, {{index}}, {{prompt}} and {{date}}"
            ),
        }
    }
    Ok(())
}
