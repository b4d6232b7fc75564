//! The Lua scripts, each with the prelude before it. A script is one step for everybody else.

use std::sync::LazyLock;

use anyhow::{Context, Result};
use serde::Serialize;

const PRELUDE: &str = include_str!("scripts/prelude.lua");

/// What a script does; its file says what it takes and returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    Look,
    Claim,
    Keep,
    Release,
    Settle,
    Add,
    Retry,
    Cancel,
    Purge,
    Leave,
    Outbox,
}

const BODIES: [(Script, &str); 11] = [
    (Script::Look, include_str!("scripts/look.lua")),
    (Script::Claim, include_str!("scripts/claim.lua")),
    (Script::Keep, include_str!("scripts/keep.lua")),
    (Script::Release, include_str!("scripts/release.lua")),
    (Script::Settle, include_str!("scripts/settle.lua")),
    (Script::Add, include_str!("scripts/add.lua")),
    (Script::Retry, include_str!("scripts/retry.lua")),
    (Script::Cancel, include_str!("scripts/cancel.lua")),
    (Script::Purge, include_str!("scripts/purge.lua")),
    (Script::Leave, include_str!("scripts/leave.lua")),
    (Script::Outbox, include_str!("scripts/outbox.lua")),
];

static SCRIPTS: LazyLock<[redis::Script; 11]> =
    LazyLock::new(|| BODIES.map(|(_, body)| redis::Script::new(&format!("{PRELUDE}\n{body}"))));

impl Script {
    pub fn get(self) -> &'static redis::Script {
        &SCRIPTS[self as usize]
    }
}

/// Arguments of a script.
macro_rules! script_arguments {
    ($($argument:expr),* $(,)?) => { vec![$(Vec::<u8>::from($argument)),*] };
}
pub(super) use script_arguments;

/// A record or a callback, as an argument of a script.
pub fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).context("a record is plain JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_stands_at_its_own_place() {
        for (place, (script, _)) in BODIES.iter().enumerate() {
            assert_eq!(*script as usize, place);
        }
    }
}
