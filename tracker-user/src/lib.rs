//! The daemon of xdp-tracker, as a library.
//!
//! Data flows one way: a frontend (`udp`, `http`) parses a request, [`pipeline`] runs the hooks
//! around [`storage`], and the frontend writes the reply. Where it can, [`dataplane`] lets the kernel
//! do all of that on the same swarms. [`daemon`] puts the parts together.

mod certificate;
pub mod cli;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod dataplane;
pub mod e2e;
mod files;
pub mod http;
mod log_limit;
pub mod logging;
pub mod metrics;
pub mod middleware;
mod percent;
pub mod pipeline;
pub mod privileges;
pub mod replication;
pub mod routes;
pub mod stopped;
pub mod storage;
pub mod udp;
mod watch;
mod worker;
