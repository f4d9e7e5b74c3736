//! The XDP program, run on single packets by the kernel's `BPF_PROG_TEST_RUN`, against the
//! daemon's own path: the same requests, equal tables, equal replies.
//!
//! Needs root and the program's object: `cargo xtask test kernel`. `XDP_TRACKER_CASES` sets how
//! many requests are tried, `XDP_TRACKER_SEED` which mutated packets.

mod below_udp;
mod both;
mod clock;
mod daemon;
mod floods;
mod frame;
mod grants;
mod loops;
mod racks;
mod requests;
mod world;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use aya::programs::Xdp;
use fastrand::Rng;
use tracker_common::{
    abi::{Verdict, name},
    policy::Rule,
    wire,
};
use tracker_user::pipeline::ListKind;

use both::Both;
use daemon::now_ns;
use frame::Frame;
use requests::{client, request};
use world::{Hook, World};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

const PORT: u16 = 6969;
const TRACKER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const TRACKER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn cases(default: usize) -> usize {
    number("XDP_TRACKER_CASES", default)
}

/// The value of a variable of the environment.
fn number<T: FromStr>(variable: &str, default: T) -> T {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn the_program_stays_within_its_budget() {
    let both = Both::new(World::default());
    let program: &Xdp = both.ebpf.program(name::PROGRAM).unwrap().try_into().unwrap();
    let info = program.info().unwrap();
    let verified = info.verified_instruction_count().unwrap();
    let (translated, jited) = (info.size_translated().unwrap(), info.size_jitted());
    println!(
        "{verified} instructions verified, {translated} bytes of BPF, {jited} of machine code"
    );
    // The kernel's limit is a million. Up to 6.7, loops are walked through turn by turn.
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    assert!(verified < 400_000, "{verified} instructions verified on {release}");
    // The way of a plain announce is a few thousand of them, which stay in a processor's first cache. The rest is what
    // each rule, and each of the two address families, adds beside it.
    assert!(jited < 128 << 10, "{jited} bytes of machine code");
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn kernel_and_daemon_give_the_same_replies() {
    agree(World::of(&[TORRENTS, Hook::Variation]), cases(100_000));
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn kernel_and_daemon_agree_with_each_hook_and_with_all() {
    let none = World::default();
    for rule in Rule::ALL {
        for kind in [ListKind::Allow, ListKind::Deny] {
            let world = World::of(vec![Hook::Approval(rule, kind)].leak());
            agree(world, cases(100_000) / 5);
        }
    }
    for world in [none, World::of(&[Hook::Variation]), World { subnet: true, ..none }] {
        agree(world, cases(100_000) / 5);
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn kernel_and_daemon_agree_with_several_hooks_in_any_order() {
    let mut rng = Rng::with_seed(number("XDP_TRACKER_SEED", 20_261_130));
    for _ in 0..16 {
        let world = World::random(&mut rng);
        agree(World { budgets: rng.bool(), ..world }, cases(100_000) / 10);
    }
}

/// Each request is refused by one of two lists, or by both, in one order and in the other.
#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn what_several_hooks_refuse_is_answered_in_the_kernel() {
    for first in Rule::ALL {
        for second in Rule::ALL {
            let hooks = [first, second].map(|rule| Hook::Approval(rule, ListKind::Deny));
            let both = agree(World::of(hooks.to_vec().leak()), cases(100_000) / 50);
            assert_eq!(both.verdicts(Verdict::Gated), 0, "{first:?}, {second:?}");
            for rule in [first, second] {
                assert_ne!(both.verdicts(rule.verdict()), 0, "{rule:?} of {first:?}, {second:?}");
            }
        }
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn kernel_and_daemon_list_the_same_peers_of_a_source_over_its_budget() {
    const ALL: usize = 100_000;
    let both = agree(World { budgets: true, ..World::default() }, cases(ALL));
    let (kernel, daemon) = (both.unlisted, both.shared.storage.0.stats().unlisted);
    println!("{kernel} not listed by the kernel, {daemon} by the daemon");
    // The few that an emulated machine has time for agree, but do not reach a budget.
    assert!(cases(ALL) < ALL || (kernel > 100 && daemon > 0));
}

const TORRENTS: Hook = Hook::Approval(Rule::Torrent, ListKind::Deny);
const NETWORKS: Hook = Hook::Approval(Rule::Network, ListKind::Allow);

/// Sends requests both ways. Returns when that many have been answered alike.
fn agree(world: World, total: usize) -> Both {
    let mut both = Both::new(world);
    let mut rng = Rng::with_seed(20_261_123);
    let mut answered = 0;
    for _ in 0..total {
        let source = client(&mut rng);
        let payload = request(&mut rng, &both, source);
        answered += usize::from(both.compare(&payload, source, rng.usize(..3)) == XDP_TX);
    }
    println!("{total} requests compared, {answered} of them answered by the kernel: {world:?}");
    let is_daemons = world.is_daemons();
    assert!(
        is_daemons || answered * 3 > total,
        "the kernel answered only {answered} of {total}: {world:?}"
    );
    both
}

/// An announce of a torrent that is known, from one of its peers, with this event.
fn known_announce(both: &mut Both, event: u32) -> Vec<u8> {
    let source: SocketAddr = "198.51.100.7:1024".parse().unwrap();
    let mut payload = [&both.id(source)[..], &wire::action::ANNOUNCE, &[0, 0, 0, 1]].concat();
    payload.extend([[9; 20], [b'p'; 20]].concat());
    payload.extend([0; 24]);
    payload.extend(event.to_be_bytes());
    payload.extend([0; 8]);
    payload.extend([0, 0, 0, 50, 0x1a, 0xe1]);
    assert_eq!(payload.len(), size_of::<wire::AnnounceRequest>());
    both.shared.answer(&payload, source);
    Frame::new(source, SocketAddr::new(TRACKER_V4.into(), PORT), 0, &payload).bytes
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn the_kernel_answers_partial_seeds_and_unknown_events() {
    let mut both = Both::new(World::default());
    for event in [4, 5, 77, 0x103, u32::MAX] {
        let frame = known_announce(&mut both, event);
        assert_eq!(both.run(&frame).0, XDP_TX, "event {event}");
    }
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn any_packet_is_answered_well_formed_or_passed_unchanged() {
    let both = Both::new(World::of(&[TORRENTS, NETWORKS]));
    let mut rng = Rng::with_seed(number("XDP_TRACKER_SEED", 7));
    for _ in 0..cases(200_000) {
        let source = client(&mut rng);
        let payload = request(&mut rng, &both, source);
        let tracker: IpAddr = if source.is_ipv4() { TRACKER_V4.into() } else { TRACKER_V6.into() };
        let to = SocketAddr::new(tracker, PORT);
        let mut frame = Frame::new(source, to, rng.usize(..3), &payload);
        for _ in 0..rng.u8(..4) {
            let at = rng.usize(..frame.bytes.len());
            frame.bytes[at] = rng.u8(..);
        }
        if rng.u8(..4) == 0 {
            frame.bytes.truncate(rng.usize(14..=frame.bytes.len()));
        }
        let (action, out) = both.run(&frame.bytes);
        match action {
            XDP_TX => {
                frame.reply(&out);
            }
            XDP_PASS => assert_eq!(out, frame.bytes),
            XDP_DROP => {}
            other => panic!("XDP action {other} for {:02x?}", frame.bytes),
        }
    }
}
