//! A torrent in the table: its figures, and what announces and scrapes of either form have in common.

pub use super::visit::{Announce, Side, Visit};
use super::{
    Miss,
    layout::{Form, Line, Meta},
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
    pub(super) fn of(visit: &Visit, was_seeder: Option<bool>) -> Self {
        match (visit.leaves(), was_seeder) {
            (true, Some(_)) => Self::Left,
            (false, None) => Self::Joined,
            (false, Some(false)) if visit.is_seeder() => Self::Completed,
            _ => Self::Refreshed,
        }
    }
}

/// Begins the list of a reply.
#[inline(always)]
pub fn begin_list<F: Family>(visit: &Visit, list: &mut PeerBuf) {
    list.begin::<F>(visit.numwant);
}

/// Ends the list of a reply, of a swarm with these figures.
#[inline(always)]
pub fn finish_list<F: Family>(visit: &Visit, counts: &Counts, list: &mut PeerBuf) {
    let mut cursor = list.cursor();
    name_alone::<F, _>(visit, [counts.seeders, counts.leechers], &mut cursor);
    cursor.save();
}

/// Names the announcer itself if it asked for peers and the swarm of so many seeders and leechers, which
/// include it, has no other: some clients expect to find themselves then.
#[inline(always)]
pub(super) fn name_alone<F: Family, L: List>(
    visit: &Visit,
    [seeders, leechers]: [u32; 2],
    list: &mut L,
) {
    let asks = L::IS_WHOLE || visit.numwant != 0;
    if list.is_empty() && asks && seeders.wrapping_add(leechers) == 1 {
        list.name::<F>(visit.addr, visit.port());
    }
}

/// Counts a completed download, if it is one. Returns how many there are now.
#[inline(always)]
pub(crate) fn complete<F: Family>(line: &Line<'_, F>, meta: Meta, has_completed: bool) -> u32 {
    let completed = meta.completed();
    if !has_completed || completed >= Meta::COMPLETED_MAX {
        return completed;
    }
    line.head().meta.add(Meta::COMPLETED_ONE);
    completed + 1
}

/// The figures of a known torrent.
///
/// # Errors
/// [`Miss::Frozen`] while the daemon moves its peers.
#[inline(always)]
pub fn scrape<F: Family>(line: Line<'_, F>, clock: &Clock) -> Result<Counts, Miss> {
    if line.meta().is_frozen() {
        return Err(Miss::Frozen);
    }
    Ok(figures(line, clock))
}

/// The figures of a torrent that nobody is moving.
#[inline(always)]
pub(crate) fn figures<F: Family>(line: Line<'_, F>, clock: &Clock) -> Counts {
    let meta = line.meta();
    let completed = meta.completed();
    match meta.form() {
        Form::Vacant => Counts::default(),
        Form::Inline => {
            let [seeders, leechers] =
                if F::IS_V6 { line.run::<4>().count(clock) } else { line.run::<5>().count(clock) };
            Counts { seeders, leechers, completed }
        }
        Form::Outgrown => Counts {
            seeders: line.halves().seeders().len(),
            leechers: line.halves().leechers().len(),
            completed,
        },
    }
}
