//! When a callback is tried again.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use sha2::{Digest, Sha256};

use super::envelope::{Envelope, State};

/// The pause before each try, in seconds: at once, 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h,
/// 24 h, as the Standard Webhooks specification recommends. Each is counted from the try before.
const PAUSES_S: [u64; 10] = [0, 5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];

/// The share by which a pause is longer or shorter, so that many callbacks that failed together do
/// not come back together.
const JITTER: f64 = 0.2;

/// The longest wait that a receiver may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// Why a try did not deliver.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// In words, for the record; no address in it.
    pub why: String,
    pub then: Then,
}

/// What the receiver's answer asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The schedule.
    Retry,
    /// The schedule, but no sooner than this.
    RetryAfter(Duration),
    /// 410: no further try.
    Stop,
}

impl Envelope {
    /// Counts a failed try that ended at `now_ms` and sets the time of the next one, or gives up.
    pub fn fail(&mut self, failed: Failed, now_ms: u64) {
        self.attempt = self.attempt.saturating_add(1);
        self.tried_at_ms = Some(now_ms);
        self.last_error = Some(failed.why);
        let asked = match failed.then {
            Then::Stop => {
                self.state = State::Gone;
                return;
            }
            Then::Retry => Duration::ZERO,
            Then::RetryAfter(wait) => wait.min(LONGEST_WAIT),
        };
        match pause(&self.webhook_id, self.attempt) {
            Some(pause) => {
                let wait_ms = u64::try_from(pause.max(asked).as_millis()).unwrap_or(u64::MAX);
                self.state = State::Waiting;
                self.next_at_ms = now_ms.saturating_add(wait_ms);
            }
            None => self.state = State::GivenUp,
        }
    }
}

/// The pause before the try that follows `attempt` tries; `None` when that was the last one. The
/// jitter is drawn from the id and the attempt: random among callbacks, the same in every process.
fn pause(webhook_id: &str, attempt: u32) -> Option<Duration> {
    let seconds = *PAUSES_S.get(usize::try_from(attempt).ok()?)?;
    let digest = Sha256::digest(format!("{webhook_id}\0{attempt}"));
    let drawn = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    let share = f64::from(drawn) / f64::from(u32::MAX);
    Some(Duration::from_secs(seconds).mul_f64(1.0 - JITTER + 2.0 * JITTER * share))
}

/// What a `Retry-After` header asks for: seconds, or a date (RFC 9110, 10.2.3); `None` for neither.
pub fn retry_after(header: &str, now: Timestamp) -> Option<Duration> {
    let header = header.trim();
    if !header.is_empty() && header.bytes().all(|b| b.is_ascii_digit()) {
        // More seconds than a number holds are more than the longest wait.
        return Some(header.parse().map_or(LONGEST_WAIT, Duration::from_secs));
    }
    let date = rfc2822::DateTimeParser::new().parse_timestamp(header).ok()?;
    Some(Duration::try_from(date.duration_since(now)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbox::envelope::webhook_id;
    use crate::outcome::Status;

    fn failed(then: Then) -> Failed {
        Failed {
            why: "answered 500".into(),
            then,
        }
    }

    fn envelope(job_id: &str) -> Envelope {
        let id = webhook_id(job_id, "0", Status::Completed, 0);
        Envelope::new(id, job_id, "https://example.com", "{}".into(), 1_000)
    }

    #[test]
    fn ten_tries_keep_the_schedule_within_a_fifth_and_then_end() {
        let pauses_s = [5.0, 300.0, 1800.0, 7200.0, 18e3, 36e3, 50_400.0, 72e3, 86_400.0];
        for job in ["a", "b", "c", "d"] {
            let mut envelope = envelope(job);
            for (tries, pause_s) in pauses_s.into_iter().enumerate() {
                envelope.fail(failed(Then::Retry), 10_000);
                assert_eq!(
                    (envelope.attempt, envelope.state),
                    (tries as u32 + 1, State::Waiting)
                );
                let waited_s = (envelope.next_at_ms - 10_000) as f64 / 1000.0;
                assert!(
                    (0.8..=1.2).contains(&(waited_s / pause_s)),
                    "{waited_s} for {pause_s}"
                );
            }
            envelope.fail(failed(Then::Retry), 10_000);
            assert_eq!((envelope.attempt, envelope.state), (10, State::GivenUp));
        }
    }

    #[test]
    fn callbacks_that_fail_together_do_not_come_back_together() {
        let times: std::collections::BTreeSet<u64> = (0..50)
            .map(|job| {
                let mut envelope = envelope(&job.to_string());
                envelope.fail(failed(Then::Retry), 0);
                envelope.next_at_ms
            })
            .collect();
        assert!(times.len() > 40 && times.last() > times.first().map(|t| t + 1000).as_ref());
    }

    #[test]
    fn retry_after_is_a_floor_of_at_most_a_day() {
        let wait = |seconds| {
            let mut envelope = envelope("a");
            envelope.fail(failed(Then::RetryAfter(Duration::from_secs(seconds))), 0);
            envelope.next_at_ms
        };
        assert!((4_000..=6_000).contains(&wait(1)), "the schedule is later");
        assert_eq!(wait(60), 60_000);
        assert_eq!(wait(1 << 40), 86_400_000);
    }

    #[test]
    fn gone_is_the_end() {
        let mut envelope = envelope("a");
        envelope.fail(failed(Then::Stop), 0);
        assert_eq!(envelope.state, State::Gone);
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let read = |text| retry_after(text, now).map(|d| d.as_secs());
        assert_eq!(read("120"), Some(120));
        assert_eq!(read(" 0 "), Some(0));
        assert_eq!(read("99999999999999999999999"), Some(86_400));
        assert_eq!(read("Fri, 02 Jan 2026 03:05:05 GMT"), Some(60));
        assert_eq!(read("Fri, 02 Jan 2026 03:00:00 GMT"), Some(0));
        for text in ["", "soon", "-5", "1.5"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
