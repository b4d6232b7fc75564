//! Logs of long runs: one event a line on stderr, whatever the event holds.
//!
//! `OURVIDZ_LOG` takes the usual filter (`info`, `ourvidz=debug`) and wins over flags. Prompts are
//! logged at debug level, or at info level when `log_prompts` is on.

use std::fmt::{self, Write as _};

use anyhow::Result;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::error::{Error, ErrorKind};
use crate::text::escaped;

/// How much is logged unless `OURVIDZ_LOG` says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Error,
    Info,
    Debug,
    Trace,
}

/// Logs to stderr from here on. A second call changes nothing.
///
/// # Errors
/// `Config` when `OURVIDZ_LOG` is no filter.
pub fn start(level: Level) -> Result<()> {
    let filter = match std::env::var("OURVIDZ_LOG") {
        Ok(text) if !text.is_empty() => EnvFilter::try_new(&text).map_err(|e| {
            Error::new(
                ErrorKind::Config,
                format!("OURVIDZ_LOG is `{}`: {e}", crate::config::shown(&text)),
            )
            .hint("write error, warn, info, debug or trace")
        })?,
        _ => EnvFilter::new(match level {
            Level::Error => "ourvidz=error",
            Level::Info => "ourvidz=info",
            Level::Debug => "ourvidz=debug",
            Level::Trace => "ourvidz=trace",
        }),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .event_format(OneLine)
        .finish();
    // Fails only when there is one already.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}

/// `2026-11-25T19:00:00Z INFO job=a worker=cpu message`, without control characters.
struct OneLine;

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = jiff::Timestamp::now();
        let mut parts = Parts::default();
        event.record(&mut parts);
        let level = event.metadata().level();
        writeln!(out, "{now:.3} {level:>5}{} {}", parts.fields, parts.message)
    }
}

#[derive(Default)]
struct Parts {
    fields: String,
    message: String,
}

impl Visit for Parts {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = escaped(&format!("{value:?}"));
        if field.name() == "message" {
            self.message = value;
        } else if value.contains([' ', '"']) || value.is_empty() {
            let _ = write!(self.fields, " {}={value:?}", field.name());
        } else {
            let _ = write!(self.fields, " {}={value}", field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Kept {
        type Writer = Self;
        fn make_writer(&self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn promise_16_an_event_is_one_line_whatever_it_holds() {
        let kept = Kept::default();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(kept.clone())
            .event_format(OneLine)
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(
                job = "a\nb",
                file = "x y",
                "red \u{1b}[31m \"circle\"\nERROR forged"
            );
        });
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(
            text.ends_with("INFO job=a\\nb file=\"x y\" red \\u{1b}[31m \"circle\"\\nERROR forged\n"),
            "{text}"
        );
    }
}
