//! The program's state, as a map holds it.

use aya::Pod;
use tracker_common::abi;

/// As a value of the map.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct State(pub(super) abi::State);

impl State {
    /// The configuration in force.
    pub(super) const fn config(&self) -> &abi::Config {
        &self.0.configs[(self.0.control.active & 1) as usize]
    }
}

// SAFETY: integers and arrays of them; the ABI asserts the sizes, which leave no padding.
unsafe impl Pod for State {}
