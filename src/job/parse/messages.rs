//! How a conversation is written in a spec.

use serde_json::{Value as Json, json};

use super::node::{Entry, Node, Value};
use super::words::{Read, checked_text};
use crate::config::shown;

const ROLES: &[&str] = &["system", "user", "assistant"];

/// Reads turns as they stand in a spec. `lenient`: keys beside role and content are a producer's own.
///
/// # Errors
/// What is wrong, beginning with a verb, with the number of the turn.
pub fn read(items: &[Node], lenient: bool) -> Result<Read, String> {
    let mut remark = None;
    let mut turns = Vec::new();
    for (number, item) in (1..).zip(items) {
        let Value::Map(entries) = &item.value else {
            return Err(format!(
                "holds {} as turn {number}, it must be a map of role and content",
                item.value.kind()
            ));
        };
        if let Some(extra) = entries
            .iter()
            .find(|e| !["role", "content"].contains(&e.key.as_str()))
        {
            if !lenient {
                return Err(format!(
                    "has the unknown key `{}` in turn {number}, known are role and content",
                    shown(&extra.key)
                ));
            }
            remark = Some("has keys beside role and content, which are not used");
        }
        let role = text(entries, "role", number)?;
        let content = text(entries, "content", number)?;
        turns.push(json!({"role": role, "content": content}));
    }
    check(&turns)?;
    Ok(Read {
        json: turns.into(),
        remark,
    })
}

fn text<'n>(entries: &'n [Entry], key: &str, number: usize) -> Result<&'n str, String> {
    match entries.iter().find(|e| e.key == key).map(|e| &e.node.value) {
        Some(Value::Text(text)) => Ok(text),
        Some(Value::Number(number)) if key == "content" => Ok(number),
        Some(other) => Err(format!(
            "has {} as the {key} of turn {number}, it must be text",
            other.kind()
        )),
        None => Err(format!("has no {key} in turn {number}")),
    }
}

/// Checks turns that are in their form already.
///
/// # Errors
/// As [`read`].
pub fn check(turns: &[Json]) -> Result<(), String> {
    for (number, turn) in (1..).zip(turns) {
        let role = turn["role"].as_str().unwrap_or_default();
        if !ROLES.contains(&role) {
            return Err(format!(
                "has the role `{}` in turn {number}, it must be one of {}",
                shown(role),
                ROLES.join(", ")
            ));
        }
        checked_text(turn["content"].as_str().unwrap_or_default())
            .map_err(|e| format!("{e} in turn {number}"))?;
    }
    Ok(())
}
