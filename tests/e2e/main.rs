//! End-to-end tests: real processes, saved, killed and restarted.

mod audit;
mod cli;
mod debuggers;
mod kernel;
mod memory;
mod obstacles;
mod quiet;
mod soak;
mod victims;
