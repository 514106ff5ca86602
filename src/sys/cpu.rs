//! What the CPU can do.
