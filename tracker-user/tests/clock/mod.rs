//! The clock that the program goes by is the daemon's.

use std::{thread, time::Duration};

use tracker_common::{abi, wire};
use tracker_user::dataplane::jiffies;

use crate::{Both, World, XDP_PASS, XDP_TX, known_announce, now_ns};

/// A jiffy lasts 10 ms at most, and the clock advances a moment before or after them.
const APART_MAX_NS: u64 = 20_000_000;

const SECOND_NS: u64 = 1_000_000_000;

impl Both {
    /// Has the program's wall clock go ahead of the monotonic clock by this much.
    fn set_wall_offset(&mut self, wall_offset_ns: u64) {
        let state = self.state();
        let control = abi::Control { wall_offset_ns, ..state.control };
        self.set_state(abi::State { control, ..state });
    }

    /// Has the program pass everything from this time on.
    fn pass_from(&mut self, passes_from_ns: u64) {
        let state = self.state();
        let control = abi::Control { passes_from_ns, ..state.control };
        self.set_state(abi::State { control, ..state });
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn the_program_answers_until_the_time_that_it_is_told() {
    let mut both = Both::new(World::default());
    let frame = known_announce(&mut both, 0);
    both.pass_from(now_ns() + 60 * SECOND_NS);
    assert_eq!(both.run(&frame).0, XDP_TX);
    both.pass_from(now_ns() - SECOND_NS);
    assert_eq!(both.run(&frame).0, XDP_PASS);
}

/// An id carries 16 bits of its time, in units of 2^30 ns.
#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn the_kernel_refuses_an_id_whose_time_has_come_round() {
    /// Where the payload of a frame without VLAN tags begins.
    const PAYLOAD: usize = 14 + 20 + 8;
    let mut both = Both::new(World::default());
    let frame = known_announce(&mut both, 0);
    let action = |both: &Both| {
        let (verdict, out) = both.run(&frame);
        assert_eq!(verdict, XDP_TX);
        <[u8; 4]>::try_from(&out[PAYLOAD..][..4]).unwrap()
    };
    assert_eq!(action(&both), wire::action::ANNOUNCE);
    for periods in [1, 2, 300] {
        both.set_wall_offset(periods << 46);
        assert_eq!(action(&both), wire::action::ERROR, "after {periods} periods");
    }
    both.set_wall_offset(0);
    assert_eq!(action(&both), wire::action::ANNOUNCE);
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn the_kernels_jiffies_keep_step_with_its_clock() {
    let both = Both::new(World::default());
    // The clock when no jiffy had been counted.
    let start_ns = || jiffies(&both.ebpf).expect("the kernel's clock").monotonic_ns(0);
    let first = start_ns();
    for _ in 0..50 {
        thread::sleep(Duration::from_millis(10));
        let now = start_ns();
        // The difference, whichever of the two is ahead: they may have wrapped around.
        let apart = first.wrapping_sub(now).min(now.wrapping_sub(first));
        assert!(apart <= APART_MAX_NS, "{apart} ns apart");
    }
}
