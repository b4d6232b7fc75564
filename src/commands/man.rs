//! `man`: manual pages, generated from the command line's own definition.

use std::path::Path;

use anyhow::Result;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::common::print;
use crate::cli::{self, Cli};
use crate::config::nearest;
use crate::fail;
use crate::files::{Existing, make_folder, write_whole};

/// Prints one page, or writes all.
///
/// # Errors
/// `Usage` for a command that there is not, `CannotWrite` for a folder where nothing can be written.
pub fn run(args: &cli::Man) -> Result<u8> {
    match &args.all {
        Some(folder) => write_all(folder)?,
        None => print(&page_of(&args.command)?)?,
    }
    Ok(0)
}

fn write_all(folder: &Path) -> Result<()> {
    make_folder(folder)?;
    for (name, page) in pages() {
        let path = folder.join(format!("{name}.1"));
        write_whole(&path, page.as_bytes(), Existing::Replace)?;
        print(&format!("{}\n", path.display()))?;
    }
    Ok(())
}

fn page_of(words: &[String]) -> Result<String> {
    let name = std::iter::once("ourvidz").chain(words.iter().map(String::as_str));
    let name = name.collect::<Vec<_>>().join("-");
    let all = pages();
    match all.iter().find(|(known, _)| *known == name) {
        Some((_, page)) => Ok(page.clone()),
        None => {
            let known = all.iter().map(|(name, _)| name.as_str());
            let near = nearest(&name, known).unwrap_or("ourvidz").replace('-', " ");
            fail!(Usage, "there is no command `{}`", words.join(" "); "did you mean `{near}`?")
        }
    }
}

/// The page of every command that help shows: its name, such as `ourvidz-queue-add`, and its text.
pub fn pages() -> Vec<(String, String)> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut found = Vec::new();
    collect(&root, "ourvidz", &mut found);
    found
}

fn collect(command: &Command, name: &str, found: &mut Vec<(String, String)>) {
    let mut text = Vec::new();
    // Since it was built, the command knows its whole name.
    Man::new(command.clone())
        .manual("ourvidz")
        .render(&mut text)
        .expect("memory takes what is written");
    found.push((name.to_string(), String::from_utf8_lossy(&text).into_owned()));
    let is_ours = |inner: &&Command| !inner.is_hide_set() && inner.get_name() != "help";
    for inner in command.get_subcommands().filter(is_ours) {
        collect(inner, &format!("{name}-{}", inner.get_name()), found);
    }
}
