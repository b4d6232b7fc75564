//! Ctrl-C and SIGTERM: the first asks the work to stop between two steps, the second ends it.

use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result};

use crate::error::{Error, ErrorKind};

/// The first signal that came; 0 while none did.
pub static STOP: AtomicI32 = AtomicI32::new(0);

/// Starts listening; returns once a signal would be heard.
///
/// # Errors
/// When the system gives no thread or no signal handler.
pub fn listen() -> Result<&'static AtomicI32> {
    let (ready, heard) = mpsc::channel();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            match runtime {
                Ok(runtime) => runtime.block_on(wait(&ready)),
                Err(e) => drop(ready.send(Err(e))),
            }
        })
        .context("cannot start the signal thread")?;
    heard
        .recv()
        .context("the signal thread ended")?
        .context("cannot listen for signals")?;
    Ok(&STOP)
}

/// # Errors
/// `Interrupted` once a signal has come.
pub fn check(stop: &AtomicI32) -> Result<()> {
    match stop.load(Ordering::Relaxed) {
        0 => Ok(()),
        signal => Err(Error::new(
            ErrorKind::Interrupted { signal },
            format!("stopped by signal {signal}"),
        )
        .hint("what was printed is whole; run it again for the rest")
        .into()),
    }
}

#[cfg(unix)]
async fn wait(ready: &mpsc::Sender<std::io::Result<()>>) {
    use tokio::signal::unix::{Signal, SignalKind, signal};

    /// SIGXFSZ would kill the process when a file hits its size limit; with a listener the write
    /// fails like on a full disk and is reported.
    const SIGXFSZ: i32 = 25;
    let open = || -> std::io::Result<[Signal; 3]> {
        Ok([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::from_raw(SIGXFSZ))?,
        ])
    };
    let [mut interrupt, mut terminate, _file_size] = match open() {
        Ok(signals) => signals,
        Err(e) => return drop(ready.send(Err(e))),
    };
    // The receiver only leaves when the process does.
    let _ = ready.send(Ok(()));
    loop {
        let number = tokio::select! {
            _ = interrupt.recv() => 2,
            _ = terminate.recv() => 15,
        };
        note(number);
    }
}

#[cfg(not(unix))]
async fn wait(ready: &mpsc::Sender<std::io::Result<()>>) {
    let _ = ready.send(Ok(()));
    while tokio::signal::ctrl_c().await.is_ok() {
        note(2);
    }
}

fn note(number: i32) {
    if STOP.swap(number, Ordering::Relaxed) != 0 {
        std::process::exit(128 + number);
    }
}
