//! What an announce does to a torrent that keeps its peers in its entry.

use super::{
    Miss,
    layout::{Entry, Form},
    peer_slots::{Nobody, PeerSlots},
    prepared::PreparedAnnounce,
    swarm::{Change, Counts, begin_list, complete, name_alone},
    word::PeerWord,
};
use crate::{
    family::Family,
    peers::{List, PeerBuf},
    verifier::{BranchlessBool, add_now, bounded, cold_path},
};

/// Applies an announce to a torrent that keeps its peers in its entry, and fills `list`, which is empty.
///
/// # Errors
/// A [`Miss`] says that somebody else must do it; nothing but the list has been changed then.
#[inline(always)]
pub fn announce<F: Family>(
    entry: Entry<'_, F>,
    prepared: &PreparedAnnounce,
    list: &mut impl List,
) -> Result<(Counts, Change), Miss> {
    let meta = entry.meta();
    if (meta.is_frozen() && prepared.keeps_away()) || meta.form() != Form::Inline {
        return Err(cold_path(Miss::Frozen));
    }
    let (was_seeder, [seeders, leechers]) = if F::IS_V6 {
        serve::<F, _, 4>(&entry.peer_slots(), prepared, list)?
    } else {
        serve::<F, _, 5>(&entry.peer_slots(), prepared, list)?
    };
    let completed = complete(&entry, meta, prepared.has_completed(was_seeder == Some(true)));
    name_alone::<F, _>(prepared, [seeders, leechers], list);
    let change = Change::of(prepared, was_seeder);
    Ok((Counts { seeders, leechers, completed }, change))
}

/// The same with a list from its beginning to its end.
///
/// # Errors
/// As for [`announce`].
#[inline(always)]
pub fn announce_and_list<F: Family>(
    entry: Entry<'_, F>,
    prepared: &PreparedAnnounce,
    list: &mut PeerBuf,
) -> Result<(Counts, Change), Miss> {
    begin_list::<F>(prepared, list);
    let mut cursor = list.cursor();
    let done = announce(entry, prepared, &mut cursor)?;
    cursor.save();
    Ok(done)
}

/// Appends peers of a torrent that keeps them in its entry, and changes nothing. Returns the seeders and leechers
/// that there will be with the announcer.
#[cfg(not(target_arch = "bpf"))]
pub(crate) fn draw<F: Family>(
    entry: Entry<'_, F>,
    prepared: &PreparedAnnounce,
    list: &mut impl List,
) -> [u32; 2] {
    let scan = if F::IS_V6 {
        draw_slots::<F, _, 4>(&entry.peer_slots(), prepared, list)
    } else {
        draw_slots::<F, _, 5>(&entry.peer_slots(), prepared, list)
    };
    scan.figures(prepared)
}

/// Changes the announcer's slot, and fills the list. Returns whether the announcer was a seeder, if it was
/// there, and all seeders and leechers that there are now.
#[inline(always)]
fn serve<F: Family, L: List, const N: usize>(
    slots: &PeerSlots<'_, F, N>,
    prepared: &PreparedAnnounce,
    list: &mut L,
) -> Result<(Option<bool>, [u32; 2]), Miss> {
    let scan = draw_slots(slots, prepared, list);
    let was_seeder = settle(slots, prepared, scan.own())?;
    Ok((was_seeder, scan.figures(prepared)))
}

/// Looks at all slots, and fills the list.
#[inline(always)]
fn draw_slots<F: Family, L: List, const N: usize>(
    slots: &PeerSlots<'_, F, N>,
    prepared: &PreparedAnnounce,
    list: &mut L,
) -> SlotScan {
    if L::IS_WHOLE || prepared.numwant >= N as u32 {
        return scan(slots, prepared, list);
    }
    draw_some(slots, prepared, list);
    scan(slots, prepared, &mut Nobody)
}

/// What one look at all slots shows, in one word, for registers are few: `seeders:48 | live:8 | own:8`. The
/// announcer's slot is a bit of `own`, and not counted.
struct SlotScan(u64);

impl SlotScan {
    const LIVE_ONE: u64 = 1 << 8;
    const SEEDERS_SHIFT: u32 = 16;

    #[inline(always)]
    fn add(&mut self, index: usize, named: BranchlessBool, live: BranchlessBool, word: PeerWord) {
        const { assert!(PeerWord::SEEDER_SHIFT - 32 == Self::SEEDERS_SHIFT) };
        let one = (word.0 >> 32) & (1 << Self::SEEDERS_SHIFT) | Self::LIVE_ONE;
        add_now(&mut self.0, named.mask() & (1 << index));
        add_now(&mut self.0, live.mask() & one);
    }

    /// The announcer's slot. Two, of which announces at the same moment can have made one each, are as good
    /// as one.
    #[inline(always)]
    fn own(&self) -> Option<usize> {
        /// The number of a bit among the lowest five, in the three bits from three times its value on.
        const NUMBERS: u64 = 1 << 6 | 2 << 12 | 3 << 24 | 4 << 48;
        let bits = self.0 & 0xff;
        if bits == 0 {
            return None;
        }
        let first = bits & bits.wrapping_neg();
        Some(bounded::<7>(NUMBERS >> ((first * 3) & 63)))
    }

    /// Seeders and leechers, with the announcer as it is from now on.
    #[inline(always)]
    fn figures(&self, prepared: &PreparedAnnounce) -> [u32; 2] {
        let stays = !prepared.leaves() as u32;
        let seeders = (self.0 >> Self::SEEDERS_SHIFT) as u32;
        let leechers = (self.0 as u32 >> 8 & 0xff) - seeders;
        let seeder = prepared.is_seeder() as u32;
        [seeders + (stays & seeder), leechers + (stays & !seeder)]
    }
}

/// Looks at all slots, and appends to the list whom the announcer may want.
#[inline(always)]
fn scan<F: Family, const N: usize>(
    slots: &PeerSlots<'_, F, N>,
    prepared: &PreparedAnnounce,
    list: &mut impl List,
) -> SlotScan {
    let no_seeders = (prepared.is_seeder() as u64) << SlotScan::SEEDERS_SHIFT;
    let mut scan = SlotScan(0);
    list.make_room();
    for index in 0..N {
        let slot = slots.read(index);
        let named = slot.is_of(prepared);
        let live = slot.is_live(&prepared.clock).and(named.not());
        scan.add(index, named, live, slot.word);
        let wanted = BranchlessBool::less((slot.word.0 >> 32) & no_seeders, 1);
        slot.append(list, live.and(wanted));
    }
    scan
}

/// Changes the announcer's slot, or gives it one. Returns whether it was a seeder, if it had one.
#[inline(always)]
fn settle<F: Family, const N: usize>(
    slots: &PeerSlots<'_, F, N>,
    prepared: &PreparedAnnounce,
    own: Option<usize>,
) -> Result<Option<bool>, Miss> {
    let Some(slot) = own else { return settle_newcomer(slots, prepared) };
    // It never is; the verifier cannot know.
    if slot >= N {
        return Err(cold_path(Miss::Contended));
    }
    let old = slots.peer(slot);
    if !prepared.key.is_of(old) {
        return Err(cold_path(Miss::Contended));
    }
    if old != prepared.new && !slots.word(slot).replace(old.0, prepared.new.0) {
        return Err(cold_path(Miss::Contended));
    }
    Ok(Some(old.is_seeder()))
}

#[inline(always)]
fn settle_newcomer<F: Family, const N: usize>(
    slots: &PeerSlots<'_, F, N>,
    prepared: &PreparedAnnounce,
) -> Result<Option<bool>, Miss> {
    if prepared.leaves() {
        return Ok(None);
    }
    let free = number_of::<N>(|index| slots.peer(index).is_free(&prepared.clock));
    let slot = slot::<N>(free).ok_or_else(|| cold_path(Miss::Full))?;
    let old = slots.peer(slot);
    if old.is_free(&prepared.clock).bit() == 0 || !slots.take(slot, old, prepared) {
        return Err(cold_path(Miss::Contended));
    }
    Ok(None)
}

/// The number of the first slot that `is_it`, counted from one; 0 if there is none.
#[inline(always)]
fn number_of<const N: usize>(is_it: impl Fn(usize) -> BranchlessBool) -> u64 {
    let mut number = 0;
    for index in (0..N).rev() {
        // The first one is the last to be written here.
        let keep = is_it(index).bit().wrapping_sub(1);
        number = number & keep | (index as u64 + 1) & !keep;
    }
    number
}

/// The slot with this number, counted from one.
#[inline(always)]
fn slot<const N: usize>(number: u64) -> Option<usize> {
    let slot = bounded::<7>((number as u32).wrapping_sub(1));
    if number == 0 || slot >= N { None } else { Some(slot) }
}

/// Appends peers where not all may fit: the best first.
#[inline(always)]
fn draw_some<F: Family, const N: usize>(
    slots: &PeerSlots<'_, F, N>,
    prepared: &PreparedAnnounce,
    list: &mut impl List,
) {
    let no_subnet = if prepared.prefers_near() { BranchlessBool::NO } else { BranchlessBool::YES };
    // By turns: seeders of the own subnet, leechers of it, other seeders, other leechers. The turns
    // are not known to LLVM, which would otherwise write them out.
    for turn in 0..1 + bounded::<3>(3 | prepared.zero) as u64 {
        let other_role = (turn & 1) << 63;
        let far = (turn >> 1) << 63;
        if (turn & 1 == 0 && prepared.is_seeder()) || (turn < 2 && !prepared.prefers_near()) {
            continue;
        }
        for index in 0..N {
            if list.is_full() {
                break;
            }
            list.make_room();
            let slot = slots.read(rotated::<N>(index, prepared.seed));
            let other_role = slot.word.is_seeder_sign().not().xor(other_role);
            let other_subnet = prepared.is_near(slot.addr()).not().xor(far).and(no_subnet.not());
            let unwanted = slot.is_of(prepared).or(other_role).or(other_subnet);
            slot.append(list, slot.is_live(&prepared.clock).and(unwanted.not()));
        }
    }
}

/// The slots in another order, beginning at one that the announce's seed chooses.
#[inline(always)]
fn rotated<const N: usize>(index: usize, seed: u32) -> usize {
    let first = ((seed & 0xffff) * N as u32) >> 16;
    let at = bounded::<7>(first) + index;
    let at = if at >= N { at - N } else { at };
    if at >= N { 0 } else { at }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_announcers_slots_is_its_own() {
        assert_eq!(SlotScan(SlotScan::LIVE_ONE).own(), None);
        for bits in 1..32 {
            let slot = SlotScan(SlotScan::LIVE_ONE | bits).own();
            assert_eq!(slot, Some(bits.trailing_zeros() as usize));
        }
    }
}
