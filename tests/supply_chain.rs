//! What may enter the dependency graph, and that every exception says when it was looked at.

use std::path::Path;

fn read(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// Whether a line holds a day such as 2026-11-26.
fn has_date(line: &str) -> bool {
    line.split(|c: char| !(c.is_ascii_digit() || c == '-'))
        .any(|word| {
            let fields: Vec<usize> = word.split('-').map(str::len).collect();
            fields == [4, 2, 2]
        })
}

/// The entries of deny.toml that take something out of a rule, each with the comment above it.
fn exceptions(text: &str) -> Vec<(String, String)> {
    const KEYS: &[&str] = &[
        "[[licenses.exceptions]]",
        "[[licenses.clarify]]",
        "unmaintained",
        "unsound",
        "yanked",
        "ignore",
        "skip",
        "allow-git",
        "allow-registry",
    ];
    let mut comment = String::new();
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        match line.strip_prefix('#') {
            Some(words) => comment.push_str(words),
            None if KEYS.iter().any(|key| line.starts_with(key)) => {
                found.push((line.to_string(), std::mem::take(&mut comment)));
            }
            None => comment.clear(),
        }
    }
    found
}

#[test]
fn every_exception_in_deny_toml_carries_its_day() {
    let found = exceptions(&read("deny.toml"));
    assert!(!found.is_empty());
    for (entry, comment) in &found {
        assert!(has_date(comment), "{entry}: the comment above names no day");
    }
    let bare = exceptions("# because\nignore = [\"RUSTSEC-2020-0001\"]\n");
    assert!(bare.len() == 1 && !has_date(&bare[0].1));
}

#[test]
fn ci_checks_licences_bans_and_sources_without_an_if() {
    let ci = read(".ci/run");
    let line = ci
        .lines()
        .find(|line| line.contains("licenses bans sources"))
        .unwrap();
    assert!(
        line.starts_with("cargo deny") && !line.contains("||"),
        "the check binds: {line}"
    );
}
