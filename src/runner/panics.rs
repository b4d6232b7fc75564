//! A bug of ours becomes a message: the hook keeps it, whoever catches the panic reports it.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::sync::Mutex;

use crate::error::{Error, ErrorKind};
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
        return Error::new(
            ErrorKind::GpuOom,
            format!("the device ran out of memory ({message})"),
        )
        .hint("close other programs on this device, lower the size, or use a smaller dtype or model");
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

/// CubeCL's and the driver's words for it.
fn is_out_of_memory(message: &str) -> bool {
    let message = message.to_lowercase();
    ["out of memory", "outofmemory", "out_of_memory", "buffertoobig"]
        .iter()
        .any(|words| message.contains(words))
}
