//! Fails on an import that runs upward, and on a file that is opened by the way.

use std::path::Path;

/// Who may import what, besides itself. `error`, `config`, `files`, `limits` and `text` are open to everyone.
const ALLOWED: &[(&str, &[&str])] = &[
    ("cli", &["job", "registry", "progress", "schedulers"]),
    (
        "commands",
        &[
            "cli",
            "bench",
            "logs",
            "runner",
            "supervisor",
            "queue",
            "store",
            "fetch",
            "net",
            "events",
            "enhance",
            "memory",
            "job",
            "registry",
            "progress",
            "stop",
            "media",
            "outbox",
            "outcome",
            "policy",
            "device",
            "weights",
            "pipelines",
            "models",
            "nn",
        ],
    ),
    (
        "runner",
        &[
            "enhance",
            "memory",
            "job",
            "registry",
            "media",
            "outcome",
            "policy",
            "prompts",
            "events",
            "stop",
            "pipelines",
            "device",
        ],
    ),
    (
        "bench",
        &["pipelines", "models", "weights", "registry", "device", "stop"],
    ),
    ("logs", &[]),
    (
        "supervisor",
        &[
            "queue", "outbox", "outcome", "store", "fetch", "job", "events", "ndjson",
        ],
    ),
    ("enhance", &["pipelines"]),
    ("memory", &[]),
    ("queue", &["outbox", "outcome", "net"]),
    ("outbox", &["outcome", "net"]),
    ("store", &["outcome", "media", "net"]),
    ("fetch", &["media", "net"]),
    ("outcome", &[]),
    ("job", &["registry", "policy", "media", "prompts", "schedulers"]),
    ("media", &["job", "schedulers"]),
    ("policy", &[]),
    ("progress", &["events", "ndjson"]),
    ("ndjson", &["events"]),
    ("events", &[]),
    ("stop", &[]),
    ("registry", &[]),
    (
        "pipelines",
        &[
            "adapters",
            "models",
            "prompts",
            "schedulers",
            "tokenizers",
            "weights",
            "nn",
            "device",
            "media/frames",
            "media/resample",
            "registry",
        ],
    ),
    ("adapters", &["nn", "weights", "device"]),
    ("models", &["nn", "weights", "device"]),
    ("schedulers", &["nn"]),
    ("prompts", &[]),
    ("tokenizers", &[]),
    ("weights", &["device"]),
    ("nn", &["weights", "device"]),
    ("device", &[]),
    ("files", &[]),
    ("net", &[]),
    ("config", &[]),
    ("error", &[]),
    ("text", &[]),
    ("limits", &[]),
];

#[test]
fn no_import_runs_upward() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let relative = file.strip_prefix(&src).expect("inside src").display().to_string();
        let room = relative
            .split(['/', '.'])
            .next()
            .expect("a first part")
            .to_string();
        if room == "main" || room == "lib" {
            continue;
        }
        let (_, allowed) = ALLOWED
            .iter()
            .find(|(name, _)| *name == room)
            .unwrap_or_else(|| panic!("{relative}: `{room}` is not in the table of layers"));
        let text = std::fs::read_to_string(&file).expect("readable source");
        for (number, line) in text.lines().enumerate() {
            for target in imports(line) {
                let top = target.split('/').next().expect("a first part");
                let ok = top == room
                    || ["error", "config", "fail", "files", "limits", "text"].contains(&top)
                    || allowed.iter().any(|a| *a == top || target.starts_with(a));
                if !ok {
                    wrong.push(format!("{relative}:{}: imports `{top}`", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "imports that run upward:\n{}", wrong.join("\n"));
}

/// What opens, reads or writes a file by its name.
const BARE: &[&str] = &[
    "fs::read(",
    "fs::read_to_string(",
    "fs::write(",
    "fs::copy(",
    "fs::rename(",
    "fs::hard_link(",
    "File::open(",
    "File::create(",
    "File::create_new(",
    "File::options(",
    "OpenOptions::",
];

/// `files` alone knows bounds, FIFOs, part files and syncs. The kernel's own files under `/proc` are
/// none of anybody's, and tests may do as they like.
#[test]
fn files_are_opened_in_one_place() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&src) {
        let relative = file.strip_prefix(&src).expect("inside src").display().to_string();
        let name = file.file_name().expect("a name").to_string_lossy();
        if relative.starts_with("files") || name.contains("test") {
            continue;
        }
        let text = std::fs::read_to_string(&file).expect("readable source");
        let code = text.lines().take_while(|line| *line != "mod tests {");
        for (number, line) in code.enumerate() {
            let bare = BARE.iter().find(|bare| line.contains(**bare));
            if let Some(bare) = bare.filter(|_| !line.contains("\"/proc/")) {
                wrong.push(format!("{relative}:{}: `{bare}…)`", number + 1));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "files opened outside src/files:\n{}",
        wrong.join("\n")
    );
}

/// `crate::a::b` on a line, as `a/b`.
fn imports(line: &str) -> Vec<String> {
    let code = line.split("//").next().unwrap_or_default();
    code.match_indices("crate::")
        .map(|(at, marker)| {
            let rest = &code[at + marker.len()..];
            let end = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                .unwrap_or(rest.len());
            rest[..end].trim_matches(':').replace("::", "/")
        })
        .filter(|target| !target.is_empty())
        .collect()
}

fn rust_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("readable folder") {
        let path = entry.expect("entry").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}
