//! The XDP program, run on single packets by the kernel's `BPF_PROG_TEST_RUN`, against the
//! daemon's own path: the same requests, equal tables, equal replies.
//!
//! Needs root and the program's object: `cargo xtask test kernel`. `XDP_TRACKER_CASES` sets how
//! many requests are tried, `XDP_TRACKER_SEED` which mutated packets.

mod clock;
mod floods;
mod frame;
mod racks;
mod requests;
mod world;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::AsFd as _,
    str::FromStr,
    sync::Arc,
};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, Map, MapData},
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use fastrand::Rng;
use frame::Frame;
use requests::{client, request};
use tracker_common::{
    abi::{self, EndpointV4, EndpointV6, name},
    connection::ConnectionIds,
    family::{Family, V4, V6},
    hash::{SipKey, TableKey},
    id::InfoHash,
    peers::PeerBuf,
    table::{layout::Gate, owner::Table},
    time::lifetime_from_secs,
    wire,
};
use tracker_user::{
    dataplane::jiffies,
    pipeline::{AnnounceRequest, Pipeline, Refusal, SwarmStats},
    storage::{
        Storage,
        memory::{MappedMemory, TableSize},
    },
    udp::{Datagram, Scratch, UdpFrontend, UdpOptions},
};
use world::{REFUSED, World};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

const PORT: u16 = 6969;
const TRACKER_V4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const TRACKER_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

fn now_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A table behind the pipeline, with nobody to grow it but the announces themselves.
struct TableStorage(Table<MappedMemory>);

impl TableStorage {
    fn announce_in<F: Family>(
        &self,
        request: &AnnounceRequest,
        addr: F::Addr,
        peers: &mut PeerBuf,
    ) -> SwarmStats {
        let announce = request.for_table::<F>(addr);
        self.0.announce(&request.info_hash, &announce, now_ns(), peers).into()
    }
}

impl Storage for TableStorage {
    fn announce(
        &self,
        request: &AnnounceRequest,
        peers: &mut PeerBuf,
    ) -> Result<SwarmStats, Refusal> {
        Ok(match request.peer.ip() {
            IpAddr::V4(addr) => self.announce_in::<V4>(request, addr.octets(), peers),
            IpAddr::V6(addr) => self.announce_in::<V6>(request, addr.octets(), peers),
        })
    }

    fn scrape(&self, info_hash: &InfoHash, source: &SocketAddr) -> Result<SwarmStats, Refusal> {
        Ok(match source {
            SocketAddr::V4(_) => self.0.scrape::<V4>(info_hash, now_ns()),
            SocketAddr::V6(_) => self.0.scrape::<V6>(info_hash, now_ns()),
        }
        .into())
    }
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct State(abi::State);

// SAFETY: integers and arrays of them, without padding.
unsafe impl Pod for State {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct GrantKey(abi::GrantKey);

// SAFETY: bytes.
unsafe impl Pod for GrantKey {}

/// One table with its pipeline: the daemon's path.
struct Daemon {
    storage: Arc<TableStorage>,
    pipeline: Pipeline,
    frontend: UdpFrontend,
    scratch: Scratch,
}

impl Daemon {
    fn new(world: World, memory: MappedMemory, size: &TableSize, ids: ConnectionIds) -> Self {
        let key = TableKey([
            0x0123_4567_89ab_cdef,
            0xfedc_ba98_7654_3210,
            0x5151_c0de_9797_aaaa,
            0x1357_9bdf_0246_8ace,
        ]);
        let table =
            Table::new(memory, size.shape(key), lifetime_from_secs(1800), size.torrents_max, false);
        let storage = Arc::new(TableStorage(table));
        let pipeline = Pipeline::new(storage.clone(), world.hooks(), vec![], 1800, 900);
        let addrs = vec![SocketAddr::from((TRACKER_V4, PORT))];
        let frontend = UdpFrontend::new(UdpOptions::new(addrs, ids));
        Self { storage, pipeline, frontend, scratch: Scratch::default() }
    }

    fn answer(&mut self, bytes: &[u8], source: SocketAddr) -> Vec<u8> {
        let mut reply = Vec::new();
        let datagram = Datagram { bytes, source, wall_ns: now_ns() };
        self.frontend.answer(&self.pipeline, &datagram, &mut self.scratch, &mut reply);
        reply
    }
}

/// The program with a table in its maps, and an equal table that only the daemon knows.
struct Both {
    ebpf: Ebpf,
    shared: Daemon,
    alone: Daemon,
    ids: ConnectionIds,
}

impl Both {
    fn new(world: World) -> Self {
        let object = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../target/bpf/bpfel-unknown-none/release/tracker-ebpf"
        );
        let object = std::fs::read(object).expect("the XDP program: run `cargo xtask build`");
        let size = TableSize {
            buckets_v4: 500,
            buckets_v6: 500,
            chunks: 8192,
            torrents_max: [1000, 1000],
            subnet: world.preferred_subnet(),
        };
        let mut ebpf = EbpfLoader::new()
            .override_global("AYA_LOG_LEVEL", &0_u8, false)
            .map_max_entries(name::TORRENTS_V4, size.buckets_v4)
            .map_max_entries(name::TORRENTS_V6, size.buckets_v6)
            .map_max_entries(name::BLOCKS, size.chunks)
            .map_max_entries(name::CLIENTS, 4)
            .map_max_entries(name::NETWORKS_V4, 8)
            .map_max_entries(name::NETWORKS_V6, 8)
            .map_max_entries(name::GRANTS, 64)
            .map_max_entries(name::SOURCES, 4096)
            .load(&object)
            .expect("maps; is this root?");
        for name in [name::PROGRAM, name::CLOCK] {
            let program: &mut Xdp = ebpf.program_mut(name).unwrap().try_into().unwrap();
            program.load().expect("the verifier accepts the program");
        }

        let ids = ConnectionIds::new(SipKey { k0: 3, k1: 4 }, 120, 0);
        let fd = |name| match ebpf.map(name) {
            Some(Map::Array(map)) => map.fd().as_fd(),
            _ => panic!("no array {name}"),
        };
        let maps = (fd(name::TORRENTS_V4), fd(name::TORRENTS_V6), fd(name::BLOCKS));
        let memory = MappedMemory::of_maps(&size, maps.0, maps.1, maps.2).unwrap();
        let shared = Daemon::new(world, memory, &size, ids);
        let alone = Daemon::new(world, MappedMemory::anonymous(&size).unwrap(), &size, ids);
        if world.torrents {
            // In both, or one would be full before the other.
            for Daemon { storage, .. } in [&shared, &alone] {
                assert_eq!(storage.0.list::<V4>([&REFUSED], Gate::Refuse, || {}), 0);
                assert_eq!(storage.0.list::<V6>([&REFUSED], Gate::Refuse, || {}), 0);
            }
        }
        let mut both = Self { ebpf, shared, alone, ids };
        both.configure(world, 0);
        both
    }

    fn configure(&mut self, world: World, flags: u32) {
        let mut config = abi::Config {
            shape: *self.shared.storage.0.shape(),
            connection_ids: self.ids,
            lifetime: lifetime_from_secs(1800),
            interval_s: 1800,
            numwant_default: 50,
            numwant_max: 100,
            scrape_max: 50,
            flags,
            endpoints_v4_len: 1,
            endpoints_v6_len: 1,
            ..Default::default()
        };
        let port = PORT.to_be_bytes();
        config.endpoints_v4[0] = EndpointV4 { addr: TRACKER_V4.octets(), port, _pad: [0; 2] };
        config.endpoints_v6[0] = EndpointV6 { addr: TRACKER_V6.octets(), port, _pad: [0; 6] };
        world.configure(&mut config, &mut self.ebpf);
        let jiffies = jiffies(&self.ebpf).expect("the kernel's clock");
        let control = abi::Control { jiffies, ..Default::default() };
        self.set_state(abi::State { control, configs: [config; 2] });
    }

    /// What the program is told.
    fn state(&self) -> abi::State {
        let map = self.ebpf.map(name::STATE).unwrap();
        let map: Array<&MapData, State> = map.try_into().unwrap();
        map.get(&0, 0).unwrap().0
    }

    fn set_state(&mut self, state: abi::State) {
        let map = self.ebpf.map_mut(name::STATE).unwrap();
        let mut map: Array<&mut MapData, State> = map.try_into().unwrap();
        map.set(0, State(state), 0).unwrap();
    }

    /// Leaves a grant that ends at this time.
    fn grant(&mut self, info_hash: [u8; 20], source: &str, end_ns: u64) {
        let addr = source.parse::<Ipv4Addr>().unwrap().to_ipv6_mapped().octets();
        let key = GrantKey(abi::GrantKey { addr, info_hash, _pad: [0; 4] });
        let map = self.ebpf.map_mut(name::GRANTS).unwrap();
        let mut map: HashMap<_, GrantKey, u64> = map.try_into().unwrap();
        map.insert(key, end_ns, 0).unwrap();
    }

    /// Runs the program on a frame: its action, and the frame as it left it.
    fn run(&self, frame: &[u8]) -> (u32, Vec<u8>) {
        let program: &Xdp = self.ebpf.program(name::PROGRAM).unwrap().try_into().unwrap();
        let mut out = vec![0; 4096];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::new()
        };
        let result = program.test_run(options).expect("BPF_PROG_TEST_RUN");
        let len = result.data_size_out as usize;
        out.truncate(len);
        (result.return_value, out)
    }

    /// Sends one request both ways. Returns the program's action.
    fn compare(&mut self, payload: &[u8], source: SocketAddr, vlans: usize) -> u32 {
        let tracker: IpAddr = if source.is_ipv4() { TRACKER_V4.into() } else { TRACKER_V6.into() };
        let frame = Frame::new(source, SocketAddr::new(tracker, PORT), vlans, payload);
        let (action, out) = self.run(&frame.bytes);
        let expected = self.alone.answer(payload, source);
        match action {
            XDP_TX => {
                let reply = frame.reply(&out);
                if reply.get(..4) == Some(&wire::action::CONNECT) {
                    self.assert_valid_id(reply, source);
                    assert_eq!(reply[..8], expected[..8], "connect {payload:02x?}");
                } else {
                    assert_eq!(reply, expected, "from {source} with {payload:02x?}");
                }
            }
            XDP_DROP => assert!(expected.is_empty(), "dropped {payload:02x?}"),
            XDP_PASS => {
                assert_eq!(out, frame.bytes, "a passed frame is unchanged");
                let reply = self.shared.answer(payload, source);
                if reply.get(..4) != Some(&wire::action::CONNECT) {
                    assert_eq!(reply, expected, "passed, from {source} with {payload:02x?}");
                }
            }
            other => panic!("XDP action {other} for {payload:02x?}"),
        }
        let [shared, alone] = [&self.shared, &self.alone].map(|daemon| daemon.storage.0.stats());
        assert_eq!(shared, alone, "after action {action}, from {source} with {payload:02x?}");
        action
    }

    fn assert_valid_id(&self, reply: &[u8], source: SocketAddr) {
        let id = reply[8..16].try_into().unwrap();
        let valid = match source.ip() {
            IpAddr::V4(addr) => self.ids.is_valid::<V4>(id, &addr.octets(), now_ns()),
            IpAddr::V6(addr) => self.ids.is_valid::<V6>(id, &addr.octets(), now_ns()),
        };
        assert!(valid, "the daemon accepts the kernel's connection id");
    }

    fn id(&self, source: SocketAddr) -> [u8; 8] {
        match source.ip() {
            IpAddr::V4(addr) => self.ids.issue::<V4>(&addr.octets(), now_ns()),
            IpAddr::V6(addr) => self.ids.issue::<V6>(&addr.octets(), now_ns()),
        }
    }
}

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
    assert!(verified < 300_000, "{verified} instructions verified on {release}");
    assert!(jited < 90 << 10, "{jited} bytes of machine code");
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn kernel_and_daemon_give_the_same_replies() {
    agree(World { torrents: true, variation: true, ..World::default() }, cases(100_000));
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn kernel_and_daemon_agree_with_each_hook_and_with_all() {
    let none = World::default();
    for world in [
        none,
        World { torrents: true, ..none },
        World { client_denied: true, ..none },
        World { client_allowed: true, ..none },
        World { networks: true, ..none },
        World { variation: true, ..none },
        World { subnet: true, ..none },
        World {
            torrents: true,
            client_denied: true,
            client_allowed: false,
            networks: true,
            variation: true,
            subnet: true,
        },
    ] {
        agree(world, cases(100_000) / 5);
    }
}

/// Sends requests both ways. Returns when that many have been answered alike.
fn agree(world: World, total: usize) {
    let mut both = Both::new(world);
    let mut rng = Rng::with_seed(20_261_123);
    let mut answered = 0;
    for _ in 0..total {
        let source = client(&mut rng);
        let payload = request(&mut rng, &both, source);
        answered += usize::from(both.compare(&payload, source, rng.usize(..3)) == XDP_TX);
    }
    println!("{total} requests compared, {answered} of them answered by the kernel: {world:?}");
    assert!(answered * 3 > total, "the kernel answered only {answered} of {total}: {world:?}");
}

/// An announce of a torrent that is known, from one of its peers.
fn known_announce(both: &mut Both) -> Vec<u8> {
    let source: SocketAddr = "198.51.100.7:1024".parse().unwrap();
    let mut payload = [&both.id(source)[..], &wire::action::ANNOUNCE, &[0, 0, 0, 1]].concat();
    payload.extend([[9; 20], [b'p'; 20]].concat());
    payload.extend([0; 36]);
    payload.extend([0, 0, 0, 50, 0x1a, 0xe1]);
    assert_eq!(payload.len(), size_of::<wire::AnnounceRequest>());
    both.shared.answer(&payload, source);
    Frame::new(source, SocketAddr::new(TRACKER_V4.into(), PORT), 0, &payload).bytes
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn the_kernel_answers_announces_with_a_grant_until_it_ends() {
    let mut both = Both::new(World::default());
    let frame = known_announce(&mut both);
    both.configure(World::default(), abi::flag::GRANTS);
    let act = |both: &Both| both.run(&frame).0;
    assert_eq!(act(&both), XDP_PASS, "nobody has granted anything");
    both.grant([9; 20], "198.51.100.7", now_ns() + 3_600_000_000_000);
    for _ in 0..1000 {
        assert_eq!(act(&both), XDP_TX);
    }
    // The program's clock may be behind, by much in an emulated machine.
    both.grant([9; 20], "198.51.100.7", now_ns() - 1_000_000_000);
    assert_eq!(act(&both), XDP_PASS, "the grant has ended");
    both.grant([8; 20], "198.51.100.7", u64::MAX);
    both.grant([9; 20], "198.51.100.8", u64::MAX);
    assert_eq!(act(&both), XDP_PASS, "these are for others");
}

#[test]
#[ignore = "needs root and BPF: cargo xtask test kernel"]
fn any_packet_is_answered_well_formed_or_passed_unchanged() {
    let both = Both::new(World { torrents: true, networks: true, ..World::default() });
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
