//! Where the files of each job go, settled and checked before any job runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::files::{Existing, folder_of, with_suffix};
use crate::job::{Format, JobSpec, ResolvedJob};
use crate::media::manifest::{read_manifest, settled_spec};
use crate::media::video::VideoFormat;
use crate::outbox::body as callback;

/// Used when nobody says where: one folder a job, so that nothing of two jobs ever meets.
/// The extension is the job's.
const DEFAULT_TEMPLATE: &str = "ourvidz-out/{id}/{index}";
/// Names inside a folder given as the output.
const NAME_IN_FOLDER: &str = "{id}-{index}";
const PLACEHOLDERS: &[&str] = &["id", "seed", "index"];

/// What the user said about places.
#[derive(Debug, Clone, Default)]
pub struct Layout {
    /// A file, a folder with a trailing `/`, or a template with `{id} {seed} {index}`.
    pub output: Option<String>,
    /// The callback's file, may contain `{id}`.
    pub callback: Option<String>,
    /// Overwrite whatever is there.
    pub force: bool,
}

/// Where files go, before a job fills it in.
struct Template {
    /// With placeholders.
    path: String,
    /// False where the user chose the extension.
    takes_extension: bool,
}

/// The files of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One per image, video or separate frame; none for jobs whose answer is text.
    pub assets: Vec<Place>,
    pub callback: PathBuf,
}

/// One file to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    pub path: PathBuf,
    pub existing: Existing,
}

impl Layout {
    /// Plans every job of a run.
    ///
    /// # Errors
    /// `Usage` when the template is wrong, or two jobs would share a file.
    pub fn plan(&self, jobs: &[&ResolvedJob]) -> Result<Vec<Plan>> {
        let template = self.template()?;
        let mut owners: HashMap<PathBuf, &str> = HashMap::new();
        let mut plans = Vec::new();
        for job in jobs {
            let assets = self.assets(&template, job)?;
            for place in &assets {
                claim(&mut owners, &place.path, &job.id, "--output", "{id} or {seed}")?;
            }
            let callback = match &self.callback {
                Some(file) => PathBuf::from(file.replace("{id}", &job.id)),
                None => template.folder(&job.id).join("callback.json"),
            };
            plans.push(Plan { assets, callback });
        }
        self.settle_callbacks(jobs, &mut plans, &mut owners)?;
        Ok(plans)
    }

    /// Where the callback of a job goes that has no files, as it was refused; `None` when its id
    /// cannot be part of a path or the place belongs to another job.
    pub fn callback_of_refused(&self, id: &str) -> Option<PathBuf> {
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if id.is_empty() || id.len() > 128 || !id.chars().all(fits) {
            return None;
        }
        let path = match &self.callback {
            Some(file) => PathBuf::from(file.replace("{id}", id)),
            None => self.template().ok()?.folder(id).join("callback.json"),
        };
        match callback::owner(&path) {
            _ if path.symlink_metadata().is_err() => Some(path),
            Some(owner) if owner.job_id == id => Some(path),
            _ => {
                let own = path.with_file_name(format!("{id}.callback.json"));
                own.symlink_metadata().is_err().then_some(own)
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
    fn assets(&self, template: &Template, job: &ResolvedJob) -> Result<Vec<Place>> {
        let Some(diffusion) = job.diffusion() else {
            template.check_folder(&job.type_name)?;
            return Ok(Vec::new());
        };
        template.check_extension(diffusion.format.extension(), &job.type_name)?;
        // The user named this very file, so an earlier picture of ours there may give way.
        let named = !PLACEHOLDERS
            .iter()
            .any(|name| template.path.contains(&format!("{{{name}}}")));
        let mut places = Vec::new();
        for (index, &seed) in job.seeds.iter().enumerate() {
            let path = template.path_of(job, index, seed, diffusion.format.extension());
            let paths = match job.video() {
                Some(video) if diffusion.format == Format::Video(VideoFormat::PngFrames) => (0..video.frames)
                    .map(|frame| with_suffix(&path, &format!("-{frame:05}")))
                    .collect(),
                _ => vec![path],
            };
            places.extend(paths.into_iter().map(|path| self.place(path, named)));
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
        jobs: &[&'j ResolvedJob],
        plans: &mut [Plan],
        owners: &mut HashMap<PathBuf, &'j str>,
    ) -> Result<()> {
        let mut users: HashMap<PathBuf, usize> = HashMap::new();
        for plan in plans.iter() {
            *users.entry(plan.callback.clone()).or_default() += 1;
        }
        for (job, plan) in jobs.iter().zip(plans) {
            if self.callback.is_some() {
                self.check_named_callback(&plan.callback)?;
            } else if users[&plan.callback] > 1 || taken(&plan.callback, job, &plan.assets) {
                plan.callback = plan.callback.with_file_name(format!("{}.callback.json", job.id));
            }
            claim(owners, &plan.callback, &job.id, "--callback", "{id}")?;
        }
        Ok(())
    }

    fn check_named_callback(&self, path: &Path) -> Result<()> {
        let foreign = path.is_dir()
            || (path.metadata().is_ok_and(|m| m.is_file() && m.len() > 0) && callback::owner(path).is_none());
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
    /// The folder of a job's files.
    fn folder(&self, id: &str) -> PathBuf {
        folder_of(Path::new(&self.path.replace("{id}", id))).to_path_buf()
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

    fn path_of(&self, job: &ResolvedJob, index: usize, seed: u64, extension: &str) -> PathBuf {
        let told_apart = self.path.contains("{index}") || self.path.contains("{seed}");
        let mut name = self
            .path
            .replace("{id}", &job.id)
            .replace("{seed}", &seed.to_string())
            .replace("{index}", &index.to_string());
        if self.takes_extension {
            name.push('.');
            name.push_str(extension);
        }
        let path = PathBuf::from(name);
        if told_apart || job.seeds.len() == 1 {
            path
        } else {
            with_suffix(&path, &format!("-{index}"))
        }
    }
}

impl Plan {
    /// Refuses files in the way before any work is done. A file that this very job wrote earlier is
    /// no obstacle: the same job gives the same bytes.
    ///
    /// # Errors
    /// `CannotWrite`, naming the file.
    pub fn check_free(&self, job: &ResolvedJob) -> Result<()> {
        for place in &self.assets {
            if place.existing == Existing::Replace || place.path.symlink_metadata().is_err() {
                continue;
            }
            let same_job =
                read_manifest(&place.path).is_ok_and(|(old, _)| is_same(settled_spec(job), old.spec));
            if !same_job {
                return Err(Error::new(
                    ErrorKind::CannotWrite,
                    format!(
                        "output `{}`: a different file is already there, and it is kept",
                        place.path.display()
                    ),
                )
                .hint("choose another --output or id, or overwrite it with --force")
                .into());
            }
        }
        Ok(())
    }
}

/// A job whose prompt is still to be enhanced is the same as one that knows what came of it.
fn is_same(new: JobSpec, old: JobSpec) -> bool {
    let enhanced_prompt = new.enhanced_prompt.clone().or(old.enhanced_prompt.clone());
    old == JobSpec {
        enhanced_prompt,
        ..new
    }
}

fn is_ours(path: &Path) -> bool {
    read_manifest(path).is_ok()
}

/// True when an existing callback speaks of another job whose result is still there. One that only
/// speaks of the very files this job replaces, or of a failure, may give way.
fn taken(path: &Path, job: &ResolvedJob, assets: &[Place]) -> bool {
    if path.symlink_metadata().is_err() {
        return false;
    }
    let Some(owner) = callback::owner(path) else {
        return true;
    };
    let replaced = owner
        .assets
        .iter()
        .all(|old| assets.iter().any(|new| new.path == Path::new(old)));
    let over = owner.status != callback::Status::Processing.name();
    // A completed job without files has its whole result in its callback.
    let is_result = owner.status == callback::Status::Completed.name() && owner.assets.is_empty();
    owner.job_id != job.id && (is_result || !(over && replaced))
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
                "known are {{id}}, {{seed}} and {{index}}"
            ),
        }
    }
    Ok(())
}
