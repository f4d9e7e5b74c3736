//! Budgets: how much of what lasts, or costs the daemon work, one source may have.
//!
//! The meters of all sources are one array of words, a count-min sketch: a keyed hash of what is counted, of the
//! source and, for some kinds, of the torrent names one meter in each of two rows, and a source is over its budget
//! only where both say so. No key is stored, so no flood can push a source out of memory; what a flood of sources
//! does is make more meters run high, which [`Budgets::is_within`]'s caller reckons with by the number of meters.
//! Kernel and daemon charge the same meters with this code.
//!
//! A source is looked at twice: as the short prefix that one subscriber has, and as the wider one that is cheap to
//! get many short ones in. The short one comes first, so that a source over its own budget costs its neighbours
//! nothing.

use crate::{
    hash::TableKey,
    limit::{Limits, Meter, Rate},
    table::layout::Memory,
};

/// What is counted. Each kind has rows of its own, since a meter's time ahead means another number of units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Kind {
    /// Connects, which prove nothing of where they are from.
    Connects = 0,
    /// Announces and scrapes, whose source is proven.
    Requests = 1,
    /// Announces of torrents that are not in the table.
    Misses = 2,
    /// Torrents brought into the table.
    Torrents = 3,
    /// New peers in spilled swarms, in all of them together.
    Joins = 4,
    /// New peers in one spilled swarm.
    Peers = 5,
    /// Requests of a proven source that the kernel leaves to the daemon, but for misses.
    Passes = 6,
}

/// How many kinds there are.
pub const KINDS: usize = 7;

/// Meters that a source has in each kind.
pub const ROWS: u32 = 2;

/// A rate for a source, and one for the wider prefix that it is in.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Budget {
    /// Of one source.
    pub source: Rate,
    /// Of all sources in one wider prefix.
    pub wide: Rate,
}

/// What is to be charged, and to which source.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// A [`Kind`] as a number, below [`KINDS`].
    pub kind: u32,
    /// The first word of the source's address, as of [`Family::words`](crate::family::Family::words).
    pub addr: u64,
    /// Whether the address is one of IPv6.
    pub is_v6: bool,
    /// A hash of the torrent where the kind counts by torrent, else 0.
    pub torrent: u64,
    /// The monotonic clock, in nanoseconds.
    pub now_ns: u64,
}

/// The meters, the secret that names them, and the rates.
#[derive(Clone, Copy)]
pub struct Budgets<'a, M> {
    /// Where the meters are. Memory without meters has no budgets.
    pub memory: &'a M,
    /// The table's.
    pub key: &'a TableKey,
    /// What sources may have.
    pub limits: &'a Limits,
}

impl<M: Memory> Budgets<'_, M> {
    /// Charges one, if it is within the budget. Returns whether it was.
    #[inline(always)]
    #[must_use]
    pub fn take(&self, claim: &Claim) -> bool {
        let is_within = self.is_within(claim);
        if is_within {
            self.spend(claim);
        }
        is_within
    }

    /// Whether the source and its wider prefix are within their budgets.
    #[inline(always)]
    #[must_use]
    pub fn is_within(&self, claim: &Claim) -> bool {
        let Some(budget) = self.budget(claim) else { return true };
        let [short, wide] = self.limits.prefixes(claim.addr, claim.is_v6);
        self.level(claim, &budget.source, short)
            && (wide == 0 || self.level(claim, &budget.wide, wide))
    }

    /// Charges one. Meters that are over already are another source's, and stay as they are.
    #[inline(always)]
    pub fn spend(&self, claim: &Claim) {
        let Some(budget) = self.budget(claim) else { return };
        let [short, wide] = self.limits.prefixes(claim.addr, claim.is_v6);
        self.charge(claim, &budget.source, short);
        if wide != 0 {
            self.charge(claim, &budget.wide, wide);
        }
    }

    #[inline(always)]
    fn budget(&self, claim: &Claim) -> Option<&Budget> {
        self.limits.budgets.get(claim.kind as usize)
    }

    #[inline(always)]
    fn level(&self, claim: &Claim, rate: &Rate, source: u64) -> bool {
        if !rate.is_limited() {
            return true;
        }
        let hash = self.key.claim(claim.kind, source, claim.torrent);
        for row in 0..ROWS {
            match self.meter(claim.kind, row, hash) {
                Some(meter) if !meter.is_within(rate, claim.now_ns) => {}
                _ => return true,
            }
        }
        false
    }

    #[inline(always)]
    fn charge(&self, claim: &Claim, rate: &Rate, source: u64) {
        if !rate.is_limited() {
            return;
        }
        let hash = self.key.claim(claim.kind, source, claim.torrent);
        for row in 0..ROWS {
            if let Some(meter) = self.meter(claim.kind, row, hash) {
                let _ = meter.take(rate, claim.now_ns);
            }
        }
    }

    #[inline(always)]
    fn meter(&self, kind: u32, row: u32, hash: u64) -> Option<&Meter> {
        let mask = self.limits.meters_mask;
        let place = (hash >> (32 * row)) as u32 & mask;
        self.memory.meter((kind * ROWS + row) * mask.wrapping_add(1) + place)
    }
}

/// Meters of each row for so many sources: two for each, rounded up to a power of two.
#[must_use]
pub const fn meters_of_row(sources: u32) -> u32 {
    let sources = if sources > 1 << 24 { 1 << 24 } else { sources };
    (2 * sources).next_power_of_two()
}

/// Meters of all rows and kinds, where a row has so many.
#[must_use]
pub const fn meters(of_row: u32) -> u32 {
    ROWS * KINDS as u32 * of_row
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::ptr::NonNull;

    use super::*;
    use crate::family::Family;

    const SECOND: u64 = 1_000_000_000;
    const KEY: TableKey = TableKey([
        0x0123_4567_89ab_cdef,
        0xfedc_ba98_7654_3210,
        0x5151_c0de_9797_aaaa,
        0x1357_9bdf_0246_8ace,
    ]);

    struct Meters(Vec<Meter>);

    // SAFETY: it returns no pointer.
    unsafe impl Memory for Meters {
        fn bucket<F: Family>(&self, _: u32) -> Option<NonNull<u8>> {
            None
        }

        fn chunk(&self, _: u32) -> Option<NonNull<u8>> {
            None
        }

        fn meter(&self, index: u32) -> Option<&Meter> {
            self.0.get(index as usize)
        }
    }

    /// Memory for so many sources, and ten units a minute for each, forty for a wider prefix.
    fn world(sources: u32) -> (Meters, Limits) {
        let of_row = meters_of_row(sources);
        let meters = (0..meters(of_row)).map(|_| Meter::default()).collect();
        let budget = Budget { source: Rate::per(10, 60), wide: Rate::per(40, 60) };
        let limits = Limits {
            budgets: [budget; KINDS],
            meters_mask: of_row - 1,
            mask_v4: u32::MAX,
            mask_v6: u64::MAX,
            wide_mask_v4: u32::from_ne_bytes([255, 255, 255, 0]),
            wide_mask_v6: u64::from_ne_bytes([255, 255, 255, 255, 255, 255, 0, 0]),
            ..Limits::default()
        };
        (Meters(meters), limits)
    }

    fn v4(addr: [u8; 4]) -> Claim {
        let addr = u64::from(u32::from_ne_bytes(addr));
        Claim { kind: Kind::Peers as u32, addr, is_v6: false, torrent: 7, now_ns: SECOND }
    }

    fn v6(subnet: [u8; 8]) -> Claim {
        Claim { addr: u64::from_ne_bytes(subnet), is_v6: true, ..v4([0; 4]) }
    }

    fn taken(
        (memory, limits): &(Meters, Limits),
        claims: impl IntoIterator<Item = Claim>,
    ) -> usize {
        let budgets = Budgets { memory, key: &KEY, limits };
        claims.into_iter().filter(|claim| budgets.take(claim)).count()
    }

    #[test]
    fn a_source_has_its_budget_in_each_torrent_and_no_more() {
        let world = world(1000);
        let one = v4([198, 51, 100, 1]);
        assert_eq!(taken(&world, [one; 100]), 11);
        assert_eq!(taken(&world, [Claim { torrent: 8, ..one }; 100]), 11);
        assert_eq!(taken(&world, [Claim { kind: Kind::Misses as u32, ..one }; 100]), 11);
        assert_eq!(taken(&world, [v4([198, 51, 100, 2]); 100]), 11);
        let later = Claim { now_ns: 70 * SECOND, ..one };
        assert_eq!(taken(&world, [later; 100]), 11);
    }

    #[test]
    fn many_sources_of_one_wider_prefix_have_the_budget_of_that() {
        let world = world(1000);
        let subnets = |site: u8| (0..100).map(move |n| v6([0x20, 1, 0xd, 0xb8, 0, site, 0, n]));
        assert_eq!(taken(&world, subnets(1)), 41);
        assert_eq!(taken(&world, subnets(2)), 41);
        assert_eq!(taken(&world, (0..100).map(|n| v4([192, 0, 2, n]))), 41);
    }

    #[test]
    fn a_source_that_is_over_costs_its_neighbours_nothing() {
        let world = world(1000);
        assert_eq!(taken(&world, std::iter::repeat_n(v4([192, 0, 2, 1]), 100_000)), 11);
        assert_eq!(taken(&world, [v4([192, 0, 2, 2]); 100]), 11);
    }

    #[test]
    fn without_meters_or_rates_there_is_no_budget() {
        let (_, limits) = world(1);
        assert_eq!(taken(&(Meters(Vec::new()), limits), [v4([192, 0, 2, 1]); 100]), 100);
        let (memory, _) = world(1);
        assert_eq!(taken(&(memory, Limits::default()), [v4([192, 0, 2, 1]); 100]), 100);
    }

    #[test]
    fn a_thousand_sources_over_their_budget_hold_back_few_others() {
        let (memory, mut limits) = world(65_536);
        limits.wide_mask_v4 = 0;
        let world = (memory, limits);
        for n in 0..1000_u32 {
            taken(&world, [v4((0x0a00_0000 + n).to_be_bytes()); 20]);
        }
        let others = 100_000;
        let claims = (0..others).map(|n: u32| v4((0x1400_0000 + n).to_be_bytes()));
        // Both of a source's meters are among a thousand of 131,072: one source in 17,000.
        assert!(taken(&world, claims) >= others as usize - 30);
    }

    proptest! {
        #[test]
        fn a_source_never_has_less_than_its_budget_beside_few_others(
            others in prop::collection::vec(any::<u32>(), 0..50),
            addr in any::<[u8; 4]>(),
        ) {
            let (memory, mut limits) = world(65_536);
            limits.wide_mask_v4 = 0;
            let world = (memory, limits);
            for other in others.into_iter().map(u32::to_be_bytes).filter(|other| *other != addr) {
                taken(&world, [v4(other); 20]);
            }
            prop_assert_eq!(taken(&world, [v4(addr); 20]), 11);
        }
    }
}
