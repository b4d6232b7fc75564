//! What happens while jobs run, told to whoever listens: a terminal, a program, another process.

use serde::{Deserialize, Serialize};

/// One thing that happened. Its JSON form is what a worker sends to its supervisor; what programs
/// read from `--json` is in [`crate::ndjson`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A job begins; `summary` is for people.
    Job { job_id: String, summary: String },
    /// A stage begins: `load`, `encode`, `denoise`, `decode`, `enhance`, `answer`, `store`.
    Stage { job_id: String, stage: String },
    /// `done` of `total` steps of a stage are finished.
    Step {
        job_id: String,
        stage: String,
        done: usize,
        total: usize,
    },
    /// A language model has written this much so far; only for those who ask ([`Events::wants_text`]).
    Writing { job_id: String, text: String },
    /// Something the user should know.
    Note { text: String },
    /// Progress in words.
    Info { text: String },
    /// For those who asked for more.
    Detail { text: String },
}

/// Whoever listens.
pub trait Events {
    fn tell(&mut self, event: &Event);

    /// Whether running text is shown: nobody pays for it otherwise.
    fn wants_text(&self) -> bool {
        false
    }
}

/// Keeps what it is told, for tests.
impl Events for Vec<Event> {
    fn tell(&mut self, event: &Event) {
        self.push(event.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_survives_the_way_to_another_process() {
        let event = Event::Step {
            job_id: "a".into(),
            stage: "denoise".into(),
            done: 2,
            total: 9,
        };
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(
            line,
            r#"{"event":"step","job_id":"a","stage":"denoise","done":2,"total":9}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }
}
