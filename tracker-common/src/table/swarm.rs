//! A torrent in the table: its figures, and what announces and scrapes of either form have in common.

pub use super::prepared::{Announce, PreparedAnnounce, Side};
use super::{
    Miss,
    layout::{Entry, Form, Meta},
};
use crate::{
    family::Family,
    peers::{List, PeerBuf},
    time::Clock,
};

/// The figures of a swarm.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Counts {
    /// Peers with nothing left to fetch.
    pub seeders: u32,
    /// The others.
    pub leechers: u32,
    /// Downloads completed.
    pub completed: u32,
}

/// What an announce changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Change {
    /// The peer was known and still is.
    Refreshed = 0,
    /// The peer is new.
    Joined = 1,
    /// A leecher became a seeder.
    Completed = 2,
    /// The peer left.
    Left = 3,
}

impl Change {
    /// What it changed; `was_seeder` of a peer that was there.
    #[inline(always)]
    pub(super) fn of(prepared: &PreparedAnnounce, was_seeder: Option<bool>) -> Self {
        match (prepared.leaves(), was_seeder) {
            (true, Some(_)) => Self::Left,
            (false, None) => Self::Joined,
            (false, Some(false)) if prepared.is_seeder() => Self::Completed,
            _ => Self::Refreshed,
        }
    }
}

/// Begins the list of a reply.
#[inline(always)]
pub fn begin_list<F: Family>(prepared: &PreparedAnnounce, list: &mut PeerBuf) {
    list.begin::<F>(prepared.numwant);
}

/// Ends the list of a reply, of a swarm with these figures.
#[inline(always)]
pub fn finish_list<F: Family>(prepared: &PreparedAnnounce, counts: &Counts, list: &mut PeerBuf) {
    let mut cursor = list.cursor();
    name_alone::<F, _>(prepared, [counts.seeders, counts.leechers], &mut cursor);
    cursor.save();
}

/// Names the announcer itself if it asked for peers and the swarm of so many seeders and leechers, which
/// include it, has no other: some clients expect to find themselves then.
#[inline(always)]
pub(super) fn name_alone<F: Family, L: List>(
    prepared: &PreparedAnnounce,
    [seeders, leechers]: [u32; 2],
    list: &mut L,
) {
    let asks = L::IS_WHOLE || prepared.numwant != 0;
    if list.is_empty() && asks && seeders.wrapping_add(leechers) == 1 {
        list.name::<F>(prepared.addr, prepared.port());
    }
}

/// Counts a completed download, if it is one. Returns how many there are now.
#[inline(always)]
pub(crate) fn complete<F: Family>(entry: &Entry<'_, F>, meta: Meta, has_completed: bool) -> u32 {
    let completed = meta.completed();
    if !has_completed || completed >= Meta::COMPLETED_MAX {
        return completed;
    }
    entry.head().meta.add(Meta::COMPLETED_ONE);
    completed + 1
}

/// The figures of a known torrent.
///
/// # Errors
/// [`Miss::Frozen`] while the daemon moves its peers.
#[inline(always)]
pub fn scrape<F: Family>(entry: Entry<'_, F>, clock: &Clock) -> Result<Counts, Miss> {
    if entry.meta().is_frozen() {
        return Err(Miss::Frozen);
    }
    Ok(figures(entry, clock))
}

/// The figures of a torrent that nobody is moving.
#[inline(always)]
pub(crate) fn figures<F: Family>(entry: Entry<'_, F>, clock: &Clock) -> Counts {
    let meta = entry.meta();
    let completed = meta.completed();
    match meta.form() {
        Form::Vacant => Counts::default(),
        Form::Inline => {
            let [seeders, leechers] = if F::IS_V6 {
                entry.peer_slots::<4>().count(clock)
            } else {
                entry.peer_slots::<5>().count(clock)
            };
            Counts { seeders, leechers, completed }
        }
        Form::Spilled => Counts {
            seeders: entry.sets().seeders().len(),
            leechers: entry.sets().leechers().len(),
            completed,
        },
    }
}
