//! `completions`: scripts for shells, generated from the command line's own definition.
//!
//! The files in `completions/` are this command's output; `for s in bash zsh fish elvish
//! powershell; do ourvidz completions $s > completions/ourvidz.$s; done` makes them anew.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use super::common::print;
use crate::cli::Cli;

/// Prints the script of one shell.
///
/// # Errors
/// `Io` when stdout fails.
pub fn run(shell: Shell) -> Result<u8> {
    print(&script(shell))?;
    Ok(0)
}

/// The script of one shell.
pub fn script(shell: Shell) -> String {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ourvidz", &mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
