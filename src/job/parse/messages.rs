//! Conversations: how they are written in a spec, and how much of one is kept.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::node::{Entry, Node, Value};
use super::words::{Read, checked_text};
use crate::config::shown;

/// Most turns of a conversation, the newest included; system messages are none.
pub const MOST_TURNS: usize = 20;

/// Most characters of a turn but the newest.
pub const LONGEST_TURN_CHARS: usize = 2_000;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Speaker {
    System,
    User,
    Assistant,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    pub role: Speaker,
    pub content: String,
}

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

/// Keeps the newest turns, and of all but the newest no more than the contract says; notes tell what
/// was left out. System messages stay as they are.
pub fn shorten(turns: &mut Vec<Turn>, notes: &mut Vec<String>) {
    let spoken = turns.iter().filter(|t| t.role != Speaker::System).count();
    let mut surplus = spoken.saturating_sub(MOST_TURNS);
    if surplus > 0 {
        notes.push(format!(
            "the {surplus} oldest of {spoken} turns are left out: {MOST_TURNS} are kept"
        ));
    }
    turns.retain(|turn| {
        let goes = turn.role != Speaker::System && surplus > 0;
        surplus -= usize::from(goes);
        !goes
    });
    let newest = turns.len().saturating_sub(1);
    let mut cut = 0;
    for turn in &mut turns[..newest] {
        if turn.role == Speaker::System {
            continue;
        }
        if let Some((end, _)) = turn.content.char_indices().nth(LONGEST_TURN_CHARS) {
            turn.content.truncate(end);
            cut += 1;
        }
    }
    if cut > 0 {
        notes.push(format!(
            "{cut} older turns are cut at {LONGEST_TURN_CHARS} characters"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(role: Speaker, content: impl Into<String>) -> Turn {
        Turn {
            role,
            content: content.into(),
        }
    }

    #[test]
    fn the_newest_turns_stay_and_only_older_ones_are_cut() {
        let long = "ä".repeat(LONGEST_TURN_CHARS + 1);
        let mut turns = vec![turn(Speaker::System, long.clone())];
        turns.extend((0..30).map(|i| turn(Speaker::User, format!("{i}"))));
        turns.push(turn(Speaker::Assistant, long.clone()));
        turns.push(turn(Speaker::User, long.clone()));
        let mut notes = Vec::new();
        shorten(&mut turns, &mut notes);
        assert_eq!(turns.len(), 1 + MOST_TURNS);
        assert_eq!(
            turns[0].content, long,
            "system messages are instructions, not turns"
        );
        assert_eq!(turns[1].content, "12");
        assert_eq!(turns[19].content.chars().count(), LONGEST_TURN_CHARS);
        assert_eq!(turns[20].content, long, "the newest is never cut");
        assert_eq!(
            notes,
            [
                "the 12 oldest of 32 turns are left out: 20 are kept",
                "1 older turns are cut at 2000 characters"
            ]
        );
    }

    #[test]
    fn a_short_conversation_stays_as_it_is() {
        let mut turns = vec![turn(Speaker::User, "x")];
        let mut notes = Vec::new();
        shorten(&mut turns, &mut notes);
        assert_eq!((turns.len(), notes.len()), (1, 0));
        shorten(&mut Vec::new(), &mut notes);
    }
}
