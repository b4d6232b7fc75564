//! The one test binary. Modules:

mod full_size;
mod full_size_wan;
mod layers;
mod micro;
mod parity;
mod parity_models;
mod parity_pipeline;
mod parity_wan;
mod pickles;
