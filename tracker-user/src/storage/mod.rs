//! Where swarms are kept.

pub mod memory;

pub use crate::pipeline::Storage;
