//! Arithmetic whose result the kernel's verifier must see bounded.
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
