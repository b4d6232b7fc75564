//! System messages: data files per kind and style, the operator's before the built-in ones.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::score::Words;
use super::target::{Kind, Style, Target};
use crate::fail;
use crate::files::read_bounded;

/// Longest system message, in bytes; a larger file is a mistake.
const LONGEST_BYTES: u64 = 16 * 1024;

macro_rules! built_in {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/assets/prompts/", $name)))),+]
    };
}

const BUILT_IN: &[(&str, &str)] = built_in!(
    "sdxl-image-manual.txt",
    "sdxl-image-cinematic.txt",
    "sdxl-image-custom.txt",
    "wan-image-manual.txt",
    "wan-image-cinematic.txt",
    "wan-image-custom.txt",
    "wan-video-manual.txt",
    "wan-video-cinematic.txt",
    "wan-video-custom.txt",
    "micro-sdxl-image.txt",
    "micro-wan-image.txt",
    "micro-wan-video.txt",
);

/// Where system messages come from.
#[derive(Debug, Clone, Default)]
pub struct SystemPrompts {
    folder: Option<PathBuf>,
}

impl SystemPrompts {
    /// `config_dir`: its folder `prompts` may hold files that win over the built-in ones.
    pub fn new(config_dir: Option<PathBuf>) -> Self {
        Self {
            folder: config_dir.map(|dir| dir.join("prompts")),
        }
    }

    /// The message for a target; `micro` for the built-in model, which has one style.
    ///
    /// # Errors
    /// `Config` when the operator's file is empty, too large or not UTF-8; `Io` when it cannot be
    /// read.
    pub fn get(&self, target: Target, style: Style, micro: bool) -> Result<String> {
        let name = file_name(target.kind, style, micro);
        let text = match self.operators(&name)? {
            Some(text) => text,
            None => built_in(&name).to_string(),
        };
        let tokens = Words::get(target.kind).target_tokens(target.quality);
        Ok(text.trim().replace("{tokens}", &tokens.to_string()))
    }

    /// The operator's message for conversations; `None`: the model's template has its own.
    ///
    /// # Errors
    /// As [`SystemPrompts::get`].
    pub fn chat(&self, unrestricted: bool) -> Result<Option<String>> {
        let name = if unrestricted {
            "chat-unrestricted.txt"
        } else {
            "chat.txt"
        };
        Ok(self.operators(name)?.map(|text| text.trim().to_string()))
    }

    fn operators(&self, name: &str) -> Result<Option<String>> {
        let Some(path) = self.folder.as_ref().map(|folder| folder.join(name)) else {
            return Ok(None);
        };
        read(&path)
    }
}

/// A file that holds a system message; `None` when there is no such file.
///
/// # Errors
/// `Config` when it is empty, too large or not UTF-8; `Io` when it cannot be read.
pub fn read(path: &Path) -> Result<Option<String>> {
    match std::fs::metadata(path) {
        Ok(found) if found.len() <= LONGEST_BYTES => (),
        Ok(found) => fail!(
            Config, "system prompt `{}` has {} bytes; allowed: up to {LONGEST_BYTES}", path.display(), found.len();
            "a few hundred words are plenty"
        ),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).with_context(|| format!("reading `{}`", path.display())),
    }
    let bytes = read_bounded(path, LONGEST_BYTES).context("system prompt")?;
    let Ok(text) = String::from_utf8(bytes) else {
        fail!(Config, "system prompt `{}` is not UTF-8", path.display(); "save it as UTF-8");
    };
    if text.trim().is_empty() {
        fail!(Config, "system prompt `{}` is empty", path.display(); "remove the file to use the built-in one");
    }
    Ok(Some(text))
}

fn file_name(kind: Kind, style: Style, micro: bool) -> String {
    if micro {
        format!("micro-{}.txt", kind.name())
    } else {
        format!("{}-{}.txt", kind.name(), style.name())
    }
}

fn built_in(name: &str) -> &'static str {
    BUILT_IN
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
        .expect("every kind and style has a file, as a test checks")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enhance::target::Quality;

    #[test]
    fn every_kind_style_and_quality_has_a_message_with_its_token_target() {
        let prompts = SystemPrompts::default();
        for kind in [Kind::SdxlImage, Kind::WanImage, Kind::WanVideo] {
            for style in [Style::Manual, Style::Cinematic, Style::Custom] {
                for quality in [Quality::Fast, Quality::High] {
                    let target = Target { kind, quality };
                    let text = prompts.get(target, style, false).unwrap();
                    let tokens = Words::get(kind).target_tokens(quality).to_string();
                    assert!(text.contains(&tokens) && !text.contains('{'), "{text}");
                    assert!(prompts.get(target, style, true).unwrap().len() < 60);
                }
            }
        }
    }

    #[test]
    fn the_operators_file_wins_and_a_broken_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("prompts/wan-video-custom.txt");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let prompts = SystemPrompts::new(Some(dir.path().into()));
        let target = Target {
            kind: Kind::WanVideo,
            quality: Quality::High,
        };
        let get = || prompts.get(target, Style::Custom, false);
        assert!(get().unwrap().contains("WAN 2.1"));
        std::fs::write(&file, "Mine: {tokens}.\n").unwrap();
        assert_eq!(get().unwrap(), "Mine: 250.");
        for broken in [&b" \n"[..], b"\xff\xfe", &[b'a'; 20_000]] {
            std::fs::write(&file, broken).unwrap();
            let error = get().unwrap_err().to_string();
            assert!(error.contains("wan-video-custom.txt"), "{error}");
        }
    }
}
