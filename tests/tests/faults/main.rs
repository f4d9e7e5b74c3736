//! Faults: what happens to the daemon, to its host and to what it runs on, and what a client notices.

mod restart;
