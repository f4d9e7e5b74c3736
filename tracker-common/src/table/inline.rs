//! What an announce does to a torrent that keeps its peers in its line.

use super::{
    Miss,
    layout::{Form, Line},
    run::{Run, Tally},
    swarm::{Change, Counts, begin_list, complete},
    visit::Visit,
    word::PeerWord,
};
use crate::{
    family::Family,
    peers::{List, PeerBuf},
    verifier::{Sign, bounded},
};

/// Applies an announce to a torrent that keeps its peers in its line, and fills `list`, which is empty.
///
/// # Errors
/// A [`Miss`] says that somebody else must do it; nothing has been changed then.
#[inline(always)]
pub fn announce<F: Family>(
    line: Line<F>,
    visit: &Visit,
    list: &mut impl List,
) -> Result<(Counts, Change), Miss> {
    let meta = line.meta();
    if (meta.is_frozen() && visit.keeps_away()) || meta.form() != Form::Inline {
        return Err(Miss::Frozen);
    }
    let (was_there, old) = if F::IS_V6 {
        settle::<F, 4>(&line.run(), visit)?
    } else {
        settle::<F, 5>(&line.run(), visit)?
    };
    let was_seeder = was_there && old.is_seeder();
    let completed = complete(&line, meta, visit.has_completed(was_seeder));
    let [seeders, leechers] = draw(line, visit, list);
    list.finish_for::<F>(visit.addr, visit.port());
    let change = Change::of(visit, was_there, was_seeder);
    Ok((Counts { seeders, leechers, completed }, change))
}

/// The same with a list from its beginning to its end.
///
/// # Errors
/// As for [`announce`].
#[inline(always)]
pub fn announce_and_list<F: Family>(
    line: Line<F>,
    visit: &Visit,
    list: &mut PeerBuf,
) -> Result<(Counts, Change), Miss> {
    begin_list::<F>(visit, list);
    let mut cursor = list.cursor();
    let done = announce(line, visit, &mut cursor)?;
    cursor.save();
    Ok(done)
}

/// Appends peers of a torrent that keeps them in its line. Returns all seeders and leechers.
#[inline(always)]
pub(crate) fn draw<F: Family>(line: Line<F>, visit: &Visit, list: &mut impl List) -> [u32; 2] {
    if F::IS_V6 {
        draw_run::<F, _, 4>(&line.run(), visit, list)
    } else {
        draw_run::<F, _, 5>(&line.run(), visit, list)
    }
}

/// Changes the announcer's slot. Returns whether it had one, and the word that was in it.
#[inline(always)]
fn settle<F: Family, const N: usize>(
    run: &Run<F, N>,
    visit: &Visit,
) -> Result<(bool, PeerWord), Miss> {
    let number = number_of::<N>(|index| run.names(index, visit));
    if number == 0 {
        return settle_newcomer(run, visit);
    }
    let slot = slot::<N>(number).ok_or(Miss::Contended)?;
    let old = run.peer(slot);
    if !visit.key.is_of(old) {
        return Err(Miss::Contended);
    }
    if old != visit.new && !run.word(slot).replace(old.0, visit.new.0) {
        return Err(Miss::Contended);
    }
    Ok((true, old))
}

#[inline(always)]
fn settle_newcomer<F: Family, const N: usize>(
    run: &Run<F, N>,
    visit: &Visit,
) -> Result<(bool, PeerWord), Miss> {
    if visit.leaves() {
        return Ok((false, PeerWord::VACANT));
    }
    let free = number_of::<N>(|index| run.peer(index).is_free(&visit.clock));
    let slot = slot::<N>(free).ok_or(Miss::Full)?;
    let old = run.peer(slot);
    if old.is_free(&visit.clock).bit() == 0 || !run.take(slot, old, visit) {
        return Err(Miss::Contended);
    }
    Ok((false, PeerWord::VACANT))
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

/// Appends a line's peers to the list, and counts all.
#[inline(always)]
fn draw_run<F: Family, L: List, const N: usize>(
    run: &Run<F, N>,
    visit: &Visit,
    list: &mut L,
) -> [u32; 2] {
    if !L::IS_WHOLE && visit.numwant < N as u32 {
        draw_some(run, visit, list);
        return run.count(&visit.clock);
    }
    let no_seeders = (visit.is_seeder() as u64) << 63;
    let mut tally = Tally::default();
    for index in 0..N {
        let unwanted = |word: PeerWord, _| {
            visit.key.names(word).or(word.is_seeder_sign().and(Sign::new(no_seeders)))
        };
        let word = run.draw(index, &visit.clock, unwanted, list);
        tally.add(word, &visit.clock);
    }
    tally.figures()
}

/// The same where not all may fit: the best first.
#[inline(always)]
fn draw_some<F: Family, const N: usize>(run: &Run<F, N>, visit: &Visit, list: &mut impl List) {
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
            let unwanted = |word: PeerWord, addr| {
                let other_role = word.is_seeder_sign().not().xor(other_role);
                let other_subnet = visit.is_near(addr).not().xor(far).and(no_subnet.not());
                visit.key.names(word).or(other_role).or(other_subnet)
            };
            run.draw(rotated::<N>(index, visit.seed), &visit.clock, unwanted, list);
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
