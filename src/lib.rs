//! ourvidz: job specs in, images, videos and better prompts out, on the operator's own GPU.
//!
//! The module list below is the map of the system, from the outside in. Imports point downward
//! only (`tests/layers.rs` checks it): a pipeline knows no job, a model knows no pipeline.

pub mod bench;
pub mod cli;
pub mod commands;
pub mod logs;
pub mod runner;
pub mod supervisor;

pub mod enhance;
pub mod events;
pub mod fetch;
pub mod job;
pub mod media;
pub mod memory;
pub mod ndjson;
pub mod outbox;
pub mod outcome;
pub mod policy;
pub mod progress;
pub mod queue;
pub mod registry;
pub mod stop;
pub mod store;

pub mod pipelines;

pub mod adapters;

pub mod models;
pub mod prompts;
pub mod schedulers;
pub mod tokenizers;

pub mod nn;

pub mod weights;

pub mod device;

pub mod files;
pub mod limits;
pub mod net;

pub mod config;
pub mod error;
pub mod text;
