//! What producers are told about a job, and how it reaches them.

pub mod body;
pub mod deliver;
pub mod envelope;
pub mod folder;
pub mod schedule;
pub mod sign;
pub mod target;
