//! Ctrl-C and SIGTERM: the first asks the work to stop between two steps, the second ends it.

use std::sync::mpsc;
use std::thread;

use anyhow::{Context, Result};

use crate::stop::Stop;

/// Starts listening; returns once a signal would be heard.
///
/// # Errors
/// When the system gives no thread or no signal handler.
pub fn listen() -> Result<Stop> {
    let stop = Stop::default();
    let asked = stop.clone();
    let (ready, heard) = mpsc::channel();
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            match runtime {
                Ok(runtime) => runtime.block_on(wait(&ready, &asked)),
                Err(e) => drop(ready.send(Err(e))),
            }
        })
        .context("cannot start the signal thread")?;
    heard
        .recv()
        .context("the signal thread ended")?
        .context("cannot listen for signals")?;
    Ok(stop)
}

/// For the whole life of every command: a write beyond the limit on file sizes fails like one on a
/// full disk and is reported, instead of killing the process.
#[cfg(unix)]
pub fn outlive_file_size_limit() {
    const SIGXFSZ: i32 = 25;
    // A handler once set stays set. Where it cannot be set, the system's way stands.
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_io().build() {
        let _inside = runtime.enter();
        let kind = tokio::signal::unix::SignalKind::from_raw(SIGXFSZ);
        let _ = tokio::signal::unix::signal(kind);
    }
}

/// There is no such limit.
#[cfg(not(unix))]
pub fn outlive_file_size_limit() {}

#[cfg(unix)]
async fn wait(ready: &mpsc::Sender<std::io::Result<()>>, stop: &Stop) {
    use tokio::signal::unix::{Signal, SignalKind, signal};

    let open = || -> std::io::Result<[Signal; 2]> {
        Ok([signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?])
    };
    let [mut interrupt, mut terminate] = match open() {
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
        note(stop, number);
    }
}

#[cfg(not(unix))]
async fn wait(ready: &mpsc::Sender<std::io::Result<()>>, stop: &Stop) {
    let _ = ready.send(Ok(()));
    while tokio::signal::ctrl_c().await.is_ok() {
        note(stop, 2);
    }
}

fn note(stop: &Stop, number: i32) {
    if !stop.signal(number) {
        std::process::exit(128 + number);
    }
}
