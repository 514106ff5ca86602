//! The process and its attributes.
