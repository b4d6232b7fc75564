//! Every command of docs/cookbook.md is run, in a folder per recipe, with small models under its names.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const COOKBOOK: &str = include_str!("../docs/cookbook.md");

/// One fenced block: what it is, and its text.
struct Block<'a> {
    info: &'a str,
    text: String,
}

/// The recipes by their headings.
fn recipes() -> Vec<(&'static str, Vec<Block<'static>>)> {
    let mut found: Vec<(&str, Vec<Block<'_>>)> = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for line in COOKBOOK.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(_), Some(block)) => found.last_mut().expect("a recipe").1.push(block),
            (Some(info), None) => {
                open = Some(Block {
                    info,
                    text: String::new(),
                });
            }
            (None, Some(mut block)) => {
                block.text.push_str(line);
                block.text.push('\n');
                open = Some(block);
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix("## ") {
                    found.push((title, Vec::new()));
                }
            }
        }
    }
    found
}

/// Runs a recipe's blocks in their order; every file stands before the first command.
fn cook(title: &str) {
    let recipes = recipes();
    let (_, blocks) = recipes.iter().find(|(t, _)| *t == title).expect("the recipe");
    let folder = TempDir::new().unwrap();
    let micro = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/micro");
    std::fs::create_dir(folder.path().join("models")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(micro.join("sdxl"), folder.path().join("models/sdxl-turbo")).unwrap();
    let models = format!(
        "[models.my-finetune]\nfamily = \"sdxl\"\npath = {:?}\nwidth = 64\nheight = 64\n",
        micro.join("sdxl")
    );
    std::fs::write(folder.path().join("models.toml"), models).unwrap();
    for block in blocks {
        if let Some((_, name)) = block.info.split_once(' ') {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &block.text).unwrap();
        }
    }
    let mut commands = 0;
    for line in blocks
        .iter()
        .filter(|block| block.info == "sh")
        .flat_map(|block| block.text.lines())
    {
        run(folder.path(), line);
        commands += 1;
    }
    assert!(commands > 0, "{title}");
}

fn run(folder: &Path, line: &str) {
    let binary = Path::new(env!("CARGO_BIN_EXE_ourvidz")).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("sh")
        .args(["-c", line])
        .current_dir(folder)
        .env_clear()
        .env("PATH", format!("{}:{path}", binary.display()))
        .env("HOME", folder)
        .env("OURVIDZ_CONFIG_DIR", folder.join("config"))
        .env("OURVIDZ_CACHE_DIR", folder.join("cache"))
        .env("OURVIDZ_DATA_DIR", folder.join("data"))
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{line}\n{:?}\n{out}\n{err}",
        output.status.code()
    );
}

#[test]
fn every_recipe_has_its_test() {
    let titles: Vec<&str> = recipes().iter().map(|(title, _)| *title).collect();
    assert_eq!(
        titles,
        [
            "SDXL Turbo on a CPU in CI",
            "Golden tests of a fine-tune",
            "A night of videos",
            "From ComfyUI",
            "From diffusers"
        ]
    );
}

#[test]
#[cfg(unix)]
fn turbo_in_ci() {
    cook("SDXL Turbo on a CPU in CI");
}

#[test]
#[cfg(unix)]
fn golden_tests() {
    cook("Golden tests of a fine-tune");
}

#[test]
#[cfg(unix)]
fn a_night_of_videos() {
    cook("A night of videos");
}

#[test]
#[cfg(unix)]
fn from_comfyui() {
    cook("From ComfyUI");
}

#[test]
#[cfg(unix)]
fn from_diffusers() {
    cook("From diffusers");
}
