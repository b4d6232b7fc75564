//! The turns of a conversation, and how much of one is kept.

use serde::{Deserialize, Serialize};

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
