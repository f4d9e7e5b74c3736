//! The parts of an announce that search a leaf, as functions that the verifier looks at one by one: see
//! `functions`.

use core::marker::PhantomData;

use tracker_common::{
    family::{Family, V4, V6},
    peers::PeerBuf,
    table::{
        Miss,
        layout::{Line, Memory},
        leaf::{LeafRef, Outcome, Pick, Write},
        outgrown::{self, Charge, Leaves, Root},
        swarm::Visit,
    },
};

use crate::{
    budget,
    maps::{Env, Maps, Scratch, count_unlisted},
};

/// [`Leaves::join`] into a swarm of the line with this number, within the budgets of the announcer's source.
#[inline(always)]
fn join<F: Family>(visit: &Visit, number: u32, leaf: LeafRef, is_known: bool) -> Outcome {
    let Some(line) = Line::<F>::at(&Maps, number) else { return Outcome::CONTENDED };
    let [all, here] = outgrown::join_claims::<F>(&Env::get().config.shape.key, visit, &line);
    let joined = outgrown::join::<F, Maps>(&Maps, visit, leaf, |charge| match charge {
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

/// The global functions, by address family. They work on the visit and the list in the scratch space.
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

    /// [`Leaves::draw_half`]. Returns one of [`half`].
    unsafe fn draw_half(scratch: *mut Scratch, root: u64, pick: u32) -> u32;
}

/// What came of drawing from half a swarm.
mod half {
    pub const MORE_WANTED: u32 = 0;
    pub const LIST_FULL: u32 = 1;
    pub const FROZEN: u32 = 2;
    pub const CORRUPT: u32 = 3;
}

macro_rules! functions {
    ($family:ident, $replace:ident, $join:ident, $draw:ident, $half:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $replace(scratch: *mut Scratch, leaf: u64, write: u32) -> u32 {
            // SAFETY: as the caller says.
            let Some((visit, _)) = (unsafe { LeavesInMaps::<$family>::handed(scratch) }) else {
                return Outcome::CONTENDED.0;
            };
            outgrown::replace::<$family, Maps>(&Maps, visit, LeafRef(leaf), Write(write)).0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $join(scratch: *mut Scratch, leaf: u64, is_known: u32) -> u32 {
            // SAFETY: as the caller says.
            let Some((visit, leaves)) = (unsafe { LeavesInMaps::<$family>::handed(scratch) })
            else {
                return Outcome::CONTENDED.0;
            };
            join::<$family>(visit, leaves.line(), LeafRef(leaf), is_known != 0).0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $draw(scratch: *mut Scratch, leaf: u64, pick: u32) -> u32 {
            // SAFETY: as the caller says.
            let Some((visit, leaves)) = (unsafe { LeavesInMaps::<$family>::handed(scratch) })
            else {
                return 0;
            };
            let list = leaves.into_list();
            outgrown::draw::<$family, Maps>(&Maps, visit, LeafRef(leaf), Pick(pick), list) as u32
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        unsafe extern "C" fn $half(scratch: *mut Scratch, root: u64, pick: u32) -> u32 {
            // SAFETY: as the caller says.
            let Some((visit, mut leaves)) = (unsafe { LeavesInMaps::<$family>::handed(scratch) })
            else {
                return half::CORRUPT;
            };
            match outgrown::draw_half(&Maps, Root(root), visit, &mut leaves, Pick(pick)) {
                Ok(false) => half::MORE_WANTED,
                Ok(true) => half::LIST_FULL,
                Err(Miss::Frozen) => half::FROZEN,
                Err(_) => half::CORRUPT,
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
            unsafe fn draw_half(scratch: *mut Scratch, root: u64, pick: u32) -> u32 {
                // SAFETY: as above.
                unsafe { $half(scratch, root, pick) }
            }
        }
    };
}

functions!(V4, replace_v4, join_v4, draw_v4, draw_half_v4);
functions!(V6, replace_v6, join_v6, draw_v6, draw_half_v6);

/// The leaves of the table in the maps, for the visit in the scratch space. Stands for a borrow of the scratch space
/// that is exclusive but for the visit, and hands that to functions.
pub struct LeavesInMaps<'a, F> {
    scratch: *mut Scratch,
    borrow: PhantomData<(&'a mut PeerBuf, F)>,
}

impl<'a, F: LeafFunctions> LeavesInMaps<'a, F> {
    /// The visit, and the leaves for it.
    #[inline(always)]
    pub fn of(scratch: &'a mut Scratch) -> (&'a Visit, Self) {
        let scratch = &raw mut *scratch;
        // SAFETY: of a borrow. All that is made of the leaves keeps to what they stand for.
        (unsafe { &(*scratch).visit }, Self { scratch, borrow: PhantomData })
    }

    /// The same of what a function was handed. It is never null; the verifier cannot know.
    ///
    /// # Safety
    /// It is what leaves hand to a function that they call, for as long as that runs.
    #[inline(always)]
    unsafe fn handed(scratch: *mut Scratch) -> Option<(&'a Visit, Self)> {
        if scratch.is_null() {
            return None;
        }
        // SAFETY: as the caller says, and as above.
        Some((unsafe { &(*scratch).visit }, Self { scratch, borrow: PhantomData }))
    }

    /// The number of the torrent's line.
    #[inline(always)]
    fn line(&self) -> u32 {
        // SAFETY: of a borrow.
        unsafe { (*self.scratch).line }
    }

    /// The list of the reply.
    #[inline(always)]
    fn into_list(self) -> &'a mut PeerBuf {
        // SAFETY: of a borrow, exclusive but for the visit.
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
    fn draw_half<M: Memory>(
        &mut self,
        _: &M,
        root: Root,
        _: &Visit,
        pick: Pick,
    ) -> Result<bool, Miss> {
        // SAFETY: as above.
        match unsafe { F::draw_half(self.scratch, root.0, pick.0) } {
            half::MORE_WANTED => Ok(false),
            half::LIST_FULL => Ok(true),
            half::FROZEN => Err(Miss::Frozen),
            _ => Err(Miss::Corrupt),
        }
    }
}
