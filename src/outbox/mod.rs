//! What producers are told about a job, and how it reaches them.

pub mod body;
pub mod envelope;
pub mod folder;
