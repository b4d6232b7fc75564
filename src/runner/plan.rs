//! Where the files of each job go, settled and checked before any job runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::callback;
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::job::ResolvedJob;
use crate::media::files::{Existing, folder_of, with_suffix};
use crate::media::manifest::{read_manifest, settled_spec};
use crate::media::png;

/// Used when nobody says where: one folder a job, so that nothing of two jobs ever meets.
const DEFAULT_TEMPLATE: &str = "ourvidz-out/{id}/{index}.png";
/// Names inside a folder given as the output.
const NAME_IN_FOLDER: &str = "{id}-{index}.png";
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

/// The files of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// One per image.
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
            let assets = self.assets(&template, job);
            for place in &assets {
                claim(&mut owners, &place.path, &job.id, "--output", "{id} or {seed}")?;
            }
            let callback = match &self.callback {
                Some(file) => PathBuf::from(file.replace("{id}", &job.id)),
                None => folder_of(&assets[0].path).join("callback.json"),
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
            None => {
                let template = self.template().ok()?.replace("{id}", id);
                folder_of(Path::new(&template)).join("callback.json")
            }
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
    /// `Usage`: an unknown placeholder, or a name that is not a PNG's.
    fn template(&self) -> Result<String> {
        let Some(output) = &self.output else {
            return Ok(DEFAULT_TEMPLATE.into());
        };
        if output.is_empty() {
            fail!(Usage, "--output is empty"; "name a file, a folder with a trailing /, or a template");
        }
        check_placeholders(output)?;
        if output.ends_with('/') {
            return Ok(format!("{output}{NAME_IN_FOLDER}"));
        }
        if Path::new(output).is_dir() {
            return Ok(format!("{output}/{NAME_IN_FOLDER}"));
        }
        let png = Path::new(output)
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("png"));
        if !png {
            fail!(Usage, "--output `{output}` does not end in .png"; "end it with .png for a file, or with / for a folder");
        }
        Ok(output.clone())
    }

    fn assets(&self, template: &str, job: &ResolvedJob) -> Vec<Place> {
        let told_apart = template.contains("{index}") || template.contains("{seed}");
        // The user named this very file, so an earlier picture of ours there may give way.
        let named = !PLACEHOLDERS
            .iter()
            .any(|name| template.contains(&format!("{{{name}}}")));
        job.seeds
            .iter()
            .enumerate()
            .map(|(index, seed)| {
                let path = PathBuf::from(
                    template
                        .replace("{id}", &job.id)
                        .replace("{seed}", &seed.to_string())
                        .replace("{index}", &index.to_string()),
                );
                let path = if told_apart || job.seeds.len() == 1 {
                    path
                } else {
                    with_suffix(&path, &format!("-{index}"))
                };
                let replace = self.force || (named && is_ours(&path));
                Place {
                    path,
                    existing: if replace {
                        Existing::Replace
                    } else {
                        Existing::Keep
                    },
                }
            })
            .collect()
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
            let same_job = read_manifest(&place.path).is_ok_and(|(old, _)| settled_spec(job) == old.spec);
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

fn is_ours(path: &Path) -> bool {
    png::read(path).is_ok_and(|picture| picture.manifest.is_some())
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
    owner.job_id != job.id && !(over && replaced)
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
