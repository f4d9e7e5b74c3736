//! Faults: what happens to the daemon, to its host and to what it runs on, and what a client notices.
//!
//! * `watch`: the client that must notice nothing;
//! * `restart`, `kills`: the daemon goes, by request or not;
//! * `interfaces`: links go, come, and belong to others;
//! * `disk`, `clock`, `shortage`: what it stands on gives way.

mod clock;
mod disk;
mod interfaces;
mod kills;
mod restart;
mod shortage;
mod watch;
