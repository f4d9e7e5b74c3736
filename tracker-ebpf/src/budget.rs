//! The budgets of sources, as a function that the verifier looks at once for all kinds and both families.

use tracker_common::{
    budget::{Budgets, Claim, KINDS},
    verifier::bounded,
};

use crate::maps::{Env, Maps};

/// The bits of the kind in the first argument of [`charge`].
const KIND_MASK: u32 = (KINDS as u32).next_power_of_two() - 1;
/// In the first argument of [`charge`], beside the kind: the address is one of IPv6.
const IS_V6: u32 = 1 << 8;
/// The same: ask whether the source is within its budget.
const ASKS: u32 = 1 << 9;
/// The same: charge it, if it is within when that is asked too.
const SPENDS: u32 = 1 << 10;

/// Asks for a budget or charges it. Returns 1 for a source within it, else 0.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn charge(what: u32, addr: u64, torrent: u64, now_ns: u64) -> u32 {
    let config = Env::get().config;
    let budgets = Budgets { memory: &Maps, key: &config.shape.key, limits: &config.limits };
    // 6.1 does not derive the bound of a number on the stack from a comparison of its copy in a register.
    let kind = bounded::<KIND_MASK>(what) as u32;
    let claim = Claim { kind, addr, is_v6: what & IS_V6 != 0, torrent, now_ns };
    if what & ASKS != 0 && !budgets.is_within(&claim) {
        return 0;
    }
    if what & SPENDS != 0 {
        budgets.spend(&claim);
    }
    1
}

/// [`Budgets::take`].
#[inline(always)]
pub fn take(claim: &Claim) -> bool {
    call(claim, ASKS | SPENDS)
}

/// [`Budgets::is_within`].
#[inline(always)]
pub fn is_within(claim: &Claim) -> bool {
    call(claim, ASKS)
}

/// [`Budgets::spend`].
#[inline(always)]
pub fn spend(claim: &Claim) {
    call(claim, SPENDS);
}

#[inline(always)]
fn call(claim: &Claim, what: u32) -> bool {
    let family = if claim.is_v6 { IS_V6 } else { 0 };
    charge(claim.kind | family | what, claim.addr, claim.torrent, claim.now_ns) != 0
}
