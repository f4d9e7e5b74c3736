//! Where the XDP program and the daemon meet: the maps, their names and the structures in them.

use crate::{
    connection::ConnectionIds,
    family::{Family as _, V6},
    hash::TableKey,
    limit::Limits,
    policy::{IntervalVariation, Policy},
    table::index::TableShape,
    time::Jiffies,
};

/// Changes with every change to a structure below or to the table's layout.
pub const VERSION: u32 = 9;

/// Names of the programs and their maps.
pub mod name {
    /// The XDP program.
    pub const PROGRAM: &str = "xdp_tracker";
    /// A second program, which is never attached: it writes a [`Moment`](super::Moment) into its frame.
    pub const CLOCK: &str = "xdp_clock";
    /// Array of one [`State`](super::State). A variable of the program, which it finds without looking it up;
    /// the name is that of its section.
    pub const STATE: &str = ".bss";
    /// The name of the variable.
    pub const STATE_VARIABLE: &str = "STATE";
    /// Per-CPU array of one [`Counters`](super::Counters).
    pub const COUNTERS: &str = "COUNTERS";
    /// Array of IPv4 buckets.
    pub const TORRENTS_V4: &str = "TORRENTS_V4";
    /// Array of IPv6 buckets.
    pub const TORRENTS_V6: &str = "TORRENTS_V6";
    /// Array of chunks: the arena of leaves and directories.
    pub const BLOCKS: &str = "BLOCKS";
    /// Ring buffer of [`AnnounceEvent`](super::AnnounceEvent)s, each with so many bytes of options as follow it.
    pub const EVENTS: &str = "EVENTS";
    /// Hash table of what is listed by [`Key`](crate::policy::Key): the ranks whose lists have it.
    pub const LISTED: &str = "LISTED";
    /// Longest-prefix-match trie of IPv4 networks, with the ranks that refuse each.
    pub const NETWORKS_V4: &str = "NETWORKS_V4";
    /// The same of IPv6 networks.
    pub const NETWORKS_V6: &str = "NETWORKS_V6";
    /// Hash table of [`GrantKey`](super::GrantKey)s with a [`Grant`](super::Grant) each, which forgets
    /// those that are used least.
    pub const GRANTS: &str = "GRANTS";
    /// Array of one number, which the daemon maps into its memory: grants of this generation count, and
    /// no others. 0 means that none counts.
    pub const GENERATION: &str = "GENERATION";
    /// Array of [`Meter`](crate::limit::Meter)s, for [budgets](crate::budget).
    pub const BUDGETS: &str = "BUDGETS";
    /// Array of one [`Total`](crate::limit::Total).
    pub const TOTAL: &str = "TOTAL";
}

/// What the daemon tells the program.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct State {
    /// Which configuration is in force, and for how long.
    pub control: Control,
    /// One is in force while the other is being written.
    pub configs: [Config; 2],
}

/// What changes most often, apart from the rest.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Control {
    /// Which of the two [`Config`]s is in force.
    pub active: u32,
    /// Always zero, which the verifier does not know: see [`opaque`](crate::verifier::opaque).
    pub zero: u32,
    /// How the program tells the monotonic clock.
    pub jiffies: Jiffies,
    /// What to add to the monotonic clock to have the wall clock, in nanoseconds, wrapping around.
    pub wall_offset_ns: u64,
    /// The monotonic time from which on the program passes everything, in nanoseconds; 0 for never.
    /// The daemon moves it ahead of the present as long as it lives.
    pub passes_from_ns: u64,
}

/// What the kernel's clock showed, and how many jiffies were counted then.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub struct Moment {
    /// How many the kernel has counted.
    pub jiffies: u64,
    /// `CLOCK_MONOTONIC_COARSE`, in nanoseconds.
    pub monotonic_ns: u64,
}

/// Endpoints of each family that the kernel answers for; requests to others pass to the daemon.
pub const ENDPOINTS_MAX: usize = 16;

/// An IPv4 address of the tracker and a port it listens on, in network byte order.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C, align(8))]
pub struct EndpointV4 {
    /// Never the wildcard.
    pub addr: [u8; 4],
    /// The UDP port.
    pub port: [u8; 2],
    /// Zero.
    pub _pad: [u8; 2],
}

/// An IPv6 address of the tracker and a port it listens on, in network byte order.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C, align(8))]
pub struct EndpointV6 {
    /// Never the wildcard.
    pub addr: [u8; 16],
    /// The UDP port.
    pub port: [u8; 2],
    /// Zero.
    pub _pad: [u8; 6],
}

impl EndpointV4 {
    /// The same as a word in memory order: address, then port.
    #[inline(always)]
    #[must_use]
    pub const fn word(&self) -> u64 {
        let ([a, b, c, d], [e, f], [g, h]) = (self.addr, self.port, self._pad);
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }
}

impl EndpointV6 {
    /// The same as words in memory order: the two of the address, then the port.
    #[inline(always)]
    #[must_use]
    pub fn words(&self) -> [u64; 3] {
        let [first, second] = V6::words(&self.addr);
        [first, second, u16::from_ne_bytes(self.port) as u64]
    }
}

/// Interfaces that the program answers on at a time, of which each has the slot of its index.
pub const LINKS: usize = 32;

/// This machine's addresses that are told to the program, as far as there is room.
pub const LOCAL_MAX: usize = 64;

/// An interface that the program is attached to. All zeros (the default) is none: no frame is addressed to it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Link {
    /// See [`Link::key`].
    pub key: u64,
    /// Bits of [`link`].
    pub flags: u32,
    /// The index that routes name for what arrives by it: that of the bond or bridge of which it is a port, else its
    /// own.
    pub routed_as: u32,
}

impl Link {
    /// What the first eight bytes of a frame to this interface say: the destination's MAC address, and in the place
    /// of what follows it the interface's index, as far as it fits. `start` is those eight bytes in memory order.
    #[inline(always)]
    #[must_use]
    pub const fn key(start: u64, index: u32) -> u64 {
        const MAC: u64 = 0xffff_ffff_ffff_0000_u64.to_be();
        start & MAC | (index as u64 & 0xffff) << (48 * cfg!(target_endian = "little") as u32)
    }

    /// The slot of the interface with this index.
    #[inline(always)]
    #[must_use]
    pub const fn slot(index: u32) -> u32 {
        index % LINKS as u32
    }
}

/// What [`Link::flags`] says.
pub mod link {
    /// UDP checksums are verified: what has a wrong one passes.
    pub const VERIFY: u32 = 1;
    /// The driver hands over datagrams whose checksum has not been worked out yet, but for the sum of the
    /// pseudo-header (`CHECKSUM_PARTIAL`): such a sum is as good as a right one.
    pub const PARTIAL: u32 = 1 << 1;
}

/// All that the program needs to know. Numbers are in host byte order.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Config {
    /// Shape and secret of the table. Never changes while the table lives.
    pub shape: TableShape,
    /// Issues and checks connection ids.
    pub connection_ids: ConnectionIds,
    /// How long a peer lives after its last announce, in ticks of [`crate::time`].
    pub lifetime: u32,
    /// Seconds between a client's announces.
    pub interval_s: u32,
    /// Peers returned to a client that does not say how many it wants.
    pub numwant_default: u32,
    /// Peers returned at most.
    pub numwant_max: u32,
    /// Info-hashes answered in one scrape at most.
    pub scrape_max: u32,
    /// Bits of [`flag`].
    pub flags: u32,
    /// How many of `endpoints_v4` are set.
    pub endpoints_v4_len: u32,
    /// How many of `endpoints_v6` are set.
    pub endpoints_v6_len: u32,
    /// The interval variation hook.
    pub variation: IntervalVariation,
    /// Bits of [`Change`](crate::table::swarm::Change) for which an event is sent:
    /// `1 << Change::Joined as u32` and so on.
    pub events: u32,
    /// What the hooks decide.
    pub policy: Policy,
    /// What sources, and all of them together, may have.
    pub limits: Limits,
    /// Own IPv4 endpoints.
    pub endpoints_v4: [EndpointV4; ENDPOINTS_MAX],
    /// Own IPv6 endpoints.
    pub endpoints_v6: [EndpointV6; ENDPOINTS_MAX],
    /// The interfaces, in their slots.
    pub links: [Link; LINKS],
    /// This machine's addresses of both families, as [words](crate::family::Family::words).
    pub local: [[u64; 2]; LOCAL_MAX],
    /// How many of `local` are set.
    pub local_len: u32,
    /// Zero.
    pub _pad: u32,
}

impl Default for Config {
    fn default() -> Self {
        // SAFETY: integers and arrays of them, without padding: zeros are valid.
        unsafe { core::mem::zeroed() }
    }
}

/// What [`Config::flags`] says.
pub mod flag {
    /// Requests with a bad connection id are dropped, not answered with an error.
    pub const BAD_ID_SILENT: u32 = 1;
    /// An announce may carry its peer's address: those that do pass to the daemon.
    pub const IP_SPOOFING: u32 = 1 << 1;
    /// Look up the way back to the client, rather than swap the frame's MAC addresses.
    pub const REPLY_FIB: u32 = 1 << 2;
    /// A post-hook needs the URL data (BEP 41): events bring an announce's options along. Those of which there
    /// are more than [`EVENT_OPTIONS_MAX`](super::EVENT_OPTIONS_MAX) bytes pass to the daemon, and those without
    /// are not granted.
    pub const TELL_OPTIONS: u32 = 1 << 3;
    /// [The policy judges announces](crate::policy::Policy::judges_announces) before their torrents are looked for.
    pub const JUDGES: u32 = 1 << 4;
    /// There are limits that [concern all](crate::limit::Limits::concern_all) requests.
    pub const LIMITS: u32 = 1 << 5;
    /// Only sources that the routing table leads to by the interface, and by the neighbour, that their request came
    /// from are given a connection id.
    pub const REVERSE_PATH: u32 = 1 << 6;
}

/// Who has been granted to announce what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct GrantKey {
    /// The source of the announce; IPv4 addresses are mapped (`::ffff:a.b.c.d`).
    pub addr: [u8; 16],
    /// The torrent.
    pub info_hash: [u8; 20],
    /// Zero.
    pub _pad: [u8; 4],
}

/// What a grant is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Grant {
    /// When it ends, in nanoseconds since the Unix epoch.
    pub end_ns: u64,
    /// The generation that it belongs to, never 0. When the daemon takes all grants back it begins
    /// another generation ([`name::GENERATION`]).
    pub generation: u64,
}

/// What became of a packet. Every packet has one verdict, counted and turned into an XDP action in
/// one place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Verdict {
    /// A connect, answered.
    Connected = 0,
    /// An announce, answered.
    Announced = 1,
    /// A scrape, answered.
    Scraped = 2,
    /// An error sent for a bad connection id.
    BadIdRefused = 3,
    /// Dropped for a bad connection id.
    BadIdDropped = 4,
    /// An error sent for a torrent that is not approved.
    TorrentRefused = 5,
    /// Passed: not a request to the tracker.
    NotOurs = 6,
    /// Passed: something that only the daemon judges (malformed, an old action, too large).
    Unusual = 7,
    /// Passed: too many BEP 41 options, or too long ones for a hook that needs them.
    Options = 8,
    /// Passed: the announce claims an address.
    ClaimsAddress = 9,
    /// Passed: a hook must see it.
    Gated = 10,
    /// Passed: the torrent is not in the table.
    UnknownTorrent = 11,
    /// Passed: the daemon is moving the torrent's peers.
    Frozen = 12,
    /// Passed: the torrent must grow to take the peer.
    Full = 13,
    /// Passed: another processor changed the same slot.
    Contended = 14,
    /// Passed: no room for the reply, or no way back to the client.
    NoReply = 15,
    /// An error sent for a client that is not approved.
    ClientRefused = 16,
    /// An error sent for a source that is not approved.
    SourceRefused = 17,
    /// An announce of a source that had its share, answered without peers.
    SourceThrottled = 18,
    /// Another request of such a source, dropped.
    SourceDropped = 19,
    /// An announce of an unknown torrent beyond what may pass, answered without peers.
    MissThrottled = 20,
    /// An announce, answered without peers, for the interface has sent its share.
    EgressThrottled = 21,
    /// Dropped, for the interface has sent its share.
    EgressDropped = 22,
    /// Dropped for a bad connection id, for enough have been answered.
    BadIdLimited = 23,
    /// An announce that would have passed, of a source over its budget of passes: answered without peers.
    PassThrottled = 24,
    /// Another request of such a source, dropped.
    PassDropped = 25,
    /// Dropped, for enough have passed without a connection id that proves their source.
    UnprovenDropped = 26,
    /// An error sent for a port that is not approved.
    PortRefused = 27,
}

impl Verdict {
    /// How many there are.
    pub const COUNT: u32 = Self::PortRefused as u32 + 1;

    /// The verdict of a number.
    #[inline(always)]
    #[must_use]
    pub const fn from_number(number: u32) -> Option<Self> {
        if number >= Self::COUNT {
            return None;
        }
        // SAFETY: the verdicts are the numbers from 0 to the last, without a gap, which a test of the daemon's
        // counters holds them to.
        Some(unsafe { core::mem::transmute::<u32, Self>(number) })
    }
}

/// Counters of each address family: one for each verdict, rounded up to a power of two.
pub const VERDICTS: usize = 32;

/// What one processor has counted since the program was loaded.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Counters {
    /// By [`Verdict`], IPv4 then IPv6.
    pub verdicts: [[u64; VERDICTS]; 2],
    /// Events that found the ring buffer full.
    pub events_lost: u64,
    /// Announces answered without being listed: their source has its budget of peers in the swarm.
    pub unlisted: u64,
}

/// How many bytes of an announce's options (BEP 41) an event has room for: a power of two.
pub const EVENT_OPTIONS_MAX: u32 = 128;

/// An announce that the kernel answered and that a post-hook wants to see. Its options follow where
/// [`flag::TELL_OPTIONS`] is set.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct AnnounceEvent {
    /// IPv4 addresses are mapped (`::ffff:a.b.c.d`).
    pub addr: [u8; 16],
    /// Bytes fetched, in network byte order.
    pub downloaded: [u8; 8],
    /// Bytes still to fetch, in network byte order.
    pub left: [u8; 8],
    /// Bytes sent, in network byte order.
    pub uploaded: [u8; 8],
    /// The torrent.
    pub info_hash: [u8; 20],
    /// The client.
    pub peer_id: [u8; 20],
    /// In network byte order.
    pub port: [u8; 2],
    /// [`Event`](crate::announce::Event) as a number.
    pub event: u8,
    /// What the announce changed: a [`Change`](crate::table::swarm::Change) as a number.
    pub change: u8,
    /// Peers that only give, after this announce.
    pub seeders: u32,
    /// Peers that fetch, after this announce.
    pub leechers: u32,
}

const _: () = {
    assert!(size_of::<TableKey>() == 32);
    assert!(size_of::<TableShape>() == 72);
    assert!(size_of::<ConnectionIds>() == 56);
    assert!(
        size_of::<Config>() == 536 + 16 * 8 + 16 * 24 + 32 * 16 + 64 * 16 + 8
            && align_of::<Config>() == 8
    );
    assert!(size_of::<State>() == 40 + 2 * size_of::<Config>());
    // A frame is no shorter than its Ethernet header.
    assert!(size_of::<Moment>() == 16);
    assert!(size_of::<Counters>() == 2 * VERDICTS * 8 + 16);
    assert!(size_of::<AnnounceEvent>() == 92);
    assert!(size_of::<GrantKey>() == 40);
    assert!(size_of::<Grant>() == 16);
};
