//! What is wrong with a prompt in compel's notation.

use crate::error::{Error, ErrorKind};

pub(super) fn wrong(what: String, hint: &str) -> Error {
    Error::new(ErrorKind::InvalidSpec, format!("prompt: compel: {what}")).hint(hint)
}
