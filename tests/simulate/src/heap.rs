//! Memory that outlives the daemons that work on it, as BPF maps do.

use std::{cell::UnsafeCell, ptr::NonNull, sync::Arc};

use tracker_common::{
    family::Family,
    table::{index::TableShape, layout::Memory},
};

/// Buckets of both families, and chunks.
#[derive(Clone)]
pub struct Heap(Arc<Regions>);

struct Regions {
    v4: Region<32>,
    v6: Region<64>,
    chunks: Region<128>,
}

struct Region<const WORDS: usize>(Box<[Item<WORDS>]>);

/// As much aligned as what is in it.
#[repr(C, align(1024))]
struct Item<const WORDS: usize>(UnsafeCell<[u64; WORDS]>);

// SAFETY: a simulation runs in one thread.
unsafe impl Send for Regions {}
// SAFETY: as above.
unsafe impl Sync for Regions {}

impl Heap {
    pub fn new(shape: &TableShape) -> Self {
        Self(Arc::new(Regions {
            v4: Region::new(shape.buckets_v4),
            v6: Region::new(shape.buckets_v6),
            chunks: Region::new(shape.chunks),
        }))
    }
}

impl<const WORDS: usize> Region<WORDS> {
    fn new(items: u32) -> Self {
        Self((0..items).map(|_| Item(UnsafeCell::new([0; WORDS]))).collect())
    }

    fn item(&self, index: u32) -> Option<NonNull<u8>> {
        self.0.get(index as usize).map(|item| NonNull::from(&item.0).cast())
    }
}

// SAFETY: each item is a boxed cell of as many words as a bucket or a chunk has, which none but tables borrow, and
// stays in its box for as long as one of the heaps that share it lives. The daemons and processors of a
// simulation, and of a model, change it by the table's words only.
unsafe impl Memory for Heap {
    fn bucket<F: Family>(&self, index: u32) -> Option<NonNull<u8>> {
        if F::IS_V6 { self.0.v6.item(index) } else { self.0.v4.item(index) }
    }

    fn chunk(&self, index: u32) -> Option<NonNull<u8>> {
        self.0.chunks.item(index)
    }
}
