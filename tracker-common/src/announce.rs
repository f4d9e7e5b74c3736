//! What an announce asks for, whatever carried it.

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
    /// A partial seed has all that it wants (BEP 21). Sent over HTTP only.
    Paused = 4,
}

impl Event {
    /// The event of a UDP announce, from the low byte of its field (BEP 15).
    #[inline(always)]
    #[must_use]
    pub const fn from_wire(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::None),
            1 => Some(Self::Completed),
            2 => Some(Self::Started),
            3 => Some(Self::Stopped),
            _ => None,
        }
    }
}
