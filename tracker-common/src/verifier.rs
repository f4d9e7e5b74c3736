//! Arithmetic for the kernel's verifier.
//!
//! LLVM deletes a bound that it can prove by reasoning the verifier cannot follow, and turns
//! arithmetic on truth values into branches, each of which makes the verifier walk all that
//! follows twice. Hidden in an instruction that LLVM does not look into, both survive. Natively
//! these are plain operators.

/// `value & MASK`, where `MASK` is one less than a power of two.
#[inline(always)]
#[must_use]
pub fn bounded<const MASK: u32>(value: impl Into<u64>) -> usize {
    let mut value = value.into();
    #[cfg(target_arch = "bpf")]
    {
        // SAFETY: changes nothing but its operand.
        unsafe {
            core::arch::asm!("{0} &= {1}", inout(reg) value, const MASK, options(pure, nomem));
        }
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        value &= u64::from(MASK);
    }
    value as usize
}

/// Stops where `index` is not below `END`, before it becomes an address. The program has no panics, and needs none
/// here: the verifier refuses it unless all that it may access is within the value of a map.
#[inline(always)]
#[track_caller]
pub(crate) fn assert_within<const END: usize>(index: usize) {
    assert!(cfg!(target_arch = "bpf") || index < END);
}

/// The numbers from 0 up to `count`, but at most `MAX` of them.
///
/// LLVM counts an unknown number of turns down to zero, with `!=`, from which kernels before 6.8
/// derive no bound: they see a loop without end. It does not see how these are counted, and the
/// verifier, which does, knows each number.
#[inline(always)]
pub fn bounded_range<const MAX: u32>(count: u32) -> impl Iterator<Item = u32> {
    let mut next = 0;
    core::iter::from_fn(move || {
        let turn = next;
        next = successor(turn);
        (turn < u64::from(MAX) && turn < u64::from(count)).then_some(turn as u32)
    })
}

/// `value + 1`, of which LLVM knows nothing.
#[inline(always)]
fn successor(mut value: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: changes nothing but its operand.
    unsafe {
        core::arch::asm!("{0} += 1", inout(reg) value, options(pure, nomem));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        value += 1;
    }
    value
}

/// `value`, of which the verifier forgets what it knew: a search that ended at one index and one
/// that ended at another would otherwise be two states of all that comes after.
#[inline(always)]
#[must_use]
pub fn opaque(value: u32, unknown: &u32) -> u32 {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = u64::from(value);
        // SAFETY: a reference is readable; what is read is or'ed in, and is zero.
        let zero = unsafe { core::ptr::read_volatile(unknown) } as u64;
        // SAFETY: changes nothing but its operand.
        unsafe {
            core::arch::asm!("{0} |= {1}", inout(reg) value, in(reg) zero, options(pure, nomem));
        }
        value as u32
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        let _ = unknown;
        value
    }
}

/// `place`, which LLVM no longer knows. It takes a variable that the program never writes for a constant.
#[inline(always)]
#[must_use]
pub fn black_box<T>(place: *const T) -> *const T {
    #[cfg(target_arch = "bpf")]
    {
        let mut place = place;
        // SAFETY: no instruction at all.
        unsafe { core::arch::asm!("/* {0} */", inout(reg) place, options(pure, nomem)) };
        place
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        place
    }
}

/// `value`, of what seldom happens. LLVM would fetch it before each branch that may lead here, for all who come
/// by. An assembly without outputs is never removed, even if it is empty, so that the branch leads to a block
/// of its own, where the value is fetched.
#[inline(always)]
#[must_use]
pub fn cold_path<T>(value: T) -> T {
    #[cfg(target_arch = "bpf")]
    // SAFETY: no instruction at all.
    unsafe {
        core::arch::asm!("", options(nomem));
    }
    value
}

/// `sum += value`, here and now.
///
/// LLVM puts off additions whose sum is wanted later, and keeps all the terms on the stack meanwhile, for
/// there are few registers.
#[inline(always)]
pub fn add_now(sum: &mut u64, value: u64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: changes nothing but its operand. Not `pure`, so that it stays in its place.
    unsafe {
        core::arch::asm!("{0} += {1}", inout(reg) *sum, in(reg) value, options(nomem));
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        *sum = sum.wrapping_add(value);
    }
}

/// A yes or no in the top bit of a word; the other bits mean nothing.
#[derive(Clone, Copy)]
pub(crate) struct BranchlessBool(u64);

impl BranchlessBool {
    pub(crate) const YES: Self = Self(u64::MAX);
    pub(crate) const NO: Self = Self(0);

    /// The top bit of a word.
    #[inline(always)]
    pub(crate) const fn new(word: u64) -> Self {
        Self(word)
    }

    /// Whether `value` is zero.
    #[inline(always)]
    pub(crate) const fn is_zero(value: u64) -> Self {
        Self(!(value | value.wrapping_neg()))
    }

    /// `a < b`, both below 2^63.
    #[inline(always)]
    pub(crate) const fn less(a: u64, b: u64) -> Self {
        Self(a.wrapping_sub(b))
    }

    #[inline(always)]
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    #[inline(always)]
    pub(crate) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The other way around where the top bit of `other` is set.
    #[inline(always)]
    pub(crate) const fn xor(self, other: u64) -> Self {
        Self(self.0 ^ other)
    }

    #[inline(always)]
    pub(crate) const fn not(self) -> Self {
        Self(!self.0)
    }

    /// All ones for yes, 0 for no.
    #[inline(always)]
    pub(crate) fn mask(self) -> u64 {
        #[cfg(target_arch = "bpf")]
        {
            let mut value = self.0;
            // SAFETY: changes nothing but its operand.
            unsafe {
                core::arch::asm!("{0} s>>= 63", inout(reg) value, options(pure, nomem));
            }
            value
        }
        #[cfg(not(target_arch = "bpf"))]
        {
            (self.0 as i64 >> 63) as u64
        }
    }

    /// The same as a truth value that becomes a number without a branch.
    #[inline(always)]
    pub(crate) fn holds(self) -> bool {
        let bit = self.bit();
        // SAFETY: one bit.
        unsafe { core::hint::assert_unchecked(bit <= 1) };
        bit != 0
    }

    /// 1 for yes, 0 for no.
    #[inline(always)]
    pub(crate) fn bit(self) -> u64 {
        #[cfg(target_arch = "bpf")]
        {
            let mut value = self.0;
            // SAFETY: changes nothing but its operand.
            unsafe {
                core::arch::asm!("{0} >>= 63", inout(reg) value, options(pure, nomem));
            }
            value
        }
        #[cfg(not(target_arch = "bpf"))]
        {
            self.0 >> 63
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn signs_are_the_comparisons_they_stand_for(a in 0..1_u64 << 63, b in 0..1_u64 << 63) {
            prop_assert_eq!(BranchlessBool::less(a, b).bit() == 1, a < b);
            prop_assert_eq!(BranchlessBool::is_zero(a).bit() == 1, a == 0);
            prop_assert_eq!(BranchlessBool::is_zero(a << 1).bit() == 1, a == 0);
        }
    }

    #[test]
    fn zero_is_zero() {
        assert_eq!(
            (BranchlessBool::is_zero(0).bit(), BranchlessBool::is_zero(0).not().bit()),
            (1, 0)
        );
        assert_eq!(BranchlessBool::is_zero(1 << 63).bit(), 0);
    }
}
