//! `schema`: the JSON Schema of a job spec, from the table that the parser reads.

use anyhow::Result;

use super::common::print;
use crate::job::schema;

/// Prints it as indented JSON.
///
/// # Errors
/// `Io` when stdout fails.
pub fn run() -> Result<u8> {
    print(&format!("{:#}\n", schema()))?;
    Ok(0)
}
