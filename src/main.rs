//! Parse, run, print the error chain, exit with its code.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(ourvidz::commands::main(std::env::args_os()))
}
