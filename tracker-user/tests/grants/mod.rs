//! The grants that hooks leave, as the program goes by them.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tracker_common::{
    abi::{self, flag},
    id::InfoHash,
};
use tracker_user::{
    dataplane::Grants,
    pipeline::{Grant, GrantSink as _},
};

use crate::{Both, World, XDP_PASS, XDP_TX, known_announce, now_ns};

const HOUR: Duration = Duration::from_secs(3600);

/// The program, grants of which it knows, and an announce that is answered only with a grant.
struct Stage {
    both: Both,
    frame: Vec<u8>,
    grants: Grants,
}

impl Stage {
    fn new() -> Self {
        let mut both = Both::new(World::default());
        let frame = known_announce(&mut both, 0);
        let state = both.state();
        both.set_state(granting(state));
        let grants = connected(&both);
        Self { both, frame, grants }
    }

    /// Leaves a grant for the announce.
    fn grant(&self, expires_at: SystemTime) {
        self.grants.grant(grant(9, "198.51.100.7", expires_at));
    }

    fn act(&self) -> u32 {
        self.both.run(&self.frame).0
    }
}

/// A configuration in which a hook leaves grants.
fn granting(mut state: abi::State) -> abi::State {
    for config in &mut state.configs {
        config.policy.add_grants();
        config.flags |= flag::JUDGES;
    }
    state
}

/// A daemon's own, for the program.
fn connected(both: &Both) -> Grants {
    let grants = Grants::default();
    grants.connect(&both.ebpf).expect("the program's maps");
    grants
}

fn grant(torrent: u8, source: &str, expires_at: SystemTime) -> Grant {
    let address: IpAddr = source.parse().unwrap();
    Grant { info_hash: InfoHash([torrent; 20]), address, expires_at }
}

/// The time by the program's clock, which begins with the host here.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(now_ns())
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn the_kernel_answers_announces_with_a_grant_until_it_ends() {
    let stage = Stage::new();
    assert_eq!(stage.act(), XDP_PASS, "there is no grant");
    stage.grant(now() + HOUR);
    for _ in 0..1000 {
        assert_eq!(stage.act(), XDP_TX);
    }
    // The program's clock may be behind, by much in an emulated machine.
    stage.grant(now() - Duration::from_secs(1));
    assert_eq!(stage.act(), XDP_PASS, "the grant has ended");
    stage.grants.grant(grant(8, "198.51.100.7", now() + HOUR));
    stage.grants.grant(grant(9, "198.51.100.8", now() + HOUR));
    assert_eq!(stage.act(), XDP_PASS, "these are for others");
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn one_store_takes_back_all_grants_and_those_made_afterwards_count() {
    let stage = Stage::new();
    for round in 0..3 {
        stage.grant(now() + HOUR);
        assert_eq!(stage.act(), XDP_TX, "in round {round}");
        let entries = |torrent| grant(torrent, "198.51.100.9", now() + HOUR);
        (10..40).for_each(|torrent| stage.grants.grant(entries(torrent)));
        let before = stage.both.grants();
        stage.grants.revoke_all();
        assert_eq!(stage.both.grants(), before, "no entry has to be removed");
        assert_eq!(stage.act(), XDP_PASS, "in round {round}");
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn a_grant_of_a_daemon_before_does_not_count() {
    let mut stage = Stage::new();
    stage.grant(now() + HOUR);
    assert_eq!(stage.act(), XDP_TX);
    let before = std::mem::replace(&mut stage.grants, connected(&stage.both));
    for _ in 0..10 {
        assert_eq!(stage.act(), XDP_PASS);
        stage.grants.revoke_all();
    }
    stage.grant(now() + HOUR);
    assert_eq!(stage.act(), XDP_TX);
    drop(before);
}
