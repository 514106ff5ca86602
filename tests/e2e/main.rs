//! End-to-end tests: real processes, saved, killed and restarted.

mod debuggers;
mod obstacles;
mod quiet;
mod victims;
