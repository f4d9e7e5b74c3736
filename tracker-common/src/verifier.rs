//! Arithmetic for the kernel's verifier.
//!
//! LLVM deletes a bound that it can prove by reasoning the verifier cannot follow. Hidden in an
//! instruction that LLVM does not look into, the bound survives. Natively these are plain `&`.

/// `value & MASK`, where `MASK` is one less than a power of two.
#[inline(always)]
#[must_use]
pub fn bounded<const MASK: u32>(value: u32) -> usize {
    #[cfg(target_arch = "bpf")]
    {
        let mut value = u64::from(value);
        // SAFETY: changes nothing but its operand.
        unsafe {
            core::arch::asm!("{0} &= {1}", inout(reg) value, const MASK, options(pure, nomem));
        }
        value as usize
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        (value & MASK) as usize
    }
}

/// `a < b`, from which the verifier learns nothing about either.
///
/// It would narrow down the bounds of both, and so see a search that ended at one index and a
/// search that ended at another as two different states of all that comes after.
#[inline(always)]
#[must_use]
pub fn less(a: u32, b: u32) -> bool {
    bounded::<1>((u64::from(a).wrapping_sub(u64::from(b)) >> 63) as u32) != 0
}

/// A zero whose value the verifier does not know.
///
/// The verifier follows every value that it knows exactly, and so walks a loop that counts
/// something once for each count it may have reached. Hidden behind this, all are one.
#[derive(Clone, Copy, Default)]
#[repr(transparent)]
pub struct Veil(u32);

impl Veil {
    /// `value`, which the verifier no longer knows.
    #[inline(always)]
    #[must_use]
    pub fn hide(self, value: u32) -> u32 {
        #[cfg(target_arch = "bpf")]
        {
            value | self.0
        }
        #[cfg(not(target_arch = "bpf"))]
        {
            value
        }
    }

    /// The same of a yes or no.
    #[inline(always)]
    pub(crate) fn hide_flag(self, flag: bool) -> bool {
        self.hide(flag as u32) != 0
    }
}
