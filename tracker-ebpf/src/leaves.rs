//! The parts of an announce that search a leaf, as functions that the verifier looks at one by one: see
//! `functions`.

use core::marker::PhantomData;

use tracker_common::{
    family::{Family, V4, V6},
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
pub trait LeafFunctions: Family {
    /// [`Leaves::replace`].
    fn replace(scratch: *mut Scratch, leaf: u64, write: u32) -> u32;

    /// [`Leaves::join`].
    fn join(scratch: *mut Scratch, leaf: u64, is_known: u32) -> u32;

    /// [`Leaves::draw`].
    fn draw(scratch: *mut Scratch, leaf: u64, pick: u32) -> u32;

    /// [`Leaves::draw_half`]. Returns one of [`half`].
    fn draw_half(scratch: *mut Scratch, root: u64, pick: u32) -> u32;
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
        extern "C" fn $replace(scratch: *mut Scratch, leaf: u64, write: u32) -> u32 {
            // SAFETY: that is how functions call each other.
            let Some((visit, _)) = (unsafe { Scratch::visit_and_list(scratch) }) else {
                return Outcome::CONTENDED.0;
            };
            outgrown::replace::<$family, Maps>(&Maps, visit, LeafRef(leaf), Write(write)).0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $join(scratch: *mut Scratch, leaf: u64, is_known: u32) -> u32 {
            // SAFETY: that is how functions call each other.
            let Some((visit, _)) = (unsafe { Scratch::visit_and_list(scratch) }) else {
                return Outcome::CONTENDED.0;
            };
            // SAFETY: it is not null.
            let number = unsafe { (*scratch).line };
            join::<$family>(visit, number, LeafRef(leaf), is_known != 0).0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $draw(scratch: *mut Scratch, leaf: u64, pick: u32) -> u32 {
            // SAFETY: that is how functions call each other.
            let Some((visit, list)) = (unsafe { Scratch::visit_and_list(scratch) }) else {
                return 0;
            };
            outgrown::draw::<$family, Maps>(&Maps, visit, LeafRef(leaf), Pick(pick), list) as u32
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $half(scratch: *mut Scratch, root: u64, pick: u32) -> u32 {
            // SAFETY: that is how functions call each other.
            let Some((visit, _)) = (unsafe { Scratch::visit_and_list(scratch) }) else {
                return half::CORRUPT;
            };
            let mut leaves = LeavesInMaps::<$family>::new(scratch);
            match outgrown::draw_half(&Maps, Root(root), visit, &mut leaves, Pick(pick)) {
                Ok(false) => half::MORE_WANTED,
                Ok(true) => half::LIST_FULL,
                Err(Miss::Frozen) => half::FROZEN,
                Err(_) => half::CORRUPT,
            }
        }

        impl LeafFunctions for $family {
            #[inline(always)]
            fn replace(scratch: *mut Scratch, leaf: u64, write: u32) -> u32 {
                $replace(scratch, leaf, write)
            }

            #[inline(always)]
            fn join(scratch: *mut Scratch, leaf: u64, is_known: u32) -> u32 {
                $join(scratch, leaf, is_known)
            }

            #[inline(always)]
            fn draw(scratch: *mut Scratch, leaf: u64, pick: u32) -> u32 {
                $draw(scratch, leaf, pick)
            }

            #[inline(always)]
            fn draw_half(scratch: *mut Scratch, root: u64, pick: u32) -> u32 {
                $half(scratch, root, pick)
            }
        }
    };
}

functions!(V4, replace_v4, join_v4, draw_v4, draw_half_v4);
functions!(V6, replace_v6, join_v6, draw_v6, draw_half_v6);

/// The leaves of the table in the maps, for the visit in the scratch space.
pub struct LeavesInMaps<F> {
    scratch: *mut Scratch,
    family: PhantomData<F>,
}

impl<F: LeafFunctions> LeavesInMaps<F> {
    #[inline(always)]
    pub fn new(scratch: *mut Scratch) -> Self {
        Self { scratch, family: PhantomData }
    }
}

impl<F: LeafFunctions> Leaves for LeavesInMaps<F> {
    #[inline(always)]
    fn replace(&mut self, leaf: LeafRef, write: Write) -> Outcome {
        Outcome(F::replace(self.scratch, leaf.0, write.0))
    }

    #[inline(always)]
    fn join(&mut self, leaf: LeafRef, is_known: bool) -> Outcome {
        Outcome(F::join(self.scratch, leaf.0, is_known as u32))
    }

    #[inline(always)]
    fn draw(&mut self, leaf: LeafRef, pick: Pick) -> bool {
        F::draw(self.scratch, leaf.0, pick.0) != 0
    }

    #[inline(always)]
    fn draw_half<M: Memory>(
        &mut self,
        _: &M,
        root: Root,
        _: &Visit,
        pick: Pick,
    ) -> Result<bool, Miss> {
        match F::draw_half(self.scratch, root.0, pick.0) {
            half::MORE_WANTED => Ok(false),
            half::LIST_FULL => Ok(true),
            half::FROZEN => Err(Miss::Frozen),
            _ => Err(Miss::Corrupt),
        }
    }
}
