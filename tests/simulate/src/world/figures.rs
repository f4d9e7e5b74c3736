//! What happened in a world.

use std::fmt;

/// What happened.
#[derive(Clone, Copy, Default, Debug)]
pub struct Figures {
    pub by_kernel: u64,
    pub by_daemon: u64,
    pub deaths: u64,
    pub certain: u64,
    pub uncertain: u64,
}

impl Figures {
    pub fn add(&mut self, other: &Self) {
        self.by_kernel += other.by_kernel;
        self.by_daemon += other.by_daemon;
        self.deaths += other.deaths;
        self.certain += other.certain;
        self.uncertain += other.uncertain;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { by_kernel, by_daemon, deaths, certain, uncertain } = self;
        write!(
            f,
            "{by_kernel} announces served by the kernel and {by_daemon} by {deaths} daemons that were \
             killed and others; {certain} peers checked, and {uncertain} more whose announces had met or \
             died with a daemon"
        )
    }
}
