//! A bug of ours becomes a message: the hook keeps it, whoever catches the panic reports it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::sync::Mutex;

use crate::error::{Error, ErrorKind, kind_of};
use crate::text::stderr_line;

static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Replaces the default report by one kept line; with `RUST_BACKTRACE=1` the backtrace is printed.
pub fn install_hook() {
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let message = payload
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let place = info.location().map(|l| format!(" at {l}")).unwrap_or_default();
        if let Ok(mut last) = LAST.lock() {
            *last = Some(format!("{message}{place}"));
        }
        let trace = Backtrace::capture();
        if trace.status() == BacktraceStatus::Captured {
            for line in trace.to_string().lines() {
                stderr_line(line);
            }
        }
    }));
}

/// The last panic as an error. Running out of memory on a device arrives as a panic, too; that one
/// is no bug.
pub fn error() -> Error {
    let message = LAST.lock().ok().and_then(|mut last| last.take());
    if let Some(message) = message.as_deref().filter(|m| is_out_of_memory(m)) {
        return out_of_memory(message);
    }
    Error::new(
        ErrorKind::Internal,
        format!(
            "internal error: {}",
            message.as_deref().unwrap_or("a panic without a message")
        ),
    )
    .hint("this is a bug in ourvidz; run again with RUST_BACKTRACE=1 and report it with the job")
}

/// An error as it is, except that one which tells of a device without room gets that kind: a read
/// returns as an error what elsewhere arrives as a panic.
pub fn recognised(error: anyhow::Error) -> anyhow::Error {
    if kind_of(&error) != ErrorKind::Internal {
        return error;
    }
    let told = error
        .chain()
        .map(ToString::to_string)
        .find(|text| is_out_of_memory(text));
    told.map_or(error, |text| out_of_memory(&text).into())
}

fn out_of_memory(message: &str) -> Error {
    // CubeCL appends where in its own code it happened.
    let first = message.lines().next().unwrap_or_default();
    Error::new(
        ErrorKind::GpuOom,
        format!("the device ran out of memory ({first})"),
    )
    .hint("close other programs on this device, lower the size, or use a smaller dtype or model")
}

/// CubeCL's and the driver's words for it.
fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    ["out of memory", "outofmemory", "out_of_memory", "buffertoobig"]
        .iter()
        .any(|words| message.contains(words))
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn an_error_that_tells_of_full_memory_is_gpu_oom_and_others_stay() {
        let told = Err::<(), _>(anyhow!("Out of memory: 4096 bytes\n  at server.rs")).context("decode");
        let error = recognised(told.unwrap_err());
        assert_eq!(kind_of(&error), ErrorKind::GpuOom);
        assert!(error.to_string().contains("4096 bytes") && !error.to_string().contains('\n'));
        let other = recognised(anyhow!("a launch failed").context("decode"));
        assert_eq!(
            (kind_of(&other), other.to_string()),
            (ErrorKind::Internal, "decode".into())
        );
        let named = Error::new(ErrorKind::BadInput, "a picture named out of memory.png");
        assert_eq!(kind_of(&recognised(named.into())), ErrorKind::BadInput);
    }
}
