//! YAML and JSON text as a tree that knows its places, read under limits.
//!
//! Specs come from strangers, so the limits hold while reading and not afterwards: depth, number of
//! values and expanded text are counted event by event.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::ops::Range;

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

/// Every document of a YAML text.
///
/// An event parser looks first: it counts what there is, refuses what a spec must not have and notes
/// where each value stands. Only then does serde_yaml, which builds whole documents and would hang on
/// some of what is refused here, read the values.
pub(super) fn read_yaml(text: &str) -> Result<Vec<Node>, Fault> {
    let mut guard = YamlGuard::default();
    for item in Parser::new_from_str(text) {
        match item {
            Ok((event, span)) => guard.take(event, span)?,
            Err(e) => return Err(not_yaml(place(e.marker().line(), e.marker().col()), e.info())),
        }
    }
    let budget = Budget::new();
    let places = RefCell::new(guard.places.into_iter());
    serde_yaml::Deserializer::from_str(text)
        .map(|document| {
            let seed = Seed {
                budget: &budget,
                depth: 0,
                places: Some(&places),
            };
            seed.deserialize(document).map_err(|e| {
                let at = e
                    .location()
                    .and_then(|l| place(l.line(), l.column().saturating_sub(1)));
                let message = e.to_string();
                not_yaml(at, message.split(" at line ").next().unwrap_or(&message))
            })
        })
        .collect()
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
    anchor: usize,
    /// Its first entry in the list of places.
    first: usize,
    text_bytes: usize,
    /// Of a map: the keys so far, and whether a key comes next.
    keys: Option<(HashSet<String>, bool)>,
}

/// Walks the events of a YAML text under the limits.
#[derive(Default)]
struct YamlGuard {
    budget: Budget,
    /// Every value in the order it is read, aliases expanded.
    places: Vec<Option<Place>>,
    /// Anchored values: their share of the places and their bytes of text.
    anchors: HashMap<usize, (Range<usize>, usize)>,
    open: Vec<Open>,
}

impl YamlGuard {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let at = place(span.start.line(), span.start.col());
        let fault = |message| Fault::new(at, message);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                core_tag(tag.as_deref(), &["str", "int", "float", "bool", "null"]).map_err(fault)?;
                self.key(&text, style, at)?;
                self.spend(at, 1, text.len())?;
                self.places.push(at);
                self.finish(anchor, self.places.len() - 1, text.len());
            }
            Event::Alias(anchor) => {
                let Some((range, text_bytes)) = self.anchors.get(&anchor).cloned() else {
                    return Err(fault("an alias inside its own anchor".into()));
                };
                self.not_a_key("an alias", at)?;
                self.spend(at, range.len(), text_bytes)?;
                let first = self.places.len();
                self.places.extend_from_within(range);
                self.finish(0, first, text_bytes);
            }
            Event::SequenceStart(anchor, tag) => {
                core_tag(tag.as_deref(), &["seq"]).map_err(fault)?;
                self.not_a_key("a list", at)?;
                self.start(at, anchor, None)?;
            }
            Event::MappingStart(anchor, tag) => {
                core_tag(tag.as_deref(), &["map"]).map_err(fault)?;
                self.not_a_key("a map", at)?;
                self.start(at, anchor, Some((HashSet::new(), true)))?;
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.finish(open.anchor, open.first, open.text_bytes);
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
        matches!(
            self.open.last(),
            Some(Open {
                keys: Some((_, true)),
                ..
            })
        )
    }

    fn not_a_key(&self, what: &str, at: Option<Place>) -> Result<(), Fault> {
        if self.expects_key() {
            return Err(Fault::new(at, format!("a key must be text, this is {what}")));
        }
        Ok(())
    }

    fn key(&mut self, text: &str, style: ScalarStyle, at: Option<Place>) -> Result<(), Fault> {
        if !self.expects_key() {
            return Ok(());
        }
        if text == "<<" && style == ScalarStyle::Plain {
            return Err(Fault::new(at, "merge keys (`<<`) are not supported").hint("write the fields out"));
        }
        if let Some(Open {
            keys: Some((seen, _)),
            ..
        }) = self.open.last_mut()
            && !seen.insert(text.to_owned())
        {
            return Err(Fault::new(at, duplicate(text)).hint("keep one of the two"));
        }
        Ok(())
    }

    fn start(
        &mut self,
        at: Option<Place>,
        anchor: usize,
        keys: Option<(HashSet<String>, bool)>,
    ) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault::new(at, too_deep()));
        }
        self.spend(at, 1, 0)?;
        let first = self.places.len();
        self.places.push(at);
        self.open.push(Open {
            anchor,
            first,
            text_bytes: 0,
            keys,
        });
        Ok(())
    }

    /// A value that began at `first` is complete.
    fn finish(&mut self, anchor: usize, first: usize, text_bytes: usize) {
        if anchor != 0 {
            self.anchors
                .insert(anchor, (first..self.places.len(), text_bytes));
        }
        if let Some(open) = self.open.last_mut() {
            open.text_bytes += text_bytes;
            if let Some((_, key_next)) = &mut open.keys {
                *key_next = !*key_next;
            }
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
        let seed = Seed {
            budget: &budget,
            depth: 0,
            places: None,
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

/// Where the values that are still to come stand, in the order they are read.
type Places = RefCell<std::vec::IntoIter<Option<Place>>>;

/// Reads one value of JSON or YAML into a [`Node`], under the limits.
#[derive(Clone, Copy)]
struct Seed<'b> {
    budget: &'b Budget,
    depth: usize,
    /// Known for YAML only.
    places: Option<&'b Places>,
}

impl Seed<'_> {
    fn next_place(&self) -> Option<Place> {
        self.places
            .and_then(|places| places.borrow_mut().next().flatten())
    }

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
        let at = self.next_place();
        let value = deserializer.deserialize_any(self)?;
        Ok(Node { at, value })
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
            let at = self.next_place();
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(duplicate(&key)));
            }
            let node = items.next_value_seed(inner)?;
            entries.push(Entry { key, at, node });
        }
        self.spend(Value::Map(entries), 0)
    }
}
