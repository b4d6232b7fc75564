//! YAML and JSON text as a tree that knows its places, read under limits.
//!
//! Specs come from strangers, so the limits hold while reading and not afterwards: depth, number of
//! values and expanded text are counted event by event.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::fmt;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, Tag};
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Levels of lists and maps within each other; a spec has four.
const MAX_DEPTH: usize = 32;
/// Values in one input, aliases expanded.
const MAX_VALUES: usize = 20_000;
/// Bytes of text in one input, aliases expanded.
const MAX_TEXT_BYTES: usize = 256 * 1024;

/// Line and column, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

/// One value and where it stands; JSON values do not know.
#[derive(Debug, Clone)]
pub struct Node {
    pub at: Option<Place>,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub enum Value {
    Null,
    Bool(bool),
    /// As it was written (in JSON: as a double or integer reads); fields read it in their own type.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub struct Entry {
    pub key: String,
    pub at: Option<Place>,
    pub node: Node,
}

/// Why an input was refused.
#[derive(Debug)]
pub struct Fault {
    pub at: Option<Place>,
    pub message: String,
    pub hint: Option<String>,
}

impl Fault {
    pub fn new(at: Option<Place>, message: impl Into<String>) -> Self {
        Self {
            at,
            message: message.into(),
            hint: None,
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl Node {
    /// Values in it, itself included, and bytes of text.
    fn size(&self) -> (usize, usize) {
        let add = |a: (usize, usize), b: (usize, usize)| (a.0 + b.0, a.1 + b.1);
        match &self.value {
            Value::Null | Value::Bool(_) => (1, 0),
            Value::Number(text) | Value::Text(text) => (1, text.len()),
            Value::List(items) => items.iter().map(Self::size).fold((1, 0), add),
            Value::Map(entries) => entries
                .iter()
                .map(|e| add((1, e.key.len()), e.node.size()))
                .fold((1, 0), add),
        }
    }
}

impl Value {
    /// What a message calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// What is left of the limits.
struct Budget {
    values: Cell<usize>,
    text_bytes: Cell<usize>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}

impl Budget {
    fn new() -> Self {
        Self {
            values: Cell::new(MAX_VALUES),
            text_bytes: Cell::new(MAX_TEXT_BYTES),
        }
    }

    fn spend(&self, values: usize, text_bytes: usize) -> Result<(), String> {
        let left = self.values.get().checked_sub(values);
        let text_left = self.text_bytes.get().checked_sub(text_bytes);
        match (left, text_left) {
            (Some(v), Some(t)) => {
                self.values.set(v);
                self.text_bytes.set(t);
                Ok(())
            }
            _ => Err(format!(
                "too much content: more than {MAX_VALUES} values or {} KiB of text (aliases counted each time)",
                MAX_TEXT_BYTES / 1024
            )),
        }
    }
}

fn too_deep() -> String {
    format!("lists or maps within each other more than {MAX_DEPTH} levels deep")
}

fn duplicate(key: &str) -> String {
    format!("duplicate key `{}`", crate::config::shown(key))
}

/// Every document of a YAML text, built from the parser's events under the limits.
pub fn read_yaml(text: &str) -> Result<Vec<Node>, Fault> {
    let mut builder = Builder::default();
    for item in Parser::new_from_str(text) {
        match item {
            Ok((event, span)) => builder.take(event, span)?,
            Err(e) => return Err(not_yaml(place(e.marker().line(), e.marker().col()), e.info())),
        }
    }
    Ok(builder.documents)
}

fn not_yaml(at: Option<Place>, reason: &str) -> Fault {
    Fault::new(at, format!("not valid YAML: {reason}"))
        .hint("text that holds `: `, ` #` or begins with a mark such as [ { & * ! needs quotes")
}

fn place(line: usize, column_from_0: usize) -> Option<Place> {
    Some(Place {
        line: line.max(1),
        column: column_from_0 + 1,
    })
}

/// A list or map whose end has not come yet.
struct Open {
    at: Option<Place>,
    anchor: usize,
    content: OpenContent,
}

enum OpenContent {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        seen: HashSet<String>,
        /// The key whose value comes next.
        key: Option<(String, Option<Place>)>,
    },
}

/// Builds values from the events of a YAML text.
#[derive(Default)]
struct Builder {
    budget: Budget,
    anchors: HashMap<usize, Node>,
    open: Vec<Open>,
    documents: Vec<Node>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let at = place(span.start.line(), span.start.col());
        let fault = |message| Fault::new(at, message);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                core_tag(tag.as_deref(), &["str", "int", "float", "bool", "null"]).map_err(fault)?;
                self.spend(at, 1, text.len())?;
                if self.expects_key() {
                    return self.key(&text, style, at);
                }
                let value = scalar(&text, style, tag.as_deref()).map_err(fault)?;
                self.finish(anchor, Node { at, value });
            }
            Event::Alias(anchor) => {
                let Some(node) = self.anchors.get(&anchor) else {
                    return Err(fault("an alias inside its own anchor".into()));
                };
                let (values, text_bytes) = node.size();
                self.not_a_key("an alias", at)?;
                self.spend(at, values, text_bytes)?;
                let value = self.anchors[&anchor].value.clone();
                self.finish(0, Node { at, value });
            }
            Event::SequenceStart(anchor, tag) => {
                core_tag(tag.as_deref(), &["seq"]).map_err(fault)?;
                self.not_a_key("a list", at)?;
                self.start(at, anchor, OpenContent::List(Vec::new()))?;
            }
            Event::MappingStart(anchor, tag) => {
                core_tag(tag.as_deref(), &["map"]).map_err(fault)?;
                self.not_a_key("a map", at)?;
                let content = OpenContent::Map {
                    entries: Vec::new(),
                    seen: HashSet::new(),
                    key: None,
                };
                self.start(at, anchor, content)?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { at, anchor, content }) = self.open.pop() {
                    let value = match content {
                        OpenContent::List(items) => Value::List(items),
                        OpenContent::Map { entries, .. } => Value::Map(entries),
                    };
                    self.finish(anchor, Node { at, value });
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn spend(&self, at: Option<Place>, values: usize, text_bytes: usize) -> Result<(), Fault> {
        self.budget
            .spend(values, text_bytes)
            .map_err(|m| Fault::new(at, m))
    }

    /// True when the next value is a key of the map that is open.
    fn expects_key(&self) -> bool {
        let content = self.open.last().map(|open| &open.content);
        matches!(content, Some(OpenContent::Map { key: None, .. }))
    }

    fn not_a_key(&self, what: &str, at: Option<Place>) -> Result<(), Fault> {
        if self.expects_key() {
            return Err(Fault::new(at, format!("a key must be text, this is {what}")));
        }
        Ok(())
    }

    fn key(&mut self, text: &str, style: ScalarStyle, at: Option<Place>) -> Result<(), Fault> {
        if text == "<<" && style == ScalarStyle::Plain {
            return Err(Fault::new(at, "merge keys (`<<`) are not supported").hint("write the fields out"));
        }
        if let Some(OpenContent::Map { seen, key, .. }) = self.open.last_mut().map(|open| &mut open.content) {
            if !seen.insert(text.to_owned()) {
                return Err(Fault::new(at, duplicate(text)).hint("keep one of the two"));
            }
            *key = Some((text.to_owned(), at));
        }
        Ok(())
    }

    fn start(&mut self, at: Option<Place>, anchor: usize, content: OpenContent) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::new(at, too_deep()));
        }
        self.spend(at, 1, 0)?;
        self.open.push(Open { at, anchor, content });
        Ok(())
    }

    /// A value is complete.
    fn finish(&mut self, anchor: usize, node: Node) {
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.documents.push(node),
            Some(OpenContent::List(items)) => items.push(node),
            Some(OpenContent::Map { entries, key, .. }) => {
                if let Some((key, at)) = key.take() {
                    entries.push(Entry { key, at, node });
                }
            }
        }
    }
}

/// A scalar by YAML's core schema. A number keeps its text: whose field is text gets it as it was
/// written.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let plain = |text: &str| match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        number if is_number(number) => Value::Number(number.into()),
        other => Value::Text(other.into()),
    };
    let Some(tag) = tag else {
        return Ok(match style {
            ScalarStyle::Plain => plain(text),
            _ => Value::Text(text.into()),
        });
    };
    match (tag.suffix.as_str(), plain(text)) {
        ("str", _) => Ok(Value::Text(text.into())),
        ("int" | "float", value @ Value::Number(_)) => Ok(value),
        ("bool", value @ Value::Bool(_)) | ("null", value @ Value::Null) => Ok(value),
        (suffix, _) => Err(format!("`{}` is no !!{suffix}", crate::config::shown(text))),
    }
}

/// Whether a plain scalar is a number in YAML's core schema.
fn is_number(text: &str) -> bool {
    let all = |digits: &str, fits: fn(&u8) -> bool| !digits.is_empty() && digits.bytes().all(|b| fits(&b));
    if let Some(hex) = text.strip_prefix("0x") {
        return all(hex, u8::is_ascii_hexdigit);
    }
    if let Some(octal) = text.strip_prefix("0o") {
        return all(octal, |b| (b'0'..=b'7').contains(b));
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    match unsigned {
        ".inf" | ".Inf" | ".INF" => true,
        ".nan" | ".NaN" | ".NAN" => unsigned.len() == text.len(),
        // Rust's own words for such values are text here.
        _ => {
            unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && unsigned.parse::<f64>().is_ok()
        }
    }
}

const CORE: &str = "tag:yaml.org,2002:";

/// Only the core schema's own tags pass.
fn core_tag(tag: Option<&Tag>, allowed: &[&str]) -> Result<(), String> {
    match tag {
        Some(tag) if tag.handle != CORE || !allowed.contains(&tag.suffix.as_str()) => {
            let name = format!("{}{}", tag.handle, tag.suffix);
            Err(format!(
                "the tag `{}` is not allowed: a spec is plain data",
                crate::config::shown(&name)
            ))
        }
        _ => Ok(()),
    }
}

/// Why a JSON text was refused, and whether it was JSON at all.
pub enum JsonFault {
    /// Not JSON; YAML may still read it.
    Syntax(Fault),
    /// JSON, but beyond a limit or with a key twice.
    Content(Fault),
}

/// Every value of a JSON text, one after the other.
pub fn read_json(text: &str) -> Result<Vec<Node>, JsonFault> {
    let budget = Budget::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut documents = Vec::new();
    while reader.end().is_err() {
        let seed = Seed {
            budget: &budget,
            depth: 0,
        };
        match seed.deserialize(&mut reader) {
            Ok(node) => documents.push(node),
            Err(e) => return Err(json_fault(&e)),
        }
    }
    Ok(documents)
}

fn json_fault(e: &serde_json::Error) -> JsonFault {
    let at = Some(Place {
        line: e.line(),
        column: e.column(),
    });
    let text = e.to_string();
    let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(r, _)| r);
    if e.is_data() {
        JsonFault::Content(Fault::new(at, reason))
    } else {
        JsonFault::Syntax(Fault::new(at, format!("not valid JSON: {reason}")))
    }
}

/// Reads one value of JSON into a [`Node`], under the limits.
#[derive(Clone, Copy)]
struct Seed<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl Seed<'_> {
    fn spend<E: serde::de::Error>(self, value: Value, text_bytes: usize) -> Result<Value, E> {
        self.budget.spend(1, text_bytes).map_err(E::custom)?;
        Ok(value)
    }

    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(too_deep()));
        }
        Ok(Self {
            depth: self.depth + 1,
            ..self
        })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        let value = deserializer.deserialize_any(self)?;
        Ok(Node { at: None, value })
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("plain data")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Value, E> {
        self.spend(Value::Null, 0)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<Value, E> {
        self.spend(Value::Bool(v), 0)
    }

    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Value, E> {
        self.spend(Value::Number(v.to_string()), 0)
    }

    fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Value, E> {
        self.spend(Value::Number(v.to_string()), 0)
    }

    fn visit_u128<E: serde::de::Error>(self, v: u128) -> Result<Value, E> {
        self.spend(Value::Number(v.to_string()), 0)
    }

    fn visit_i128<E: serde::de::Error>(self, v: i128) -> Result<Value, E> {
        self.spend(Value::Number(v.to_string()), 0)
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Value, E> {
        let written = match v {
            v if v.is_nan() => ".nan".into(),
            v if v.is_infinite() => if v > 0.0 { ".inf" } else { "-.inf" }.into(),
            v => format!("{v:?}"),
        };
        self.spend(Value::Number(written), 0)
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Value, E> {
        self.spend(Value::Text(v.into()), v.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(node) = items.next_element_seed(inner)? {
            list.push(node);
        }
        self.spend(Value::List(list), 0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        while let Some(key) = items.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(duplicate(&key)));
            }
            let node = items.next_value_seed(inner)?;
            entries.push(Entry { key, at: None, node });
        }
        self.spend(Value::Map(entries), 0)
    }
}
