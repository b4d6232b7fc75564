//! What an entry of a stream says.

use jiff::Timestamp;
use serde_json::Value;

use crate::files::sha256_hex;
use crate::queue::contract::{Peek, Peeked, QueueName, SPEC_READ_BYTES, Waiting};
use crate::queue::order::Candidate;
use crate::queue::record::Record;

/// Bytes of a job that are read: a spec of the largest size may be written as JSON text in an array, with
/// every quote escaped.
pub const JOB_READ_BYTES: usize = 3 * SPEC_READ_BYTES as usize;

/// A waiting entry.
#[derive(Debug, Clone)]
pub struct Entry {
    pub queue: QueueName,
    /// Its id in the stream.
    pub entry: String,
    pub id: String,
    pub spec: Vec<u8>,
    /// `None` for a job that is larger than what is read.
    pub spec_sha256: Option<String>,
    pub peeked: Peeked,
    pub passed: u32,
    /// What is known from an earlier claim.
    pub record: Option<Record>,
}

impl Entry {
    /// Reads what a script returned of one entry.
    pub fn read(
        queue: QueueName,
        entry: &[u8],
        job: &[u8],
        passed: &[u8],
        record: &[u8],
        peek: &dyn Peek,
    ) -> Self {
        let entry = String::from_utf8_lossy(entry).into_owned();
        let mut spec = unwrapped(job);
        spec.truncate(SPEC_READ_BYTES as usize);
        let peeked = peek.peek(&spec);
        let record: Option<Record> = serde_json::from_slice(record).ok();
        let id = match &record {
            Some(record) => record.id.clone(),
            None => peeked.id.clone().unwrap_or_else(|| format!("job-{entry}")),
        };
        Self {
            queue,
            id,
            spec_sha256: ((spec.len() as u64) < SPEC_READ_BYTES).then(|| sha256_hex(&spec)),
            spec,
            peeked,
            passed: std::str::from_utf8(passed).map_or(0, |n| n.parse().unwrap_or(0)),
            record,
            entry,
        }
    }

    pub fn candidate(&self) -> Candidate {
        Candidate {
            // The stream it lies in decides, whatever its type.
            queue: self.peeked.queue.map(|_| self.queue),
            affinity: self.peeked.affinity.clone(),
            passed: self.passed,
        }
    }

    pub fn queued_at(&self) -> Timestamp {
        let ms = self.entry.split('-').next().unwrap_or_default();
        let ms = ms
            .parse()
            .ok()
            .and_then(|ms| Timestamp::from_millisecond(ms).ok());
        ms.unwrap_or_else(Timestamp::now)
    }

    /// What is known of the job.
    pub fn known(&self) -> Record {
        let mut record = self
            .record
            .clone()
            .unwrap_or_else(|| Record::new(&self.id, self.spec_sha256.clone(), self.queued_at()));
        record.job_type.clone_from(&self.peeked.job_type);
        record
    }

    pub fn waiting(&self) -> Waiting {
        Waiting {
            id: self.id.clone(),
            job_type: self.peeked.job_type.clone(),
            queue: Some(self.queue),
            affinity: self.peeked.affinity.clone(),
            queued_at: self.known().queued_at,
        }
    }

    /// The digest as scripts take it.
    pub fn digest(&self) -> &str {
        self.spec_sha256.as_deref().unwrap_or("-")
    }
}

/// The spec in what a producer pushed: as it is, or in an array of one element, or as JSON text in a string.
fn unwrapped(job: &[u8]) -> Vec<u8> {
    let mut job = job.to_vec();
    // A text of an array of a text of an object is the worst that was seen.
    for _ in 0..3 {
        match shelled(&job) {
            Some(inner) => job = inner,
            None => break,
        }
    }
    job
}

fn shelled(job: &[u8]) -> Option<Vec<u8>> {
    let text = job.trim_ascii();
    match (text.first()?, text.last()?) {
        (b'"', b'"') => Some(serde_json::from_slice::<String>(text).ok()?.into_bytes()),
        (b'[', b']') => {
            let one: [Value; 1] = serde_json::from_slice(text).ok()?;
            // The text of the element stands as it was written.
            (!one[0].is_null()).then(|| text[1..text.len() - 1].trim_ascii().to_vec())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_producers_push_is_unwrapped_and_keeps_its_text() {
        let spec = r#"{"id": "a", "seed": 18446744073709551615, "x": 1e3}"#;
        let text = serde_json::to_string(spec).unwrap();
        for pushed in [
            spec.to_string(),
            format!("[{spec}]"),
            format!(" [ {spec} ]\n"),
            text.clone(),
            format!("[{text}]"),
            serde_json::to_string(&format!("[{text}]")).unwrap(),
        ] {
            assert_eq!(unwrapped(pushed.as_bytes()), spec.as_bytes(), "{pushed}");
        }
        for broken in ["[1, 2]", "[", "", "[null]", "\"", "nothing"] {
            assert_eq!(unwrapped(broken.as_bytes()), broken.as_bytes());
        }
    }
}
