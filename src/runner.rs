//! The life of a job: render, check, encode, store, report.
//!
//! Jobs arrive here resolved, permitted and with their places on disk settled; everything that can
//! be refused without work has been refused before.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::callback::{self, Asset, Status};
use crate::config::CallbackFormat;
use crate::error::{Error, ErrorKind};
use crate::fail;
use crate::job::{Expect, ResolvedJob};
use crate::media::files::{remove_if_there, sha256_hex, with_suffix, write_whole};
use crate::media::frames::Frame;
use crate::media::manifest::{Made, Manifest, ModelRecord};
use crate::media::{golden, png};
use crate::pipelines::{Event, ImageOutput, ImageRequest};
use crate::progress::Reporter;
use crate::registry::{ModelSpec, Source};

pub mod loader;
pub mod metadata;
pub mod panics;
pub mod plan;

use loader::{Loaded, Loader};
use plan::Plan;

/// A job that is ready to run.
#[derive(Debug)]
pub struct Task {
    pub job: ResolvedJob,
    pub model: ModelSpec,
    pub plan: Plan,
    /// The picture that image 0 must match.
    pub golden: Option<(Expect, Frame)>,
}

/// Runs jobs one after the other and keeps the last model loaded.
pub struct Runner<'a> {
    pub loader: Loader,
    pub reporter: &'a mut Reporter,
    /// The signal that asked us to stop; 0 while nobody did.
    pub stop: &'a AtomicI32,
    pub callback_format: CallbackFormat,
}

/// What a finished job leaves behind.
struct Finished {
    manifest: Manifest,
    assets: Vec<Asset>,
    timings: BTreeMap<&'static str, Duration>,
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
            .and_then(|()| self.guarded(task))
            .and_then(|finished| self.complete(task, &finished, start.elapsed()));
        if let Err(error) = &done {
            self.fail(task, error, start.elapsed());
        }
        done
    }

    /// Turns a panic into this job's failure; the model may be in any state then and is dropped.
    fn guarded(&mut self, task: &Task) -> Result<Finished> {
        match catch_unwind(AssertUnwindSafe(|| self.make(task))) {
            Ok(made) => made,
            Err(_) => {
                self.loader.forget();
                Err(panics::error().into())
            }
        }
    }

    fn make(&mut self, task: &Task) -> Result<Finished> {
        let (reporter, stop) = (&mut *self.reporter, self.stop);
        let mut observer = |event: Event| {
            reporter.event(&task.job.id, &event);
            check(stop)
        };
        let (loaded, load_time) = self.loader.get(&task.model, &mut observer)?;
        let output = loaded
            .pipeline
            .text_to_image(&request(&task.job), &mut observer)?;
        check_frames(&task.job, &output.frames)?;
        let manifest = manifest(task, loaded, &output);
        let encode_start = Instant::now();
        let assets = self.store(task, &manifest, &output.frames)?;
        let mut timings = output.timings;
        timings.extend(load_time.map(|time| ("load", time)));
        timings.insert("store", encode_start.elapsed());
        Ok(Finished {
            manifest,
            assets,
            timings,
        })
    }

    /// Encodes every image before the first is written; a failure half-way takes the written ones back.
    fn store(&mut self, task: &Task, manifest: &Manifest, frames: &[Frame]) -> Result<Vec<Asset>> {
        let json = manifest.to_json();
        let limit = task.job.kind.limit_bytes;
        let encoded = frames
            .iter()
            .enumerate()
            .map(|(index, frame)| {
                let texts = png::Texts {
                    manifest: &json,
                    parameters: &manifest.parameters(index),
                };
                png::encode(frame, &texts, limit)
            })
            .collect::<Result<Vec<_>>>()?;
        if let Some((expect, expected)) = &task.golden {
            let difference = with_suffix(&task.plan.assets[0].path, ".difference");
            golden::check(expect, expected, &frames[0], &difference)?;
        }
        let mut assets = Vec::new();
        for (index, bytes) in encoded.iter().enumerate() {
            let place = &task.plan.assets[index];
            if let Err(error) = write_whole(&place.path, bytes, place.existing) {
                for written in &task.plan.assets[..index] {
                    remove_if_there(&written.path)?;
                }
                return Err(error);
            }
            assets.push(Asset {
                path: place.path.display().to_string(),
                bytes: bytes.len() as u64,
                sha256: sha256_hex(bytes),
                seed: task.job.seeds[index],
                index,
            });
        }
        Ok(assets)
    }

    fn complete(&mut self, task: &Task, finished: &Finished, time: Duration) -> Result<()> {
        let metadata = metadata::completed(
            task,
            &finished.manifest,
            &finished.assets,
            &finished.timings,
            time,
        );
        self.tell(task, Status::Completed, &finished.assets, metadata)?;
        for asset in &finished.assets {
            self.reporter.asset(&asset.path, asset.bytes, asset.seed);
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
        metadata: serde_json::Map<String, serde_json::Value>,
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

/// The request in the pipeline's words.
pub fn request(job: &ResolvedJob) -> ImageRequest {
    ImageRequest {
        prompt: job.prompt.clone(),
        negative_prompt: job.negative_prompt.clone(),
        seeds: job.seeds.clone(),
        num_inference_steps: job.steps as usize,
        guidance_scale: job.guidance_scale,
        width_px: job.width as usize,
        height_px: job.height as usize,
        scheduler: job.scheduler.clone(),
        truncate_prompt: job.truncate_prompt,
        deterministic: job.deterministic,
    }
}

fn check_frames(job: &ResolvedJob, frames: &[Frame]) -> Result<()> {
    if frames.len() != job.seeds.len() {
        fail!(
            Internal,
            "{} images were asked for and {} came",
            job.seeds.len(),
            frames.len()
        );
    }
    if let Some(index) = frames.iter().position(Frame::is_all_black) {
        fail!(
            BadOutput,
            "image {index} (seed {}) is all black", job.seeds[index];
            "try --dtype f32, or another seed"
        );
    }
    Ok(())
}

fn manifest(task: &Task, loaded: &Loaded, output: &ImageOutput) -> Manifest {
    let mut notes = notes(task);
    notes.extend(output.notes.iter().cloned());
    Manifest::new(&Made {
        job: &task.job,
        model: ModelRecord {
            name: task.model.name.clone(),
            hash: loaded.hash.clone(),
            embedded: task.model.source == Source::Embedded,
        },
        scheduler: &output.scheduler,
        effective_steps: output.effective_steps,
        prompt_tokens: &output.prompt_tokens,
        device: &loaded.device,
        dtype: &loaded.dtype,
        frames: &output.frames,
        notes,
    })
}

/// What the user should know about a job before it runs.
pub fn notes(task: &Task) -> Vec<String> {
    let mut notes = task.job.notes.clone();
    if task.model.source == Source::Embedded {
        notes.push(format!(
            "uses the built-in model `{}`, which is very small and draws only simple shapes",
            task.model.name
        ));
    }
    if task.job.spec.callback_url.is_some() {
        notes.push("callback_url is not delivered to by this build; callback.json is written".into());
    }
    notes
}

fn summary(task: &Task) -> String {
    let job = &task.job;
    format!(
        "{}, model {}, {}x{}, {} steps{}, guidance {}, {} {}",
        job.type_name,
        job.model,
        job.width,
        job.height,
        job.steps,
        job.scheduler
            .as_ref()
            .map(|s| format!(" of {s}"))
            .unwrap_or_default(),
        job.guidance_scale,
        if job.seeds.len() == 1 { "seed" } else { "seeds" },
        job.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(" "),
    )
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
    use crate::error::kind_of;
    use crate::job::JobSpec;
    use crate::job::kinds::KINDS;
    use crate::pipelines::{ImagePipeline, Observer};
    use crate::progress::Volume;
    use crate::registry::ModelFamily;

    /// Answers every request with a flat colour, or with a panic.
    struct Flat(Option<u8>);

    impl ImagePipeline for Flat {
        fn text_to_image(
            &mut self,
            request: &ImageRequest,
            _observer: &mut Observer<'_>,
        ) -> Result<ImageOutput> {
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
                model: "flat".into(),
                prompt: "x".into(),
                negative_prompt: None,
                auto_negative: false,
                seeds: vec![1],
                seed_drawn: false,
                steps: 1,
                guidance_scale: 1.0,
                width: 8,
                height: 8,
                scheduler: None,
                truncate_prompt: false,
                deterministic: false,
                notes: vec![],
                ignored: vec![],
                spec: JobSpec::default(),
            },
            model: ModelSpec::new("flat", ModelFamily::Mock, Source::Folder(".".into())),
            plan: Plan {
                assets: vec![plan::Place {
                    path: folder.join("0.png"),
                    existing: crate::media::files::Existing::Keep,
                }],
                callback: folder.join("callback.json"),
            },
            golden: None,
        }
    }

    /// Runs one job on a flat pipeline; gives its error, and the error code in its callback.
    fn run_flat(value: Option<u8>) -> (Option<ErrorKind>, Option<String>, bool) {
        let folder = tempfile::tempdir().expect("a folder");
        let task = task(folder.path());
        let loaded = Loaded {
            pipeline: Box::new(Flat(value)),
            hash: "0".into(),
            device: "cpu".into(),
            dtype: "f32".into(),
        };
        let mut runner = Runner {
            loader: Loader::holding(task.model.clone(), loaded),
            reporter: &mut Reporter::new(false, Volume::Quiet),
            stop: &AtomicI32::new(0),
            callback_format: CallbackFormat::Standard,
        };
        let kind = runner.run(&task).err().map(|e| kind_of(&e));
        let text = std::fs::read(&task.plan.callback).expect("a callback");
        let callback: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        let code = callback["metadata"]["error"]["code"].as_str().map(String::from);
        (kind, code, task.plan.assets[0].path.exists())
    }

    #[test]
    fn a_black_picture_is_bad_output_and_is_not_stored() {
        assert_eq!(
            run_flat(Some(1)),
            (Some(ErrorKind::BadOutput), Some("bad_output".into()), false)
        );
        assert_eq!(run_flat(Some(2)), (None, None, true));
    }

    #[test]
    fn a_panic_is_this_jobs_internal_error() {
        assert_eq!(
            run_flat(None),
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
