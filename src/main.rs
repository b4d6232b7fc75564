//! Parse, run, print the error chain, exit with its code.

use std::process::ExitCode;

/// Keeps freed memory for the next step: with the system's allocator a third of a small picture's
/// system time went into handing pages back and forth.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(ourvidz::commands::main(std::env::args_os()))
}
