//! The life of a job between a settled spec and its outcome: render, check, encode, store.
//!
//! A runner writes no callback and knows no queue, no terminal and no place but the folder that it
//! is given. Jobs arrive resolved and permitted ([`Runner::settle`]); everything that can be refused
//! without work has been refused before.
//!
//! Whoever runs jobs for somebody else, such as a worker process, needs three calls:
//! [`crate::job::parse()`] makes specs of bytes, [`Runner::settle`] a job of a spec, and
//! [`Runner::run`] its files in a folder, with an [`Outcome`] that says what became of it.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::config::{Settings, shown};
use crate::error::{ErrorKind, kind_of};
use crate::events::{Event, Events};
use crate::job::spec_parts::Tiling;
use crate::job::{Job, Work};
use crate::memory::{Release, Rescue};
use crate::outcome::{Failure, Outcome, Status};
use crate::registry::Registry;
use crate::stop::Stop;

pub mod admin;
mod chat;
mod enhanced;
mod image_request;
mod images;
mod inputs;
pub mod language;
pub mod loader;
pub mod metadata;
mod needs;
pub mod panics;
mod progress;
mod run;
mod settle;
mod standing;
mod store;
mod video;

use run::{Finished, Run, Strain};
pub use run::{Runner, notes, output_name};

use loader::{Loader, TokenCounters};
use progress::Progress;

impl Runner {
    /// No device is opened and nothing loaded before the first job runs.
    ///
    /// # Errors
    /// `Usage` for a device or a number format that does not exist.
    pub fn new(settings: Arc<Settings>, registry: Registry) -> Result<Self> {
        Ok(Self {
            loader: Loader::new(&settings)?,
            settings,
            registry,
            thumbnails: false,
            queues: None,
            counters: TokenCounters::default(),
        })
    }

    /// Runs one job and writes its files into `folder` as `INDEX.EXT`. A job that fails, also by a
    /// panic of ours, leaves none of them behind.
    pub fn run(&mut self, job: &Job, folder: &Path, events: &mut dyn Events, stop: &Stop) -> Outcome {
        let start = Instant::now();
        events.tell(&Event::Job {
            job_id: job.id.clone(),
            summary: summary(job, self.settings.log_prompts),
        });
        let stop = stop.within(self.settings.time_limit_s.map(Duration::from_secs));
        let mut run = Run {
            job,
            folder,
            thumbnails: self.thumbnails,
            progress: Progress::new(&job.id, events, &stop),
            strain: Strain::default(),
        };
        for note in notes(job) {
            run.progress.note(&note);
        }
        let made = run.progress.check().and_then(|()| self.guarded(&mut run));
        match made {
            Ok(finished) => self.completed(job, finished, start.elapsed()),
            Err(error) => failed(job, &error, start.elapsed()),
        }
    }

    fn completed(&self, job: &Job, finished: Finished, time: Duration) -> Outcome {
        let mut metadata = metadata::completed(job, &finished, time);
        if let Some(pressure) = self.loader.pressure() {
            metadata.insert("memory_pressure".into(), json!(pressure));
        }
        Outcome {
            job_id: job.id.clone(),
            status: Status::Completed,
            assets: finished.assets,
            error: None,
            metadata,
            answer: finished.answer,
        }
    }

    /// Makes the job's files. When the device runs out of memory, what the budget proposes is tried
    /// in its order; when nothing is left, this job alone fails.
    fn guarded(&mut self, run: &mut Run<'_>) -> Result<Finished> {
        let mut rescues: Option<VecDeque<Rescue>> = None;
        loop {
            let made = self.attempt(run);
            self.loader.job_over();
            let Err(error) = made else {
                return made;
            };
            if kind_of(&error) != ErrorKind::GpuOom {
                return Err(error);
            }
            let steps = rescues.get_or_insert_with(|| self.rescues(run.job));
            let Some(step) = steps.pop_front() else {
                return Err(error);
            };
            self.apply(&step, run, steps);
        }
    }

    /// Turns a panic into this job's failure; the model may be in any state then and is dropped.
    fn attempt(&mut self, run: &mut Run<'_>) -> Result<Finished> {
        match catch_unwind(AssertUnwindSafe(|| self.make(run))) {
            Ok(made) => made.map_err(panics::recognised),
            Err(_) => {
                self.loader.forget();
                Err(panics::error().into())
            }
        }
    }

    fn make(&mut self, run: &mut Run<'_>) -> Result<Finished> {
        match &run.job.work {
            Work::Images(images) => images::make(self, images, run),
            Work::Video(video) => video::make(self, run.job, video, run),
            Work::EnhancedVideo(enhancing, video) => enhanced::enhanced_video(self, (enhancing, video), run),
            Work::Enhance(enhancing) => enhanced::prompt(self, enhancing, run),
            Work::Chat(chat) => chat::make(self, chat, run),
            Work::Admin => Ok(admin::make(self)),
        }
    }

    fn rescues(&self, job: &Job) -> VecDeque<Rescue> {
        let Some(model) = &job.model else {
            return VecDeque::new();
        };
        let (can_tile, batch) = match &job.work {
            Work::Images(images) => {
                let tiles = job.spec.config.vae_tiling.is_some_and(Tiling::is_on);
                let together = if images.deterministic { 1 } else { job.seeds.len() };
                (!tiles, together)
            }
            Work::Video(video) | Work::EnhancedVideo(_, video) => (!video.vae_tiling, 1),
            Work::Enhance(_) | Work::Chat(_) | Work::Admin => (false, 1),
        };
        self.loader.rescues(&model.name, can_tile, batch).into()
    }

    fn apply(&mut self, step: &Rescue, run: &mut Run<'_>, later: &mut VecDeque<Rescue>) {
        let said = match step {
            Rescue::Release(what) => {
                self.loader.release(what);
                match what {
                    Release::Caches => "freed caches".to_string(),
                    Release::Model(name) => format!("unloaded `{name}`"),
                }
            }
            Rescue::VaeTiling => {
                run.strain.vae_tiling = true;
                "decoded in tiles".into()
            }
            Rescue::SmallerBatch(batch) => {
                run.strain.batch = Some(*batch);
                if *batch > 1 {
                    later.push_back(Rescue::SmallerBatch(batch / 2));
                }
                format!("computed {batch} at a time")
            }
        };
        let note = format!("the device ran out of memory: {said} and tried again");
        run.progress.note(&note);
        run.strain.notes.push(note);
    }
}

/// The outcome of a job that failed, whether it ran or not.
pub fn failed(job: &Job, error: &anyhow::Error, time: Duration) -> Outcome {
    let status = match kind_of(error) {
        ErrorKind::Cancelled => Status::Cancelled,
        _ => Status::Failed,
    };
    Outcome {
        job_id: job.id.clone(),
        status,
        assets: Vec::new(),
        error: Some(Failure::of(error)),
        metadata: metadata::failed(job, error, time),
        answer: None,
    }
}

/// The job in one line; its prompt only where the operator wants prompts in logs.
fn summary(job: &Job, with_prompt: bool) -> String {
    let mut parts = vec![job.type_name.clone()];
    parts.extend(job.model_name().map(|model| format!("model {model}")));
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
    if let Some(prompt) = job.spec.prompt.as_ref().filter(|_| with_prompt) {
        parts.push(format!("prompt `{}`", shown(prompt)));
    }
    parts.join(", ")
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
    use std::collections::BTreeMap;

    use super::*;
    use crate::error::Error;
    use crate::job::kinds::KINDS;
    use crate::job::{Diffusion, Format, Images, JobSpec};
    use crate::media::frames::Frame;
    use crate::pipelines::{Event, ImageOutput, ImagePipeline, ImageRequest, Observer};
    use crate::registry::{ModelFamily, ModelSpec, Source};
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

    fn job(seeds: u64) -> Job {
        Job {
            id: "a".into(),
            type_name: "sdxl_image_fast".into(),
            kind: &KINDS[0],
            model: Some(ModelSpec::new(
                "flat",
                ModelFamily::Mock,
                Source::Folder(".".into()),
            )),
            seeds: (0..seeds).collect(),
            seed_drawn: false,
            notes: vec![],
            ignored: vec![],
            spec_sha256: String::new(),
            spec: JobSpec::default(),
            work: Work::Images(Box::new(Images::plain(Diffusion {
                prompt: "x".into(),
                negative_prompt: None,
                auto_negative: false,
                steps: 1,
                guidance_scale: 1.0,
                width: 8,
                height: 8,
                scheduler: None,
                loras: Vec::new(),
                format: Format::Png,
            }))),
            inputs: vec![],
            difference: None,
        }
    }

    /// What a run on a flat pipeline left.
    struct Left {
        kind: Option<ErrorKind>,
        outcome: Outcome,
        /// Names in the folder.
        files: usize,
    }

    fn run_with(pipeline: Flat, seeds: u64, stop: &Stop, time_limit_s: Option<u64>) -> Left {
        let folder = tempfile::tempdir().expect("a folder");
        let job = job(seeds);
        let loaded = Loaded {
            pipeline: Pipeline::Image(Box::new(pipeline)),
            hash: "0".into(),
            device: "cpu".into(),
            dtype: "f32".into(),
        };
        let mut settings = Settings::with_folders("none", "none");
        settings.time_limit_s = time_limit_s;
        let mut runner = Runner {
            loader: Loader::holding(job.model.clone().expect("flat"), Ability::Image, loaded),
            counters: TokenCounters::default(),
            thumbnails: false,
            queues: None,
            settings: Arc::new(settings),
            registry: Registry::shipped().expect("the shipped models"),
        };
        let outcome = runner.run(&job, folder.path(), &mut Vec::new(), stop);
        Left {
            kind: outcome.error.as_ref().map(Failure::kind),
            outcome,
            files: std::fs::read_dir(folder.path()).expect("the folder").count(),
        }
    }

    fn run_on(pipeline: Flat, seeds: u64) -> Left {
        run_with(pipeline, seeds, &Stop::default(), None)
    }

    #[test]
    fn an_outcome_names_every_file_with_the_digest_of_its_pixels() {
        let left = run_on(Flat(Some(2), 9), 3);
        assert_eq!((left.outcome.status, left.files), (Status::Completed, 3));
        let asset = &left.outcome.assets[2];
        assert_eq!((asset.index, asset.seed), (2, 2));
        assert!(asset.path.ends_with("2.png"));
        let recorded = &left.outcome.metadata["manifest"]["outputs"][2]["pixels_sha256"];
        assert_eq!(asset.pixels_sha256.as_deref(), recorded.as_str());
    }

    #[test]
    fn a_batch_too_large_for_the_device_is_computed_in_smaller_ones_and_noted() {
        let left = run_on(Flat(Some(2), 1), 6);
        assert_eq!((left.kind, left.files), (None, 6));
        let notes = left.outcome.metadata["notes"].to_string();
        assert!(
            notes.contains("3 at a time") && notes.contains("1 at a time"),
            "{notes}"
        );
    }

    #[test]
    fn a_job_that_nothing_rescues_fails_alone_with_gpu_oom() {
        let left = run_on(Flat(Some(2), 0), 3);
        assert_eq!((left.kind, left.files), (Some(ErrorKind::GpuOom), 0));
        assert_eq!(left.outcome.metadata["error"]["code"], "gpu_oom");
    }

    #[test]
    fn a_black_picture_is_bad_output_and_is_not_stored() {
        let left = run_on(Flat(Some(1), 1), 1);
        assert_eq!((left.kind, left.files), (Some(ErrorKind::BadOutput), 0));
    }

    #[test]
    fn a_job_that_has_to_stop_does_so_at_the_next_step_and_leaves_no_picture() {
        let left = run_with(Flat(Some(2), 1), 1, &Stop::default(), Some(0));
        assert_eq!((left.kind, left.files), (Some(ErrorKind::TimedOut), 0));
        let stop = Stop::default();
        stop.cancel();
        let left = run_with(Flat(Some(2), 1), 1, &stop, None);
        assert_eq!((left.kind, left.files), (Some(ErrorKind::Cancelled), 0));
        assert_eq!(left.outcome.status, Status::Cancelled);
    }

    #[test]
    fn a_panic_is_this_jobs_internal_error() {
        let left = run_on(Flat(None, 1), 1);
        assert_eq!((left.kind, left.files), (Some(ErrorKind::Internal), 0));
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
