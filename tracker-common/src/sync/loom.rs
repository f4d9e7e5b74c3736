//! Where loom takes over. Its atomics are larger than the words that they stand for, so those of a
//! model are beside the table's memory and found by address. The memory keeps what it held before.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ops::Range,
    rc::Rc,
    sync::atomic::{
        self,
        Ordering::{self, Relaxed},
    },
};

use ::loom::sync::atomic as modelled;

/// The words of the model that is running. Loom's threads all run in the one that runs the model.
#[derive(Default)]
struct Words {
    narrow: HashMap<usize, Rc<modelled::AtomicU32>>,
    wide: HashMap<usize, Rc<modelled::AtomicU64>>,
}

thread_local! {
    static WORDS: RefCell<Option<Words>> = const { RefCell::new(None) };
}

::loom::thread_local! {
    static IS_WEAK: Cell<bool> = Cell::new(false);
}

/// Makes the words within these bytes, which are whole 64-bit words of the table, loom's, until [`leave`]
/// is called. For the model's first thread, before it starts others. No other words may be used meanwhile.
///
/// Bytes that are used as one wide word and as two narrow ones at different times are three words to
/// loom, so what is written to the one is not read from the others.
///
/// # Safety
/// The memory is readable, aligned to 8, and written by nobody meanwhile.
pub unsafe fn enter(regions: &[Range<*const u64>]) {
    let mut words = Words::default();
    for region in regions {
        let mut at = region.start;
        while at < region.end {
            // SAFETY: within a region that is readable, as the caller promises.
            let value = unsafe { *at };
            words.wide.insert(at.addr(), Rc::new(modelled::AtomicU64::new(value)));
            for (offset, half) in [(0, value as u32), (4, (value >> 32) as u32)] {
                let half = Rc::new(modelled::AtomicU32::new(half));
                words.narrow.insert(at.addr() + offset, half);
            }
            at = at.wrapping_add(1);
        }
    }
    WORDS.set(Some(words));
}

/// Ends what [`enter`] began.
pub fn leave() {
    WORDS.set(None);
}

/// From now on this thread of the model has only what the BPF program is sure to have on every
/// processor: its loads and plain stores, and additions whose result it does not look at, are not ordered.
pub fn weaken() {
    IS_WEAK.with(|is_weak| is_weak.set(true));
}

fn unless_weak(order: Ordering) -> Ordering {
    if IS_WEAK.with(Cell::get) { Relaxed } else { order }
}

macro_rules! place {
    ($name:ident, $int:ident, $words:ident) => {
        /// Where a shared word is.
        pub(super) enum $name<'a> {
            /// There is no model now.
            Memory(&'a atomic::$name),
            Model(Rc<modelled::$name>),
        }

        impl<'a> $name<'a> {
            pub(super) fn of(word: &'a atomic::$name) -> Self {
                WORDS.with_borrow(|words| match words {
                    None => Self::Memory(word),
                    Some(words) => {
                        let at = std::ptr::from_ref(word).addr();
                        let found = words.$words.get(&at);
                        Self::Model(found.expect("a reference leads out of the model").clone())
                    }
                })
            }

            pub(super) fn load(self, order: Ordering) -> $int {
                match self {
                    Self::Memory(word) => word.load(order),
                    Self::Model(word) => word.load(unless_weak(order)),
                }
            }

            pub(super) fn store(self, value: $int, order: Ordering) {
                match self {
                    Self::Memory(word) => word.store(value, order),
                    Self::Model(word) => word.store(value, unless_weak(order)),
                }
            }

            pub(super) fn swap(self, value: $int, order: Ordering) -> $int {
                match self {
                    Self::Memory(word) => word.swap(value, order),
                    Self::Model(word) => word.swap(value, order),
                }
            }

            pub(super) fn compare_exchange(
                self,
                old: $int,
                new: $int,
                success: Ordering,
                failure: Ordering,
            ) -> Result<$int, $int> {
                match self {
                    Self::Memory(word) => word.compare_exchange(old, new, success, failure),
                    Self::Model(word) => word.compare_exchange(old, new, success, failure),
                }
            }

            pub(super) fn fetch_add(self, value: $int, order: Ordering) -> $int {
                match self {
                    Self::Memory(word) => word.fetch_add(value, order),
                    Self::Model(word) => word.fetch_add(value, unless_weak(order)),
                }
            }
        }
    };
}

place!(AtomicU32, u32, narrow);
place!(AtomicU64, u64, wide);
