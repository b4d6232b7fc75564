//! What can go wrong, as one kind each: the kind decides exit code, retry and callback code.
//!
//! Code raises `Error::new(kind, message).hint(fix)` and adds `anyhow` context on the way up;
//! whoever branches asks [`kind_of`] for the kind found anywhere in the chain.

use std::fmt;

/// The kinds of failure, as in the reliability contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A flag or argument is wrong (exit 2).
    Usage,
    /// A job spec does not parse or a value is out of range (exit 65).
    InvalidSpec,
    /// Two jobs share an id and differ (exit 65).
    Conflict,
    /// An input file, spec or model is missing or unreadable (exit 66).
    InputMissing,
    /// A reference or weight file exists but its content is broken (exit 66).
    BadInput,
    /// GPU, Redis or storage is unavailable (exit 69).
    Unavailable,
    /// A documented feature that this build does not have yet (exit 69).
    NotBuilt,
    /// The device ran out of memory (exit 1: this job fails, its neighbours go on).
    GpuOom,
    /// NaN, all-black or otherwise unusable model output (exit 1).
    BadOutput,
    /// An output is over its type's size limit (exit 1).
    OutputTooLarge,
    /// A golden test differs from its expected picture (exit 1).
    GoldenMismatch,
    /// A job ran over its time limit (exit 1).
    TimedOut,
    /// The worker process died while it ran the job (exit 1).
    WorkerCrashed,
    /// Somebody cancelled the job (exit 1).
    Cancelled,
    /// A reference's address may not be fetched (exit 66).
    FetchBlocked,
    /// A reference is not there, too large or no picture (exit 66).
    FetchFailed,
    /// A bug of ours (exit 70).
    Internal,
    /// An output cannot be created: permissions, full disk (exit 73).
    CannotWrite,
    /// Reading or writing failed half-way (exit 74).
    Io,
    /// Locked by another process, or work remains at the limit (exit 75).
    Locked,
    /// Refused by the content rules (exit 77).
    Refused,
    /// Configuration, secret or untrusted weights (exit 78).
    Config,
    /// Stopped by Ctrl-C (exit 130) or SIGTERM (exit 143), cleaned up.
    Interrupted { signal: i32 },
}

impl ErrorKind {
    /// The process exit code (sysexits.h numbers where one fits).
    pub fn exit_code(self) -> u8 {
        use ErrorKind::*;
        match self {
            GpuOom | BadOutput | OutputTooLarge | GoldenMismatch | TimedOut | WorkerCrashed | Cancelled => 1,
            Usage => 2,
            InvalidSpec | Conflict => 65,
            InputMissing | BadInput | FetchBlocked | FetchFailed => 66,
            Unavailable | NotBuilt => 69,
            Internal => 70,
            CannotWrite => 73,
            Io => 74,
            Locked => 75,
            Refused => 77,
            Config => 78,
            Interrupted { signal } => (128 + signal).clamp(0, 255) as u8,
        }
    }

    /// The stable code in `metadata.error.code` of a callback.
    pub fn code(self) -> &'static str {
        use ErrorKind::*;
        match self {
            Usage => "usage",
            InvalidSpec => "invalid_spec",
            Conflict => "conflict",
            InputMissing => "input_missing",
            BadInput => "bad_input",
            Unavailable => "unavailable",
            NotBuilt => "not_built",
            GpuOom => "gpu_oom",
            BadOutput => "bad_output",
            OutputTooLarge => "output_too_large",
            GoldenMismatch => "golden_mismatch",
            TimedOut => "timed_out",
            WorkerCrashed => "worker_crashed",
            Cancelled => "cancelled",
            FetchBlocked => "fetch_blocked",
            FetchFailed => "fetch_failed",
            Internal => "internal",
            CannotWrite => "cannot_write",
            Io => "io",
            Locked => "locked",
            Refused => "refused",
            Config => "config",
            Interrupted { .. } => "interrupted",
        }
    }

    /// The kind with this code; that of a signal is SIGTERM's.
    pub fn from_code(code: &str) -> Option<Self> {
        use ErrorKind::*;
        const ALL: [ErrorKind; 23] = [
            Usage,
            InvalidSpec,
            Conflict,
            InputMissing,
            BadInput,
            Unavailable,
            NotBuilt,
            GpuOom,
            BadOutput,
            OutputTooLarge,
            GoldenMismatch,
            TimedOut,
            WorkerCrashed,
            Cancelled,
            FetchBlocked,
            FetchFailed,
            Internal,
            CannotWrite,
            Io,
            Locked,
            Refused,
            Config,
            Interrupted { signal: 15 },
        ];
        ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Whether the same job may succeed when tried again without a change.
    pub fn retryable(self) -> bool {
        use ErrorKind::*;
        matches!(
            self,
            Unavailable | GpuOom | CannotWrite | Io | Locked | TimedOut | Interrupted { .. }
        )
    }
}

/// A failure with its kind, its message and, where there is one, the way out.
#[derive(Debug)]
pub struct Error {
    pub kind: ErrorKind,
    pub message: String,
    pub hint: Option<String>,
}

impl Error {
    /// `message` is lower case and names the job, field or file, its value and the allowed ones.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    /// A chain of errors as one, to be kept and raised again.
    pub fn summary(error: &anyhow::Error) -> Self {
        Self {
            kind: kind_of(error),
            message: format!("{error:#}"),
            hint: hint_of(error).map(String::from),
        }
    }

    /// The same once more.
    pub fn again(&self) -> Self {
        Self {
            kind: self.kind,
            message: self.message.clone(),
            hint: self.hint.clone(),
        }
    }

    /// Adds what the user can do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// The kind found in the chain; an I/O error without one is `Io`, anything else `Internal`.
pub fn kind_of(error: &anyhow::Error) -> ErrorKind {
    if let Some(own) = error.chain().find_map(|e| e.downcast_ref::<Error>()) {
        return own.kind;
    }
    if error.chain().any(|e| e.is::<std::io::Error>()) {
        return ErrorKind::Io;
    }
    ErrorKind::Internal
}

/// The hint found in the chain.
pub fn hint_of(error: &anyhow::Error) -> Option<&str> {
    error
        .chain()
        .find_map(|e| e.downcast_ref::<Error>())
        .and_then(|e| e.hint.as_deref())
}

/// Raises an [`Error`] of a kind: `fail!(InvalidSpec, "steps is {n}"; "use 1 to 150")`.
#[macro_export]
macro_rules! fail {
    ($kind:ident, $($message:expr),+ ; $($hint:expr),+) => {
        return Err($crate::error::Error::new($crate::error::ErrorKind::$kind, format!($($message),+))
            .hint(format!($($hint),+)).into())
    };
    ($kind:ident, $($message:expr),+) => {
        return Err($crate::error::Error::new($crate::error::ErrorKind::$kind, format!($($message),+)).into())
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn the_kind_survives_any_context() {
        let inner = Error::new(ErrorKind::InputMissing, "model `x` not found").hint("run `models list`");
        let outer = Err::<(), _>(inner)
            .context("job a")
            .context("spec b")
            .unwrap_err();
        assert_eq!(kind_of(&outer), ErrorKind::InputMissing);
        assert_eq!(hint_of(&outer), Some("run `models list`"));
    }

    #[test]
    fn plain_io_errors_are_io_and_the_rest_is_internal() {
        let io = anyhow::Error::from(std::io::Error::other("x"));
        assert_eq!(kind_of(&io).exit_code(), 74);
        assert_eq!(kind_of(&anyhow::anyhow!("x")).exit_code(), 70);
    }
}
