//! Words that the kernel and the daemon change at the same time.
//!
//! Natively these are `core`'s atomics. The BPF target has none with a result, so there the
//! compiler's intrinsics are called; they become `lock` instructions of cpu v3 (kernel 5.12).
//! Every read-modify-write is sequentially consistent on both sides.
//!
//! With the feature `simulate` each operation first calls [`simulate::step`], where a simulation lets
//! others run; and so do waits for a lock. With the feature `loom` a word within a model is one of
//! loom's: see [`loom`].

#[cfg(not(target_arch = "bpf"))]
pub(crate) mod locks;
#[cfg(feature = "loom")]
pub mod loom;
#[cfg(feature = "simulate")]
pub mod simulate;

#[cfg(not(target_arch = "bpf"))]
mod native {
    use core::sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Release, SeqCst},
    };

    #[cfg(feature = "simulate")]
    fn step<W>(word: &W) {
        super::simulate::step(core::ptr::from_ref(word).addr());
    }

    #[cfg(not(feature = "simulate"))]
    #[inline(always)]
    fn step<W>(_word: &W) {}

    macro_rules! word {
        ($name:ident, $atomic:ident, $int:ident) => {
            #[doc = concat!("A shared `", stringify!($int), "`.")]
            #[derive(Default, Debug)]
            #[repr(transparent)]
            pub struct $name($atomic);

            impl $name {
                #[cfg(not(feature = "loom"))]
                #[inline(always)]
                fn place(&self) -> &$atomic {
                    &self.0
                }

                #[cfg(feature = "loom")]
                fn place(&self) -> super::loom::$atomic<'_> {
                    super::loom::$atomic::of(&self.0)
                }

                /// The present value.
                #[inline(always)]
                pub fn load(&self) -> $int {
                    step(self);
                    self.place().load(Acquire)
                }

                /// Publishes a value, with all that was written before it.
                #[inline(always)]
                pub fn store(&self, value: $int) {
                    step(self);
                    self.place().swap(value, SeqCst);
                }

                /// Stores where nobody else does, after all that was written before it: for words that are
                /// read when another one has said so.
                #[inline(always)]
                pub fn put(&self, value: $int) {
                    step(self);
                    self.place().store(value, Release);
                }

                /// Replaces `old` by `new`; `false`, and no change, when the value was another.
                #[inline(always)]
                pub fn replace(&self, old: $int, new: $int) -> bool {
                    step(self);
                    self.place().compare_exchange(old, new, SeqCst, SeqCst).is_ok()
                }

                /// Adds, wrapping around.
                #[inline(always)]
                pub fn add(&self, value: $int) {
                    step(self);
                    self.place().fetch_add(value, SeqCst);
                }
            }
        };
    }

    word!(Word32, AtomicU32, u32);
    word!(Word64, AtomicU64, u64);
}

#[cfg(target_arch = "bpf")]
mod bpf {
    use core::{
        cell::UnsafeCell,
        intrinsics::{AtomicOrdering::SeqCst, atomic_cxchg, atomic_xadd, atomic_xchg},
        ptr::{read_volatile, write_volatile},
    };

    macro_rules! word {
        ($name:ident, $int:ident) => {
            #[doc = concat!("A shared `", stringify!($int), "`.")]
            #[derive(Default)]
            #[repr(transparent)]
            pub struct $name(UnsafeCell<$int>);

            // SAFETY: every access below is atomic, or a volatile load of an aligned word.
            unsafe impl Sync for $name {}

            impl $name {
                /// The present value.
                #[inline(always)]
                pub fn load(&self) -> $int {
                    // SAFETY: the cell is valid and aligned; an aligned load of a word never tears.
                    unsafe { read_volatile(self.0.get()) }
                }

                /// Publishes a value, with all that was written before it.
                #[inline(always)]
                pub fn store(&self, value: $int) {
                    // SAFETY: the cell is valid and aligned.
                    unsafe { atomic_xchg::<$int, { SeqCst }>(self.0.get(), value) };
                }

                /// Stores where nobody else does: for words that are read when another one has said so.
                #[inline(always)]
                pub fn put(&self, value: $int) {
                    // SAFETY: the cell is valid and aligned; an aligned store of a word never tears.
                    unsafe { write_volatile(self.0.get(), value) };
                }

                /// Replaces `old` by `new`; `false`, and no change, when the value was another.
                #[inline(always)]
                pub fn replace(&self, old: $int, new: $int) -> bool {
                    // SAFETY: the cell is valid and aligned.
                    let (found, _) = unsafe {
                        atomic_cxchg::<$int, { SeqCst }, { SeqCst }>(self.0.get(), old, new)
                    };
                    found == old
                }

                /// Adds, wrapping around.
                #[inline(always)]
                pub fn add(&self, value: $int) {
                    // SAFETY: the cell is valid and aligned.
                    unsafe { atomic_xadd::<$int, $int, { SeqCst }>(self.0.get(), value) };
                }
            }
        };
    }

    word!(Word32, u32);
    word!(Word64, u64);
}

#[cfg(target_arch = "bpf")]
pub use bpf::{Word32, Word64};
#[cfg(not(target_arch = "bpf"))]
pub use native::{Word32, Word64};
