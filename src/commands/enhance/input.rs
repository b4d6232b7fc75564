//! From the command line to prompts.

use std::io::{IsTerminal, Read};
use std::path::Path;

use anyhow::{Context, Result};

use crate::cli::Enhance;
use crate::config::shown;
use crate::error::{Error, ErrorKind, kind_of};
use crate::fail;
use crate::files::open_regular;

/// Largest input of many prompts.
const MAX_INPUT_BYTES: u64 = 16 << 20;

/// Every prompt of the command line; `None` when it only clears the cache.
///
/// # Errors
/// `Usage` without a prompt, `InputMissing` for an absent file, `InvalidSpec` for an input without
/// prompts, that is too long or no text.
pub fn prompts(args: &Enhance) -> Result<Option<Vec<String>>> {
    if let Some(path) = &args.file {
        return from_file(path).map(Some);
    }
    if let Some(prompt) = &args.prompt {
        return word(prompt, false).map(Some);
    }
    match args.input.as_slice() {
        [] if args.clear_cache => Ok(None),
        [] if std::io::stdin().is_terminal() => {
            fail!(Usage, "no prompt: neither an argument nor --file nor text on stdin"; "try `ourvidz enhance \"red circle\"`")
        }
        [] => from_stdin().map(Some),
        [only] => word(only, true).map(Some),
        [first, second, ..] => {
            fail!(Usage, "`{}` and `{}` are two prompts", shown(first), shown(second);
                "put a prompt of several words into quotes; several prompts go into a file or stdin, one a line")
        }
    }
}

/// A prompt, `-` for stdin, or, where `names_files`, a file whose name ends in .txt.
fn word(word: &str, names_files: bool) -> Result<Vec<String>> {
    let path = Path::new(word);
    let is_text_file = path
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("txt"));
    match word {
        "-" => from_stdin(),
        _ if names_files && is_text_file => from_file(path),
        _ => Ok(vec![word.to_string()]),
    }
}

fn from_stdin() -> Result<Vec<String>> {
    let bytes = bounded(std::io::stdin().lock()).context("stdin")?;
    lines(&bytes, "stdin")
}

fn from_file(path: &Path) -> Result<Vec<String>> {
    let name = format!("file `{}`", path.display());
    if path.is_dir() {
        fail!(InputMissing, "{name} is a folder"; "name a text file with one prompt a line");
    }
    let file = open_regular(path).map_err(|e| {
        Error::new(kind_of(&e), e.to_string()).hint("name an existing text file with one prompt a line")
    })?;
    let bytes = bounded(file).with_context(|| name.clone())?;
    lines(&bytes, &name)
}

/// Reads one byte more than is allowed, so that too much is noticed.
fn bounded(reader: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MAX_INPUT_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The lines that are not blank.
fn lines(bytes: &[u8], name: &str) -> Result<Vec<String>> {
    if bytes.len() as u64 > MAX_INPUT_BYTES {
        fail!(InvalidSpec, "{name} has more than {MAX_INPUT_BYTES} bytes"; "split it into several");
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        Error::new(
            ErrorKind::InvalidSpec,
            format!("{name}: line {line} is not valid UTF-8"),
        )
        .hint("save it as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let found: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(String::from)
        .collect();
    if found.is_empty() {
        fail!(InvalidSpec, "{name} holds no prompt"; "write one prompt a line");
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_with_something_on_it_is_a_prompt() {
        let text = "\u{feff}a red ring\r\n\n  \n two  words \n";
        assert_eq!(lines(text.as_bytes(), "x").unwrap(), ["a red ring", "two  words"]);
        let error = lines(b"\n \n", "stdin").unwrap_err();
        assert_eq!(error.to_string(), "stdin holds no prompt");
        let error = lines(b"ok\n\xff\n", "stdin").unwrap_err();
        assert_eq!(error.to_string(), "stdin: line 2 is not valid UTF-8");
    }
}
