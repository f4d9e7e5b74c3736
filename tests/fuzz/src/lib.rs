//! What is fuzzed. Each target takes any bytes and panics when something that shall always hold does
//! not. The corpus of each is in `corpus`; `tests/corpus.rs` runs all of it.

pub mod bep41;
pub mod config;
pub mod http;
mod pipeline;
pub mod proxies;
pub mod query;
pub mod redis;
pub mod snapshot;
pub mod table;
pub mod udp;

/// A target: its name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("bep41", bep41::run),
    ("config", config::run),
    ("http", http::run),
    ("proxies", proxies::run),
    ("query", query::run),
    ("redis", redis::run),
    ("snapshot", snapshot::run),
    ("table", table::run),
    ("udp", udp::run),
];
