//! From the values of a spec's text to those of its fields.

use serde_json::{Map, Value as Json};

use super::node::{Entry, Node, Value};
use super::words::{Read, checked_id, checked_text, number};
use super::{loras, messages};
use crate::config::{nearest, shown};
use crate::job::content::{Content, Key, LORA_KEYS};

/// What is wrong with a value, and where inside it.
#[derive(Debug, Default, PartialEq)]
pub struct Wrong {
    /// Such as `[2].scale`; empty for the value itself.
    at: String,
    /// Begins with a verb.
    what: String,
}

impl From<String> for Wrong {
    fn from(what: String) -> Self {
        Self {
            at: String::new(),
            what,
        }
    }
}

impl Wrong {
    fn inside(mut self, place: &str) -> Self {
        self.at.insert_str(0, place);
        self
    }

    /// The whole message about the value at `path`.
    pub fn about(&self, path: &str) -> String {
        format!("{path}{} {}", self.at, self.what)
    }
}

/// Reads a value as its field wants it. `lenient`: a number may come as text, as some producers
/// of queue items send it.
///
/// # Errors
/// What is wrong, and where inside the value.
pub fn read(content: Content, node: &Node, lenient: bool) -> Result<Read, Wrong> {
    let wrong = || format!("is {}, it must be {}", node.value.kind(), content.allowed());
    match (content, &node.value) {
        (Content::Text, Value::Text(t) | Value::Number(t)) => Ok(Read::exact(checked_text(t)?)),
        (Content::Id, Value::Text(t) | Value::Number(t)) => Ok(Read::exact(checked_id(t)?)),
        (Content::Bool, Value::Bool(b)) => Ok(Read::exact(*b)),
        (Content::Choice(names), Value::Text(t) | Value::Number(t)) => Ok(Read::exact(choice(names, t)?)),
        (Content::List(item), Value::List(nodes)) => items(*item, nodes, lenient),
        (Content::List(item), _) => {
            let one = read(*item, node, lenient).map_err(|e| match *item {
                Content::Text => wrong().into(),
                _ => e,
            })?;
            Ok(Read {
                json: vec![one.json].into(),
                remark: one.remark,
            })
        }
        (Content::Tuple(item, count), Value::List(nodes)) if nodes.len() == count => {
            items(*item, nodes, lenient)
        }
        (Content::Map(keys), Value::Map(entries)) => map(keys, entries, lenient),
        (Content::Either(contents), _) => either(contents, node, lenient),
        (Content::Lora, Value::Text(t)) => Ok(Read::exact(loras::from_text(t)?)),
        (Content::Lora, Value::Map(entries)) => lora(entries, lenient),
        (Content::Messages, Value::List(turns)) => Ok(messages::read(turns, lenient)?),
        (_, Value::Number(n)) if content.is_number() => Ok(Read::exact(number(content, n)?)),
        (_, Value::Text(t)) if content.is_number() => Ok(number_as_text(content, t, lenient)?),
        (Content::Bool, Value::Text(t)) if lenient && (t == "true" || t == "false") => Ok(Read {
            json: (t == "true").into(),
            remark: Some("came as text and is read as true or false"),
        }),
        (_, Value::Text(t)) => {
            Err(format!("is the text `{}`, it must be {}", shown(t), content.allowed()).into())
        }
        _ => Err(wrong().into()),
    }
}

fn number_as_text(content: Content, text: &str, lenient: bool) -> Result<Read, String> {
    let is_number = text.trim().parse::<f64>().is_ok();
    if !lenient || !is_number {
        let hint = if is_number { ", without quotes" } else { "" };
        return Err(format!(
            "is the text `{}`, it must be {}{hint}",
            shown(text),
            content.allowed()
        ));
    }
    Ok(Read {
        json: number(content, text.trim())?,
        remark: Some("came as text and is read as a number"),
    })
}

fn choice(names: &[&str], text: &str) -> Result<Json, String> {
    if names.contains(&text) {
        return Ok(text.into());
    }
    Err(format!(
        "is `{}`, it must be one of {}",
        shown(text),
        names.join(", ")
    ))
}

fn items(content: Content, nodes: &[Node], lenient: bool) -> Result<Read, Wrong> {
    let mut remark = None;
    let mut list = Vec::new();
    for (index, node) in nodes.iter().enumerate() {
        let read = read(content, node, lenient).map_err(|e| e.inside(&format!("[{index}]")))?;
        remark = remark.or(read.remark);
        list.push(read.json);
    }
    Ok(Read {
        json: list.into(),
        remark,
    })
}

fn map(keys: &[Key], entries: &[Entry], lenient: bool) -> Result<Read, Wrong> {
    let mut remark = None;
    let mut map = Map::new();
    for entry in entries {
        let Some(key) = keys.iter().find(|key| key.name == entry.key) else {
            if lenient {
                remark = Some("has keys that are not used");
                continue;
            }
            let near = nearest(&entry.key, keys.iter().map(|key| key.name));
            let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
            let what = Wrong::from(format!("is no known field{near}"));
            return Err(what.inside(&format!(".{}", shown(&entry.key))));
        };
        let read =
            read(key.content, &entry.node, lenient).map_err(|e| e.inside(&format!(".{}", key.name)))?;
        remark = remark.or(read.remark);
        map.insert(entry.key.clone(), read.json);
    }
    match keys.iter().find(|key| key.needed && !map.contains_key(key.name)) {
        Some(missing) => Err(Wrong::from("is missing".to_string()).inside(&format!(".{}", missing.name))),
        None => Ok(Read {
            json: map.into(),
            remark,
        }),
    }
}

fn lora(entries: &[Entry], lenient: bool) -> Result<Read, Wrong> {
    let mut read = map(LORA_KEYS, entries, lenient)?;
    let scale = read.json["scale"].as_f64().unwrap_or(1.0);
    loras::checked(read.json["file"].as_str().unwrap_or_default(), scale)?;
    read.json["scale"] = scale.into();
    Ok(read)
}

/// The reason of the one that has the value's shape says most.
fn either(contents: &[Content], node: &Node, lenient: bool) -> Result<Read, Wrong> {
    let mut reasons = Vec::new();
    for content in contents {
        match read(*content, node, lenient) {
            Ok(read) => return Ok(read),
            Err(reason) => reasons.push((has_shape(*content, &node.value), reason)),
        }
    }
    let best = reasons.into_iter().max_by_key(|(has_shape, _)| *has_shape);
    Err(best.map(|(_, reason)| reason).unwrap_or_default())
}

fn has_shape(content: Content, value: &Value) -> bool {
    match value {
        Value::Map(_) => matches!(content, Content::Map(_)),
        Value::List(_) => matches!(content, Content::List(_) | Content::Tuple(..) | Content::Messages),
        Value::Bool(_) => content == Content::Bool,
        Value::Number(_) => content.is_number(),
        Value::Text(_) | Value::Null => matches!(content, Content::Text | Content::Choice(_)),
    }
}

/// Checks a value that is in its type already, such as one given as a flag.
///
/// # Errors
/// As [`read`].
pub fn check(content: Content, json: &Json) -> Result<(), Wrong> {
    match content {
        Content::Messages => match json {
            Json::Array(turns) => Ok(messages::check(turns)?),
            _ => Ok(()),
        },
        _ => read(content, &node_of(json), false).map(drop),
    }
}

/// Reads a flag's text as the field wants it.
///
/// # Errors
/// As [`read`].
pub fn from_text(content: Content, text: &str) -> Result<Json, String> {
    if content.is_number() {
        return number(content, text.trim());
    }
    let value = Value::Text(text.into());
    match read(content, &Node { at: None, value }, true) {
        Ok(read) => Ok(read.json),
        Err(wrong) => Err(wrong.about("it")),
    }
}

fn node_of(json: &Json) -> Node {
    let value = match json {
        // No number is not a number.
        Json::Null => Value::Number(".nan".into()),
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Number(n.to_string()),
        Json::String(t) => Value::Text(t.clone()),
        Json::Array(items) => Value::List(items.iter().map(node_of).collect()),
        Json::Object(map) => Value::Map(
            map.iter()
                .map(|(key, value)| Entry {
                    key: key.clone(),
                    at: None,
                    node: node_of(value),
                })
                .collect(),
        ),
    };
    Node { at: None, value }
}
