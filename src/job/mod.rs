//! Jobs, from what producers send to what runs.
//!
//! [`JobSpec`] is what somebody asked for; [`Job`] is the same with every default filled in and every
//! value checked. [`parse`] is the only place that knows YAML, [`fields`] the one table of what a
//! spec may hold, [`resolve`] the way from the one to the other.

pub mod content;
pub mod elsewhere;
pub mod fields;
pub mod foreign;
mod inputs;
pub mod kinds;
mod origin;
pub mod parse;
mod resolve;
mod schema;
mod settled;
mod spec;
mod spec_files;
pub mod spec_parts;
mod turns;

pub use inputs::{Addresses, Fetched, Input, Local, public_source, references, scheme};
pub use kinds::{Family, Format, JobKind, Output};
pub use origin::{Origin, Trust};
pub use parse::words::is_id;
pub use parse::{MAX_SPEC_BYTES, labels, parse};
pub use resolve::{CountTokens, Request, check_trust, job_kind, negatives, resolve};
pub use schema::schema;
pub use settled::{
    Answering, Chat, Diffusion, Enhancing, Follow, Images, Job, LoraFile, References, Strategy, Video, Work,
};
pub use spec::{Expect, JobSpec, Options};
pub use turns::{LONGEST_TURN_CHARS, MOST_TURNS, Speaker, Turn};
