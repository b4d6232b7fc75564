//! A running job's progress: told to whoever listens, and the place where it stops.

use anyhow::Result;

use crate::events::{Event, Events};
use crate::pipelines;
use crate::policy::Judge;
use crate::stop::Stop;

/// Tells of one job, and stops it between two steps.
pub(super) struct Progress<'a> {
    events: &'a mut dyn Events,
    job_id: &'a str,
    /// The stage that steps belong to.
    stage: &'static str,
    stop: &'a Stop,
}

impl<'a> Progress<'a> {
    pub fn new(job_id: &'a str, events: &'a mut dyn Events, stop: &'a Stop) -> Self {
        Self {
            events,
            job_id,
            stage: "",
            stop,
        }
    }

    /// What a pipeline tells.
    ///
    /// # Errors
    /// When the job has to stop.
    pub fn observe(&mut self, event: pipelines::Event) -> Result<()> {
        let job_id = self.job_id.to_string();
        let event = match event {
            pipelines::Event::Stage(stage) => {
                self.stage = stage;
                Event::Stage {
                    job_id,
                    stage: stage.into(),
                }
            }
            pipelines::Event::Step { done, total } => Event::Step {
                job_id,
                stage: self.stage.into(),
                done,
                total,
            },
            pipelines::Event::Note(text) => {
                self.note(&text);
                return self.stop.check();
            }
        };
        self.events.tell(&event);
        self.stop.check()
    }

    /// # Errors
    /// When the job has to stop.
    pub fn check(&self) -> Result<()> {
        self.stop.check()
    }

    /// Shows the text written so far; what the content rules would refuse beside `asked` is not
    /// shown on the way either.
    ///
    /// # Errors
    /// When the job has to stop.
    pub fn text(&mut self, asked: &[&str], written: &str, judge: &Judge) -> Result<()> {
        if self.events.wants_text() {
            let asked = asked.iter().map(|text| ("messages", *text));
            let texts: Vec<(&str, &str)> = asked.chain([("the answer", written)]).collect();
            if judge.texts(&texts, false).is_ok() {
                self.events.tell(&Event::Writing {
                    job_id: self.job_id.into(),
                    text: written.into(),
                });
            }
        }
        self.stop.check()
    }

    /// Something about this job that the user should know.
    pub fn note(&mut self, text: &str) {
        self.events.tell(&Event::Note {
            text: format!("job {}: {text}", self.job_id),
        });
    }
}
