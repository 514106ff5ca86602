//! End-to-end tests: real processes, saved, killed and restarted.

mod victims;
