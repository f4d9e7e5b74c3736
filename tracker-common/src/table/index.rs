//! Where a torrent's entry is: one of two buckets of four.

use super::layout::{BUCKET_ENTRIES, Entries, Entry, HashWords, Memory};
use crate::{family::Family, hash::TableKey, id::InfoHash, verifier::bounded};

/// The shape of a table: fixed when it is made.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
#[repr(C)]
pub struct TableShape {
    /// The secret of the hashes.
    pub key: TableKey,
    /// The bits of an IPv4 address that name its subnet, in memory order; zero for no preference.
    pub near_v4: u32,
    /// Reserved; zero.
    pub _pad: u32,
    /// The same of an IPv6 address.
    pub near_v6: [u64; 2],
    /// Buckets of the IPv4 index.
    pub buckets_v4: u32,
    /// Buckets of the IPv6 index.
    pub buckets_v6: u32,
    /// Chunks of the arena.
    pub chunks: u32,
    /// Reserved; zero.
    pub _pad2: u32,
}

/// Top bits of a peer's place that are its subnet's, where one is preferred.
pub(super) const NEAR_BITS: u32 = 6;

impl TableShape {
    /// Prefers peers whose addresses have so many leading bits in common; 0 bits for none.
    #[must_use]
    pub const fn preferring(mut self, bits_v4: u32, bits_v6: u32) -> Self {
        self.near_v4 = ((leading_ones(bits_v4) >> 96) as u32).to_be();
        let v6 = leading_ones(bits_v6).to_be();
        self.near_v6 = [v6 as u64, (v6 >> 64) as u64];
        self
    }

    #[inline(always)]
    pub(crate) const fn buckets<F: Family>(&self) -> u32 {
        if F::IS_V6 { self.buckets_v6 } else { self.buckets_v4 }
    }

    /// The bits of an address's words by which peers are near each other.
    #[inline(always)]
    pub(crate) const fn near<F: Family>(&self) -> [u64; 2] {
        if F::IS_V6 { self.near_v6 } else { [self.near_v4 as u64, 0] }
    }

    /// Where in a spilled swarm a peer belongs.
    #[inline(always)]
    pub(crate) fn place<F: Family>(&self, addr: [u64; 2], port: [u8; 2]) -> u64 {
        let hash = self.key.peer(addr, port);
        let [first, second] = self.near::<F>();
        if first == 0 {
            return hash;
        }
        let subnet = self.key.peer([addr[0] & first, addr[1] & second], [0; 2]);
        let low = u64::MAX >> NEAR_BITS;
        subnet & !low | hash & low
    }
}

const fn leading_ones(bits: u32) -> u128 {
    if bits == 0 { 0 } else { u128::MAX << (128 - bits) }
}

/// The two buckets where a torrent may be.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    hash: u64,
}

impl Place {
    #[inline(always)]
    pub(crate) fn of(shape: &TableShape, info_hash: &InfoHash) -> Self {
        Self { hash: shape.key.info_hash(info_hash) }
    }

    /// The first (0) or second (1) bucket.
    #[inline(always)]
    pub(crate) const fn bucket<F: Family>(self, shape: &TableShape, choice: u32) -> u32 {
        let set = if choice == 0 { self.hash as u32 } else { (self.hash >> 32) as u32 };
        ((set as u64 * shape.buckets::<F>() as u64) >> 32) as u32
    }
}

/// A search for a torrent's entry that has been begun: the loads of its first bucket are on their way.
///
/// Of each of the bucket's four entries it compares four bytes, without a branch, so that their loads overlap
/// with each other and with whatever is done before [`Search::end`]: where the table is larger than the
/// caches, they are most of what an announce costs.
pub struct Search<'a, F> {
    place: Place,
    bucket: Bucket<'a, F>,
    /// The number of the entry within the bucket that looks like the torrent's, counted from 1; 0 if none
    /// does. If several do, any.
    alike: u32,
}

impl<'a, F: Family> Search<'a, F> {
    /// Begins a search; `None` past the end of the table, where nothing is.
    #[inline(always)]
    pub fn begin<M: Memory>(
        memory: &'a M,
        shape: &TableShape,
        info_hash: &InfoHash,
    ) -> Option<Self> {
        let place = Place::of(shape, info_hash);
        let bucket = Bucket::open(memory, shape, place, 0)?;
        let mut alike = 0;
        for slot in 0..BUCKET_ENTRIES {
            let entry = bucket.entries.entry(slot as usize);
            alike |= entry.resembles(info_hash).bit() as u32 * (slot + 1);
        }
        Some(Self { place, bucket, alike })
    }

    /// The entry of the torrent, and its number.
    #[inline(always)]
    pub fn end<M: Memory>(
        self,
        memory: &'a M,
        shape: &TableShape,
        info_hash: &InfoHash,
    ) -> Option<(u32, Entry<'a, F>)> {
        let wanted = HashWords::new(info_hash);
        let Self { place, mut bucket, alike: mut found } = self;
        if found == 0 || bucket.entry(found).1.is_of(&wanted).bit() == 0 {
            found = bucket.look(&wanted);
            if found == 0 {
                bucket = Bucket::open(memory, shape, place, 1)?;
                found = bucket.look(&wanted);
                if found == 0 {
                    return None;
                }
            }
        }
        Some(bucket.entry(found))
    }
}

/// Four entries.
#[derive(Clone, Copy)]
struct Bucket<'a, F> {
    index: u32,
    entries: Entries<'a, F>,
}

impl<'a, F: Family> Bucket<'a, F> {
    /// One of the two that a torrent may be in.
    #[inline(always)]
    fn open<M: Memory>(
        memory: &'a M,
        shape: &TableShape,
        place: Place,
        choice: u32,
    ) -> Option<Self> {
        let index = place.bucket::<F>(shape, choice);
        Some(Self { index, entries: Entries::of(memory, index)? })
    }

    /// An entry by its number within the bucket, counted from 1; and its number within the table.
    #[inline(always)]
    fn entry(&self, number: u32) -> (u32, Entry<'a, F>) {
        let slot = bounded::<{ BUCKET_ENTRIES - 1 }>(number.wrapping_sub(1));
        (self.index * BUCKET_ENTRIES + slot as u32, self.entries.entry(slot))
    }

    /// The number of the torrent's entry, counted from 1; 0 if it is not here.
    #[inline(always)]
    fn look(&self, wanted: &HashWords) -> u32 {
        let mut number = 0;
        for slot in 0..BUCKET_ENTRIES {
            let entry = self.entries.entry(slot as usize);
            number |= entry.is_of(wanted).bit() as u32 * (slot + 1);
        }
        number
    }
}

/// The entry of a torrent, and its number.
#[inline(always)]
pub fn find<'a, F: Family, M: Memory>(
    memory: &'a M,
    shape: &TableShape,
    info_hash: &InfoHash,
) -> Option<(u32, Entry<'a, F>)> {
    Search::begin(memory, shape, info_hash)?.end(memory, shape, info_hash)
}
