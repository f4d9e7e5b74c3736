//! A run of peer slots: in a line, or in a leaf.
//!
//! All words come first, then (IPv6) all addresses, so that a search reads words only.

use core::marker::PhantomData;

use super::{
    visit::Visit,
    word::{ABOVE_KEY, PeerWord},
};
use crate::{family::Family, peers::List, sync::Word64, time::Clock, verifier::Sign};

/// `N` slots. Indices are below `N`.
pub(crate) struct Run<F, const N: usize> {
    words: *mut u8,
    family: PhantomData<F>,
}

impl<F: Family, const N: usize> Run<F, N> {
    /// # Safety
    /// `words` points to `N` words of the table, aligned to 8, and (IPv6) `N` addresses after them.
    #[inline(always)]
    pub(crate) unsafe fn new(words: *mut u8) -> Self {
        Self { words, family: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn word(&self, index: usize) -> &Word64 {
        // SAFETY: the index is below `N`; all bit patterns are valid.
        unsafe { &*self.words.add(index * 8).cast::<Word64>() }
    }

    #[inline(always)]
    pub(crate) fn peer(&self, index: usize) -> PeerWord {
        PeerWord(self.word(index).load())
    }

    /// The address beside a word (IPv6), which may be torn while the word is a claim.
    #[inline(always)]
    pub(crate) fn addr(&self, index: usize) -> [u64; 2] {
        let [first, second] = self.addr_words(index);
        [first.load(), second.load()]
    }

    /// Whoever writes here holds the slot by a claim, or is alone.
    #[inline(always)]
    pub(crate) fn set_addr(&self, index: usize, addr: [u64; 2]) {
        let [first, second] = self.addr_words(index);
        first.put(addr[0]);
        second.put(addr[1]);
    }

    #[inline(always)]
    fn addr_words(&self, index: usize) -> &[Word64; 2] {
        // SAFETY: the addresses follow the words, `N` of them, aligned to 8.
        unsafe { &*self.words.add(N * 8 + index * 16).cast::<[Word64; 2]>() }
    }

    /// Whether this slot is the announcer's.
    #[inline(always)]
    pub(crate) fn is_of(&self, index: usize, visit: &Visit) -> bool {
        visit.key.is_of(self.peer(index)) && (!F::IS_V6 || self.addr(index) == visit.addr)
    }

    /// The same without a branch.
    #[inline(always)]
    pub(crate) fn names(&self, index: usize, visit: &Visit) -> Sign {
        let named = visit.key.names(self.peer(index));
        if !F::IS_V6 {
            return named;
        }
        let [low, high] = self.addr(index);
        named.and(Sign::is_zero((low ^ visit.addr[0]) | (high ^ visit.addr[1])))
    }

    /// Gives a free slot, whose word was `old`, to the announcer; `false` when somebody was quicker.
    #[inline(always)]
    pub(crate) fn take(&self, index: usize, old: PeerWord, visit: &Visit) -> bool {
        let slot = self.word(index);
        if !F::IS_V6 {
            return slot.replace(old.0, visit.new.0);
        }
        // The claim makes the slot ours; readers check the word after their reads.
        if !slot.replace(old.0, PeerWord::claim(&visit.clock).0) {
            return false;
        }
        self.set_addr(index, visit.addr);
        slot.store(visit.new.0);
        true
    }

    /// Appends the slot's peer if it is live and not `unwanted`. Returns its word.
    #[inline(always)]
    pub(crate) fn draw(
        &self,
        index: usize,
        clock: &Clock,
        unwanted: impl Fn(PeerWord, [u64; 2]) -> Sign,
        list: &mut impl List,
    ) -> PeerWord {
        let word = self.peer(index);
        if F::IS_V6 {
            let addr = self.addr(index);
            // The slot may have changed hands since its word was read.
            let changed = Sign::is_zero((self.peer(index).0 ^ word.0) << ABOVE_KEY).not();
            let accept = word.is_gone(clock).or(changed).or(unwanted(word, addr)).not_bit();
            list.push_v6(addr, word.port(), accept);
        } else {
            let addr = [word.0 & 0xffff_ffff, 0];
            let accept = word.is_gone(clock).or(unwanted(word, addr)).not_bit();
            list.push_v4(word.0, accept);
        }
        word
    }

    /// Live seeders and leechers.
    #[inline(always)]
    pub(crate) fn count(&self, clock: &Clock) -> [u32; 2] {
        let mut tally = Tally::default();
        for index in 0..N {
            tally.add(self.peer(index), clock);
        }
        tally.figures()
    }
}

/// Counts live peers.
#[derive(Default)]
pub(crate) struct Tally {
    live: u64,
    seeders: u64,
}

impl Tally {
    #[inline(always)]
    pub(crate) fn add(&mut self, word: PeerWord, clock: &Clock) {
        let one = word.is_gone(clock).not_bit();
        self.live += one;
        self.seeders += one & word.seeder_bit();
    }

    /// Seeders and leechers.
    #[inline(always)]
    pub(crate) const fn figures(&self) -> [u32; 2] {
        [self.seeders as u32, (self.live - self.seeders) as u32]
    }
}
