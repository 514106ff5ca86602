//! End-to-end tests: real processes, saved, killed and restarted.

mod artifacts;
mod attributes;
mod audit;
mod bad_images;
mod blocking;
mod cli;
mod contents;
mod debuggers;
mod descriptors;
mod documents;
mod files;
mod kernel;
mod layout;
mod memory;
mod obstacles;
mod plan;
mod process;
mod programs;
mod quiet;
mod refusals;
mod signals;
mod soak;
mod terminals;
mod threads;
mod timers;
mod victims;
