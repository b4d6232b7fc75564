//! Fails on a circle of files, and on one of the rooms (files and folders) of any folder.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn no_circle_of_files() {
    assert_no_circle(&files(), "files");
}

#[test]
fn no_circle_of_rooms_in_any_folder() {
    let mut levels: BTreeMap<String, Graph> = BTreeMap::new();
    for (from, targets) in files() {
        for to in targets {
            let (from, to) = (room(&from), room(&to));
            let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
            if let (Some(a), Some(b)) = (from.get(shared), to.get(shared)) {
                let graph = levels.entry(from[..shared].join("/")).or_default();
                graph.entry(a.clone()).or_default().insert(b.clone());
            }
        }
    }
    for (folder, graph) in &levels {
        let folder = format!("rooms of src/{folder}");
        assert_no_circle(graph, folder.trim_end_matches('/'));
    }
}

/// The folders that a file lies in, and itself; a folder's own file is the folder.
fn room(file: &str) -> Vec<String> {
    let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
    path.split('/').map(String::from).collect()
}

fn assert_no_circle(graph: &Graph, what: &str) {
    let circles = circles(graph);
    let shown: Vec<String> = circles.iter().map(|circle| circle.join(" ↔ ")).collect();
    assert!(shown.is_empty(), "circles of {what}:\n{}", shown.join("\n"));
}

/// Sets of more than one node that reach each other.
fn circles(graph: &Graph) -> Vec<Vec<&str>> {
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        graph.keys().map(|n| (n.as_str(), reached(graph, n))).collect();
    let mut found: BTreeSet<Vec<&str>> = BTreeSet::new();
    for (node, from_here) in &reach {
        let back = |other: &&&str| reach.get(**other).is_some_and(|theirs| theirs.contains(node));
        let mut circle: Vec<&str> = from_here.iter().filter(back).copied().collect();
        circle.push(node);
        circle.sort_unstable();
        circle.dedup();
        if circle.len() > 1 {
            found.insert(circle);
        }
    }
    found.into_iter().collect()
}

fn reached<'g>(graph: &'g Graph, from: &str) -> BTreeSet<&'g str> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<&str> = graph
        .get(from)
        .into_iter()
        .flatten()
        .map(String::as_str)
        .collect();
    while let Some(node) = next.pop() {
        if seen.insert(node) {
            next.extend(graph.get(node).into_iter().flatten().map(String::as_str));
        }
    }
    seen
}

/// Which file names which.
fn files() -> Graph {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut modules: BTreeMap<Vec<String>, String> = BTreeMap::new();
    let mut paths = Vec::new();
    collect(&src, &mut paths);
    for path in &paths {
        let file = path.strip_prefix(&src).expect("inside src").display().to_string();
        if !["lib.rs", "main.rs"].contains(&file.as_str()) {
            modules.insert(room(&file), file);
        }
    }
    let mut graph = Graph::new();
    for (module, file) in &modules {
        let text = std::fs::read_to_string(src.join(file)).expect("readable source");
        let targets = named(&text, module, &modules);
        let targets = targets.into_iter().filter(|target| target != file).collect();
        graph.insert(file.clone(), targets);
    }
    graph
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, paths);
        } else if name.ends_with(".rs") && !name.contains("tests") {
            paths.push(path);
        }
    }
}

/// The files that a text names by `use` and by paths in its code; tests may name anything.
fn named(text: &str, module: &[String], modules: &BTreeMap<Vec<String>, String>) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .take_while(|line| *line != "mod tests {")
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    for path in paths(&code) {
        let absolute = match path[0].as_str() {
            "crate" => path[1..].to_vec(),
            "super" | "self" => {
                let ups = path.iter().take_while(|part| *part == "super").count();
                let skip = path
                    .iter()
                    .take_while(|part| ["super", "self"].contains(&part.as_str()))
                    .count();
                let base = &module[..module.len().saturating_sub(ups)];
                [base, &path[skip..]].concat()
            }
            _ => [module, &path[..]].concat(),
        };
        let known = (1..=absolute.len())
            .rev()
            .find_map(|n| modules.get(&absolute[..n]));
        // A path that begins with none of these three may be another crate's: then only children count.
        let is_relative = !["crate", "super", "self"].contains(&path[0].as_str());
        if let Some(file) = known
            && (!is_relative || room(file).len() > module.len())
        {
            found.insert(file.clone());
        }
    }
    found
}

/// Every path in a piece of code, groups written out.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    let bytes = code.as_bytes();
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut at = 0;
    while at < bytes.len() {
        let begins = is_word(bytes[at]) && (at == 0 || !(is_word(bytes[at - 1]) || bytes[at - 1] == b':'));
        if begins {
            at = path_from(code, at, &[], &mut all);
        } else {
            at += 1;
        }
    }
    all.retain(|path| path.len() > 1);
    all
}

/// Reads one path, or a group of them, behind `before`; gives the place behind it.
fn path_from(code: &str, mut at: usize, before: &[String], all: &mut Vec<Vec<String>>) -> usize {
    let mut path = before.to_vec();
    loop {
        let rest = &code[at..];
        let word: String = rest
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect();
        if !word.is_empty() {
            at += word.len();
            path.push(word);
        } else if rest.starts_with('{') {
            return group_from(code, at + 1, &path, all);
        }
        if code[at..].starts_with("::") {
            at += 2;
            if !code[at..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_' || c == '{') {
                break;
            }
        } else {
            break;
        }
    }
    all.push(path);
    at
}

fn group_from(code: &str, mut at: usize, before: &[String], all: &mut Vec<Vec<String>>) -> usize {
    while at < code.len() {
        let rest = &code[at..];
        let next = rest.chars().next().expect("inside the text");
        match next {
            '}' => return at + 1,
            c if c.is_ascii_alphanumeric() || c == '_' => {
                at = path_from(code, at, before, all);
            }
            other => at += other.len_utf8(),
        }
    }
    at
}

#[test]
fn paths_are_read_with_their_groups() {
    let text = "use super::{a, b::{c, d::E}};\nfn f() { crate::x::y(); g::h }";
    let read: Vec<String> = paths(text).iter().map(|path| path.join("/")).collect();
    assert_eq!(read, ["super/a", "super/b/c", "super/b/d/E", "crate/x/y", "g/h"]);
}

#[test]
fn a_circle_is_found_through_several_nodes() {
    let edge = |from: &str, to: &str| (from.to_string(), BTreeSet::from([to.to_string()]));
    let graph = Graph::from([edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("d", "a")]);
    assert_eq!(circles(&graph), [["a", "b", "c"]]);
}
