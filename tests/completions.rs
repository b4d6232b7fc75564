use std::path::Path;

use clap_complete::Shell;
use ourvidz::commands::completions::script;

#[test]
fn the_kept_scripts_are_what_the_command_prints() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("completions");
    for shell in [
        Shell::Bash,
        Shell::Zsh,
        Shell::Fish,
        Shell::Elvish,
        Shell::PowerShell,
    ] {
        let path = folder.join(format!("ourvidz.{shell}"));
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            kept == script(shell),
            "completions/ourvidz.{shell} is stale; run: for s in bash zsh fish elvish powershell; do \
             cargo run -- completions $s > completions/ourvidz.$s; done"
        );
    }
}
