//! Named places between two effects on disk or in a store, where tests kill the process.
//!
//! `OURVIDZ_KILL_AT=NAME:N` ends a debug build by SIGKILL at the Nth passage of NAME, so that every
//! state which a crash can leave behind is made on purpose. A release build has no such places.

/// Passes the named place.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex};

    static PASSED: LazyLock<Mutex<HashMap<String, u64>>> = LazyLock::new(Mutex::default);
    static KILL_AT: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let wish = std::env::var("OURVIDZ_KILL_AT").ok()?;
        let (name, count) = wish.rsplit_once(':').unwrap_or((&wish, "1"));
        Some((name.to_string(), count.parse().ok()?))
    });
    let Some((wanted, count)) = KILL_AT.as_ref() else {
        return;
    };
    if wanted != name {
        return;
    }
    let mut passed = PASSED.lock().unwrap_or_else(|e| e.into_inner());
    let times = passed.entry(name.into()).or_default();
    *times += 1;
    #[cfg(unix)]
    if *times == *count {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Passes the named place.
#[cfg(not(debug_assertions))]
pub fn point(_name: &str) {}
