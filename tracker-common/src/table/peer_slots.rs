//! Peer slots: in an entry, or in a leaf.
//!
//! All words come first, then (IPv6) all addresses, so that a search reads words only.

use core::{marker::PhantomData, ptr::NonNull};

use super::{prepared::PreparedAnnounce, word::PeerWord};
use crate::{
    family::Family,
    peers::List,
    sync::Word64,
    time::Clock,
    verifier::{BranchlessBool, assert_within},
};

/// `N` slots, borrowed from their memory. Indices are below `N`.
pub(crate) struct PeerSlots<'a, F, const N: usize> {
    words: NonNull<u8>,
    memory: PhantomData<(&'a Word64, F)>,
}

impl<'a, F: Family, const N: usize> PeerSlots<'a, F, N> {
    /// # Safety
    /// `words` points to `N` words of the table, aligned to 8, and (IPv6) `N` addresses after them. They are there for
    /// `'a`, and are accessed by words only, as [`Memory`](super::layout::Memory) says.
    #[inline(always)]
    pub(crate) unsafe fn new(words: NonNull<u8>) -> Self {
        Self { words, memory: PhantomData }
    }

    #[inline(always)]
    pub(crate) fn word(&self, index: usize) -> &'a Word64 {
        assert_within::<N>(index);
        // SAFETY: the index is below `N`; all bit patterns are valid.
        unsafe { self.words.add(index * 8).cast::<Word64>().as_ref() }
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
    fn addr_words(&self, index: usize) -> &'a [Word64; 2] {
        assert!(F::IS_V6);
        assert_within::<N>(index);
        // SAFETY: the addresses follow the words, `N` of them, aligned to 8.
        unsafe { self.words.add(N * 8 + index * 16).cast::<[Word64; 2]>().as_ref() }
    }

    /// Whether this slot is the announcer's.
    #[inline(always)]
    pub(crate) fn is_of(&self, index: usize, prepared: &PreparedAnnounce) -> bool {
        prepared.key.is_of(self.peer(index)) && (!F::IS_V6 || self.addr(index) == prepared.addr)
    }

    /// Gives a free slot, whose word was `old`, to the announcer; `false` when somebody was quicker.
    #[inline(always)]
    pub(crate) fn take(&self, index: usize, old: PeerWord, prepared: &PreparedAnnounce) -> bool {
        let slot = self.word(index);
        if !F::IS_V6 {
            return slot.replace(old.0, prepared.new.0);
        }
        // The claim makes the slot ours; readers check the word after their reads.
        if !slot.replace(old.0, PeerWord::claim(&prepared.clock).0) {
            return false;
        }
        self.set_addr(index, prepared.addr);
        slot.store(prepared.new.0);
        true
    }

    /// A slot as it is at this moment.
    #[inline(always)]
    pub(crate) fn read(&self, index: usize) -> Slot<F> {
        let word = self.peer(index);
        if !F::IS_V6 {
            return Slot {
                word,
                addr: [0; 2],
                addr_is_its: BranchlessBool::YES,
                family: PhantomData,
            };
        }
        let addr = self.addr(index);
        let addr_is_its = self.peer(index).is_same_as(word);
        Slot { word, addr, addr_is_its, family: PhantomData }
    }

    /// Live seeders and leechers.
    #[inline(always)]
    pub(crate) fn count(&self, clock: &Clock) -> [u32; 2] {
        let mut tally = Tally::default();
        for index in 0..N {
            let word = self.peer(index);
            tally.add(word.is_live(clock), word);
        }
        tally.figures()
    }
}

/// What was in a slot at some moment.
#[derive(Clone, Copy)]
pub(crate) struct Slot<F> {
    pub(crate) word: PeerWord,
    /// The address beside the word (IPv6).
    addr: [u64; 2],
    /// Whether that is the address of the peer in the word: the slot may have changed hands in between.
    addr_is_its: BranchlessBool,
    family: PhantomData<F>,
}

impl<F: Family> Slot<F> {
    /// Words as of [`Family::words`].
    #[inline(always)]
    pub(crate) fn addr(&self) -> [u64; 2] {
        if F::IS_V6 { self.addr } else { [self.word.0 & 0xffff_ffff, 0] }
    }

    /// Whether it was the announcer's.
    #[inline(always)]
    pub(crate) fn is_of(&self, prepared: &PreparedAnnounce) -> BranchlessBool {
        let named = prepared.key.names(self.word);
        if !F::IS_V6 {
            return named;
        }
        let [low, high] = self.addr;
        named.and(BranchlessBool::is_zero((low ^ prepared.addr[0]) | (high ^ prepared.addr[1])))
    }

    /// Whether there was a peer that may be handed out.
    #[inline(always)]
    pub(crate) fn is_live(&self, clock: &Clock) -> BranchlessBool {
        if F::IS_V6 {
            self.word.is_live(clock).and(self.addr_is_its)
        } else {
            self.word.has_key().and(clock.is_fresh(self.word.0))
        }
    }

    /// Appends the peer to a list, if it is `wanted`.
    #[inline(always)]
    pub(crate) fn append(&self, list: &mut impl List, wanted: BranchlessBool) {
        if F::IS_V6 {
            list.push_v6(self.addr, self.word.port(), wanted.bit());
        } else {
            list.push_v4(self.word.0, wanted.bit());
        }
    }
}

/// Counts live peers.
#[derive(Default)]
pub(crate) struct Tally {
    live: u64,
    seeders: u64,
}

impl Tally {
    /// Counts a peer, if it is live.
    #[inline(always)]
    pub(crate) fn add(&mut self, live: BranchlessBool, word: PeerWord) {
        self.live += live.bit();
        self.seeders += live.and(word.is_seeder_sign()).bit();
    }

    /// Seeders and leechers.
    #[inline(always)]
    pub(crate) const fn figures(&self) -> [u32; 2] {
        [self.seeders as u32, (self.live - self.seeders) as u32]
    }
}

/// A list that takes nobody.
pub(crate) struct Nobody;

impl List for Nobody {
    const IS_WHOLE: bool = true;

    #[inline(always)]
    fn is_full(&self) -> bool {
        true
    }

    #[inline(always)]
    fn is_empty(&self) -> bool {
        true
    }

    #[inline(always)]
    fn make_room(&mut self) {}

    #[inline(always)]
    fn push_v4(&mut self, _: u64, _: u64) {}

    #[inline(always)]
    fn push_v6(&mut self, _: [u64; 2], _: u16, _: u64) {}
}
