//! The kernel and the daemon beside each other: what is sent both ways is to be answered alike.

use std::{
    net::{IpAddr, SocketAddr},
    os::fd::AsFd as _,
};

use aya::{
    Ebpf, EbpfLoader, Pod,
    maps::{Array, HashMap, Map, MapData, PerCpuArray},
    programs::{TestRun as _, TestRunOptions, Xdp},
};
use tracker_common::{
    abi::{self, EndpointV4, EndpointV6, Verdict, name},
    connection::ConnectionIds,
    family::{V4, V6},
    hash::SipKey,
    table::layout::Gate,
    time::lifetime_from_secs,
    wire,
};
use tracker_user::{
    dataplane::{HookMaps, jiffies},
    pipeline::ListKind,
    storage::memory::{MappedMemory, TableSize},
};

use super::{
    PORT, TRACKER_V4, TRACKER_V6, XDP_DROP, XDP_PASS, XDP_TX,
    daemon::{Daemon, TableStorage, now_ns},
    frame::{Frame, MAC},
    world::{METERS_OF_ROW, REFUSED, World, listed_torrents},
};

/// The index of the loopback interface, by which frames come in test runs.
pub const INTERFACE: u32 = 1;

/// That interface, with the MAC address that frames have.
pub fn link(flags: u32) -> abi::Link {
    let [a, b, c, d, e, f] = MAC;
    let start = u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]);
    abi::Link { key: abi::Link::key(start, INTERFACE), flags, routed_as: INTERFACE }
}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct State(abi::State);

// SAFETY: integers and arrays of them, without padding.
unsafe impl Pod for State {}

#[derive(Clone, Copy)]
#[repr(transparent)]
struct Counters(abi::Counters);

// SAFETY: integers of one size.
unsafe impl Pod for Counters {}

/// The program with a table in its maps, and an equal table that only the daemon knows.
pub struct Both {
    pub ebpf: Ebpf,
    maps: HookMaps,
    pub shared: Daemon,
    alone: Daemon,
    ids: ConnectionIds,
    /// Announces that the program has answered without listing their peer.
    pub unlisted: u64,
}

impl Both {
    /// Loads the program into the kernel, and tells both sides of the same hooks.
    pub fn new(world: World) -> Self {
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
            meters_of_row: METERS_OF_ROW,
        };
        let mut ebpf = EbpfLoader::new()
            .override_global("AYA_LOG_LEVEL", &0_u8, false)
            .map_max_entries(name::TORRENTS_V4, size.buckets_v4)
            .map_max_entries(name::TORRENTS_V6, size.buckets_v6)
            .map_max_entries(name::BLOCKS, size.chunks)
            .map_max_entries(name::LISTED, 2048)
            .map_max_entries(name::NETWORKS_V4, 8)
            .map_max_entries(name::NETWORKS_V6, 8)
            .map_max_entries(name::GRANTS, 64)
            .map_max_entries(name::BUDGETS, size.meters())
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
        let memory =
            MappedMemory::of_maps(&size, maps.0, maps.1, maps.2, fd(name::BUDGETS)).unwrap();
        let shared = Daemon::new(world, memory, &size, ids);
        let alone = Daemon::new(world, MappedMemory::anonymous(&size).unwrap(), &size, ids);
        // In both, or one would be full before the other.
        for Daemon { storage, .. } in [&shared, &alone] {
            list_torrents(world, storage);
        }
        let maps = HookMaps::take(&mut ebpf).expect("the program's maps");
        let mut both = Self { ebpf, maps, shared, alone, ids, unlisted: 0 };
        both.configure(world);
        both
    }

    /// Tells the program what the daemon goes by.
    pub fn configure(&mut self, world: World) {
        let mut config = abi::Config {
            shape: *self.shared.storage.0.shape(),
            connection_ids: self.ids,
            lifetime: lifetime_from_secs(1800),
            interval_s: 1800,
            numwant_default: 50,
            numwant_max: 100,
            scrape_max: 74,
            limits: world.limits(),
            endpoints_v4_len: 1,
            endpoints_v6_len: 1,
            ..Default::default()
        };
        let port = PORT.to_be_bytes();
        config.endpoints_v4[0] = EndpointV4 { addr: TRACKER_V4.octets(), port, _pad: [0; 2] };
        config.endpoints_v6[0] = EndpointV6 { addr: TRACKER_V6.octets(), port, _pad: [0; 6] };
        config.links[abi::Link::slot(INTERFACE) as usize] = link(abi::link::VERIFY);
        self.maps.apply(self.shared.pipeline(), &mut config).expect("the maps have room");
        config.policy.unlisted_gate = match world.has_torrents(ListKind::Allow) {
            true => Gate::Refuse as u32,
            false => Gate::Open as u32,
        };
        let jiffies = jiffies(&self.ebpf).expect("the kernel's clock");
        let control = abi::Control { jiffies, ..Default::default() };
        self.set_state(abi::State { control, configs: [config; 2] });
    }

    /// What the program is told.
    pub fn state(&self) -> abi::State {
        let map = self.ebpf.map(name::STATE).unwrap();
        let map: Array<&MapData, State> = map.try_into().unwrap();
        map.get(&0, 0).unwrap().0
    }

    pub fn set_state(&mut self, state: abi::State) {
        let map = self.ebpf.map_mut(name::STATE).unwrap();
        let mut map: Array<&mut MapData, State> = map.try_into().unwrap();
        map.set(0, State(state), 0).unwrap();
    }

    /// How many grants the program's map has, of whatever generation.
    pub fn grants(&self) -> usize {
        let map = self.ebpf.map(name::GRANTS).unwrap();
        let map: HashMap<
            &MapData,
            [u8; size_of::<abi::GrantKey>()],
            [u8; size_of::<abi::Grant>()],
        > = map.try_into().unwrap();
        map.keys().count()
    }

    /// Runs the program on a frame: its action, and the frame as it left it.
    pub fn run(&self, frame: &[u8]) -> (u32, Vec<u8>) {
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
    pub fn compare(&mut self, payload: &[u8], source: SocketAddr, vlans: usize) -> u32 {
        let tracker: IpAddr = if source.is_ipv4() { TRACKER_V4.into() } else { TRACKER_V6.into() };
        let frame = Frame::new(source, SocketAddr::new(tracker, PORT), vlans, payload);
        let before = self.unlisted_by_program();
        let (action, out) = self.run(&frame.bytes);
        // What the program has no reply for it passes, and the daemon finds the same.
        if action == XDP_TX {
            self.unlisted += self.unlisted_by_program() - before;
        }
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
        let [mut shared, alone] =
            [&self.shared, &self.alone].map(|daemon| daemon.storage.0.stats());
        shared.unlisted += self.unlisted;
        assert_eq!(shared, alone, "after action {action}, from {source} with {payload:02x?}");
        action
    }

    fn unlisted_by_program(&self) -> u64 {
        self.counted(|counters| counters.unlisted)
    }

    /// How often the program came to a verdict.
    pub fn verdicts(&self, verdict: Verdict) -> u64 {
        self.counted(|counters| {
            counters.verdicts.map(|family| family[verdict as usize]).iter().sum()
        })
    }

    fn counted(&self, count: impl Fn(&abi::Counters) -> u64) -> u64 {
        let map = self.ebpf.map(name::COUNTERS).unwrap();
        let map: PerCpuArray<&MapData, Counters> = map.try_into().unwrap();
        map.get(&0, 0).unwrap().iter().map(|counters| count(&counters.0)).sum()
    }

    fn assert_valid_id(&self, reply: &[u8], source: SocketAddr) {
        let id = reply[8..16].try_into().unwrap();
        let valid = match source.ip() {
            IpAddr::V4(addr) => self.ids.is_valid::<V4>(id, &addr.octets(), now_ns()),
            IpAddr::V6(addr) => self.ids.is_valid::<V6>(id, &addr.octets(), now_ns()),
        };
        assert!(valid, "the daemon accepts the kernel's connection id");
    }

    /// A connection id that is good from `source`.
    pub fn id(&self, source: SocketAddr) -> [u8; 8] {
        match source.ip() {
            IpAddr::V4(addr) => self.ids.issue::<V4>(&addr.octets(), now_ns()),
            IpAddr::V6(addr) => self.ids.issue::<V6>(&addr.octets(), now_ns()),
        }
    }
}

/// Gives torrents the gates that the world's lists say.
fn list_torrents(world: World, storage: &TableStorage) {
    let table = &storage.0;
    let list = |info_hash, gate| {
        assert_eq!(table.list::<V4>([&info_hash], gate, || {}), 0);
        assert_eq!(table.list::<V6>([&info_hash], gate, || {}), 0);
    };
    if world.has_torrents(ListKind::Allow) {
        table.set_unlisted_gate(Gate::Pass);
        listed_torrents().for_each(|info_hash| list(info_hash, Gate::Open));
    }
    if world.has_torrents(ListKind::Deny) {
        list(REFUSED, Gate::Refuse);
    }
}
