//! Lines of stdin, waited for without being deaf to signals.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::error::{Error, ErrorKind};
use crate::job::MAX_SPEC_BYTES;
use crate::stop::Stop;

/// How long a signal waits at most while nobody types.
const PATIENCE: Duration = Duration::from_millis(50);

/// Stdin, read by a thread of its own: a read that waits for a person cannot be broken off.
pub struct Lines {
    read: Receiver<io::Result<Vec<u8>>>,
}

impl Lines {
    /// # Errors
    /// When the system gives no thread.
    pub fn of_stdin() -> Result<Self> {
        let (line, read) = sync_channel(0);
        thread::Builder::new()
            .name("stdin".into())
            .spawn(move || {
                let mut stdin = io::stdin().lock();
                // Whoever listened may be gone.
                while line.send(next_line(&mut stdin)).is_ok() {}
            })
            .context("cannot start the thread of stdin")?;
        Ok(Self { read })
    }

    /// The next line; `None` at the end of the input, or when the work is to stop.
    ///
    /// # Errors
    /// `Io` when reading fails, `InvalidSpec` for a line that is too long or not UTF-8.
    pub fn next(&mut self, stop: &Stop) -> Result<Option<String>> {
        loop {
            if stop.reason().is_some() {
                return Ok(None);
            }
            match self.read.recv_timeout(PATIENCE) {
                Ok(Ok(bytes)) if bytes.is_empty() => return Ok(None),
                Ok(Ok(bytes)) if bytes.len() > MAX_SPEC_BYTES => {
                    let message = format!("a line has more than {MAX_SPEC_BYTES} bytes");
                    return Err(Error::new(ErrorKind::InvalidSpec, message)
                        .hint("say less at once")
                        .into());
                }
                Ok(Ok(bytes)) => {
                    let text = String::from_utf8(bytes);
                    let wrong = |_| Error::new(ErrorKind::InvalidSpec, "a line is not valid UTF-8");
                    return Ok(Some(text.map_err(wrong)?));
                }
                Ok(Err(e)) => return Err(Error::new(ErrorKind::Io, format!("stdin: {e}")).into()),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(None),
            }
        }
    }
}

/// A line with its end, or the start of one that is too long; empty at the end of the input.
fn next_line(input: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input
        .take(MAX_SPEC_BYTES as u64 + 1)
        .read_until(b'\n', &mut bytes)?;
    Ok(bytes)
}
