//! The one test binary. Modules:

mod layers;
mod specs;
