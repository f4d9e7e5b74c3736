//! What an announce does to a torrent that keeps its peers in its line.

use super::{
    Miss,
    layout::{Form, Line},
    run::{Nobody, Run},
    swarm::{Change, Counts, begin_list, complete, name_alone},
    visit::Visit,
    word::PeerWord,
};
use crate::{
    family::Family,
    peers::{List, PeerBuf},
    verifier::{Sign, add_now, bounded, seldom},
};

/// Applies an announce to a torrent that keeps its peers in its line, and fills `list`, which is empty.
///
/// # Errors
/// A [`Miss`] says that somebody else must do it; nothing but the list has been changed then.
#[inline(always)]
pub fn announce<F: Family>(
    line: Line<'_, F>,
    visit: &Visit,
    list: &mut impl List,
) -> Result<(Counts, Change), Miss> {
    let meta = line.meta();
    if (meta.is_frozen() && visit.keeps_away()) || meta.form() != Form::Inline {
        return Err(seldom(Miss::Frozen));
    }
    let (was_seeder, [seeders, leechers]) = if F::IS_V6 {
        serve::<F, _, 4>(&line.run(), visit, list)?
    } else {
        serve::<F, _, 5>(&line.run(), visit, list)?
    };
    let completed = complete(&line, meta, visit.has_completed(was_seeder == Some(true)));
    name_alone::<F, _>(visit, [seeders, leechers], list);
    let change = Change::of(visit, was_seeder);
    Ok((Counts { seeders, leechers, completed }, change))
}

/// The same with a list from its beginning to its end.
///
/// # Errors
/// As for [`announce`].
#[inline(always)]
pub fn announce_and_list<F: Family>(
    line: Line<'_, F>,
    visit: &Visit,
    list: &mut PeerBuf,
) -> Result<(Counts, Change), Miss> {
    begin_list::<F>(visit, list);
    let mut cursor = list.cursor();
    let done = announce(line, visit, &mut cursor)?;
    cursor.save();
    Ok(done)
}

/// Appends peers of a torrent that keeps them in its line, and changes nothing. Returns the seeders and leechers
/// that there will be with the announcer.
#[cfg(not(target_arch = "bpf"))]
pub(crate) fn draw<F: Family>(line: Line<'_, F>, visit: &Visit, list: &mut impl List) -> [u32; 2] {
    let survey = if F::IS_V6 {
        draw_run::<F, _, 4>(&line.run(), visit, list)
    } else {
        draw_run::<F, _, 5>(&line.run(), visit, list)
    };
    survey.figures(visit)
}

/// Changes the announcer's slot, and fills the list. Returns whether the announcer was a seeder, if it was
/// there, and all seeders and leechers that there are now.
#[inline(always)]
fn serve<F: Family, L: List, const N: usize>(
    run: &Run<'_, F, N>,
    visit: &Visit,
    list: &mut L,
) -> Result<(Option<bool>, [u32; 2]), Miss> {
    let survey = draw_run(run, visit, list);
    let was_seeder = settle(run, visit, survey.own())?;
    Ok((was_seeder, survey.figures(visit)))
}

/// Looks at all slots, and fills the list.
#[inline(always)]
fn draw_run<F: Family, L: List, const N: usize>(
    run: &Run<'_, F, N>,
    visit: &Visit,
    list: &mut L,
) -> Survey {
    if L::IS_WHOLE || visit.numwant >= N as u32 {
        return survey(run, visit, list);
    }
    draw_some(run, visit, list);
    survey(run, visit, &mut Nobody)
}

/// What one look at all slots shows, in one word, for registers are few: `seeders:48 | live:8 | own:8`. The
/// announcer's slot is a bit of `own`, and not counted.
struct Survey(u64);

impl Survey {
    const LIVE_ONE: u64 = 1 << 8;
    const SEEDERS_SHIFT: u32 = 16;

    #[inline(always)]
    fn add(&mut self, index: usize, named: Sign, live: Sign, word: PeerWord) {
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
    fn figures(&self, visit: &Visit) -> [u32; 2] {
        let stays = !visit.leaves() as u32;
        let seeders = (self.0 >> Self::SEEDERS_SHIFT) as u32;
        let leechers = (self.0 as u32 >> 8 & 0xff) - seeders;
        let seeder = visit.is_seeder() as u32;
        [seeders + (stays & seeder), leechers + (stays & !seeder)]
    }
}

/// Looks at all slots, and appends to the list whom the announcer may want.
#[inline(always)]
fn survey<F: Family, const N: usize>(
    run: &Run<'_, F, N>,
    visit: &Visit,
    list: &mut impl List,
) -> Survey {
    let no_seeders = (visit.is_seeder() as u64) << Survey::SEEDERS_SHIFT;
    let mut survey = Survey(0);
    list.make_room();
    for index in 0..N {
        let slot = run.read(index);
        let named = slot.is_of(visit);
        let live = slot.is_live(&visit.clock).and(named.not());
        survey.add(index, named, live, slot.word);
        let wanted = Sign::less((slot.word.0 >> 32) & no_seeders, 1);
        slot.append(list, live.and(wanted));
    }
    survey
}

/// Changes the announcer's slot, or gives it one. Returns whether it was a seeder, if it had one.
#[inline(always)]
fn settle<F: Family, const N: usize>(
    run: &Run<'_, F, N>,
    visit: &Visit,
    own: Option<usize>,
) -> Result<Option<bool>, Miss> {
    let Some(slot) = own else { return settle_newcomer(run, visit) };
    // It never is; the verifier cannot know.
    if slot >= N {
        return Err(seldom(Miss::Contended));
    }
    let old = run.peer(slot);
    if !visit.key.is_of(old) {
        return Err(seldom(Miss::Contended));
    }
    if old != visit.new && !run.word(slot).replace(old.0, visit.new.0) {
        return Err(seldom(Miss::Contended));
    }
    Ok(Some(old.is_seeder()))
}

#[inline(always)]
fn settle_newcomer<F: Family, const N: usize>(
    run: &Run<'_, F, N>,
    visit: &Visit,
) -> Result<Option<bool>, Miss> {
    if visit.leaves() {
        return Ok(None);
    }
    let free = number_of::<N>(|index| run.peer(index).is_free(&visit.clock));
    let slot = slot::<N>(free).ok_or_else(|| seldom(Miss::Full))?;
    let old = run.peer(slot);
    if old.is_free(&visit.clock).bit() == 0 || !run.take(slot, old, visit) {
        return Err(seldom(Miss::Contended));
    }
    Ok(None)
}

/// The number of the first slot that `is_it`, counted from one; 0 if there is none.
#[inline(always)]
fn number_of<const N: usize>(is_it: impl Fn(usize) -> Sign) -> u64 {
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
fn draw_some<F: Family, const N: usize>(run: &Run<'_, F, N>, visit: &Visit, list: &mut impl List) {
    let no_subnet = if visit.prefers_near() { Sign::NO } else { Sign::YES };
    // By turns: seeders of the own subnet, leechers of it, other seeders, other leechers. The turns
    // are not known to LLVM, which would otherwise write them out.
    for turn in 0..1 + bounded::<3>(3 | visit.zero) as u64 {
        let other_role = (turn & 1) << 63;
        let far = (turn >> 1) << 63;
        if (turn & 1 == 0 && visit.is_seeder()) || (turn < 2 && !visit.prefers_near()) {
            continue;
        }
        for index in 0..N {
            if list.is_full() {
                break;
            }
            list.make_room();
            let slot = run.read(rotated::<N>(index, visit.seed));
            let other_role = slot.word.is_seeder_sign().not().xor(other_role);
            let other_subnet = visit.is_near(slot.addr()).not().xor(far).and(no_subnet.not());
            let unwanted = slot.is_of(visit).or(other_role).or(other_subnet);
            slot.append(list, slot.is_live(&visit.clock).and(unwanted.not()));
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
        assert_eq!(Survey(Survey::LIVE_ONE).own(), None);
        for bits in 1..32 {
            let slot = Survey(Survey::LIVE_ONE | bits).own();
            assert_eq!(slot, Some(bits.trailing_zeros() as usize));
        }
    }
}
