//! A flag that we do not have: which of ours is meant, by the words that spec fields go by.

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::Cli;
use crate::job::elsewhere;
use crate::job::fields::FIELDS;

/// The flag that an unknown argument stands for, if another program or a spec calls it so.
pub fn hint(error: &clap::Error) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(given)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let word = given.split('=').next()?.strip_prefix("--")?.replace('-', "_");
    if elsewhere::is_size(&word) {
        return Some("the size is given as --width PX --height PX".into());
    }
    flag_of(&word).map(|flag| format!("here it is {flag}"))
}

/// The flag of `generate` whose spec field goes by `word`.
fn flag_of(word: &str) -> Option<String> {
    let field = FIELDS
        .iter()
        .find(|field| field.names().any(|name| name == word))
        .map(|field| field.name)
        .or_else(|| elsewhere::ours(word))?;
    let command = Cli::command();
    let mut flags = command.find_subcommand("generate")?.get_arguments();
    let flag = flags.find(|argument| argument.get_id() == field)?;
    Some(format!("--{}", flag.get_long()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn hint_of(flag: &str) -> Option<String> {
        let error = Cli::try_parse_from(["ourvidz", "generate", "x", flag, "4"]).expect_err(flag);
        hint(&error)
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
            let hint = hint_of(theirs).unwrap_or_else(|| panic!("{theirs}: no hint"));
            assert!(hint.ends_with(ours), "{theirs}: {hint}");
        }
    }

    #[test]
    fn a_word_of_nobody_has_no_hint() {
        assert_eq!(hint_of("--zebra"), None);
    }
}
