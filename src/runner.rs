//! The life of a job: render, check, encode, store, report.
//!
//! Jobs arrive here resolved, permitted and with their places on disk settled; everything that can
//! be refused without work has been refused before.

use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::config::{CallbackFormat, Settings};
use crate::error::{Error, ErrorKind, kind_of};
use crate::job::{Expect, ResolvedJob, Work};
use crate::media::frames::Frame;
use crate::media::manifest::Manifest;
use crate::memory::{Release, Rescue};
use crate::outbox::body::{self as callback, Asset, Status};
use crate::pipelines::References;
use crate::progress::Reporter;
use crate::registry::{ModelSpec, Registry, Source};

pub mod admin;
mod chat;
mod enhanced;
mod images;
pub mod language;
pub mod loader;
pub mod metadata;
mod needs;
pub mod panics;
pub mod plan;
mod store;
mod video;

use loader::Loader;
use plan::Plan;

/// A job that is ready to run.
#[derive(Debug, Clone)]
pub struct Task {
    pub job: ResolvedJob,
    /// `None` for the types that use no model.
    pub model: Option<ModelSpec>,
    pub plan: Plan,
    /// The picture that image 0 must match.
    pub golden: Option<(Expect, Frame)>,
    /// The pictures that a video follows, fitted to its size.
    pub references: References,
}

/// Runs jobs one after the other and keeps models loaded between them.
pub struct Runner<'a> {
    pub loader: Loader,
    pub reporter: &'a mut Reporter,
    /// The signal that asked us to stop; 0 while nobody did.
    pub stop: &'a AtomicI32,
    pub callback_format: CallbackFormat,
    /// A job that takes longer is stopped between two steps and fails.
    pub time_limit: Option<Duration>,
    pub settings: &'a Settings,
    pub registry: &'a Registry,
}

/// What a finished job leaves behind.
#[derive(Default)]
struct Finished {
    /// `None` for work that leaves no media.
    manifest: Option<Manifest>,
    assets: Vec<Asset>,
    timings: BTreeMap<&'static str, Duration>,
    /// What people read on stdout, where the result is no file.
    answer: Option<String>,
    /// What this kind of work adds to the callback's metadata.
    metadata: Map<String, Value>,
}

impl Task {
    /// # Panics
    /// For the types that use no model, which do not ask.
    fn model(&self) -> &ModelSpec {
        self.model.as_ref().expect("a job that computes has a model")
    }
}

/// What a job does without, once the device has run out of memory.
#[derive(Debug, Default)]
struct Strain {
    vae_tiling: bool,
    /// The most images computed together.
    batch: Option<usize>,
    notes: Vec<String>,
}

/// Why a job may have to stop between two steps.
#[derive(Clone, Copy)]
struct Limits<'a> {
    stop: &'a AtomicI32,
    start: Instant,
    time_limit: Option<Duration>,
}

impl Limits<'_> {
    /// # Errors
    /// `Interrupted` once a signal has come, `TimedOut` once the time is over.
    fn check(&self) -> Result<()> {
        check(self.stop)?;
        match self.time_limit {
            Some(limit) if self.start.elapsed() >= limit => Err(Error::new(
                ErrorKind::TimedOut,
                format!("over its time limit of {} s", limit.as_secs_f64()),
            )
            .hint("nothing of it is left but its callback; raise --time-limit, or ask for fewer steps, frames or pixels")
            .into()),
            _ => Ok(()),
        }
    }
}

impl Runner<'_> {
    /// Runs one job from the first status to the last.
    ///
    /// # Errors
    /// Whatever failed; the callback says so then, and no picture is left behind unless the
    /// callback itself was what could not be written. The caller prints the error.
    pub fn run(&mut self, task: &Task) -> Result<()> {
        let start = Instant::now();
        let job = &task.job;
        self.reporter.job_started(&job.id, &summary(task));
        for note in notes(task) {
            self.reporter.note(&format!("job {}: {note}", job.id));
        }
        // Written first: a place where nothing can be written is known before any work.
        let done = self
            .tell(task, Status::Processing, &[], metadata::begun(task))
            .and_then(|()| self.check_stop())
            .and_then(|()| self.guarded(task, start))
            .and_then(|finished| self.complete(task, &finished, start.elapsed()));
        if let Err(error) = &done {
            self.fail(task, error, start.elapsed());
        }
        done
    }

    /// Makes the job's files. When the device runs out of memory, what the budget proposes is tried
    /// in its order; when nothing is left, this job alone fails.
    fn guarded(&mut self, task: &Task, start: Instant) -> Result<Finished> {
        let limits = Limits {
            stop: self.stop,
            start,
            time_limit: self.time_limit,
        };
        let mut strain = Strain::default();
        let mut rescues: Option<VecDeque<Rescue>> = None;
        loop {
            let made = self.attempt(task, limits, &strain);
            self.loader.job_over();
            let Err(error) = made else {
                return made;
            };
            if kind_of(&error) != ErrorKind::GpuOom {
                return Err(error);
            }
            let steps = rescues.get_or_insert_with(|| self.rescues(task));
            let Some(step) = steps.pop_front() else {
                return Err(error);
            };
            self.apply(&step, &mut strain, steps);
        }
    }

    /// Turns a panic into this job's failure; the model may be in any state then and is dropped.
    fn attempt(&mut self, task: &Task, limits: Limits<'_>, strain: &Strain) -> Result<Finished> {
        match catch_unwind(AssertUnwindSafe(|| self.make(task, limits, strain))) {
            Ok(made) => made,
            Err(_) => {
                self.loader.forget();
                Err(panics::error().into())
            }
        }
    }

    fn make(&mut self, task: &Task, limits: Limits<'_>, strain: &Strain) -> Result<Finished> {
        match &task.job.work {
            Work::Images(images) => images::make(self, task, images, limits, strain),
            Work::Video(video) => video::make(self, task, video, limits, strain),
            Work::EnhancedVideo(enhancing, video) => {
                enhanced::enhanced_video(self, task, (enhancing, video), limits, strain)
            }
            Work::Enhance(enhancing) => enhanced::prompt(self, task, enhancing, limits),
            Work::Chat(chat) => chat::make(self, task, chat, limits),
            Work::Admin => Ok(admin::make(self)),
        }
    }

    fn rescues(&self, task: &Task) -> VecDeque<Rescue> {
        let Some(model) = &task.model else {
            return VecDeque::new();
        };
        let (can_tile, batch) = match &task.job.work {
            Work::Images(images) if images.deterministic => (false, 1),
            Work::Images(_) => (false, task.job.seeds.len()),
            Work::Video(video) | Work::EnhancedVideo(_, video) => (!video.vae_tiling, 1),
            Work::Enhance(_) | Work::Chat(_) | Work::Admin => (false, 1),
        };
        self.loader.rescues(&model.name, can_tile, batch).into()
    }

    fn apply(&mut self, step: &Rescue, strain: &mut Strain, later: &mut VecDeque<Rescue>) {
        let said = match step {
            Rescue::Release(what) => {
                self.loader.release(what);
                match what {
                    Release::Caches => "freed caches".to_string(),
                    Release::Model(name) => format!("unloaded `{name}`"),
                }
            }
            Rescue::VaeTiling => {
                strain.vae_tiling = true;
                "decoded in tiles".into()
            }
            Rescue::SmallerBatch(batch) => {
                strain.batch = Some(*batch);
                if *batch > 1 {
                    later.push_back(Rescue::SmallerBatch(batch / 2));
                }
                format!("computed {batch} at a time")
            }
        };
        let note = format!("the device ran out of memory: {said} and tried again");
        self.reporter.note(&note);
        strain.notes.push(note);
    }

    fn complete(&mut self, task: &Task, finished: &Finished, time: Duration) -> Result<()> {
        let mut metadata = metadata::completed(task, finished, time);
        if let Some(pressure) = self.loader.pressure() {
            metadata.insert("memory_pressure".into(), json!(pressure));
        }
        self.tell(task, Status::Completed, &finished.assets, metadata)?;
        for asset in &finished.assets {
            self.reporter.asset(&asset.path, asset.bytes, asset.seed);
        }
        if let Some(answer) = &finished.answer {
            self.reporter.answer(answer);
        }
        self.reporter.info(&format!(
            "job {}: done in {:.2} s{}",
            task.job.id,
            time.as_secs_f64(),
            shown_timings(&finished.timings)
        ));
        Ok(())
    }

    fn fail(&mut self, task: &Task, error: &anyhow::Error, time: Duration) {
        let metadata = metadata::failed(task, error, time);
        let report = metadata::report(task, Status::Failed, &[], Some(error), metadata);
        self.reporter
            .result(&callback::body(self.callback_format, &report));
        // The job's own error is the one to report; where nothing can be written it says so itself.
        if let Err(second) = callback::write(&task.plan.callback, self.callback_format, &report) {
            self.reporter.detail(&format!("callback: {second:#}"));
        }
    }

    fn tell(
        &mut self,
        task: &Task,
        status: Status,
        assets: &[Asset],
        metadata: Map<String, Value>,
    ) -> Result<()> {
        let report = metadata::report(task, status, assets, None, metadata);
        callback::write(&task.plan.callback, self.callback_format, &report)?;
        if status == Status::Completed {
            self.reporter
                .result(&callback::body(self.callback_format, &report));
        }
        Ok(())
    }

    /// # Errors
    /// `Interrupted` once a signal has come.
    pub fn check_stop(&self) -> Result<()> {
        check(self.stop)
    }
}

fn check(stop: &AtomicI32) -> Result<()> {
    match stop.load(Ordering::Relaxed) {
        0 => Ok(()),
        signal => Err(Error::new(
            ErrorKind::Interrupted { signal },
            format!("stopped by signal {signal}"),
        )
        .hint("nothing of this job is left but its callback; run it again")
        .into()),
    }
}

/// What the user should know about a job before it runs.
pub fn notes(task: &Task) -> Vec<String> {
    let mut notes = task.job.notes.clone();
    if let Some(model) = &task.model
        && model.source == Source::Embedded
    {
        notes.push(format!(
            "uses the built-in model `{}`, which is very small and knows only simple shapes",
            model.name
        ));
    }
    if task.job.spec.callback_url.is_some() {
        notes.push("callback_url is not delivered to by this build; callback.json is written".into());
    }
    notes
}

/// The job in one line.
fn summary(task: &Task) -> String {
    let job = &task.job;
    let mut parts = vec![job.type_name.clone()];
    parts.extend(job.model.as_ref().map(|model| format!("model {model}")));
    if let Some(d) = job.diffusion() {
        parts.push(format!("{}x{}", d.width, d.height));
        if let Some(video) = job.video()
            && video.frames > 1
        {
            parts.push(format!("{} frames at {} fps", video.frames, video.fps));
        }
        let scheduler = d.scheduler.as_ref().map(|s| format!(" of {s}"));
        parts.push(format!("{} steps{}", d.steps, scheduler.unwrap_or_default()));
        parts.push(format!("guidance {}", d.guidance_scale));
    }
    if let Work::Chat(chat) = &job.work {
        parts.push(format!("{} turns", chat.turns.len()));
    }
    let seeds: Vec<String> = job.seeds.iter().map(u64::to_string).collect();
    match seeds.len() {
        0 => {}
        1 => parts.push(format!("seed {}", seeds[0])),
        _ => parts.push(format!("seeds {}", seeds.join(" "))),
    }
    parts.join(", ")
}

fn shown_timings(timings: &BTreeMap<&'static str, Duration>) -> String {
    if timings.is_empty() {
        return String::new();
    }
    let parts: Vec<String> = timings
        .iter()
        .map(|(stage, time)| format!("{stage} {:.2} s", time.as_secs_f64()))
        .collect();
    format!(" ({})", parts.join(", "))
}

/// One exit code for a run of several jobs: the worst of 70, 78, 74, 73, 69, 1, 75. Failures that
/// concern one job alone (its spec, its input, its content) count as 1 there.
///
/// A run of one job, or one that a signal ended, has its failure's own code.
pub fn exit_code(jobs: usize, failures: &[ErrorKind]) -> u8 {
    const WORST_FIRST: [u8; 7] = [70, 78, 74, 73, 69, 1, 75];
    if let Some(stopped) = failures
        .iter()
        .find(|kind| matches!(kind, ErrorKind::Interrupted { .. }))
    {
        return stopped.exit_code();
    }
    if let ([only], 1) = (failures, jobs) {
        return only.exit_code();
    }
    let codes: Vec<u8> = failures
        .iter()
        .map(|kind| match kind.exit_code() {
            own if WORST_FIRST.contains(&own) => own,
            _ => 1,
        })
        .collect();
    WORST_FIRST
        .into_iter()
        .find(|code| codes.contains(code))
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::kinds::KINDS;
    use crate::job::{Diffusion, Format, Images, JobSpec};
    use crate::pipelines::{Event, ImageOutput, ImagePipeline, ImageRequest, Observer};
    use crate::progress::Volume;
    use crate::registry::ModelFamily;
    use loader::{Ability, Loaded, Pipeline};

    /// Answers every request with a flat colour, or with a panic; above this many images at once
    /// the device runs out of memory.
    struct Flat(Option<u8>, usize);

    impl ImagePipeline for Flat {
        fn text_to_image(
            &mut self,
            request: &ImageRequest,
            observer: &mut Observer<'_>,
        ) -> Result<ImageOutput> {
            observer(Event::Step { done: 1, total: 1 })?;
            if request.seeds.len() > self.1 {
                return Err(Error::new(ErrorKind::GpuOom, "no room").into());
            }
            let value = self.0.expect("a bug for the test");
            let (width, height) = (request.width_px, request.height_px);
            let frame = Frame::new(width as u32, height as u32, vec![value; width * height * 3]);
            Ok(ImageOutput {
                frames: vec![frame; request.seeds.len()],
                timings: BTreeMap::new(),
                scheduler: "euler".into(),
                effective_steps: 1,
                prompt_tokens: vec![],
                notes: vec![],
            })
        }
    }

    fn task(folder: &std::path::Path) -> Task {
        Task {
            job: ResolvedJob {
                id: "a".into(),
                type_name: "sdxl_image_fast".into(),
                kind: &KINDS[0],
                model: Some("flat".into()),
                seeds: vec![1],
                seed_drawn: false,
                notes: vec![],
                ignored: vec![],
                spec: JobSpec::default(),
                work: Work::Images(Images {
                    diffusion: Diffusion {
                        prompt: "x".into(),
                        negative_prompt: None,
                        auto_negative: false,
                        steps: 1,
                        guidance_scale: 1.0,
                        width: 8,
                        height: 8,
                        scheduler: None,
                        format: Format::Png,
                    },
                    truncate_prompt: false,
                    deterministic: false,
                }),
            },
            model: Some(ModelSpec::new(
                "flat",
                ModelFamily::Mock,
                Source::Folder(".".into()),
            )),
            plan: Plan {
                assets: vec![plan::Place {
                    path: folder.join("0.png"),
                    existing: crate::files::Existing::Keep,
                }],
                callback: folder.join("callback.json"),
            },
            golden: None,
            references: References::default(),
        }
    }

    /// What a run on a flat pipeline left.
    struct Left {
        kind: Option<ErrorKind>,
        callback: Value,
        /// Whether the first picture is there.
        stored: bool,
    }

    fn run_on(pipeline: Flat, seeds: u64, time_limit: Option<Duration>) -> Left {
        let folder = tempfile::tempdir().expect("a folder");
        let mut task = task(folder.path());
        task.job.seeds = (0..seeds).collect();
        task.plan.assets = (0..seeds)
            .map(|i| plan::Place {
                path: folder.path().join(format!("{i}.png")),
                existing: crate::files::Existing::Keep,
            })
            .collect();
        let loaded = Loaded {
            pipeline: Pipeline::Image(Box::new(pipeline)),
            hash: "0".into(),
            device: "cpu".into(),
            dtype: "f32".into(),
        };
        let mut runner = Runner {
            loader: Loader::holding(task.model().clone(), Ability::Image, loaded),
            reporter: &mut Reporter::new(false, Volume::Quiet),
            stop: &AtomicI32::new(0),
            callback_format: CallbackFormat::Standard,
            time_limit,
            settings: &Settings::with_folders("none", "none"),
            registry: &Registry::shipped().expect("the shipped models"),
        };
        let kind = runner.run(&task).err().map(|e| kind_of(&e));
        let text = std::fs::read(&task.plan.callback).expect("a callback");
        Left {
            kind,
            callback: serde_json::from_slice(&text).expect("JSON"),
            stored: task.plan.assets[0].path.exists(),
        }
    }

    /// Runs one job on a flat pipeline; gives its error, and the error code in its callback.
    fn run_flat(
        value: Option<u8>,
        time_limit: Option<Duration>,
    ) -> (Option<ErrorKind>, Option<String>, bool) {
        let left = run_on(Flat(value, 1), 1, time_limit);
        let code = left.callback["metadata"]["error"]["code"]
            .as_str()
            .map(String::from);
        (left.kind, code, left.stored)
    }

    #[test]
    fn a_batch_too_large_for_the_device_is_computed_in_smaller_ones_and_noted() {
        let left = run_on(Flat(Some(2), 1), 6, None);
        assert!(left.kind.is_none() && left.stored);
        let notes = left.callback["metadata"]["notes"].to_string();
        assert!(
            notes.contains("3 at a time") && notes.contains("1 at a time"),
            "{notes}"
        );
    }

    #[test]
    fn a_job_that_nothing_rescues_fails_alone_with_gpu_oom() {
        let left = run_on(Flat(Some(2), 0), 3, None);
        assert_eq!(left.kind, Some(ErrorKind::GpuOom));
        assert_eq!(left.callback["metadata"]["error"]["code"], "gpu_oom");
        assert!(!left.stored);
    }

    #[test]
    fn a_black_picture_is_bad_output_and_is_not_stored() {
        assert_eq!(
            run_flat(Some(1), None),
            (Some(ErrorKind::BadOutput), Some("bad_output".into()), false)
        );
        assert_eq!(run_flat(Some(2), None), (None, None, true));
    }

    #[test]
    fn a_job_over_its_time_is_stopped_at_the_next_step_and_leaves_no_picture() {
        assert_eq!(
            run_flat(Some(2), Some(Duration::ZERO)),
            (Some(ErrorKind::TimedOut), Some("timed_out".into()), false)
        );
    }

    #[test]
    fn a_panic_is_this_jobs_internal_error() {
        assert_eq!(
            run_flat(None, None),
            (Some(ErrorKind::Internal), Some("internal".into()), false)
        );
    }

    #[test]
    fn one_job_has_its_own_code_and_several_have_the_worst() {
        use ErrorKind::*;
        assert_eq!(exit_code(1, &[]), 0);
        assert_eq!(exit_code(1, &[Refused]), 77);
        assert_eq!(exit_code(2, &[Refused]), 1);
        assert_eq!(exit_code(3, &[BadOutput, CannotWrite, Internal]), 70);
        assert_eq!(exit_code(3, &[CannotWrite, Io]), 74);
        assert_eq!(exit_code(3, &[Internal, Interrupted { signal: 15 }]), 143);
    }
}
