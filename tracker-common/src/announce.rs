//! What an announce asks for, whatever carried it.

use crate::verifier::BranchlessBool;

/// Why a client announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum Event {
    /// The interval has passed.
    #[default]
    None = 0,
    /// The last piece has arrived.
    Completed = 1,
    /// First announce of this session.
    Started = 2,
    /// The client is leaving the swarm.
    Stopped = 3,
    /// A partial seed has all that it wants (BEP 21). It still lacks something of the torrent, so it
    /// counts as a leecher.
    Paused = 4,
}

impl Event {
    /// The event of a UDP announce (BEP 15). `paused` is 4, as libtorrent sends it. A number without a
    /// meaning is no event.
    #[inline(always)]
    #[must_use]
    pub fn from_wire(value: u32) -> Self {
        const NUMBERS: u64 = Event::Paused as u64 + 1;
        // Arithmetic: at a branch the verifier would walk all the rest of an announce twice.
        let number = u64::from(value) & BranchlessBool::less(u64::from(value), NUMBERS).mask();
        // SAFETY: it is below `NUMBERS`, and each of those is an event.
        unsafe { core::mem::transmute(number as u8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_meaning_is_no_event() {
        use Event::{Completed, None, Paused, Started, Stopped};
        let events = [0, 1, 2, 3, 4].map(Event::from_wire);
        assert_eq!(events, [None, Completed, Started, Stopped, Paused]);
        for value in [5, 77, 0x102, 0xffff_ff03, u32::MAX] {
            assert_eq!(Event::from_wire(value), None, "{value}");
        }
    }
}
