//! Models of kernel and daemon at work on one table: loom runs each in every order, up to a number of
//! preemptions, and has every load return any value that the memory model allows.
//!
//! * [`world`]: a table small enough, and what both sides do to it;
//! * [`entries`], [`leaves`]: announces that meet in an entry, and in a spilled swarm;
//! * [`moves`]: announces that meet what the daemon moves, frees and gives to another torrent.

mod entries;
#[path = "../../simulate/src/heap.rs"]
mod heap;
#[path = "../../simulate/src/kernel.rs"]
mod kernel;
mod leaves;
mod moves;
mod world;
