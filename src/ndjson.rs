//! Machine mode: what happens as JSON lines, one object a line.

use serde_json::{Value, json};

use crate::error::{hint_of, kind_of};
use crate::events::Event;

/// The line that programs read for an event; `None` for what is said to people only.
pub fn line(event: &Event) -> Option<Value> {
    Some(match event {
        Event::Job { job_id, .. } => json!({"event": "job", "job_id": job_id}),
        Event::Stage { job_id, stage } => json!({"event": "stage", "job_id": job_id, "stage": stage}),
        Event::Step {
            job_id,
            stage,
            done,
            total,
        } => json!({"event": "step", "job_id": job_id, "stage": stage, "done": done, "total": total}),
        Event::Writing { .. } | Event::Note { .. } | Event::Info { .. } | Event::Detail { .. } => {
            return None;
        }
    })
}

/// A job is over; `report` is the body of its callback.
pub fn result(report: &Value) -> Value {
    with(json!({"event": "result"}), report)
}

/// Something failed; `about` tells what.
pub fn error(error: &anyhow::Error, about: &Value) -> Value {
    let mut line = with(json!({"event": "error"}), about);
    line["code"] = kind_of(error).code().into();
    line["message"] = format!("{error:#}").into();
    line["hint"] = hint_of(error).into();
    line
}

fn with(mut line: Value, more: &Value) -> Value {
    if let (Some(line), Some(more)) = (line.as_object_mut(), more.as_object()) {
        line.extend(more.clone());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_read_the_documented_fields_and_nothing_that_people_are_told() {
        let job = Event::Job {
            job_id: "a".into(),
            summary: "long".into(),
        };
        assert_eq!(line(&job), Some(json!({"event": "job", "job_id": "a"})));
        assert_eq!(line(&Event::Note { text: "x".into() }), None);
        assert_eq!(
            result(&json!({"job_id": "a", "status": "failed"})),
            json!({"event": "result", "job_id": "a", "status": "failed"})
        );
    }
}
