//! From bytes to job specs, under limits and with the place of every mistake.
//!
//! Files are read strictly, queue items with the forgiveness that their producers need: fields of
//! their own are kept and listed, and a number may come as text (a note says so).

use anyhow::Result;
use serde_json::{Map, Value as Json};

use super::elsewhere::{is_size, ours};
use super::fields::{EXPECT, FIELDS, Field, Home};
use super::kinds;
use super::origin::Origin;
use super::spec::JobSpec;
use crate::config::{nearest, shown};
use crate::error::{Error, ErrorKind};

pub mod loras;
pub mod messages;
mod node;
pub mod values;
pub mod words;

use node::{Entry, Fault, JsonFault, Node, Place, Value, read_json, read_yaml};

/// Largest input.
pub const MAX_SPEC_BYTES: usize = 64 * 1024;

/// Reads every job of a YAML or JSON input: one job, a list, or several documents.
///
/// `name` stands for the input in messages: a path, `stdin`, a queue entry.
///
/// # Errors
/// `InvalidSpec` with name, place, job, field, value and allowed values.
pub fn parse(bytes: &[u8], name: &str, origin: Origin) -> Result<Vec<JobSpec>> {
    let name = shown(name);
    read(bytes, &name, origin).map_err(|fault| into_error(&name, fault).into())
}

fn into_error(name: &str, fault: Fault) -> Error {
    let message = match fault.at {
        Some(Place { line, column }) => format!("{name}: line {line}, column {column}: {}", fault.message),
        None => format!("{name}: {}", fault.message),
    };
    let error = Error::new(ErrorKind::InvalidSpec, message);
    match fault.hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn read(bytes: &[u8], name: &str, origin: Origin) -> Result<Vec<JobSpec>, Fault> {
    let text = text_of(bytes)?;
    let mut jobs = Vec::new();
    for document in documents(text, name)? {
        collect(document, origin, &mut jobs, true)?;
    }
    if jobs.is_empty() {
        return Err(Fault::new(None, "holds no job").hint("a job is a map with at least `prompt: …`"));
    }
    Ok(jobs)
}

/// What a spec calls itself and where its outcome goes, whether or not the rest of it is valid: a
/// spec with id, type, user and callback address alone, as far as they can be read.
pub fn labels(bytes: &[u8]) -> JobSpec {
    let documents = text_of(bytes).and_then(|text| documents(text, ""));
    let Some(entries) = documents.ok().and_then(only_map) else {
        return JobSpec::default();
    };
    let text = |name: &str| {
        let field = FIELDS.iter().find(|field| field.name == name)?;
        entries.iter().find_map(|entry| match &entry.node.value {
            Value::Text(text) if field.names().any(|n| n == entry.key) => Some(text.clone()),
            _ => None,
        })
    };
    JobSpec {
        id: text("id").filter(|id| words::is_id(id)),
        job_type: text("type").filter(|name| kinds::find(name).is_some()),
        user_id: text("user_id"),
        callback_url: text("callback_url"),
        ..JobSpec::default()
    }
}

/// The one map of a queue item, in an array or in an array's JSON text too.
fn only_map(mut documents: Vec<Node>) -> Option<Vec<Entry>> {
    let node = documents.pop().filter(|_| documents.is_empty())?;
    match node.value {
        Value::Map(entries) => Some(entries),
        Value::List(mut items) => match items.pop().filter(|_| items.is_empty())?.value {
            Value::Map(entries) => Some(entries),
            Value::Text(text) => match json_text(&text).ok()?.pop()?.value {
                Value::Map(entries) => Some(entries),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn text_of(bytes: &[u8]) -> Result<&str, Fault> {
    if bytes.len() > MAX_SPEC_BYTES {
        let message = format!("is {} bytes long; at most {MAX_SPEC_BYTES} are read", bytes.len());
        return Err(Fault::new(None, message).hint("split it into several files"));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Fault::new(None, "is UTF-16").hint("save it as UTF-8"));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = &bytes[..e.valid_up_to()];
        let line_start = before.iter().rposition(|b| *b == b'\n').map_or(0, |p| p + 1);
        let at = Place {
            line: 1 + before.iter().filter(|b| **b == b'\n').count(),
            column: 1 + String::from_utf8_lossy(&before[line_start..]).chars().count(),
        };
        Fault::new(Some(at), "is not valid UTF-8").hint("save it as UTF-8")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(Fault::new(None, "is empty").hint("a job is a map with at least `prompt: …`"));
    }
    Ok(text)
}

/// JSON where it looks like JSON, else YAML: JSON's `\ud83d\ude00` escapes are not YAML's.
fn documents(text: &str, name: &str) -> Result<Vec<Node>, Fault> {
    if !text.trim_start().starts_with(['{', '[']) {
        return read_yaml(text);
    }
    match read_json(text) {
        Ok(documents) => Ok(documents),
        Err(JsonFault::Content(fault)) => Err(fault),
        Err(JsonFault::Syntax(fault)) if name.ends_with(".json") => Err(fault),
        Err(JsonFault::Syntax(_)) => read_yaml(text),
    }
}

/// Takes the jobs out of a document; `wrapped`: a queue item's array may hold JSON text.
fn collect(node: Node, origin: Origin, jobs: &mut Vec<JobSpec>, wrapped: bool) -> Result<(), Fault> {
    match node.value {
        Value::Null => Ok(()),
        Value::Map(entries) => {
            let index = jobs.len();
            jobs.push(job(entries, node.at, origin, index)?);
            Ok(())
        }
        Value::List(items) if wrapped => {
            let single = items.len() == 1;
            for item in items {
                match item.value {
                    Value::Text(text) if single && origin == Origin::Queue => {
                        for inner in json_text(&text)? {
                            collect(inner, origin, jobs, false)?;
                        }
                    }
                    Value::Map(_) => collect(item, origin, jobs, false)?,
                    other => return Err(no_job(item.at, &other)),
                }
            }
            Ok(())
        }
        other => Err(no_job(node.at, &other)),
    }
}

fn json_text(text: &str) -> Result<Vec<Node>, Fault> {
    read_json(text).map_err(|e| {
        let (JsonFault::Syntax(fault) | JsonFault::Content(fault)) = e;
        Fault::new(
            fault.at,
            format!("the JSON text inside the array: {}", fault.message),
        )
    })
}

fn no_job(at: Option<Place>, found: &Value) -> Fault {
    Fault::new(at, format!("a job must be a map, this is {}", found.kind()))
        .hint("a job is a map with at least `prompt: …`")
}

/// The maps that a job's fields stand in, strongest first.
struct Parts {
    config: Vec<Entry>,
    metadata: Vec<Entry>,
    top: Vec<Entry>,
}

fn job(entries: Vec<Entry>, at: Option<Place>, origin: Origin, index: usize) -> Result<JobSpec, Fault> {
    let label = label(&entries, index);
    let named = |fault: Fault| Fault {
        at: fault.at.or(at),
        message: format!("{label}: {}", fault.message),
        hint: fault.hint,
    };
    build(entries, origin).map_err(named)
}

/// What messages call this job: its id, if that is a fit one, else its number.
fn label(entries: &[Entry], index: usize) -> String {
    let id = entries.iter().find_map(|e| match &e.node.value {
        Value::Text(t) if FIELDS[0].names().any(|n| n == e.key) => Some(t),
        _ => None,
    });
    match id {
        Some(id) => format!("job `{}`", shown(id)),
        None => format!("job {}", index + 1),
    }
}

fn build(entries: Vec<Entry>, origin: Origin) -> Result<JobSpec, Fault> {
    let mut builder = Builder::new(origin);
    let (parts, expect) = split(entries)?;
    for field in FIELDS {
        builder.take(field, &parts)?;
    }
    if let Some(expect) = expect {
        builder.expect(&expect)?;
    }
    builder.unknown(parts)?;
    builder.finish()
}

fn split(entries: Vec<Entry>) -> Result<(Parts, Option<Node>), Fault> {
    let mut parts = Parts {
        config: Vec::new(),
        metadata: Vec::new(),
        top: Vec::new(),
    };
    let mut expect = None;
    for entry in entries {
        let into = match entry.key.as_str() {
            "config" => &mut parts.config,
            "metadata" => &mut parts.metadata,
            "expect" => {
                expect = Some(entry.node);
                continue;
            }
            _ => {
                parts.top.push(entry);
                continue;
            }
        };
        match entry.node.value {
            Value::Map(inner) => *into = inner,
            Value::Null => {}
            other => {
                let message = format!("{} is {}, it must be a map", entry.key, other.kind());
                return Err(Fault::new(entry.node.at, message));
            }
        }
    }
    Ok((parts, expect))
}

struct Builder {
    origin: Origin,
    /// Top, config, metadata, in the canonical form.
    homes: [Map<String, Json>; 3],
    expect: Option<Json>,
    notes: Vec<String>,
    ignored: Vec<String>,
}

impl Builder {
    fn new(origin: Origin) -> Self {
        Self {
            origin,
            homes: [Map::new(), Map::new(), Map::new()],
            expect: None,
            notes: Vec::new(),
            ignored: Vec::new(),
        }
    }

    /// Finds a field under all its names in all its places; the first one found holds.
    fn take(&mut self, field: &Field, parts: &Parts) -> Result<(), Fault> {
        let mut held: Option<(String, Json)> = None;
        let places = [
            ("config.", &parts.config),
            ("metadata.", &parts.metadata),
            ("", &parts.top),
        ];
        for (prefix, entries) in places {
            if !field.anywhere && !prefix.is_empty() {
                continue;
            }
            for name in field.names() {
                let Some(entry) = entries.iter().find(|e| e.key == name) else {
                    continue;
                };
                if matches!(entry.node.value, Value::Null) {
                    continue;
                }
                let path = format!("{prefix}{name}");
                let json = self.read(field, entry, &path)?;
                match &held {
                    None => held = Some((path, json)),
                    Some((winner, value)) if *value != json => self
                        .notes
                        .push(format!("{winner} and {path} disagree; {winner} holds")),
                    Some(_) => {}
                }
            }
        }
        if let Some((path, json)) = held {
            self.known_type(field, &path, &json)?;
            self.homes[field.home as usize].insert(field.name.into(), json);
        }
        Ok(())
    }

    fn read(&mut self, field: &Field, entry: &Entry, path: &str) -> Result<Json, Fault> {
        let lenient = self.origin == Origin::Queue;
        let read = values::read(field.content, &entry.node, lenient)
            .map_err(|wrong| Fault::new(entry.node.at, wrong.about(path)))?;
        if let Some(remark) = read.remark {
            self.notes.push(format!("{path} {remark}"));
        }
        Ok(read.json)
    }

    fn known_type(&self, field: &Field, path: &str, json: &Json) -> Result<(), Fault> {
        match json.as_str() {
            Some(name) if field.name == "type" && kinds::find(name).is_none() => {
                let (message, hint) = kinds::unknown(name);
                Err(Fault::new(None, format!("{path} {message}")).hint(hint))
            }
            _ => Ok(()),
        }
    }

    fn expect(&mut self, node: &Node) -> Result<(), Fault> {
        let read =
            values::read(EXPECT, node, false).map_err(|wrong| Fault::new(node.at, wrong.about("expect")))?;
        self.expect = Some(read.json);
        Ok(())
    }

    /// What is no field: a mistake in a file, listed for a queue, carried along in `metadata`.
    fn unknown(&mut self, parts: Parts) -> Result<(), Fault> {
        let everywhere = || FIELDS.iter().filter(|f| f.anywhere).flat_map(Field::names);
        let at_top = || {
            let maps = ["config", "metadata", "expect"];
            FIELDS.iter().flat_map(Field::names).chain(maps)
        };
        for entry in parts.config {
            if everywhere().all(|n| n != entry.key) {
                self.unknown_field(&entry, "config.", nearest(&entry.key, everywhere()))?;
            }
        }
        for entry in parts.top {
            if at_top().all(|n| n != entry.key) {
                self.unknown_field(&entry, "", nearest(&entry.key, at_top()))?;
            }
        }
        for entry in parts.metadata {
            if everywhere().any(|n| n == entry.key) {
                continue;
            }
            let near = nearest(&entry.key, everywhere()).filter(|n| misspelt(&entry.key, n));
            if !self.origin.is_queue() && near.is_some() {
                self.unknown_field(&entry, "metadata.", near)?;
            }
            let value = json_of(&entry.node);
            self.homes[Home::Metadata as usize].insert(entry.key, value);
        }
        Ok(())
    }

    fn unknown_field(&mut self, entry: &Entry, prefix: &str, near: Option<&str>) -> Result<(), Fault> {
        let path = format!("{prefix}{}", shown(&entry.key));
        if self.origin == Origin::Queue {
            self.ignored.push(path);
            return Ok(());
        }
        let fault = Fault::new(entry.at, format!("unknown field `{path}`"));
        let elsewhere = FIELDS.iter().flat_map(Field::names).find(|n| *n == entry.key);
        if is_size(&entry.key) {
            return Err(fault.hint("the size is given as `width` and `height`"));
        }
        Err(match elsewhere.or(ours(&entry.key)).or(near) {
            Some(near) if near == entry.key => {
                fault.hint(format!("`{near}` belongs at the top level of the job"))
            }
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None => fault.hint("fields of your own may stand in `metadata`"),
        })
    }

    fn finish(self) -> Result<JobSpec, Fault> {
        let [mut spec, config, metadata] = self.homes;
        spec.insert("config".into(), config.into());
        spec.insert("metadata".into(), metadata.into());
        if let Some(expect) = self.expect {
            spec.insert("expect".into(), expect);
        }
        let spec: JobSpec = serde_json::from_value(spec.into())
            .map_err(|e| Fault::new(None, format!("cannot be understood: {e}")))?;
        Ok(JobSpec {
            notes: self.notes,
            ignored: self.ignored,
            ..spec
        })
    }
}

/// One slip away from a known name: in `metadata` other keys are free.
fn misspelt(key: &str, known: &str) -> bool {
    strsim::damerau_levenshtein(key, known) <= 1 + known.len() / 8
}

/// A value to be carried along untouched; numbers that JSON would write otherwise stay text.
fn json_of(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(b) => (*b).into(),
        Value::Text(t) => t.clone().into(),
        Value::Number(n) => match serde_json::from_str::<Json>(n) {
            Ok(number) if number.is_number() && number.to_string().as_str() == n.as_str() => number,
            _ => n.clone().into(),
        },
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Map(entries) => {
            let pairs = entries.iter().map(|e| (e.key.clone(), json_of(&e.node)));
            Json::Object(pairs.collect())
        }
    }
}
