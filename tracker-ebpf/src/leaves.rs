//! The parts of an announce that search a leaf, as functions that the verifier looks at one by one: see
//! `functions`.

use core::marker::PhantomData;

use tracker_common::{
    family::{Family, V4, V6},
    peers::PeerBuf,
    table::{
        Miss,
        layout::{Entry, Memory},
        leaf::{LeafRef, Outcome, Pick, Write},
        spilled::{self, Charge, Leaves, Root},
        swarm::PreparedAnnounce,
    },
};

use crate::{
    budget,
    maps::{Env, Maps, Scratch, count_unlisted},
};

/// [`Leaves::join`] into a swarm of the entry with this number, within the budgets of the announcer's source.
#[inline(always)]
fn join<F: Family>(
    prepared: &PreparedAnnounce,
    number: u32,
    leaf: LeafRef,
    is_known: bool,
) -> Outcome {
    let Some(entry) = Entry::<F>::at(&Maps, number) else { return Outcome::CONTENDED };
    let [all, here] = spilled::join_claims::<F>(&Env::get().config.shape.key, prepared, &entry);
    let joined = spilled::join::<F, Maps>(&Maps, prepared, leaf, |charge| match charge {
        _ if is_known => true,
        Charge::Nothing => budget::is_within(&all) && budget::is_within(&here),
        Charge::One => {
            budget::spend(&all);
            budget::spend(&here);
            true
        }
    });
    if joined == Outcome::OVER_BUDGET {
        count_unlisted();
    }
    joined
}

/// The global functions, by address family. They work on the prepared and the list in the scratch space.
///
/// # Safety
/// That of each is that of [`LeavesInMaps::handed`].
pub trait LeafFunctions: Family {
    /// [`Leaves::replace`].
    unsafe fn replace(scratch: *mut Scratch, leaf: u64, write: u32) -> u32;

    /// [`Leaves::join`].
    unsafe fn join(scratch: *mut Scratch, leaf: u64, is_known: u32) -> u32;

    /// [`Leaves::draw`].
    unsafe fn draw(scratch: *mut Scratch, leaf: u64, pick: u32) -> u32;

    /// [`Leaves::draw_set`]. Returns one of [`drawn`].
    unsafe fn draw_set(scratch: *mut Scratch, root: u64, pick: u32) -> u32;
}

/// What came of drawing from one set of a swarm.
mod drawn {
    pub const MORE_WANTED: u32 = 0;
    pub const LIST_FULL: u32 = 1;
    pub const FROZEN: u32 = 2;
    pub const CORRUPT: u32 = 3;
}

macro_rules! functions {
    ($family:ident, $replace:ident, $join:ident, $draw:ident, $set:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $replace(scratch: *mut Scratch, leaf: u64, write: u32) -> u32 {
            // SAFETY: as the caller says.
            let Some((prepared, _)) = (unsafe { LeavesInMaps::<$family>::handed(scratch) }) else {
                return Outcome::CONTENDED.0;
            };
            spilled::replace::<$family, Maps>(&Maps, prepared, LeafRef(leaf), Write(write)).0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $join(scratch: *mut Scratch, leaf: u64, is_known: u32) -> u32 {
            // SAFETY: as the caller says.
            let Some((prepared, leaves)) = (unsafe { LeavesInMaps::<$family>::handed(scratch) })
            else {
                return Outcome::CONTENDED.0;
            };
            join::<$family>(prepared, leaves.entry(), LeafRef(leaf), is_known != 0).0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $draw(scratch: *mut Scratch, leaf: u64, pick: u32) -> u32 {
            // SAFETY: as the caller says.
            let Some((prepared, leaves)) = (unsafe { LeavesInMaps::<$family>::handed(scratch) })
            else {
                return 0;
            };
            let list = leaves.into_list();
            spilled::draw::<$family, Maps>(&Maps, prepared, LeafRef(leaf), Pick(pick), list) as u32
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $set(scratch: *mut Scratch, root: u64, pick: u32) -> u32 {
            // SAFETY: as the caller says.
            let Some((prepared, mut leaves)) =
                (unsafe { LeavesInMaps::<$family>::handed(scratch) })
            else {
                return drawn::CORRUPT;
            };
            match spilled::draw_set(&Maps, Root(root), prepared, &mut leaves, Pick(pick)) {
                Ok(false) => drawn::MORE_WANTED,
                Ok(true) => drawn::LIST_FULL,
                Err(Miss::Frozen) => drawn::FROZEN,
                Err(_) => drawn::CORRUPT,
            }
        }

        impl LeafFunctions for $family {
            #[inline(always)]
            unsafe fn replace(scratch: *mut Scratch, leaf: u64, write: u32) -> u32 {
                // SAFETY: as the caller says; so below.
                unsafe { $replace(scratch, leaf, write) }
            }

            #[inline(always)]
            unsafe fn join(scratch: *mut Scratch, leaf: u64, is_known: u32) -> u32 {
                // SAFETY: as above.
                unsafe { $join(scratch, leaf, is_known) }
            }

            #[inline(always)]
            unsafe fn draw(scratch: *mut Scratch, leaf: u64, pick: u32) -> u32 {
                // SAFETY: as above.
                unsafe { $draw(scratch, leaf, pick) }
            }

            #[inline(always)]
            unsafe fn draw_set(scratch: *mut Scratch, root: u64, pick: u32) -> u32 {
                // SAFETY: as above.
                unsafe { $set(scratch, root, pick) }
            }
        }
    };
}

functions!(V4, replace_v4, join_v4, draw_v4, draw_set_v4);
functions!(V6, replace_v6, join_v6, draw_v6, draw_set_v6);

/// The leaves of the table in the maps, for the prepared in the scratch space. Stands for a borrow of the scratch space
/// that is exclusive but for the prepared, and hands that to functions.
pub struct LeavesInMaps<'a, F> {
    scratch: *mut Scratch,
    borrow: PhantomData<(&'a mut PeerBuf, F)>,
}

impl<'a, F: LeafFunctions> LeavesInMaps<'a, F> {
    /// The prepared, and the leaves for it.
    #[inline(always)]
    pub fn of(scratch: &'a mut Scratch) -> (&'a PreparedAnnounce, Self) {
        let scratch = &raw mut *scratch;
        // SAFETY: of a borrow. All that is made of the leaves keeps to what they stand for.
        (unsafe { &(*scratch).prepared }, Self { scratch, borrow: PhantomData })
    }

    /// The same of what a function was handed. It is never null; the verifier cannot know.
    ///
    /// # Safety
    /// It is what leaves hand to a function that they call, for as long as that runs.
    #[inline(always)]
    unsafe fn handed(scratch: *mut Scratch) -> Option<(&'a PreparedAnnounce, Self)> {
        if scratch.is_null() {
            return None;
        }
        // SAFETY: as the caller says, and as above.
        Some((unsafe { &(*scratch).prepared }, Self { scratch, borrow: PhantomData }))
    }

    /// The number of the torrent's entry.
    #[inline(always)]
    fn entry(&self) -> u32 {
        // SAFETY: of a borrow.
        unsafe { (*self.scratch).entry }
    }

    /// The list of the reply.
    #[inline(always)]
    fn into_list(self) -> &'a mut PeerBuf {
        // SAFETY: of a borrow, exclusive but for the prepared.
        unsafe { &mut (*self.scratch).list }
    }
}

impl<F: LeafFunctions> Leaves for LeavesInMaps<'_, F> {
    #[inline(always)]
    fn replace(&mut self, leaf: LeafRef, write: Write) -> Outcome {
        // SAFETY: what these leaves stand for, which are borrowed as long; so below.
        Outcome(unsafe { F::replace(self.scratch, leaf.0, write.0) })
    }

    #[inline(always)]
    fn join(&mut self, leaf: LeafRef, is_known: bool) -> Outcome {
        // SAFETY: as above.
        Outcome(unsafe { F::join(self.scratch, leaf.0, is_known as u32) })
    }

    #[inline(always)]
    fn draw(&mut self, leaf: LeafRef, pick: Pick) -> bool {
        // SAFETY: as above.
        unsafe { F::draw(self.scratch, leaf.0, pick.0) != 0 }
    }

    #[inline(always)]
    fn draw_set<M: Memory>(
        &mut self,
        _: &M,
        root: Root,
        _: &PreparedAnnounce,
        pick: Pick,
    ) -> Result<bool, Miss> {
        // SAFETY: as above.
        match unsafe { F::draw_set(self.scratch, root.0, pick.0) } {
            drawn::MORE_WANTED => Ok(false),
            drawn::LIST_FULL => Ok(true),
            drawn::FROZEN => Err(Miss::Frozen),
            _ => Err(Miss::Corrupt),
        }
    }
}
