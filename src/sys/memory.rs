//! Mapping memory.
