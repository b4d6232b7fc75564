//! A flag that we do not have: which of ours is meant, by the words that spec fields go by.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind as ClapKind};
use clap::{Command, CommandFactory};

use crate::cli::Cli;
use crate::error::{Error, ErrorKind};
use crate::job::elsewhere;
use crate::job::fields::FIELDS;

/// The error for an unknown flag that another program or a spec calls so, with ours named; `None` for
/// words of nobody, which clap explains.
///
/// # Errors
/// It is one: `Usage`.
pub fn explained(error: &clap::Error, args: &[OsString]) -> Option<Error> {
    if error.kind() != ClapKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let given = given.split(['=', ' ']).next()?;
    let ours = flags_for(&given.strip_prefix("--")?.replace('-', "_"), &meant(args))?;
    Some(
        Error::new(ErrorKind::Usage, format!("there is no flag `{given}`"))
            .hint(format!("here it is {ours}")),
    )
}

/// The command that a command line is for, as far as it names one.
fn meant(args: &[OsString]) -> Command {
    let mut command = Cli::command();
    for word in args.iter().skip(1) {
        match word.to_str().and_then(|word| command.find_subcommand(word)) {
            Some(inner) => command = inner.clone(),
            // Flags of every command may stand before it.
            None if word.to_string_lossy().starts_with('-') => {}
            None => break,
        }
    }
    command
}

/// The flags of `command` that stand for `word`.
fn flags_for(word: &str, command: &Command) -> Option<String> {
    let flag = |field: &str| {
        let mut flags = command.get_arguments();
        let flag = flags.find(|argument| argument.get_id() == field)?;
        Some(format!("--{}", flag.get_long()?))
    };
    if elsewhere::is_size(word) {
        return Some(format!("{} PX {} PX", flag("width")?, flag("height")?));
    }
    let field = FIELDS
        .iter()
        .find(|field| field.names().any(|name| name == word))
        .map(|field| field.name);
    flag(field.or_else(|| elsewhere::ours(word))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn hint_of(command: &str, flag: &str) -> Option<String> {
        let args = ["ourvidz", command, "x", flag, "4"].map(OsString::from);
        let error = Cli::try_parse_from(&args).expect_err(flag);
        explained(&error, &args)?.hint
    }

    #[test]
    fn flags_of_other_programs_and_names_of_fields_lead_to_ours() {
        for (theirs, ours) in [
            ("--batch-size", "--batch-count"),
            ("--n_iter", "--batch-count"),
            ("--num-images", "--batch-count"),
            ("--num_frames", "--frames"),
            ("--sampler-name", "--scheduler"),
            ("--sample-steps", "--steps"),
            ("--num_inference_steps", "--steps"),
            ("--denoising-strength", "--strength"),
            ("--mask-image", "--mask"),
            ("--size=832x480", "--width PX --height PX"),
        ] {
            assert_eq!(
                hint_of("generate", theirs),
                Some(format!("here it is {ours}")),
                "{theirs}"
            );
        }
    }

    #[test]
    fn a_word_of_nobody_has_no_hint() {
        assert_eq!(hint_of("generate", "--zebra"), None);
    }

    #[test]
    fn only_flags_of_the_command_in_use_are_named() {
        assert_eq!(hint_of("enhance", "--sampler-name"), None);
        assert_eq!(hint_of("enhance", "--ckpt"), Some("here it is --model".into()));
    }
}
