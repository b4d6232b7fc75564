//! YAML and JSON text as a tree that knows its places, read under limits.
//!
//! Specs come from strangers, so the limits hold while reading and not afterwards: depth, number of
//! values and expanded text are counted event by event. YAML goes through an event parser for that
//! reason; a parser that builds its whole document first can be made to hang or to fill the memory.

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
pub(super) struct Place {
    pub line: usize,
    pub column: usize,
}

/// One value and where it stands; JSON values do not know.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub at: Option<Place>,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// As it was written; fields read it in their own type.
    Number(String),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub key: String,
    pub at: Option<Place>,
    pub node: Node,
}

/// Why an input was refused.
#[derive(Debug)]
pub(super) struct Fault {
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

/// Every document of a YAML text.
pub(super) fn read_yaml(text: &str) -> Result<Vec<Node>, Fault> {
    let mut reader = YamlReader {
        budget: Budget::new(),
        anchors: HashMap::new(),
        open: Vec::new(),
        documents: Vec::new(),
    };
    for item in Parser::new_from_str(text) {
        match item {
            Ok((event, span)) => reader.take(event, span)?,
            Err(e) => {
                let at = place(e.marker().line(), e.marker().col());
                return Err(Fault::new(at, format!("not valid YAML: {}", e.info())).hint(
                    "text that holds `: `, ` #` or begins with a mark such as [ { & * ! needs quotes",
                ));
            }
        }
    }
    Ok(reader.documents)
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
    /// Values inside, for the price of an anchor.
    size: (usize, usize),
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        seen: HashSet<String>,
        /// A key that waits for its value.
        key: Option<(String, Option<Place>)>,
    },
}

struct YamlReader {
    budget: Budget,
    /// Anchored values with the number of values and bytes of text in them.
    anchors: HashMap<usize, (Node, (usize, usize))>,
    open: Vec<Open>,
    documents: Vec<Node>,
}

impl YamlReader {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let at = place(span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref()).map_err(|m| Fault::new(at, m))?;
                let size = (1, text.len());
                self.spend(at, size)?;
                self.finish(Node { at, value }, anchor, size)
            }
            Event::Alias(anchor) => {
                let Some((node, size)) = self.anchors.get(&anchor).cloned() else {
                    return Err(Fault::new(at, "an alias inside its own anchor"));
                };
                self.spend(at, size)?;
                self.finish(node, 0, size)
            }
            Event::SequenceStart(anchor, tag) => {
                no_tag(tag.as_deref(), "seq").map_err(|m| Fault::new(at, m))?;
                self.start(at, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                no_tag(tag.as_deref(), "map").map_err(|m| Fault::new(at, m))?;
                let content = Content::Map {
                    entries: Vec::new(),
                    seen: HashSet::new(),
                    key: None,
                };
                self.start(at, anchor, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
            _ => Ok(()),
        }
    }

    fn spend(&self, at: Option<Place>, (values, text): (usize, usize)) -> Result<(), Fault> {
        self.budget.spend(values, text).map_err(|m| Fault::new(at, m))
    }

    fn start(&mut self, at: Option<Place>, anchor: usize, content: Content) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::new(at, too_deep()));
        }
        self.spend(at, (1, 0))?;
        self.open.push(Open {
            at,
            anchor,
            size: (1, 0),
            content,
        });
        Ok(())
    }

    fn end(&mut self) -> Result<(), Fault> {
        let Some(open) = self.open.pop() else {
            return Ok(());
        };
        let value = match open.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => Value::Map(entries),
        };
        let node = Node { at: open.at, value };
        self.finish(node, open.anchor, open.size)
    }

    /// Puts a complete value where it belongs.
    fn finish(&mut self, node: Node, anchor: usize, size: (usize, usize)) -> Result<(), Fault> {
        if anchor != 0 {
            self.spend(node.at, size)?;
            self.anchors.insert(anchor, (node.clone(), size));
        }
        let Some(open) = self.open.last_mut() else {
            self.documents.push(node);
            return Ok(());
        };
        open.size = (open.size.0 + size.0, open.size.1 + size.1);
        match &mut open.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, seen, key } => match key.take() {
                Some((key, at)) => entries.push(Entry { key, at, node }),
                None => {
                    let name = key_text(&node)?;
                    if !seen.insert(name.clone()) {
                        return Err(Fault::new(node.at, duplicate(&name)).hint("keep one of the two"));
                    }
                    *key = Some((name, node.at));
                }
            },
        }
        Ok(())
    }
}

fn key_text(node: &Node) -> Result<String, Fault> {
    match &node.value {
        Value::Text(t) if t == "<<" => {
            Err(Fault::new(node.at, "merge keys (`<<`) are not supported").hint("write the fields out"))
        }
        Value::Text(t) | Value::Number(t) => Ok(t.clone()),
        Value::Bool(b) => Ok(b.to_string()),
        Value::Null => Ok("null".into()),
        other => Err(Fault::new(
            node.at,
            format!("a key must be text, this is {}", other.kind()),
        )),
    }
}

const CORE: &str = "tag:yaml.org,2002:";

fn custom_tag(tag: &Tag) -> String {
    let name = format!("{}{}", tag.handle, tag.suffix);
    format!(
        "the tag `{}` is not allowed: a spec is plain data",
        crate::config::shown(&name)
    )
}

fn no_tag(tag: Option<&Tag>, own: &str) -> Result<(), String> {
    match tag {
        Some(tag) if tag.handle != CORE || tag.suffix != own => Err(custom_tag(tag)),
        _ => Ok(()),
    }
}

/// A scalar by the core schema of YAML 1.2: `yes` and `on` are text, `0o17` is a number.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    if let Some(tag) = tag {
        return match (tag.handle.as_str(), tag.suffix.as_str()) {
            (CORE, "str") => Ok(Value::Text(text.into())),
            (CORE, "int" | "float" | "bool" | "null") => Ok(plain(text)),
            _ => Err(custom_tag(tag)),
        };
    }
    Ok(match style {
        ScalarStyle::Plain => plain(text),
        _ => Value::Text(text.into()),
    })
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.into()),
        _ => Value::Text(text.into()),
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit());
    }
    if let Some(digits) = text.strip_prefix("0o") {
        return !digits.is_empty() && digits.bytes().all(|b| (b'0'..=b'7').contains(&b));
    }
    unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b))
        && text.parse::<f64>().is_ok()
}

/// Why a JSON text was refused, and whether it was JSON at all.
pub(super) enum JsonFault {
    /// Not JSON; YAML may still read it.
    Syntax(Fault),
    /// JSON, but beyond a limit or with a key twice.
    Content(Fault),
}

/// Every value of a JSON text, one after the other.
pub(super) fn read_json(text: &str) -> Result<Vec<Node>, JsonFault> {
    let budget = Budget::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    let mut documents = Vec::new();
    while reader.end().is_err() {
        let seed = JsonSeed {
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

#[derive(Clone, Copy)]
struct JsonSeed<'b> {
    budget: &'b Budget,
    depth: usize,
}

impl JsonSeed<'_> {
    fn node<E: serde::de::Error>(self, value: Value, text_bytes: usize) -> Result<Node, E> {
        self.budget.spend(1, text_bytes).map_err(E::custom)?;
        Ok(Node { at: None, value })
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

impl<'de> DeserializeSeed<'de> for JsonSeed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonSeed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Node, E> {
        self.node(Value::Null, 0)
    }

    fn visit_bool<E: serde::de::Error>(self, v: bool) -> Result<Node, E> {
        self.node(Value::Bool(v), 0)
    }

    fn visit_u64<E: serde::de::Error>(self, v: u64) -> Result<Node, E> {
        self.node(Value::Number(v.to_string()), 0)
    }

    fn visit_i64<E: serde::de::Error>(self, v: i64) -> Result<Node, E> {
        self.node(Value::Number(v.to_string()), 0)
    }

    fn visit_f64<E: serde::de::Error>(self, v: f64) -> Result<Node, E> {
        self.node(Value::Number(format!("{v:?}")), 0)
    }

    fn visit_str<E: serde::de::Error>(self, v: &str) -> Result<Node, E> {
        self.node(Value::Text(v.into()), v.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(node) = items.next_element_seed(inner)? {
            list.push(node);
        }
        self.node(Value::List(list), 0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
        let inner = self.deeper()?;
        let (mut entries, mut seen) = (Vec::new(), HashSet::new());
        while let Some(key) = items.next_key::<String>()? {
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(duplicate(&key)));
            }
            let node = items.next_value_seed(inner)?;
            entries.push(Entry { key, at: None, node });
        }
        self.node(Value::Map(entries), 0)
    }
}
