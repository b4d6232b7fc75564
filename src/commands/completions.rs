//! `completions`: scripts for shells, generated from the command line's own definition.
//!
//! The files in `completions/` are this command's output; `for s in bash zsh fish elvish
//! powershell; do ourvidz completions $s > completions/ourvidz.$s; done` makes them anew. A dynamic
//! script asks the program instead, through the variable `COMPLETE`, at every press of the key.

use std::ffi::OsString;

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};

use super::common::print;
use crate::cli::{Cli, Completions};
use crate::error::{Error, ErrorKind};

/// What a dynamic script sets when it asks.
const VARIABLE: &str = "COMPLETE";

/// Prints the script of one shell.
///
/// # Errors
/// `Io` when stdout fails.
pub fn run(args: &Completions) -> Result<u8> {
    print(&match args.dynamic {
        true => dynamic_script(args.shell)?,
        false => script(args.shell),
    })?;
    Ok(0)
}

/// The script of one shell.
pub fn script(shell: Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ourvidz", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn dynamic_script(shell: Shell) -> Result<String> {
    let wrong = |why: String| Error::new(ErrorKind::Internal, format!("the script of {shell}: {why}"));
    let shells = Shells::builtins();
    let completer = shells
        .completer(&shell.to_string())
        .ok_or_else(|| wrong("no such shell".into()))?;
    let mut bytes = Vec::new();
    completer
        .write_registration(VARIABLE, "ourvidz", "ourvidz", "ourvidz", &mut bytes)
        .map_err(|e| wrong(e.to_string()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Answers a dynamic script; false when none asks.
///
/// # Errors
/// `Usage` for a shell that is not known.
pub fn answered(args: &[OsString]) -> Result<bool> {
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(false);
    }
    let folder = std::env::current_dir().ok();
    CompleteEnv::with_factory(Cli::command)
        .var(VARIABLE)
        .try_complete(args.iter().cloned(), folder.as_deref())
        .map_err(|e| Error::new(ErrorKind::Usage, e.to_string().trim().to_string()).into())
}
