//! What supervisor and worker say to each other: one JSON object a line, both ways.
//!
//! A worker's stdout carries nothing else; what it says to people goes to stderr.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::events::Event;
use crate::job::{Fetched, JobSpec};
use crate::outcome::{Failure, Outcome};

/// From the supervisor to its worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum Order {
    /// Run this job and answer with its [`Message::Outcome`].
    Run(Box<Run>),
    /// Stop the running job between two steps: its owner took it back.
    Cancel { job_id: String },
    /// Stop the running job between two steps: it will be run again by somebody.
    Interrupt { job_id: String, signal: i32 },
    /// End.
    Exit,
}

/// A job as its worker needs it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    pub job_id: String,
    pub spec: JobSpec,
    /// The first seed, where the spec names none and one is needed.
    pub drawn_seed: Option<u64>,
    /// What the parser noted; the JSON form of a spec leaves it out.
    pub notes: Vec<String>,
    /// The producer's own fields; likewise.
    pub ignored: Vec<String>,
    /// Where the pictures of the spec's addresses lie on this machine, by the address.
    pub references: Fetched,
    /// The spec may name files of this machine.
    pub local_references: bool,
    /// Assets go here, and nowhere else.
    pub staging: PathBuf,
    /// Depths and counts of the queue, for jobs that report them.
    pub queues: Option<Value>,
}

/// From a worker to its supervisor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "snake_case")]
pub enum Message {
    /// It can be given jobs now.
    Ready { pid: u32, device: String },
    /// It never will: the device or the configuration is wrong.
    Unfit { failure: Failure },
    /// It has taken up this job: what happens from here on is of the job's making.
    Begun { job_id: String },
    /// Something happened in the running job.
    Event {
        #[serde(flatten)]
        event: Event,
    },
    /// It lives.
    Alive,
    /// The job is over.
    Outcome {
        outcome: Box<Outcome>,
        /// Bytes in memory of every loaded model.
        models: BTreeMap<String, u64>,
        /// The device is lost to this process: it should be replaced.
        faulty: bool,
    },
}

/// The line of an order or a message.
pub fn line(value: &impl Serialize) -> String {
    let mut line = serde_json::to_string(value).expect("plain data");
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_messages_survive_the_pipe() {
        let run = Order::Run(Box::new(Run {
            job_id: "a".into(),
            spec: JobSpec {
                prompt: Some("two\nlines".into()),
                ..JobSpec::default()
            },
            drawn_seed: Some(7),
            notes: vec!["n".into()],
            ignored: vec![],
            references: Fetched::new(),
            local_references: false,
            staging: "/tmp/s".into(),
            queues: None,
        }));
        let text = line(&run);
        assert_eq!(text.matches('\n').count(), 1);
        assert_eq!(serde_json::from_str::<Order>(&text).unwrap(), run);
        let step = Message::Event {
            event: Event::Step {
                job_id: "a".into(),
                stage: "denoise".into(),
                done: 1,
                total: 2,
            },
        };
        assert_eq!(serde_json::from_str::<Message>(&line(&step)).unwrap(), step);
    }
}
